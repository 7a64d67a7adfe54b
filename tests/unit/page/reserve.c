/* SPDX-License-Identifier: MIT */
/* The reserve: runs taken are apart, aligned and in memory; it is filled again; takers against each other and against
 * the filler never get the same run, and nothing is lost. */
#include "rt/context.h"
#include "unit/core.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { TAKERS = 4, TAKES = 20000, BLOCK = 32, SHIFT_MAX = 4 };

static void start_with(size_t bytes) {
    core_start_slabs();
    rt_opt.reserve = bytes;
    page_reserve_fill();
}
static void start(void) { start_with(1 * MIB); }
static void start_small(void) { start_with(512 * KIB); }
static void start_none(void) { start_with(0); }

static char *take(unsigned nr, unsigned align) {
    enum page_content content;
    return page_reserve_take(0, nr, align, &content);
}

Test(reserve, runs_are_aligned_and_in_memory, .init = start) {
    cr_assert_eq(page_reserve_bytes_racy(), 1 * MIB);
    for (unsigned shift = 0; shift <= SHIFT_MAX; shift++) {
        enum page_content content = PAGE_DIRTY;
        char *run = page_reserve_take(0, 1u << shift, 1u << shift, &content);
        size_t bytes = GRANULE_BYTES << shift, pages = bytes / (size_t)sys_page_bytes();
        unsigned char resident[256];
        cr_assert_not_null(run);
        cr_expect_eq((uintptr_t)run % bytes, 0u);
        cr_assert_eq(mincore(run, bytes, resident), 0);
        for (size_t i = 0; i < pages; i++)
            cr_assert(resident[i] & 1, "page %zu has no memory", i);
        for (size_t i = 0; i < bytes; i++)
            cr_assert(content == PAGE_DIRTY || run[i] == 0);
        page_run_free(run, 1u << shift);
    }
}

Test(reserve, it_ends_and_is_filled_again, .init = start) {
    char *runs[128];
    unsigned nr = 0;
    cr_expect_null(take(BLOCK + 1, 1));
    cr_expect_null(take(1, 2 * BLOCK));
    atomic_store(&rt_chores, 0);
    for (char *run; (run = take(1, 1)) != NULL; runs[nr++] = run)
        memset(run, 1, GRANULE_BYTES);
    cr_expect_eq(nr, 2u * BLOCK);
    cr_expect_eq(page_reserve_bytes_racy(), 0u);
    cr_expect_eq(atomic_load(&rt_chores), (u32)RT_CHORE_RESERVE);
    page_reserve_fill();
    cr_expect_eq(page_reserve_bytes_racy(), 1 * MIB);
    for (unsigned i = 0; i < nr; i++)
        page_run_free(runs[i], 1);
    cr_expect_not_null(take(BLOCK, BLOCK));
}

static void *filler(void *unused) {
    (void)unused;
    cr_assert(page_reserve_begin());
    return NULL;
}

/* In the child of a fork another thread's filling is over, and one below the handler that forks is not. */
Test(reserve, who_fills_when_a_process_forks, .init = start) {
    pthread_t thread;
    cr_assert(page_reserve_begin());
    page_reserve_fork_child();
    cr_expect_not(page_reserve_begin());
    page_reserve_end();
    cr_assert_eq(pthread_create(&thread, NULL, filler, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_not(page_reserve_begin());
    page_reserve_fork_child();
    cr_expect(page_reserve_begin());
}

Test(reserve, none_was_asked_for, .init = start_none) {
    cr_expect_null(take(1, 1));
    page_reserve_fill();
    cr_expect_eq(page_reserve_bytes_racy(), 0u);
}

/* What is left of a block goes back when it is filled: nothing but the reserve is used in the end. */
Test(reserve, leftovers_go_back, .init = start_small) {
    for (int round = 0; round < 50; round++) {
        char *large = take(20, 4), *small = take(1, 1);
        cr_assert(large != NULL && small != NULL);
        page_run_free(large, 20);
        page_run_free(small, 1);
        page_reserve_fill();
    }
    struct page_stats st;
    page_stats_get(&st);
    cr_expect_eq(st.run_used_bytes, page_reserve_bytes_racy());
}

static _Atomic(unsigned) running;
static _Atomic(unsigned) taken;

/* Each granule of a run carries its taker's number until it is freed. */
static void *taker(void *arg) {
    u64 me = (u64)(uintptr_t)arg, state = me;
    for (unsigned i = 0; i < TAKES; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned shift = (unsigned)(state >> 60) % (SHIFT_MAX + 1), nr = 1u << shift;
        char *run = take(nr, nr);
        if (run == NULL) {
            (void)sched_yield();
            continue;
        }
        for (unsigned g = 0; g < nr; g++)
            atomic_store_explicit((_Atomic(u64) *)(void *)(run + g * GRANULE_BYTES), me, memory_order_relaxed);
        if (i % 8 == 0)
            (void)sched_yield();
        for (unsigned g = 0; g < nr; g++) {
            u64 found = atomic_load_explicit((_Atomic(u64) *)(void *)(run + g * GRANULE_BYTES), memory_order_relaxed);
            cr_assert_eq(found, me, "granule %u of %p is %lu's, too", g, (void *)run, found);
        }
        page_run_free(run, nr);
        atomic_fetch_add(&taken, 1);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void takers_run(void) {
    pthread_t threads[TAKERS];
    atomic_store(&running, TAKERS);
    for (uintptr_t i = 0; i < TAKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, taker, (void *)(i + 1)), 0);
    while (atomic_load(&running) > 0) {
        page_reserve_fill();
        (void)sched_yield();
    }
    for (unsigned i = 0; i < TAKERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    page_reserve_fill();
    struct page_stats st;
    page_stats_get(&st);
    cr_expect_eq(st.run_used_bytes, page_reserve_bytes_racy(), "%lu bytes are used, the reserve has %zu",
                 st.run_used_bytes, page_reserve_bytes_racy());
    cr_expect_gt(atomic_load(&taken), 0u); /* few where fills are slow, as under ThreadSanitizer */
}

Test(reserve, takers_against_each_other_and_the_filler, .init = start) { takers_run(); }
Test(reserve, the_same_on_one_block, .init = start_small) { takers_run(); }
