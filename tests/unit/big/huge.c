/* SPDX-License-Identifier: MIT */
/* Regions ask for hugepages while these come quickly. On a pretend system, whose clock makes a touch quick or slow. */
#include "page/huge.h"
#include "big/big.h"
#include "fakes/fake.h"
#include "rt/options.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <string.h>

#define SMALLEST (8 * MIB) /* that asks for hugepages */
#define FIRST_SKIP (8 * HPAGE_BYTES)
#define TRUSTED (16 * HPAGE_BYTES)

static void start(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

static void touches_are(bool quick) { fake_clock_look_takes_ns(quick ? 100000 : HUGE_SLOW_NS + 1); }

/* What a region was told, and what of it holds memory untouched by its owner. */
struct told {
    unsigned huge, nohuge;
    size_t touched_bytes;
};

static struct told region(size_t bytes, enum big_use use) {
    size_t dirty_bytes;
    unsigned huge = fake_calls_nr(FAKE_HUGE), nohuge = fake_calls_nr(FAKE_NOHUGE);
    char *p = big_alloc(bytes, 1, use, &dirty_bytes);
    cr_assert_not_null(p);
    struct told told = {.huge = fake_calls_nr(FAKE_HUGE) - huge,
                        .nohuge = fake_calls_nr(FAKE_NOHUGE) - nohuge,
                        .touched_bytes = fake_resident_bytes(p, bytes)};
    cr_expect_eq(dirty_bytes, 0u);
    cr_expect_eq(p[0], 0);
    cr_expect_eq(p[HPAGE_BYTES], 0);
    return told;
}

#define expect_told(region_told, asked, refused)                                                                       \
    do {                                                                                                               \
        struct told got = (region_told);                                                                               \
        cr_expect_eq(got.huge, (unsigned)(asked));                                                                     \
        cr_expect_eq(got.nohuge, (unsigned)(refused));                                                                 \
    } while (0)

Test(huge_regions, quick_ones_are_kept_and_trusted, .init = start) {
    touches_are(true);
    expect_told(region(SMALLEST, BIG_ANY), 1, 0);
    /* Slow from now on, which nobody finds out before as many were asked for as were trusted. */
    touches_are(false);
    for (size_t bytes = 0; bytes < TRUSTED; bytes += SMALLEST)
        expect_told(region(SMALLEST, BIG_ANY), 1, 0);
    expect_told(region(SMALLEST, BIG_ANY), 1, 1);
}

Test(huge_regions, small_and_sparse_ones_do_not_ask, .init = start) {
    touches_are(true);
    expect_told(region(SMALLEST - 4096, BIG_ANY), 0, 0);
    expect_told(region(SMALLEST, BIG_SPARSE), 0, 0);
}

Test(huge_regions, after_a_slow_one_some_are_done_without_then_more, .init = start) {
    touches_are(false);
    expect_told(region(SMALLEST, BIG_ANY), 1, 1);
    for (size_t bytes = 0; bytes < FIRST_SKIP; bytes += SMALLEST)
        expect_told(region(SMALLEST, BIG_ANY), 0, 0);
    expect_told(region(SMALLEST, BIG_ANY), 1, 1);
    for (size_t bytes = 0; bytes < 4 * FIRST_SKIP; bytes += SMALLEST)
        expect_told(region(SMALLEST, BIG_ANY), 0, 0);
    touches_are(true);
    expect_told(region(SMALLEST, BIG_ANY), 1, 0);
    expect_told(region(SMALLEST, BIG_ANY), 1, 0);
    /* And the next slow one is a first one again. */
    cr_expect(huge_touch((char[1]){0}));
    touches_are(false);
    cr_expect_not(huge_touch((char[1]){0}));
    expect_told(region(FIRST_SKIP, BIG_ANY), 0, 0);
    expect_told(region(SMALLEST, BIG_ANY), 1, 1);
}

Test(huge_regions, a_large_one_is_not_judged_by_one_accident, .init = start) {
    touches_are(false);
    struct told large = region(64 * MIB, BIG_ANY);
    cr_expect_eq(large.nohuge, 1u, "both trials were slow");
    cr_expect_eq(large.touched_bytes, 2 * 4096u, "the second trial is of the second hugepage");
    /* All that was done without is counted: this one is not asked for. */
    expect_told(region(32 * HPAGE_BYTES, BIG_ANY), 0, 0);
    large = region(64 * MIB - 4096, BIG_ANY);
    cr_expect_eq(large.touched_bytes, 4096u, "one trial is for smaller ones");
}

Test(huge_regions, one_that_moves_tries_what_is_new, .init = start) {
    touches_are(true);
    size_t dirty_bytes;
    char *p = big_alloc(SMALLEST, 1, BIG_ANY, &dirty_bytes);
    cr_assert_not_null(p);
    p[5] = 1;
    for (size_t bytes = SMALLEST; bytes < TRUSTED; bytes += SMALLEST)
        (void)huge_ask(SMALLEST / HPAGE_BYTES);
    touches_are(false);
    unsigned nohuge = fake_calls_nr(FAKE_NOHUGE);
    char *q = big_resize(p, 3 * SMALLEST);
    cr_assert_not_null(q);
    cr_assert_neq(q, p);
    cr_expect_eq(q[5], 1);
    cr_expect_eq(fake_calls_nr(FAKE_NOHUGE), nohuge + 1);
    cr_expect_eq(fake_resident_bytes(q + SMALLEST, 2 * SMALLEST), 4096u);
}

static char *region_of_use(unsigned used_hpages) {
    size_t dirty_bytes;
    char *p = big_alloc(SMALLEST, 1, BIG_ANY, &dirty_bytes);
    cr_assert_not_null(p);
    memset(p, 1, used_hpages * HPAGE_BYTES);
    return p;
}

Test(huge_regions, what_is_freed_unused_tells_that_the_next_will_be, .init = start) {
    touches_are(true);
    rt_opt.vmalloc_cache = 0;
    char *sparse = region_of_use(1), *used = region_of_use(2);
    cr_assert(big_free(sparse));
    expect_told(region(SMALLEST, BIG_ANY), 0, 0);
    cr_assert(big_free(used));
    expect_told(region(SMALLEST, BIG_ANY), 1, 0);
}

Test(huge_regions, a_mapping_is_looked_at_once, .init = start) {
    touches_are(true);
    char *p = region_of_use(4), *other = region_of_use(4);
    cr_assert(big_free(other)); /* a program that comes back for its regions */
    other = region_of_use(4);
    cr_assert(big_free(p));
    cr_assert_eq(sys_vm_purge(p, SMALLEST), 0);
    size_t dirty_bytes;
    cr_assert_eq(big_alloc(SMALLEST, 1, BIG_ANY, &dirty_bytes), p, "it is not had again");
    cr_assert(big_free(p));
    cr_assert(big_free(other));
    expect_told(region(2 * SMALLEST, BIG_ANY), 1, 0);
}

Test(huge_regions, always_asks_without_trial, .init = start) {
    rt_opt.thp = OPT_THP_ALWAYS;
    touches_are(false);
    for (int i = 0; i < 3; i++) {
        struct told told = region(SMALLEST, BIG_ANY);
        cr_expect_eq(told.huge, 1u);
        cr_expect_eq(told.nohuge, 0u);
        cr_expect_eq(told.touched_bytes, 0u);
    }
}
