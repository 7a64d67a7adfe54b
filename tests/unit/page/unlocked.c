/* SPDX-License-Identifier: MIT */
/*
 * Growth without the tier's lock (tier_grow() in page/run.c, page/step.c): what others, handlers and children of a fork
 * do while the system makes memory writable, and what is left when it refuses. On a pretend system.
 */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "unit/alone.h"
#include "unit/page/meanwhile.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

enum { RUN = 5 };
#define FIRST_STEP_BYTES (2 * HPAGE_BYTES)
#define TWO_STEPS_BYTES (3 * FIRST_STEP_BYTES)

static char *first, *second, *filler[2];

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

static u64 committed_bytes(void) { return stats().committed_bytes; }

/* Runs what inside the next step. */
static char *alloc_and(unsigned nr, void (*what)(void)) {
    char *run = alloc_inside(nr, FAKE_COMMIT, what);
    cr_expect_not(tier_step_is_under_way(page_tiers));
    return run;
}

static void look_at_the_locks(void) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        cr_expect_eq(atomic_load(&page_tiers[i].lock.word), 0u);
    cr_expect(tier_step_is_under_way(page_tiers));
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

/* Each makes a step of its own, so that nobody makes writable what somebody else has handed out. */
Test(unlocked, two_that_grow_make_two_steps, .init = start) {
    first = alloc_and(RUN, take_another);
    cr_assert_not_null(first);
    cr_expect_eq(first, second + RUN * GRANULE_BYTES);
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES + FIRST_STEP_BYTES, "the second need not be large");
    cr_expect_eq(*second, 1);
}

/* Each on top of the one before, more than there are steps to be claimed. */
enum { DEEP = TIER_STEPS_MAX + 3 };
static unsigned depth;
static void grow_again(enum fake_call call) {
    if (call != FAKE_COMMIT)
        return;
    cr_expect_eq(atomic_load(&page_tiers->lock.word), 0u);
    if (++depth < DEEP)
        cr_assert_not_null(alloc(HPAGE_GRANULES));
}

Test(unlocked, nobody_waits_for_a_step, .init = start) {
    fake_calling = grow_again;
    first = alloc(HPAGE_GRANULES);
    fake_calling = NULL;
    cr_assert_not_null(first);
    cr_expect_eq(depth, (unsigned)DEEP);
    cr_expect_not(tier_step_is_under_way(page_tiers));
    u64 before = committed_bytes(), used = FIRST_STEP_BYTES + DEEP * HPAGE_BYTES;
    for (; used < before; used += HPAGE_BYTES)
        cr_assert_not_null(alloc(HPAGE_GRANULES));
    cr_expect_eq(committed_bytes(), before, "all that was made is to be had");
}

/* On top of the holder of another tier, for whom a fork may wait. */
static void look_at_the_first_lock(void) { cr_expect_neq(atomic_load(&page_tiers[0].lock.word), 0u); }

Test(unlocked, a_handler_on_top_of_another_tier_keeps_the_lock, .init = start) {
    cr_assert(sys_lock_try(&page_tiers[1].lock));
    cr_assert_not_null(alloc_and(RUN, look_at_the_first_lock));
    sys_lock_release(&page_tiers[1].lock);
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
    take_another();
    page_run_free(second, RUN);
    fillers_free();
    cr_expect_gt(page_release(), 0u);
    cr_expect_eq(committed_bytes(), 0u);
}

Test(unlocked, what_is_being_made_is_not_released, .init = start) {
    first = alloc_and(RUN, free_all_and_release);
    cr_assert_not_null(first);
    memset(first, 1, RUN * GRANULE_BYTES);
    page_run_free(first, RUN);
    cr_expect_gt(page_release(), 0u);
    cr_expect_eq(committed_bytes(), 0u);
}

/* What one has and protects stays as it is, however late another is. */
static void take_and_protect(void) {
    second = alloc(RUN);
    cr_assert_not_null(second);
    cr_assert_eq(mprotect(second, GRANULE_BYTES, PROT_NONE), 0);
}

static void touch(void *p) { *(volatile char *)p = 1; }

Test(unlocked, what_was_handed_out_is_not_made_writable_again, .init = start) {
    char said[256];
    cr_assert_not_null(alloc_and(RUN, take_and_protect));
    cr_expect_eq(alone_die(touch, second, said, sizeof(said)), SIGSEGV);
}

/* --- what is refused --- */

static void refuse_this_one(void) {
    take_another();
    fake_fail(FAKE_COMMIT, 1, 100);
}

/* The refused step is there for who comes next. */
Test(unlocked, who_is_refused_has_what_others_got, .init = start) {
    first = alloc_and(RUN, refuse_this_one);
    cr_assert_not_null(first);
    cr_expect_eq(committed_bytes(), 2 * FIRST_STEP_BYTES);
    fake_fail(FAKE_COMMIT, 0, 0);
    while (committed_bytes() == 2 * FIRST_STEP_BYTES)
        cr_assert_not_null(alloc(HPAGE_GRANULES));
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES + FIRST_STEP_BYTES);
}

static void refuse_half(void) {
    take_another();
    fake_fail(FAKE_COMMIT, 1, 2); /* of 8 MiB, and of 4 */
}

Test(unlocked, what_is_refused_of_a_step_is_made_later, .init = start) {
    first = alloc_and(RUN, refuse_half);
    cr_assert_not_null(first);
    u64 before = committed_bytes();
    cr_expect_eq(before, 2 * FIRST_STEP_BYTES + HPAGE_BYTES);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_not_null(alloc(HPAGE_GRANULES));
    cr_assert_not_null(alloc(HPAGE_GRANULES));
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES + FIRST_STEP_BYTES);
}

/* Address space is out, but for what this step brings; it may be below this handler, so it is not waited for long. */
static void take_where_nothing_is_left(void) {
    page_tiers->reserved_end = page_tiers->fresh;
    fake_fail(FAKE_RESERVE, 1, 100000);
    cr_expect_null(alloc(RUN));
    fake_fail(FAKE_RESERVE, 0, 0);
}

Test(unlocked, a_handler_on_top_of_the_last_step_is_refused, .init = start) {
    cr_assert_not_null(alloc_and(RUN, take_where_nothing_is_left));
    cr_expect_not_null(alloc(RUN));
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
    page_fork_prepare(RT_FORK_ALONE);
    page_fork_child();
    page_fork_done(RT_FORK_PARENT);
    cr_expect(tier_step_is_under_way(page_tiers));
    take_another();
}

Test(unlocked, a_child_made_meanwhile_grows_on, .init = start) {
    first = alloc_and(RUN, become_child);
    cr_assert_not_null(first);
    page_run_free(first, RUN);
    page_run_free(second, RUN);
    fillers_free();
    cr_expect_gt(page_release(), 0u);
    cr_expect_eq(committed_bytes(), 0u);
}

/* A step of a thread that the child does not have: the next one makes it. */
static void lose_who_grows(void) {
    for (unsigned i = 0; i < TIER_STEPS_MAX; i++)
        page_tiers->steps[i].by = page_tiers->steps[i].by != 0 ? OTHER_THREAD : 0;
    page_fork_prepare(RT_FORK_ALONE);
    page_fork_child();
    page_fork_done(RT_FORK_PARENT);
    cr_expect_not(tier_step_is_under_way(page_tiers));
    unsigned reserved = fake_calls_nr(FAKE_RESERVE);
    take_another();
    cr_expect_eq(committed_bytes(), TWO_STEPS_BYTES, "the lost step itself");
    cr_expect_eq(fake_calls_nr(FAKE_RESERVE), reserved);
}

Test(unlocked, a_child_has_the_step_of_a_lost_thread, .init = start) { (void)alloc_and(RUN, lose_who_grows); }

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
    cr_expect_eq(stats().run_used_bytes, 0u);
    cr_expect_eq(stats().committed_bytes, 0u);
    cr_expect_gt(atomic_load(&steps_nr), 1u);
    for (unsigned i = 0; i < tiers_nr(); i++)
        cr_expect_not(tier_step_is_under_way(&page_tiers[i]));
}
