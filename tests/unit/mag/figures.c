/* SPDX-License-Identifier: MIT */
/*
 * Figures that ids keep: threads add to one, more of them than there are CPUs, while others take what an id has and
 * ids are stopped by drains. What was added is what was taken and what is left.
 */
#include "unit/mag/magazines.h"

#include <pthread.h>
#include <string.h>

enum { ADDERS = 6, TAKERS = 2, ADDS = 100000, TAKES = 40, FIGURE = 3, OTHER = 5 };

static _Atomic(s64) added, taken;
static _Atomic(int) takes; /* of something */
static _Atomic(int) adding = ADDERS;

/* One region, in which all meet. */
static void start_locked(void) {
    rt_options_read(NULL, NULL);
    rt_opt.fake_cpus = 1;
    magazines_start_with_options();
}
static void start_by_id(void) { magazines_start_by(OPT_PERCPU_AUTO); }

static void *add(void *arg) {
    u64 seed = (u64)arg + 1;
    s64 mine = 0;
    magazines_give(magazines_alloc(64)); /* this id has a region now, if there are ids */
    for (unsigned i = 0; i < ADDS || atomic_load(&takes) < TAKES; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        s64 more = (s64)(seed >> 40) % 1000 - 400;
        (void)mag_figure_add(FIGURE, more);
        mine += more;
    }
    atomic_fetch_add(&added, mine);
    atomic_fetch_sub(&adding, 1);
    return NULL;
}

static void *take(void *arg) {
    while (atomic_load(&adding) > 0) {
        s64 some = mag_figure_take(FIGURE);
        atomic_fetch_add(&taken, some);
        atomic_fetch_add(&takes, some != 0);
        if (arg == NULL)
            mag_drain(MAG_DRAIN_ALL);
    }
    return NULL;
}

static void expect_exact(void) {
    pthread_t threads[ADDERS + TAKERS];
    for (uintptr_t i = 0; i < ADDERS + TAKERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, i < ADDERS ? add : take, (void *)(i < ADDERS ? i : i - ADDERS)),
                     0);
    for (unsigned i = 0; i < ADDERS + TAKERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_expect_eq(mag_figure_sum_racy(FIGURE) + atomic_load(&taken), atomic_load(&added));
    cr_expect_eq(mag_figure_sum_racy(OTHER), 0);
}

Test(figures, are_exact_by_id, .init = start_by_id) {
    if (strcmp(mag_mode_name(), "locked") == 0)
        cr_skip_test("no rseq here: threads would not meet");
    expect_exact();
}
Test(figures, are_exact_in_locked_regions, .init = start_locked) { expect_exact(); }
