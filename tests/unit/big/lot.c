/* SPDX-License-Identifier: MIT */
/* Lots: extents never overlap, merge again whatever the order, read as zeros, and survive refusals; regions in lots
 * grow, shrink and leave. On a pretend system. */
#include "big/lot.h"

#include "big/big.h"
#include "fakes/fake.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"

#include <criterion/criterion.h>
#include <string.h>

enum { TAKEN_MAX = 64, STEPS = 20000, OWN_NR = 256, REGIONS_NR = 400 };

static u64 random_state = 88172645463325252u;
static u64 random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static size_t reserved_at_start;

static void start(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    reserved_at_start = fake_reserved_bytes();
}

static struct taken {
    char *p;
    size_t bytes;
    enum lot_kind kind;
} taken[TAKEN_MAX];

/* No overlap: first and last word of each are the taker's alone, and were zero before. */
static void take(struct taken *t, unsigned id) {
    t->bytes = (1 + random_next() % 9) * HPAGE_BYTES;
    t->kind = random_next() % 2 ? LOT_HUGE : LOT_PLAIN;
    size_t align = HPAGE_BYTES << (random_next() % 8 == 0 ? random_next() % 5 : 0);
    t->p = lot_take(t->bytes, align, t->kind);
    cr_assert_not_null(t->p);
    cr_assert_eq((uintptr_t)t->p % align, 0u);
    u64 *first = (u64 *)(void *)t->p, *last = (u64 *)(void *)(t->p + t->bytes) - 1;
    cr_assert(*first == 0 && *last == 0, "it is another's, or was not given back");
    *first = *last = id + 1;
}

static void give(struct taken *t, unsigned id) {
    cr_assert_eq(*(u64 *)(void *)t->p, id + 1);
    cr_assert_eq(((u64 *)(void *)(t->p + t->bytes))[-1], id + 1);
    cr_assert_eq(sys_vm_purge(t->p, t->bytes), 0);
    cr_assert(lot_give(t->p, t->bytes, t->kind));
    t->p = NULL;
}

static void extend(struct taken *t, unsigned id) {
    if (!lot_extend(t->p + t->bytes, HPAGE_BYTES, t->kind))
        return;
    u64 *last = (u64 *)(void *)(t->p + t->bytes + HPAGE_BYTES) - 1;
    cr_assert_eq(*last, 0u);
    ((u64 *)(void *)(t->p + t->bytes))[-1] = 0;
    *last = id + 1;
    t->bytes += HPAGE_BYTES;
}

Test(lot, extents_are_apart_and_merge_again, .init = start) {
    size_t free_most = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned id = (unsigned)(random_next() % TAKEN_MAX);
        if (taken[id].p == NULL)
            take(&taken[id], id);
        else if (random_next() % 4 == 0)
            extend(&taken[id], id);
        else
            give(&taken[id], id);
        free_most = MAX(free_most, lot_free_bytes_racy());
    }
    for (unsigned id = 0; id < TAKEN_MAX; id++) {
        if (taken[id].p != NULL)
            give(&taken[id], id);
    }
    size_t space = lot_free_bytes_racy();
    cr_expect_eq(space, fake_reserved_bytes() - reserved_at_start, "all there is is free");
    cr_expect_leq(space, 2 * (TAKEN_MAX * 16 * HPAGE_BYTES), "%zu MiB for less than half of it", space / MIB);
    unsigned releases = fake_calls_nr(FAKE_RELEASE);
    cr_expect_eq(lot_release(), space);
    cr_expect_leq(fake_calls_nr(FAKE_RELEASE) - releases, 24u, "extents that are neighbours did not merge");
    cr_expect_eq(fake_reserved_bytes(), reserved_at_start);
    cr_expect_eq(lot_free_bytes_racy(), 0u);
}

Test(lot, one_extent_is_left_of_a_lot, .init = start) {
    enum { PARTS = 32 };
    char *p[PARTS];
    unsigned reserves = fake_calls_nr(FAKE_RESERVE);
    for (unsigned i = 0; i < PARTS; i++)
        p[i] = lot_take(HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN);
    cr_expect_eq(fake_calls_nr(FAKE_RESERVE) - reserves, 1u);
    for (unsigned i = 0; i < PARTS; i++)
        cr_assert(lot_give(p[i * 7 % PARTS], HPAGE_BYTES, LOT_PLAIN));
    cr_expect_not_null(lot_take(PARTS * HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN));
    cr_expect_eq(fake_calls_nr(FAKE_RESERVE) - reserves, 1u, "the parts did not become one again");
}

Test(lot, what_is_refused_is_tried_smaller_and_leaves_nothing, .init = start) {
    fake_fail(FAKE_COMMIT, 1, 1);
    char *p = lot_take(2 * HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN);
    cr_assert_not_null(p, "a lot was refused, a part of it was not asked for");
    cr_expect_eq(fake_reserved_bytes() - reserved_at_start, 2 * HPAGE_BYTES);
    fake_fail(FAKE_RESERVE, 1, 2);
    cr_expect_null(lot_take(2 * HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN));
    fake_fail(FAKE_COMMIT, 1, 2);
    cr_expect_null(lot_take(2 * HPAGE_BYTES, HPAGE_BYTES, LOT_HUGE));
    cr_expect_eq(fake_reserved_bytes() - reserved_at_start, 2 * HPAGE_BYTES);
    cr_assert(lot_give(p, 2 * HPAGE_BYTES, LOT_PLAIN));
    fake_fail(FAKE_RELEASE, 1, 1);
    (void)lot_release();
    cr_expect_eq(rt_leftover_bytes(), 2 * HPAGE_BYTES);
    rt_release_retry(RT_LEFTOVER_ALL);
    cr_expect_eq(fake_reserved_bytes(), reserved_at_start);
}

/* --- regions in lots --- */

static char *regions[REGIONS_NR];

static char *alloc(size_t size) {
    size_t dirty_bytes;
    char *p = big_alloc(size, 1, BIG_ANY, &dirty_bytes);
    cr_assert_not_null(p);
    return p;
}

static void start_many(void) {
    start();
    rt_opt.vmalloc_cache = 0;
    for (unsigned i = 0; i < REGIONS_NR; i++)
        memset(regions[i] = alloc(MIB + 4096), (int)i, MIB);
}

static void end_many(void) {
    for (unsigned i = 0; i < REGIONS_NR; i++) {
        if (regions[i] == NULL)
            continue;
        cr_assert_eq(regions[i][MIB - 1], (char)i);
        cr_assert(big_free(regions[i]));
    }
    cr_expect_eq(rt_usage_get(), 0);
    (void)big_release();
    rt_release_retry(RT_LEFTOVER_ALL);
    cr_expect_eq(fake_reserved_bytes(), reserved_at_start);
}

Test(lot, many_regions_share_lots, .init = start_many, .fini = end_many) {
    unsigned breaks = 0;
    for (unsigned i = OWN_NR + 1; i < REGIONS_NR; i++)
        breaks += (uintptr_t)regions[i] - (uintptr_t)regions[i - 1] != HPAGE_BYTES;
    cr_expect_leq(breaks, 4u, "%u", breaks);
}

static void kind_expect(char *p, enum lot_kind kind) {
    cr_assert_neq(lot_flags(chunk_hpage(chunk_of(p), p)) & LOT_REGION, 0u, "it is in no lot");
    cr_expect_eq(lot_kind_of(chunk_hpage(chunk_of(p), p)), kind);
}

static void kind_of_new_expect(size_t bytes, enum lot_kind kind) {
    char *p = alloc(bytes);
    kind_expect(p, kind);
    memset(p, 1, bytes); /* or the next would not be thought to be used */
    cr_assert(big_free(p));
}

/* Its last hugepage would bring what nobody counts: a sixteenth at most, and nothing where a limit is exact. */
Test(lot, hugepages_end_where_the_region_does, .init = start_many, .fini = end_many) {
    kind_of_new_expect(32 * MIB, LOT_HUGE);
    kind_of_new_expect(32 * MIB - sys_page_bytes(), LOT_HUGE);
    kind_of_new_expect(33 * MIB, LOT_HUGE);
    kind_of_new_expect(16 * MIB + sys_page_bytes(), LOT_PLAIN);
    kind_of_new_expect(9 * MIB, LOT_PLAIN);
    rt_opt.limit_hard = 8 * GIB;
    kind_of_new_expect(32 * MIB, LOT_HUGE);
    kind_of_new_expect(32 * MIB - sys_page_bytes(), LOT_PLAIN);
    rt_opt.thp = OPT_THP_ALWAYS;
    kind_of_new_expect(MIB, LOT_PLAIN);
    rt_opt.limit_hard = 0;
    kind_of_new_expect(MIB, LOT_HUGE);
}

/* Nor does it grow into such a one. */
Test(lot, a_region_of_hugepages_grows_by_whole_ones, .init = start_many, .fini = end_many) {
    char *p = alloc(32 * MIB), *grown;
    kind_expect(p, LOT_HUGE);
    rt_opt.limit_hard = 8 * GIB;
    cr_expect_eq(big_resize(p, 34 * MIB), p, "a whole hugepage is free behind it");
    grown = big_resize(p, 34 * MIB + sys_page_bytes());
    cr_expect_neq(grown, p);
    cr_assert(big_free(grown));
}

/* Nor is it cut to such a one: what it keeps is counted. */
Test(lot, a_region_of_hugepages_shrinks_by_whole_ones_where_a_limit_is_exact, .init = start_many, .fini = end_many) {
    rt_opt.limit_hard = 8 * GIB;
    char *p = alloc(32 * MIB);
    kind_expect(p, LOT_HUGE);
    s64 used = rt_usage_get();
    unsigned purges = fake_calls_nr(FAKE_PURGE);
    cr_expect_eq(big_resize(p, 32 * MIB - sys_page_bytes()), p);
    cr_expect_eq(big_usable(p), 32 * MIB);
    cr_expect_eq(fake_calls_nr(FAKE_PURGE), purges);
    cr_expect_eq(big_resize(p, 9 * MIB + sys_page_bytes()), p);
    cr_expect_eq(big_usable(p), 10 * MIB);
    cr_expect_eq(rt_usage_get(), used - (s64)(22 * MIB));
    rt_opt.limit_hard = 0;
    cr_expect_eq(big_resize(p, 9 * MIB), p);
    cr_expect_eq(big_usable(p), 9 * MIB);
    cr_assert(big_free(p));
}

/* What is counted to the byte says no to hugepages, for where the administrator gives them to all. */
static void nohuge_of_lot_expect(enum lot_kind kind, unsigned times) {
    unsigned told = fake_calls_nr(FAKE_NOHUGE);
    cr_assert_not_null(lot_take(2 * HPAGE_BYTES, HPAGE_BYTES, kind));
    cr_expect_eq(fake_calls_nr(FAKE_NOHUGE) - told, times);
    (void)lot_release();
}

Test(lot, small_pages_are_asked_for_where_a_limit_is_exact, .init = start) {
    nohuge_of_lot_expect(LOT_PLAIN, 0);
    rt_opt.limit_hard = 8 * GIB;
    nohuge_of_lot_expect(LOT_PLAIN, 1);
    nohuge_of_lot_expect(LOT_HUGE, 0);
    rt_opt.thp = OPT_THP_ALWAYS;
    nohuge_of_lot_expect(LOT_PLAIN, 1);
}

Test(lot, a_region_grows_into_what_is_free_behind_it, .init = start_many, .fini = end_many) {
    unsigned at = OWN_NR + 5;
    unsigned moves = fake_calls_nr(FAKE_MOVE);
    cr_expect_eq(big_resize(regions[at], 2 * MIB), regions[at], "its own hugepage");
    cr_assert(big_free(regions[at + 1]));
    regions[at + 1] = NULL;
    cr_expect_eq(big_resize(regions[at], 4 * MIB), regions[at], "its neighbour's hugepage");
    cr_expect_eq(big_usable(regions[at]), 4 * MIB);
    for (size_t i = 2 * MIB; i < 4 * MIB; i += 512)
        cr_assert_eq(regions[at][i], 0);
    cr_expect_eq(fake_calls_nr(FAKE_MOVE), moves);
    size_t had = lot_free_bytes_racy();
    cr_expect_eq(big_resize(regions[at], MIB), regions[at]);
    cr_expect_eq(lot_free_bytes_racy(), had + HPAGE_BYTES, "what it does not need is free again");
}

Test(lot, a_crowded_region_leaves_its_lot, .init = start_many, .fini = end_many) {
    unsigned at = OWN_NR + 5;
    char *old = regions[at];
    size_t had = lot_free_bytes_racy();
    regions[at] = big_resize(old, 5 * MIB);
    cr_assert_not_null(regions[at]);
    cr_expect_neq(regions[at], old);
    cr_expect_eq(big_usable(regions[at]), 5 * MIB);
    cr_expect_eq(lot_free_bytes_racy(), had + HPAGE_BYTES);
    cr_expect_eq(fake_resident_bytes(old, HPAGE_BYTES), 0u, "its pages went along");
    char *next = alloc(MIB);
    cr_expect_eq(next, old, "its place is used again");
    for (size_t i = 0; i < MIB; i += 512)
        cr_assert_eq(next[i], 0);
    cr_assert(big_free(next));
}

Test(lot, a_region_whose_move_fails_stays_in_its_lot, .init = start_many, .fini = end_many) {
    unsigned at = OWN_NR + 5;
    size_t reserved = fake_reserved_bytes(), had = lot_free_bytes_racy();
    fake_fail(FAKE_MOVE_LATE, 1, 1);
    cr_expect_null(big_resize(regions[at], 5 * MIB));
    cr_expect_eq(fake_failed_nr(FAKE_MOVE_LATE), 1u);
    cr_expect_eq(fake_reserved_bytes(), reserved);
    cr_expect_eq(lot_free_bytes_racy(), had);
    cr_expect_eq(big_usable(regions[at]), round_up(MIB + 4096, sys_page_bytes()));
    regions[at] = big_resize(regions[at], 5 * MIB);
    cr_assert_not_null(regions[at], "the next one does not fail");
}

Test(lot, a_region_that_cannot_be_purged_is_unmapped, .init = start_many, .fini = end_many) {
    unsigned at = OWN_NR + 9;
    size_t reserved = fake_reserved_bytes(), had = lot_free_bytes_racy();
    fake_fail(FAKE_PURGE, 1, 1);
    cr_assert(big_free(regions[at]));
    regions[at] = NULL;
    cr_expect_eq(fake_reserved_bytes(), reserved - HPAGE_BYTES);
    cr_expect_eq(lot_free_bytes_racy(), had);
}
