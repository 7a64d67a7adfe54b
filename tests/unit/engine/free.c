/* SPDX-License-Identifier: MIT */
/* realloc between all kinds keeps contents; free of nothing does nothing; sized frees and bad pointers are told apart.
 * On the real system. */
#include "base/types.h"
#include "engine/engine.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <string.h>

static void stamp(u8 *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += i < 4096 ? 1 : 509)
        p[i] = (u8)(i * 31 + 7);
}
static bool stamped(const u8 *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += i < 4096 ? 1 : 509) {
        if (p[i] != (u8)(i * 31 + 7))
            return false;
    }
    return true;
}

/* A size of each kind and on each side of every border; each to each. */
Test(free, realloc_keeps_contents_between_all_sizes) {
    static const size_t sizes[] = {1,     16,    17,     64,      200,     1024,    1025,
                                   10000, 65536, 300000, 1048576, 1048577, 2500000, 9000000};
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        for (size_t k = 0; k < ARRAY_NR(sizes); k++) {
            u8 *p = engine_alloc_slow(sizes[i]);
            stamp(p, sizes[i]);
            p = engine_realloc(p, sizes[k]);
            cr_assert_not_null(p);
            cr_assert_geq(engine_usable(p), sizes[k]);
            cr_assert(stamped(p, MIN(sizes[i], sizes[k])), "%zu to %zu bytes", sizes[i], sizes[k]);
            stamp(p, sizes[k]);
            engine_free_slow(p);
        }
    }
}

Test(free, growth_by_steps_is_not_quadratic_and_keeps_contents) {
    u8 *p = NULL;
    unsigned moved = 0;
    for (size_t size = 1; size < 8 * MIB; size += 1 + size / 64) {
        u8 *q = engine_realloc(p, size);
        cr_assert_not_null(q);
        moved += q != p;
        p = q;
        cr_assert(size == 1 || p[0] == 0x11, "lost at %zu bytes", size);
        p[0] = 0x11;
    }
    cr_expect_leq(moved, 100u, "moved %u times", moved);
    engine_free_slow(p);
}

/* A class for each quarter of a MiB would be a copy each time. */
Test(free, what_grows_beyond_a_mib_is_a_region) {
    size_t size = 1100 * KIB;
    u8 *p = engine_alloc_slow(size);
    stamp(p, size);
    cr_assert_eq((int)engine_kind_of(p), (int)ENGINE_SLAB);
    p = engine_realloc(p, 1400 * KIB);
    cr_assert_eq((int)engine_kind_of(p), (int)ENGINE_BIG);
    for (size_t more = 1404 * KIB; more < 1500 * KIB; more += 4 * KIB)
        cr_assert_eq(engine_realloc(p, more), p);
    cr_expect(stamped(p, size));
    engine_free_slow(p);
    p = engine_realloc(engine_alloc_slow(300 * KIB), 900 * KIB);
    cr_expect_eq((int)engine_kind_of(p), (int)ENGINE_SLAB);
    engine_free_slow(p);
    p = engine_realloc(engine_alloc_slow(896 * KIB), 1 * MIB); /* and no more than that is had in advance */
    cr_expect_eq(engine_usable(p), 1 * MIB);
    engine_free_slow(p);
}

/* By a byte at a time an object moves once for each quarter; by as much as it is it gets what it asked for. */
Test(free, growth_by_little_moves_to_more_than_was_asked_for) {
    enum { FROM = 100, TO = 100000, MOVES_MOST = 40 };
    u8 *p = engine_alloc_slow(FROM);
    unsigned moved = 0;
    for (size_t size = FROM; size <= TO; size++) {
        u8 *q = engine_realloc(p, size);
        cr_assert_not_null(q);
        cr_assert_leq(engine_usable(q), size * 3 / 2 + 64, "%zu bytes for %zu", engine_usable(q), size);
        moved += q != p;
        p = q;
    }
    cr_expect_leq(moved, (unsigned)MOVES_MOST, "moved %u times", moved);
    u8 *exact = engine_alloc_slow(2 * TO);
    p = engine_realloc(p, 2 * TO);
    cr_expect_eq(engine_usable(p), engine_usable(exact));
    engine_free_slow(exact);
    engine_free_slow(p);
}

Test(free, a_random_walk_of_reallocs_keeps_contents) {
    u64 seed = 5;
    u8 *p = engine_alloc_slow(1);
    size_t size = 1;
    stamp(p, size);
    for (int i = 0; i < 3000; i++) {
        u64 r = alone_random(&seed);
        size_t next = 1 + (r >> 20) % ((size_t)1 << (1 + r % 23));
        p = engine_realloc(p, next);
        cr_assert_not_null(p);
        cr_assert(stamped(p, MIN(size, next)), "%zu to %zu bytes", size, next);
        size = next;
        stamp(p, size);
    }
    engine_free_slow(p);
}

Test(free, realloc_of_nothing_and_to_nothing) {
    u8 *p = engine_realloc(NULL, 100);
    cr_assert_geq(engine_usable(p), 100u);
    p = engine_realloc(p, 0);
    cr_assert_not_null(p);
    engine_free_slow(p);
    engine_free_slow(NULL);
    cr_expect_eq(engine_usable(NULL), 0u);
}

Test(free, a_failed_realloc_leaves_the_object) {
    u8 *small = engine_alloc_slow(100), *big = engine_alloc_slow(3 * MIB);
    stamp(small, 100);
    stamp(big, 3 * MIB);
    cr_expect_null(engine_realloc(small, SIZE_MAX));
    cr_expect_null(engine_realloc(small, (size_t)1 << 47));
    cr_expect_null(engine_realloc(big, (size_t)1 << 47));
    cr_expect(stamped(small, 100));
    cr_expect(stamped(big, 3 * MIB));
    engine_free_slow(small);
    engine_free_slow(big);
}

Test(free, shrinking_far_does_not_keep_the_large_object) {
    u8 *p = engine_alloc_slow(600000);
    p = engine_realloc(p, 100);
    cr_expect_lt(engine_usable(p), 1000u);
    u8 *q = engine_realloc(engine_alloc_slow(20 * MIB), 1000);
    cr_expect_lt(engine_usable(q), 64 * KIB);
}

/* --- sized frees and misuse --- */

Test(free, right_sizes_are_accepted) {
    for (size_t size = 1; size <= 4 * MIB; size += 1 + size / 3) {
        engine_free_sized(engine_alloc_slow(size), size, 0);
        for (size_t align = 16; align <= 4096; align *= 4)
            engine_free_sized(engine_memalign(align, size), size, align);
    }
}

static void size_too_large(void *p) { engine_free_sized(p, 5000, 0); }
static void size_far_too_small(void *p) { engine_free_sized(p, 1, 0); }
static void align_wrong(void *p) { engine_free_sized((char *)p, 1000, 4096); }
static void free_stack(void *p) {
    char here[64];
    (void)p;
    engine_free_slow(here + ((uintptr_t)here & 15));
}
static void free_wild(void *p) {
    (void)p;
    engine_free_slow((void *)0x123450);
}
static void free_inside_big(void *p) { engine_free_slow((char *)p + HPAGE_BYTES); }
static void free_big_twice(void *p) {
    engine_free_slow(p);
    engine_free_slow(p);
}
static void realloc_inside_big(void *p) { (void)engine_realloc((char *)p + 4096, 100); }

static void expect_abort(void (*crime)(void *), void *p, const char *want) {
    char said[1024];
    cr_expect_eq(alone_die(crime, p, said, sizeof(said)), SIGABRT, "no abort: %s", want);
    cr_expect_not_null(strstr(said, want), "want %s, got %s", want, said);
}

Test(free, misuse_has_its_name) {
    char *p = engine_alloc_slow(1000), *big = engine_alloc_slow(5 * MIB);
    while (((uintptr_t)p & 4095) == 0)
        p = engine_alloc_slow(1000);
    expect_abort(size_too_large, p, "Q06 sized-free-mismatch");
    expect_abort(size_too_large, p, "not allocated with: 5000 given, the object has 1024; class 1024");
    expect_abort(size_far_too_small, p, "Q06 sized-free-mismatch");
    expect_abort(align_wrong, p, "Q07 bad-alignment");
    expect_abort(free_stack, NULL, "Q04 stack-pointer");
    expect_abort(free_wild, NULL, "Q03 wild-pointer: pointer 0x123450");
    expect_abort(free_inside_big, big, "Q02 interior-pointer");
    expect_abort(realloc_inside_big, big, "Q02 interior-pointer");
    expect_abort(free_big_twice, big, "Q01 double-free");
}
