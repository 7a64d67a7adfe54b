/* SPDX-License-Identifier: MIT */
/* Big regions: reuse, resizing in place and by moving pages, the guard behind each, misuse that is answered with false,
 * and refused system calls. On a pretend system. */
#include "big/big.h"
#include "fakes/fake.h"
#include "rt/context.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

static void start(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

static char *alloc(size_t size) {
    size_t dirty_bytes;
    return big_alloc(size, 1, BIG_ANY, &dirty_bytes);
}

static struct big_stats stats(void) {
    struct big_stats st;
    big_stats_get(&st);
    return st;
}

/* Shows the cache that regions come back, so that it keeps up to 8 MiB, and leaves it empty. */
static void earn_cache(void) {
    for (unsigned i = 0; i < 2; i++)
        cr_assert(big_free(alloc(10 * MIB)));
    cr_assert_eq(big_tick(0, BIG_EVERYTHING), 10 * MIB);
}

/* A number for each 4 KiB. */
static void stamp(char *p, size_t bytes) {
    for (size_t at = 0; at + 4 <= bytes; at += 4096)
        memcpy(p + at, &(u32){(u32)(at / 4096 + 1)}, 4);
}
static bool stamped(const char *p, size_t bytes) {
    for (size_t at = 0; at + 4 <= bytes; at += 4096) {
        if (memcmp(p + at, &(u32){(u32)(at / 4096 + 1)}, 4) != 0)
            return false;
    }
    return true;
}

Test(big, a_region_is_zeroed_aligned_and_known, .init = start) {
    size_t dirty_bytes = 1;
    size_t size = 3 * MIB + 5;
    char *p = big_alloc(size, 1, BIG_ANY, &dirty_bytes);
    cr_assert_not_null(p);
    cr_expect_eq(dirty_bytes, 0u);
    cr_expect_eq((uintptr_t)p % HPAGE_BYTES, 0u);
    cr_expect_eq(big_usable(p), round_up(size, 4096));
    cr_expect_eq(page_map_get(p), (unsigned)PAGE_MAP_BIG);
    for (size_t i = 0; i < size; i += 512)
        cr_assert_eq(p[i], 0);
    cr_expect_eq(stats().live_bytes, round_up(size, 4096));
    cr_expect_eq(stats().regions, 1u);
    cr_expect_eq(rt_usage_get(), (s64)round_up(size, 4096));
}

Test(big, alignment_up_to_a_gib, .init = start) {
    for (size_t align = 1; align <= GIB; align *= 2) {
        size_t dirty_bytes;
        char *p = big_alloc(2 * MIB, align, BIG_ANY, &dirty_bytes);
        cr_assert_not_null(p);
        cr_expect_eq((uintptr_t)p % align, 0u);
        cr_expect(big_free(p));
    }
}

Test(big, a_freed_region_is_used_again, .init = start) {
    earn_cache();
    size_t dirty_bytes = 0;
    char *p = alloc(4 * MIB);
    memset(p, 1, 4 * MIB);
    unsigned reserves = fake_calls_nr(FAKE_RESERVE);
    cr_assert(big_free(p));
    cr_expect_eq(stats().cached_bytes, 4 * MIB);
    cr_expect_eq(stats().live_bytes, 0u);
    cr_expect_eq(big_alloc(4 * MIB - 4096 * 3, 1, BIG_ANY, &dirty_bytes), p);
    cr_expect_eq(dirty_bytes, 4 * MIB, "its end, which may be used, is said to be zero");
    cr_expect_eq(fake_calls_nr(FAKE_RESERVE), reserves);
    cr_expect_eq(stats().cached_bytes, 0u);
}

static unsigned all_calls_nr(void) {
    unsigned nr = 0;
    for (int call = 0; call < FAKE_CALLS_NR; call++)
        nr += fake_calls_nr((enum fake_call)call);
    return nr;
}

static void bytes_add(void *sum, char *addr, size_t bytes) {
    cr_expect_eq(big_locate(addr), BIG_WHERE_FREED);
    *(size_t *)sum += bytes;
}

/* Freed where nothing may block: no call, not live any more, and used again by the next who asks. */
Test(big, a_region_freed_atomically_waits, .init = start) {
    earn_cache();
    char *p = alloc(2 * MIB), *large = alloc(64 * MIB);
    memset(p, 1, 2 * MIB);
    unsigned calls = all_calls_nr();
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    cr_assert(big_free(p));
    cr_assert(big_free(large));
    cr_expect(!big_free(p), "twice");
    rt_context_leave(before);
    cr_expect_eq(all_calls_nr(), calls);
    cr_expect_eq(big_locate(p), BIG_WHERE_FREED);
    cr_expect_eq(stats().live_bytes, 0u);
    cr_expect_eq(stats().cached_bytes, 66 * MIB);
    cr_expect_eq(rt_usage_get(), (s64)(66 * MIB));
    cr_expect((atomic_load_explicit(&rt_chores, memory_order_relaxed) & RT_CHORE_REGIONS) != 0);
    for (unsigned looks = 0; looks < 2; looks++) { /* a look leaves them where they are */
        size_t seen = 0;
        big_cached_each(bytes_add, &seen);
        cr_expect_eq(seen, 66 * MIB);
    }
    cr_expect_eq(alloc(2 * MIB), p);
    cr_expect_eq(rt_usage_get(), (s64)(2 * MIB), "the other one is too large to be kept");
    enum rt_context again = rt_context_enter(RT_ATOMIC);
    cr_assert(big_free(p));
    rt_context_leave(again);
    cr_expect_eq(big_tick(0, BIG_EVERYTHING), 2 * MIB);
    cr_expect_eq(rt_usage_get(), 0);
}

/* What is in memory of the part that is wanted stays there. */
Test(big, the_end_of_a_reused_region_moves, .init = start) {
    earn_cache();
    char *p = alloc(4 * MIB);
    memset(p, 1, 4 * MIB);
    unsigned reserves = fake_calls_nr(FAKE_RESERVE);
    cr_assert(big_free(p));
    cr_expect_eq(alloc(2 * MIB), p);
    cr_expect_eq(big_usable(p), 2 * MIB);
    cr_expect_eq(fake_resident_bytes(p, 4 * MIB), 2 * MIB, "the rest is neither used nor given back");
    cr_expect_eq(rt_usage_get(), (s64)(2 * MIB));
    cr_assert(big_free(p));
    size_t dirty_bytes = 0;
    cr_expect_eq(big_alloc(4 * MIB, 1, BIG_ANY, &dirty_bytes), p, "its address space is there");
    cr_expect_eq(dirty_bytes, 2 * MIB, "what came back was given back before");
    for (size_t at = dirty_bytes; at < 4 * MIB; at += 512)
        cr_assert_eq(p[at], 0);
    cr_expect_eq(big_usable(p), 4 * MIB);
    memset(p, 2, 4 * MIB);
    cr_expect_eq(rt_usage_get(), (s64)(4 * MIB));
    cr_expect_eq(fake_calls_nr(FAKE_RESERVE), reserves);
}

/* By small steps within a hugepage one call does; where the limit is exact, no page more than is used. */
Test(big, growth_makes_whole_hugepages_writable, .init = start) {
    enum { STEP = 64 * KIB, STEPS = 15 };
    char *p = big_resize(alloc(2 * MIB), 6 * MIB + STEP); /* moves, and then has addresses */
    unsigned commits = fake_calls_nr(FAKE_COMMIT);
    for (unsigned i = 2; i <= STEPS; i++)
        cr_assert_eq(big_resize(p, 6 * MIB + i * STEP), p);
    cr_expect_eq(fake_calls_nr(FAKE_COMMIT), commits + 1);
    cr_expect_eq(rt_usage_get(), (s64)(6 * MIB + STEPS * STEP));
    cr_expect_eq(stats().live_bytes, 6 * MIB + STEPS * STEP);
    rt_opt.limit_hard = 1 * GIB;
    p = big_resize(p, 8 * MIB + STEP);
    commits = fake_calls_nr(FAKE_COMMIT);
    cr_assert_eq(big_resize(p, 8 * MIB + 2 * STEP), p);
    cr_assert_eq(big_resize(p, 8 * MIB + 3 * STEP), p);
    cr_expect_eq(fake_calls_nr(FAKE_COMMIT), commits + 2);
}

/* A program's buffers are seldom of one size to the page. */
Test(big, a_little_more_is_served_by_the_same_region, .init = start) {
    earn_cache();
    char *p = alloc(3 * MIB);
    unsigned reserves = fake_calls_nr(FAKE_RESERVE);
    stamp(p, 3 * MIB);
    cr_assert(big_free(p));
    size_t dirty_bytes = 0, more = 3 * MIB + 3 * MIB / 8;
    cr_expect_eq(big_alloc(more, 1, BIG_ANY, &dirty_bytes), p);
    cr_expect_eq(dirty_bytes, 3 * MIB);
    cr_expect(stamped(p, 3 * MIB));
    for (size_t at = dirty_bytes; at < more; at += 512)
        cr_assert_eq(p[at], 0);
    cr_expect_eq(big_usable(p), more);
    cr_expect_eq(rt_usage_get(), (s64)more);
    cr_expect_eq(fake_calls_nr(FAKE_RESERVE), reserves, "it had the addresses");
    cr_assert(big_free(p));
    cr_expect_neq(alloc(6 * MIB), p);
}

Test(big, where_addresses_are_limited_none_are_kept_for_later, .init = start) {
    rt_meta.limited = true;
    size_t reserved = fake_reserved_bytes();
    cr_assert_not_null(alloc(3 * MIB));
    cr_expect_eq(fake_reserved_bytes() - reserved, 3 * MIB + sys_page_bytes());
    rt_meta.limited = false;
    reserved = fake_reserved_bytes();
    cr_assert_not_null(alloc(3 * MIB));
    cr_expect_eq(fake_reserved_bytes() - reserved, 4 * MIB);
}

/* A process may set itself a limit later, or have nearly no addresses left. */
Test(big, where_addresses_for_later_are_refused_those_needed_will_do, .init = start) {
    fake_fail(FAKE_RESERVE, 1, 1);
    size_t reserved = fake_reserved_bytes();
    char *p = alloc(3 * MIB);
    cr_assert_not_null(p);
    cr_expect_eq(fake_reserved_bytes() - reserved, 3 * MIB + sys_page_bytes());
    cr_assert(big_free(p));
    cr_expect_eq(rt_usage_get(), 0);
}

Test(big, the_nearest_region_is_reused_and_none_that_is_far_larger, .init = start) {
    earn_cache();
    rt_opt.vmalloc_threshold = 64 * KIB;
    char *small = alloc(256 * KIB), *large = alloc(3 * MIB);
    cr_assert(big_free(small));
    cr_assert(big_free(large));
    cr_expect_eq(alloc(128 * KIB), small);
    cr_expect_neq(alloc(128 * KIB), large, "the little that is wanted would cost what is in memory of the rest");
    cr_expect_eq(alloc(2 * MIB), large);
}

Test(big, what_the_cache_keeps_goes_after_the_delay, .init = start) {
    earn_cache();
    char *p = alloc(4 * MIB);
    size_t reserved = fake_reserved_bytes();
    cr_assert(big_free(p));
    fake_clock_advance_ms(rt_opt.purge_delay - 1);
    cr_expect_eq(big_tick(sys_clock_ms(), BIG_OLD), 0u);
    fake_clock_advance_ms(1);
    cr_expect_eq(big_tick(sys_clock_ms(), BIG_OLD), 4 * MIB);
    cr_expect_leq(fake_reserved_bytes(), reserved - 4 * MIB);
    cr_expect_eq(stats().cached_bytes, 0u);
    cr_expect_eq(rt_usage_get(), 0);
}

Test(big, the_cache_is_bounded, .init = start) {
    earn_cache();
    char *p[40];
    for (unsigned i = 0; i < ARRAY_NR(p); i++)
        p[i] = alloc(4 * MIB);
    for (unsigned i = 0; i < ARRAY_NR(p); i++) {
        cr_assert(big_free(p[i]));
        cr_assert_leq(stats().cached_bytes, MAX(rt_opt.vmalloc_cache, stats().live_bytes / 8 + 4 * MIB));
    }
    size_t kept = stats().cached_bytes;
    cr_expect_gt(kept, 0u);
    cr_expect_eq(big_tick(0, BIG_EVERYTHING), kept);
    cr_expect_eq(stats().regions, 0u);
    cr_expect_eq(rt_usage_get(), 0);
}

Test(big, the_cache_grows_by_what_was_wanted_right_after_it_was_refused, .init = start) {
    char *p = alloc(10 * MIB);
    cr_assert(big_free(p));
    cr_expect_eq(stats().cached_bytes, 0u, "kept for a program that never came back");
    p = alloc(10 * MIB);
    cr_assert(big_free(p));
    cr_expect_eq(stats().cached_bytes, 10 * MIB);
    cr_expect_eq(alloc(10 * MIB), p);
    /* It fades with the ticks. */
    cr_assert(big_free(p));
    for (unsigned tick = 0; tick < 64; tick++)
        (void)big_tick(0, BIG_EVERYTHING);
    fake_clock_advance_ms(2000);
    cr_assert(big_free(alloc(10 * MIB)));
    cr_expect_eq(stats().cached_bytes, 0u);
}

/* Each size is regretted and fits into nothing that is kept. */
Test(big, freed_regions_are_no_more_than_a_wave, .init = start) {
    static const size_t sizes[] = {16 * MIB, 8 * MIB, 10 * MIB, 12 * MIB, 14 * MIB};
    size_t most = 0;
    for (unsigned i = 0; i < ARRAY_NR(sizes); i++) {
        cr_assert(big_free(alloc(sizes[i])));
        most = MAX(most, stats().cached_bytes);
    }
    cr_expect_leq(most, 16 * MIB + 16 * MIB / 2, "%zu bytes kept of a program that never used more than 16 MiB", most);
    cr_expect_geq(most, 16 * MIB, "%zu bytes kept of what was wanted again", most);
    cr_expect_gt(stats().cached_bytes, 0u);
}

/* What is in use counts as well: a wave on top of it is kept, as far as it went. */
Test(big, a_wave_above_what_stays_in_use_is_kept, .init = start) {
    char *stays = alloc(64 * MIB), *p[6];
    for (unsigned wave = 0; wave < 3; wave++) {
        for (unsigned i = 0; i < ARRAY_NR(p); i++)
            p[i] = alloc(4 * MIB);
        for (unsigned i = 0; i < ARRAY_NR(p); i++)
            cr_assert(big_free(p[i]));
    }
    cr_expect_eq(stats().cached_bytes, ARRAY_NR(p) * 4 * MIB);
    cr_assert(big_free(stays));
}

Test(big, an_array_that_grows_regrets_nothing, .init = start) {
    char *p = alloc(10 * MIB);
    for (size_t bytes = 15 * MIB; bytes < 60 * MIB; bytes += bytes / 2) {
        char *larger = alloc(bytes);
        cr_assert(big_free(p));
        p = larger;
    }
    cr_assert(big_free(p));
    cr_expect_eq(stats().cached_bytes, 0u, "what it leaves is kept, and serves nobody");
}

Test(big, without_a_cache_nothing_is_kept, .init = start) {
    rt_opt.vmalloc_cache = 0;
    char *p = alloc(4 * MIB);
    cr_assert(big_free(p));
    cr_expect_eq(stats().cached_bytes, 0u);
    cr_expect_eq(rt_usage_get(), 0);
}

Test(big, resizing_keeps_contents, .init = start) {
    size_t sizes[] = {2 * MIB, 3 * MIB, 7 * MIB, 7 * MIB + 1, 30 * MIB, 12 * MIB, 2 * MIB, 64 * MIB, 2 * MIB + 4096};
    size_t reserved = fake_reserved_bytes();
    char *p = alloc(sizes[0]);
    stamp(p, sizes[0]);
    for (size_t i = 1; i < ARRAY_NR(sizes); i++) {
        p = big_resize(p, sizes[i]);
        cr_assert_not_null(p);
        cr_assert_geq(big_usable(p), sizes[i]);
        cr_assert(stamped(p, MIN(sizes[i - 1], sizes[i])), "%zu to %zu bytes", sizes[i - 1], sizes[i]);
        stamp(p, sizes[i]);
        cr_assert_eq(stats().live_bytes, big_usable(p));
        cr_assert_eq(stats().regions, 1u);
        cr_assert_eq(rt_usage_get(), (s64)big_usable(p));
    }
    cr_expect(big_free(p));
    (void)big_tick(0, BIG_EVERYTHING);
    cr_expect_eq(fake_reserved_bytes(), reserved, "address space is lost");
}

Test(big, growth_moves_pages_and_seldom, .init = start) {
    char *p = alloc(2 * MIB), *last = p;
    unsigned moved = 0;
    memset(p, 3, 2 * MIB);
    for (size_t size = 2 * MIB; size < 200 * MIB; size += 512 * KIB) {
        p = big_resize(p, size);
        cr_assert_not_null(p);
        moved += p != last;
        last = p;
    }
    cr_expect_eq(moved, fake_calls_nr(FAKE_MOVE));
    cr_expect_geq(moved, 1u);
    cr_expect_leq(moved, 14u, "moved %u times", moved);
    cr_expect_eq(p[2 * MIB - 1], 3);
    cr_expect_eq(p[2 * MIB], 0);
}

static unsigned moved_nr;
static void expect_withdrawn(void *from) {
    cr_expect_eq(big_usable(from), 0u, "the old place has a record still, which may be another region's by now");
    moved_nr++;
}

Test(big, a_region_has_left_its_place_before_its_pages_do, .init = start) {
    char *p = alloc(3 * MIB);
    fake_moved = expect_withdrawn;
    p = big_resize(p, 64 * MIB);
    cr_assert(p != NULL && moved_nr == 1);
    cr_expect_eq(big_usable(p), 64 * MIB);
    cr_expect(big_free(p));
}

Test(big, shrinking_gives_memory_back_in_place, .init = start) {
    char *p = alloc(16 * MIB);
    memset(p, 1, 16 * MIB);
    cr_expect_eq(big_resize(p, 4 * MIB), p);
    cr_expect_eq(fake_resident_bytes(p, 16 * MIB), 4 * MIB);
    cr_expect_eq(big_resize(p, 16 * MIB), p, "the address space was kept for growth");
    cr_expect_eq(p[4 * MIB], 0);
    cr_expect_eq(p[4 * MIB - 1], 1);
}

/* --- misuse --- */

static void write_behind(void *p) { ((volatile char *)p)[big_usable(p)] = 1; }
static void write_cut(void *p) {
    (void)big_resize(p, 1 * MIB);
    ((volatile char *)p)[2 * MIB] = 1;
}

Test(big, a_guard_stands_behind_each_region, .init = start) {
    char said[256];
    char *p = alloc(3 * MIB);
    cr_expect_eq(alone_die(write_behind, p, said, sizeof(said)), SIGSEGV);
    cr_expect_eq(alone_die(write_cut, p, said, sizeof(said)), SIGSEGV);
}

/* --- hardened: one before it, too --- */

enum { PAGE = 4096, MOST_REGIONS = 8 };

static void start_hardened(void) {
    start();
    rt_opt.harden = 1;
}

static void write_before(void *p) { ((volatile char *)p)[-1] = 1; }

/* So many bytes before p cannot be touched, and are known to be p's. */
static void expect_kept_before(char *p, size_t bytes) {
    char said[256], *owner = NULL;
    size_t owned_bytes = 0;
    cr_expect_eq(alone_die(write_before, p, said, sizeof(said)), SIGSEGV);
    cr_expect_eq(big_locate_guard(p - bytes, &owner, &owned_bytes), BIG_WHERE_START);
    cr_expect_eq(owner, p);
    cr_expect_eq(owned_bytes, big_usable(p));
    cr_expect_eq(big_locate_guard(p - 1, &owner, &owned_bytes), BIG_WHERE_START);
    cr_expect_eq(owner, p);
}

/* As it was when it began: all that a region had is given back, what was before it too. */
static void expect_whole_life(size_t align, size_t before) {
    size_t reserved = fake_reserved_bytes(), dirty_bytes;
    char *p = big_alloc(3 * MIB, align, BIG_ANY, &dirty_bytes);
    cr_assert_not_null(p);
    cr_expect_eq((uintptr_t)p % MAX(align, HPAGE_BYTES), 0u);
    size_t own = rt_meta.limited ? 3 * MIB + PAGE : 4 * MIB; /* with the guard behind it */
    cr_expect_eq(fake_reserved_bytes(), reserved + before + own);
    expect_kept_before(p, before);
    cr_assert(big_free(p));
    cr_expect_eq(fake_reserved_bytes(), reserved);
}

Test(big, hardened_a_guard_stands_before_each_region, .init = start_hardened) {
    (void)big_free(alloc(3 * MIB)); /* the records are there then */
    expect_whole_life(1, HPAGE_BYTES);
    expect_whole_life(64 * MIB, HPAGE_BYTES);
    rt_meta.limited = true;
    expect_whole_life(1, PAGE);
    expect_whole_life(64 * MIB, PAGE);
    rt_meta.limited = false;
}

Test(big, hardened_a_region_that_moves_leaves_nothing_before_it, .init = start_hardened) {
    (void)big_free(alloc(3 * MIB));
    size_t reserved = fake_reserved_bytes();
    char *p = alloc(3 * MIB);
    stamp(p, 3 * MIB);
    char *q = big_resize(p, 64 * MIB);
    cr_assert_not_null(q);
    cr_expect_neq(p, q);
    cr_expect(stamped(q, 3 * MIB));
    expect_kept_before(q, HPAGE_BYTES);
    fake_fail(FAKE_MOVE, 1, 1);
    cr_expect_null(big_resize(q, 256 * MIB));
    expect_kept_before(q, HPAGE_BYTES);
    cr_assert(big_free(q));
    cr_expect_eq(fake_reserved_bytes(), reserved);
}

/* Nothing is unmapped. All of the memory goes, which begins behind the guard, and is not counted any more. */
Test(big, hardened_a_region_that_cannot_be_unmapped_gives_its_memory_back, .init = start_hardened) {
    size_t reserved = fake_reserved_bytes();
    s64 used = rt_usage_get();
    char *p = alloc(3 * MIB);
    stamp(p, 3 * MIB);
    cr_assert_eq(fake_resident_bytes(p, 3 * MIB), 3 * MIB);
    fake_fail(FAKE_RELEASE, 1, 2);
    cr_assert(big_free(p));
    cr_expect_eq(fake_failed_nr(FAKE_RELEASE), 2u);
    cr_expect_eq(fake_resident_bytes(p, 3 * MIB), 0u);
    cr_expect_eq(rt_usage_get(), used);
    cr_expect_eq(rt_leftover_bytes(), HPAGE_BYTES + 4 * MIB);
    rt_release_retry(RT_LEFTOVER_ALL);
    cr_expect_eq(rt_leftover_bytes(), 0u);
    cr_expect_eq(fake_reserved_bytes(), reserved);
}

Test(big, hardened_a_retired_region_gives_all_back, .init = start_hardened) {
    (void)big_free(alloc(3 * MIB));
    size_t reserved = fake_reserved_bytes();
    for (unsigned i = 0; i < MOST_REGIONS; i++)
        cr_assert(big_retire(alloc(3 * MIB)));
    (void)big_release();
    cr_expect_eq(fake_reserved_bytes(), reserved);
}

Test(big, by_default_no_addresses_are_left_out_before_a_region, .init = start) {
    char *p = alloc(3 * MIB), *owner;
    size_t bytes;
    cr_expect_eq(big_locate_guard(p - 1, &owner, &bytes), BIG_WHERE_NONE);
}

Test(big, what_is_no_live_region_is_refused, .init = start) {
    char *p = alloc(6 * MIB);
    int on_stack;
    cr_expect_not(big_free(p + HPAGE_BYTES));
    cr_expect_not(big_free(p + 16));
    cr_expect_not(big_free(&on_stack));
    cr_expect_not(big_free(NULL));
    cr_expect_eq(big_usable(p + 4096), 0u);
    cr_expect_null(big_resize(p + 4096, 8 * MIB));
    cr_expect_eq((int)big_locate(p), (int)BIG_WHERE_START);
    cr_expect_eq((int)big_locate(p + 5 * MIB), (int)BIG_WHERE_INTERIOR);
    cr_expect_eq((int)big_locate(&on_stack), (int)BIG_WHERE_NONE);
    cr_expect(big_free(p));
    cr_expect_not(big_free(p), "freed twice");
    cr_expect_eq((int)big_locate(p), (int)BIG_WHERE_FREED);
    cr_expect_eq(big_usable(p), 0u);
    cr_expect_null(big_resize(p, 8 * MIB));
    cr_expect_eq(stats().regions, 0u);
}

Test(big, absurd_sizes_are_refused, .init = start) {
    char *p = alloc(2 * MIB);
    cr_expect_null(alloc(SIZE_MAX));
    cr_expect_null(alloc((size_t)PTRDIFF_MAX));
    cr_expect_null(alloc((size_t)1 << 50));
    cr_expect_null(big_resize(p, SIZE_MAX));
    cr_expect_null(big_resize(p, (size_t)1 << 50));
    cr_expect_eq(big_usable(p), 2 * MIB);
    cr_expect_eq(rt_usage_get(), 2 * (s64)MIB);
}

/* --- refused calls --- */

static void fail_each(enum fake_call call) {
    for (unsigned nth = 1; nth < 30; nth++) {
        fake_fail(call, nth, 1);
        char *p = alloc(3 * MIB), *q;
        if (p != NULL) {
            stamp(p, 3 * MIB);
            q = big_resize(p, 9 * MIB);
            p = q != NULL ? q : p;
            cr_assert(stamped(p, 3 * MIB), "%s %u", fake_call_name(call), nth);
            q = big_resize(p, 2 * MIB);
            p = q != NULL ? q : p;
            cr_assert(stamped(p, 2 * MIB), "%s %u", fake_call_name(call), nth);
            cr_assert(big_free(p));
        }
        (void)big_tick(0, BIG_EVERYTHING);
        fake_fail(call, 0, 0);
        cr_assert_eq(stats().regions, 0u);
        cr_assert_eq(stats().live_bytes, 0u);
        cr_assert_eq(rt_usage_get(), 0, "%s %u: %ld bytes", fake_call_name(call), nth, rt_usage_get());
    }
    cr_expect_gt(fake_calls_nr(call), 0u);
}

Test(big, a_reservation_fails, .init = start) { fail_each(FAKE_RESERVE); }
Test(big, a_commit_fails, .init = start) { fail_each(FAKE_COMMIT); }
Test(big, a_guard_fails, .init = start) { fail_each(FAKE_GUARD); }
Test(big, a_release_fails, .init = start) { fail_each(FAKE_RELEASE); }
Test(big, a_move_fails, .init = start) { fail_each(FAKE_MOVE); }
Test(big, a_move_fails_late, .init = start) { fail_each(FAKE_MOVE_LATE); }

/* Another thread is given the place at which a move failed, before whoever moved hears of it. */
static struct {
    char *at;
    size_t bytes;
} others;
static void others_map(void *addr, size_t bytes) {
    if (others.at != NULL)
        return;
    others.bytes = bytes;
    others.at = mmap(addr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    cr_assert_eq(others.at, addr);
    stamp(others.at, bytes);
}

Test(big, a_place_that_was_lost_is_left_to_who_has_it, .init = start) {
    char *p = alloc(3 * MIB);
    stamp(p, 3 * MIB);
    size_t reserved = fake_reserved_bytes();
    fake_fail(FAKE_MOVE_LATE, 1, 1);
    fake_released = others_map;
    cr_expect_null(big_resize(p, 64 * MIB));
    cr_expect_eq(fake_failed_nr(FAKE_MOVE_LATE), 1u);
    cr_expect_eq(others.bytes, 3 * MIB);
    cr_expect(stamped(others.at, others.bytes));
    cr_expect(stamped(p, 3 * MIB));
    cr_expect_eq(big_usable(p), 3 * MIB);
    cr_expect_eq(rt_usage_get(), 3 * (s64)MIB);
    cr_expect_eq(fake_reserved_bytes(), reserved, "the rest of the place");
    cr_expect(big_free(p));
}

Test(big, the_hard_limit_is_kept, .init = start) {
    rt_opt.limit_hard = 20 * MIB;
    char *p = alloc(6 * MIB);
    cr_assert_not_null(p);
    cr_expect_null(alloc(15 * MIB));
    cr_expect_null(big_resize(p, 21 * MIB));
    cr_expect_eq(big_usable(p), 6 * MIB);
    cr_expect_not_null(big_resize(p, 9 * MIB));
}
