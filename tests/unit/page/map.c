/* SPDX-License-Identifier: MIT */
/* The page map answers for any address whatever; chunks appear where asked, once, and not at all when memory is out. On
 * a pretend system. */
#include "fakes/fake.h"
#include "page/page.h"
#include "rt/options.h"

#include <criterion/criterion.h>

static void start(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

static void expect_nothing_anywhere(void) {
    for (unsigned bit = 0; bit < 64; bit++) {
        cr_expect_eq(page_map_get((void *)((uintptr_t)1 << bit)), 0u);
        cr_expect_eq(page_map_get((void *)(((uintptr_t)1 << bit) - 1)), 0u);
        cr_expect_eq(page_map_get((void *)~((uintptr_t)1 << bit)), 0u);
    }
    int on_stack;
    cr_expect_eq(page_map_get(&on_stack), 0u);
}

Test(map, every_address_can_be_asked_before_start) { expect_nothing_anywhere(); }

Test(map, every_address_can_be_asked, .init = start) {
    expect_nothing_anywhere();
    cr_expect_null(chunk_of(NULL));
    cr_expect_null(chunk_of((void *)0x7fffffff0000));
}

Test(map, entries_are_of_their_granules_alone, .init = start) {
    char *p = sys_vm_reserve(4 * CHUNK_BYTES, CHUNK_BYTES);
    cr_assert_not_null(p);
    cr_assert_eq(chunk_cover(p, 4 * CHUNK_BYTES), 0);
    /* Across the border of two chunks. */
    char *at = p + CHUNK_BYTES - 3 * GRANULE_BYTES;
    page_map_set(at, 7, 42);
    for (int i = -2; i < 10; i++) {
        unsigned want = i >= 0 && i < 7 ? 42 : 0;
        cr_expect_eq(page_map_get(at + i * (ptrdiff_t)GRANULE_BYTES), want);
        cr_expect_eq(page_map_get(at + i * (ptrdiff_t)GRANULE_BYTES + GRANULE_BYTES - 1), want);
    }
    page_map_set(at, 7, PAGE_MAP_NOT_OURS);
    cr_expect_eq(page_map_get(at + 3 * GRANULE_BYTES), 0u);
}

Test(map, chunks_are_made_once, .init = start) {
    char *p = sys_vm_reserve(2 * CHUNK_BYTES, CHUNK_BYTES);
    cr_assert_eq(chunk_cover(p, 1), 0);
    struct chunk *c = chunk_of(p);
    cr_assert_not_null(c);
    cr_expect_eq(chunk_of(p + CHUNK_BYTES - 1), c);
    cr_expect_null(chunk_of(p + CHUNK_BYTES));
    cr_assert_eq(chunk_cover(p + CHUNK_BYTES - 1, 2), 0);
    cr_expect_eq(chunk_of(p), c);
    cr_expect_not_null(chunk_of(p + CHUNK_BYTES));
    cr_expect_neq(chunk_of(p + CHUNK_BYTES), c);
    cr_expect_eq(chunk_desc(c, p + GRANULE_BYTES) - chunk_desc(c, p), 1);
    cr_expect_eq(chunk_hpage(c, p + HPAGE_BYTES) - chunk_hpage(c, p), 1);
}

Test(map, a_chunk_that_cannot_be_had_is_missing_and_can_be_had_later, .init = start) {
    char *p = sys_vm_reserve(CHUNK_BYTES, CHUNK_BYTES);
    fake_fail(FAKE_COMMIT, 1, 1);
    cr_expect_neq(chunk_cover(p, CHUNK_BYTES), 0);
    cr_expect_eq(fake_failed_nr(FAKE_COMMIT), 1u);
    cr_expect_null(chunk_of(p));
    cr_expect_eq(chunk_cover(p, CHUNK_BYTES), 0);
    cr_expect_not_null(chunk_of(p));
}

struct visits {
    const struct chunk *seen[8];
    unsigned nr;
};

static void visit(void *arg, struct chunk *c) {
    struct visits *v = arg;
    cr_assert_lt(v->nr, 8u);
    v->seen[v->nr++] = c;
}

static void expect_visits(const struct chunk *const *chunks, unsigned nr) {
    struct visits v = {0};
    chunks_each(visit, &v);
    cr_assert_eq(v.nr, nr, "%u chunks, not %u", v.nr, nr);
    for (unsigned i = 0; i < nr; i++)
        cr_expect_eq(v.seen[i], chunks[i], "chunk %u", i);
}

/* Far from each other, so that they are in different parts of the table, and beside each other. */
Test(map, every_chunk_is_visited_once_by_address, .init = start) {
    enum { FAR_CHUNKS = 5000, NR = 4 };
    static const unsigned at[NR] = {0, 1, FAR_CHUNKS, 2 * FAR_CHUNKS - 1};
    const struct chunk *chunks[NR] = {NULL};
    /* Records are made for an address whether there is anything or not; to reserve so much takes an emulator minutes.
     */
    char *p = (char *)((uintptr_t)1 << 44); // NOLINT(performance-no-int-to-ptr)
    expect_visits(chunks, 0);
    for (unsigned i = NR; i-- > 0;) {
        cr_assert_eq(chunk_cover(p + at[i] * CHUNK_BYTES, CHUNK_BYTES), 0);
        chunks[i] = chunk_of(p + at[i] * CHUNK_BYTES);
        expect_visits(chunks + i, NR - i);
    }
}

Test(map, chunks_of_a_small_map_are_visited) {
    rt_options_read(NULL, NULL);
    fake_limit(1 * GIB);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    char *p = sys_vm_reserve(2 * HPAGE_BYTES, HPAGE_BYTES);
    cr_assert_eq(chunk_cover(p, HPAGE_BYTES), 0);
    const struct chunk *c = chunk_of(p);
    expect_visits(&c, 1);
}

Test(map, a_small_address_space_gets_a_small_map) {
    rt_options_read(NULL, NULL);
    fake_limit(1 * GIB);
    cr_assert_eq(rt_meta_init(), 0);
    cr_expect(rt_meta.limited);
    cr_expect_leq(fake_reserved_bytes(), 1 * GIB / 8);
    expect_nothing_anywhere();
}
