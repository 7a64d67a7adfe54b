/* SPDX-License-Identifier: MIT */
/* Housekeeping: trim returns what is not in use, ticks return it without being asked, and what is in use is left alone.
 * On the real system, with the real clock. */
#include "big/big.h"
#include "engine/engine.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "unit/calls.h"

#include "rt/options.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { OBJS = 60000, SIZE = 700 };

static char *objs[OBJS];

static void fill(void) {
    for (unsigned i = 0; i < OBJS; i++) {
        objs[i] = alloc(SIZE);
        cr_assert_not_null(objs[i]);
        memset(objs[i], (int)(i % 251), SIZE);
    }
}

static void sleep_ms(long ms) {
    struct timespec span = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

Test(tick, trim_returns_everything_that_is_free) {
    fill();
    char *big = alloc(20 * MIB);
    memset(big, 1, 20 * MIB);
    size_t full = page_backed_bytes_racy();
    cr_assert_geq(full, (size_t)OBJS * SIZE);
    for (unsigned i = 0; i < OBJS; i++)
        give(objs[i]);
    give(big);
    (void)engine_trim(0);
    struct mag_stats mag;
    struct big_stats bigs;
    struct page_stats pages;
    mag_stats_get(&mag);
    big_stats_get(&bigs);
    page_stats_get(&pages);
    cr_expect_eq(mag.cached_bytes + mag.depot_bytes, 0u);
    cr_expect_eq(bigs.cached_bytes + bigs.live_bytes, 0u);
    cr_expect_eq(pages.run_used_bytes, 0u);
    cr_expect_eq(pages.run_free_bytes, 0u);
    cr_expect_eq(page_backed_bytes_racy(), 0u);
    cr_expect_eq(engine_trim(0), 0u);
    /* And all of it works again. */
    fill();
    cr_expect_eq(objs[OBJS - 1][0], (char)((OBJS - 1) % 251));
}

Test(tick, trim_keeps_the_pad) {
    fill();
    for (unsigned i = 0; i < OBJS; i++)
        give(objs[i]);
    (void)engine_trim(4 * MIB);
    struct page_stats pages;
    page_stats_get(&pages);
    cr_expect_leq(pages.run_free_bytes, 4 * MIB);
    cr_expect_geq(pages.run_free_bytes, 4 * MIB - HPAGE_BYTES, "more went than one real hugepage too many");
}

Test(tick, trim_leaves_what_is_in_use_alone) {
    fill();
    size_t full = page_backed_bytes_racy();
    for (unsigned i = 0; i < OBJS; i++) {
        if (i % 100 != 0)
            give(objs[i]);
    }
    size_t before = page_backed_bytes_racy(), given = engine_trim(0);
    cr_expect_leq(page_backed_bytes_racy() + given, before + 64 * KIB);
    cr_expect_lt(page_backed_bytes_racy(), full / 6, "free pages inside slabs are kept");
    for (unsigned i = 0; i < OBJS; i += 100) {
        for (unsigned b = 0; b < SIZE; b++)
            cr_assert_eq(objs[i][b], (char)(i % 251));
        give(objs[i]);
    }
}

Test(tick, memory_goes_back_without_being_asked) {
    fill();
    size_t full = page_backed_bytes_racy();
    for (unsigned i = 0; i < OBJS; i++)
        give(objs[i]);
    size_t freed = page_backed_bytes_racy();
    cr_expect_lt(freed, full / 2, "%zu of %zu bytes are kept after everything was freed", freed, full);
    /* A little traffic, as a program that is nearly idle has. */
    for (int i = 0; i < 30; i++) {
        for (int k = 0; k < 300; k++)
            engine_tick_maybe();
        sleep_ms(60);
    }
    cr_expect_gt(atomic_load(&engine_ticks_nr), 5u);
    cr_expect_leq(page_backed_bytes_racy(), 2 * MIB, "%zu bytes are kept after two seconds", page_backed_bytes_racy());
}

/* As long as calls are watched, but not for ever. */
enum { THREADS = 4, WATCHED_MIN = 65536, CALLS_MAX = 4000000 };
static void *be_watched(void *calls) {
    unsigned *nr = calls;
    for (*nr = 0; mag_is_watched() && *nr < CALLS_MAX; ++*nr)
        engine_tick_maybe();
    return NULL;
}

/* Use falls, and is watched from then on, for so long that time alone does not end it. */
static void fall(void) {
    rt_opt.purge_delay = 1000 * 1000;
    fill();
    for (int k = 0; k < 300; k++) /* use is seen at its height */
        engine_tick_maybe();
    for (unsigned i = 0; i < OBJS; i++)
        give(objs[i]);
    for (int k = 0; k < 300 && !mag_is_watched(); k++)
        engine_tick_maybe();
    cr_assert(mag_is_watched(), "a fall of use is not watched");
}

/* Each id counts its own, and all of them count. */
Test(tick, a_watch_is_spent_by_the_allocations_of_all_threads) {
    pthread_t threads[THREADS];
    unsigned calls[THREADS], all = 0;
    fall();
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, be_watched, &calls[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_lt(calls[i], (unsigned)CALLS_MAX, "the watch does not end");
        all += calls[i];
    }
    cr_expect_geq(all, (unsigned)WATCHED_MIN, "the watch ended after %u allocations", all);
}

/* A program that calls once in a while, always in another ms, is seen each time: no call waits for a lot of them. */
Test(tick, the_end_of_a_fall_is_seen_by_few_calls) {
    fall();
    rt_opt.purge_delay = 50;
    for (int i = 0; i < 20 && mag_is_watched(); i++) {
        sleep_ms(20);
        engine_tick_maybe();
    }
    cr_expect_not(mag_is_watched(), "20 calls in 400 ms did not end a watch of 50 ms");
}

/* Its magazine serves it, and it is counted; but where something else keeps allocations from the fast path as well. */
Test(tick, a_watched_allocation_is_served_by_its_magazine) {
    enum { CALLS = 1000, IDS_MAY_CHANGE = 8 };
    bool counts = strcmp(mag_mode_name(), "locked") != 0; /* without rseq there is no other path */
    struct mag_stats before, after;
    fall();
    give(alloc(64));
    mag_stats_get(&before);
    for (unsigned i = 0; i < CALLS; i++)
        give(alloc(64));
    mag_stats_get(&after);
    cr_assert(mag_is_watched());
    cr_expect_leq(after.refills - before.refills, (u64)IDS_MAY_CHANGE);
    if (counts)
        cr_expect_eq(after.slow_allocs - before.slow_allocs, (u64)CALLS);
    void *obj = NULL;
    for (unsigned i = 0; counts && obj == NULL && i < IDS_MAY_CHANGE; i++) {
        give(alloc(64));
        obj = mag_pop_watched(slab_class_for(64));
    }
    cr_expect_eq(obj != NULL, counts, "the magazine does not serve");
    give(obj);
    mag_divert_allocs();
    cr_expect_null(mag_pop_watched(slab_class_for(64)));
}

Test(tick, the_exit_audit_empties_the_magazines) {
    struct mag_stats mag;
    for (unsigned i = 0; i < 1000; i++)
        objs[i] = alloc(64);
    for (unsigned i = 0; i < 1000; i++)
        give(objs[i]);
    engine_exit_audit();
    mag_stats_get(&mag);
    cr_expect_eq(mag.cached_bytes + mag.depot_bytes, 0u);
}
