/* SPDX-License-Identifier: MIT */
/*
 * Growth without the tier's lock (tier_grow() in page/grow.c): what others, handlers and children of a fork do while
 * the system makes memory writable, and what is left when it refuses. On a pretend system.
 */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

enum { RUN = 5 };
#define FIRST_STEP_BYTES (2 * HPAGE_BYTES)
#define TWO_STEPS_BYTES (3 * FIRST_STEP_BYTES)

static char *first, *second, *filler[2];

static char *alloc(unsigned nr) {
    enum page_content content;
    return page_run_alloc(0, nr, 1, &content);
}

/* The first step is taken, for with it come records of quarry's own. */
static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    for (unsigned i = 0; i < ARRAY_NR(filler); i++)
        cr_assert_not_null(filler[i] = alloc(HPAGE_GRANULES));
}

static void fillers_free(void) {
    for (unsigned i = 0; i < ARRAY_NR(filler); i++)
        page_run_free(filler[i], HPAGE_GRANULES);
}

static u64 committed_bytes(void) {
    struct page_stats st;
    page_stats_get(&st);
    return st.committed_bytes;
}

/* Called once, with the next step. */
static void (*meanwhile)(void);
static void at_step(enum fake_call call) {
    if (call != FAKE_COMMIT)
        return;
    fake_calling = NULL;
    meanwhile();
}

static char *alloc_and(unsigned nr, void (*what)(void)) {
    meanwhile = what;
    fake_calling = at_step;
    char *run = alloc(nr);
    cr_assert_null(fake_calling, "there was no step");
    cr_expect_eq(page_tiers->growers, 0u);
    return run;
}

static void look_at_the_locks(void) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        cr_expect_eq(atomic_load(&page_tiers[i].lock.word), 0u);
    cr_expect_eq(page_tiers->growers, 1u);
}

Test(unlocked, no_lock_is_held_while_memory_comes, .init = start) {
    first = alloc_and(RUN, look_at_the_locks);
    cr_assert_not_null(first);
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES);
}

static void take_another(void) {
    second = alloc(RUN);
    cr_assert_not_null(second);
    memset(second, 1, RUN * GRANULE_BYTES);
}

/* Both take the step; it counts once, and who comes second finds what the first left of its record. */
Test(unlocked, two_that_grow_take_one_step, .init = start) {
    unsigned steps = fake_calls_nr(FAKE_COMMIT);
    first = alloc_and(RUN, take_another);
    cr_expect_eq(fake_calls_nr(FAKE_COMMIT), steps + 2);
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES);
    cr_expect_eq(first, second + RUN * GRANULE_BYTES);
    cr_expect_eq(*second, 1);
}

static void take_two_more_steps(void) {
    while (committed_bytes() <= TWO_STEPS_BYTES)
        cr_assert_not_null(alloc(HPAGE_GRANULES));
}

Test(unlocked, who_comes_late_goes_on_behind_the_others, .init = start) {
    first = alloc_and(HPAGE_GRANULES, take_two_more_steps);
    cr_assert_not_null(first);
    memset(first, 1, HPAGE_BYTES);
    cr_expect_gt(committed_bytes(), TWO_STEPS_BYTES);
}

/* --- what is released --- */

static void free_all_and_release(void) {
    char *run = alloc(HPAGE_GRANULES);
    cr_assert_not_null(run);
    page_run_free(run, HPAGE_GRANULES);
    u64 before = committed_bytes();
    cr_expect_eq(page_release(), 0u, "somebody may be about to make it writable");
    cr_expect_eq(committed_bytes(), before);
}

Test(unlocked, no_address_is_released_while_somebody_grows, .init = start) {
    first = alloc_and(RUN, free_all_and_release);
    cr_assert_not_null(first);
    page_run_free(first, RUN);
    fillers_free();
    cr_expect_gt(page_release(), 0u);
    cr_expect_eq(committed_bytes(), 0u);
}

/* --- what is refused --- */

static void refuse_this_one(void) {
    take_another();
    fake_fail(FAKE_COMMIT, 1, 100);
}

Test(unlocked, who_is_refused_has_what_others_got, .init = start) {
    first = alloc_and(RUN, refuse_this_one);
    cr_assert_not_null(first);
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES);
}

static void free_and_refuse(void) {
    page_run_free(filler[0], HPAGE_GRANULES);
    fake_fail(FAKE_COMMIT, 1, 100);
}

Test(unlocked, who_is_refused_has_what_others_freed, .init = start) {
    cr_expect_eq(alloc_and(HPAGE_GRANULES, free_and_refuse), filler[0]);
    cr_expect_null(alloc(RUN));
    cr_expect_eq(committed_bytes(), FIRST_STEP_BYTES);
    fake_fail(FAKE_COMMIT, 0, 0);
    cr_assert_not_null(alloc(RUN));
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES);
}

/* --- fork --- */

/* A handler that forks: parent and child go on in the same way. */
static void become_child(void) {
    page_fork_prepare();
    page_fork_child();
    page_fork_done();
    take_another();
}

Test(unlocked, a_child_made_meanwhile_grows_on, .init = start) {
    first = alloc_and(RUN, become_child);
    cr_assert_not_null(first);
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES);
    page_run_free(first, RUN);
    page_run_free(second, RUN);
    fillers_free();
    cr_expect_gt(page_release(), 0u);
    cr_expect_eq(committed_bytes(), 0u);
}

/* --- threads --- */

enum { THREADS_NR = 4, HELD_NR = 6, STEPS_NR = 400, RELEASES_PART = 16, REFUSED_PART = 5 };

static struct worker {
    pthread_t thread;
    u64 seed;
    struct run {
        char *at;
        unsigned nr;
    } held[HELD_NR];
    unsigned wrong_nr, got_nr;
} workers[THREADS_NR];

static _Atomic(unsigned) steps_nr;
static void let_others_run(enum fake_call call) {
    if (call != FAKE_COMMIT)
        return;
    for (unsigned i = 0; i < 3; i++)
        sys_yield();
    if (atomic_fetch_add(&steps_nr, 1) % REFUSED_PART == 0)
        fake_fail(FAKE_COMMIT, 1, 1);
}

static bool run_is(const struct run *r, char stamp) {
    bool good = true;
    for (unsigned i = 0; i < r->nr; i++)
        good = good && r->at[i * GRANULE_BYTES] == stamp;
    return good;
}

static void run_replace(struct worker *w, struct run *r) {
    char stamp = (char)(1 + (w - workers));
    if (r->at != NULL) {
        w->wrong_nr += !run_is(r, stamp);
        page_run_free(r->at, r->nr);
    }
    r->nr = alone_random(&w->seed) % 2 == 0 ? (unsigned)HPAGE_GRANULES : 1 + (unsigned)(alone_random(&w->seed) % 60);
    r->at = alloc(r->nr);
    w->got_nr += r->at != NULL;
    for (unsigned i = 0; r->at != NULL && i < r->nr; i++)
        r->at[i * GRANULE_BYTES] = stamp;
}

static void *worker_body(void *arg) {
    struct worker *w = arg;
    for (unsigned i = 0; i < STEPS_NR; i++) {
        run_replace(w, &w->held[alone_random(&w->seed) % HELD_NR]);
        if (i % RELEASES_PART == 0)
            (void)page_release();
    }
    for (unsigned i = 0; i < HELD_NR; i++) {
        if (w->held[i].at != NULL)
            page_run_free(w->held[i].at, w->held[i].nr);
    }
    return NULL;
}

/* Address space goes and comes all the time, and a step is refused now and then, which must not be seen. */
Test(unlocked, threads_that_grow_and_release_lose_nothing, .init = start) {
    struct page_stats st;
    fillers_free();
    fake_calling = let_others_run;
    for (unsigned i = 0; i < THREADS_NR; i++) {
        workers[i].seed = i + 1;
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, worker_body, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS_NR; i++) {
        pthread_join(workers[i].thread, NULL);
        cr_expect_eq(workers[i].wrong_nr, 0u);
        cr_expect_gt(workers[i].got_nr, STEPS_NR / 2u);
    }
    fake_calling = NULL;
    (void)page_release();
    page_stats_get(&st);
    cr_expect_eq(st.run_used_bytes, 0u);
    cr_expect_eq(st.committed_bytes, 0u);
    cr_expect_gt(atomic_load(&steps_nr), 1u);
    for (unsigned i = 0; i < tiers_nr(); i++)
        cr_expect_eq(page_tiers[i].growers, 0u);
}
