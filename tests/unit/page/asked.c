/* SPDX-License-Identifier: MIT */
/*
 * Hugepages that are asked for without the tier's lock (page/asked.c): what others, handlers and children of a fork
 * find while the kernel is asked, and what is left of a hugepage that it refused. On a pretend system.
 */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "unit/alone.h"
#include "unit/page/meanwhile.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

enum { RUN = 5, OTHER_RUN = 3, MOST = 64 };

static char *first, *second;

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_EARNED;
    rt_opt.thp_after = 0;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

static struct hpage *record_of(const char *run) { return chunk_hpage(chunk_of(run), run); }

/* Runs what while the kernel is asked for the hugepage that the run begins. */
static char *alloc_and(unsigned nr, void (*what)(void)) {
    char *run = alloc_inside(nr, FAKE_HUGE, what);
    cr_assert_not_null(run);
    return run;
}

static void all_is_settled(void) {
    cr_expect_eq(atomic_load(&page_tiers->answers), 0u);
    for (unsigned i = 0; i < ASKED_MAX; i++)
        cr_expect_eq(page_tiers->asked[i].by, 0u);
}

/* The record has used_nr granules handed out, and free_nr more that may hold memory; no other record has any that are
 * free. */
static void record_holds(const char *run, unsigned used_nr, unsigned free_nr) {
    const struct hpage *h = record_of(run);
    all_is_settled();
    cr_expect_eq(h->used_nr, used_nr);
    cr_expect_eq(bits_count(h->used[0]) + bits_count(h->used[1]), used_nr);
    cr_expect_eq(bits_count(h->backed[0]) + bits_count(h->backed[1]), used_nr + free_nr);
    cr_expect_eq(h->listed, used_nr < HPAGE_GRANULES);
    cr_expect_not(atomic_load(&h->awaited));
    cr_expect_eq(stats().run_free_bytes, free_nr * GRANULE_BYTES);
    cr_expect_eq(page_backed_bytes_racy(), stats().run_used_bytes + stats().run_free_bytes);
}

/* --- what others find --- */

static void look_at_the_locks(void) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        cr_expect_eq(atomic_load(&page_tiers[i].lock.word), 0u);
}

Test(asked, no_lock_is_held_while_the_kernel_is_asked, .init = start) {
    first = alloc_and(RUN, look_at_the_locks);
    record_holds(first, RUN, HPAGE_GRANULES - RUN);
    cr_expect_eq(hpage_huge(record_of(first)), HPAGE_THP);
    cr_expect_eq(stats().huge_bytes, HPAGE_BYTES);
    cr_expect_eq(alloc(1), first + RUN * GRANULE_BYTES, "the rest is not to be had");
}

/* What is beside it may be wanted by nobody. */
Test(asked, a_run_that_leaves_room_for_little_gets_none, .init = start) {
    static const unsigned runs[] = {1, 64, 65, 80, 112, HPAGE_GRANULES};
    for (size_t i = 0; i < ARRAY_NR(runs); i++) {
        bool ill = runs[i] > HPAGE_GRANULES / 2 && runs[i] < HPAGE_GRANULES;
        const struct hpage *h = record_of(alloc(runs[i]));
        cr_expect_eq(hpage_huge(h), ill ? HPAGE_SMALL : HPAGE_THP, "a run of %u", runs[i]);
    }
}

static void take_another(void) {
    second = alloc(OTHER_RUN);
    cr_assert_not_null(second);
}

Test(asked, nothing_is_taken_of_what_is_asked_for, .init = start) {
    first = alloc_and(RUN, take_another);
    cr_expect_neq((uintptr_t)first / HPAGE_BYTES, (uintptr_t)second / HPAGE_BYTES);
    cr_expect_eq(stats().huge_bytes, 2 * HPAGE_BYTES);
    all_is_settled();
    cr_expect(record_of(first)->listed && record_of(second)->listed);
    /* Fullest first. */
    cr_expect_eq(alloc(HPAGE_GRANULES - RUN), first + RUN * GRANULE_BYTES);
    cr_expect_eq(alloc(HPAGE_GRANULES - OTHER_RUN), second + OTHER_RUN * GRANULE_BYTES);
}

/* Each on top of the one before. */
static unsigned asked_nr;
static void ask_again(enum fake_call call) {
    if (call != FAKE_HUGE)
        return;
    asked_nr++;
    cr_assert_not_null(alloc(MOST));
}

static void ask_on_top(unsigned most) {
    rt_opt.keep = 64 * MIB; /* what comes with them stays */
    fake_calling = ask_again;
    char *run = alloc(MOST);
    fake_calling = NULL;
    cr_assert_not_null(run);
    cr_expect_eq(asked_nr, most);
    cr_expect_eq(stats().huge_bytes, most * HPAGE_BYTES);
    cr_expect_eq(stats().run_used_bytes, (most + 1) * MOST * GRANULE_BYTES, "the last has small pages");
    cr_expect_eq(stats().run_free_bytes, (u64)most * (HPAGE_GRANULES - MOST) * GRANULE_BYTES);
    all_is_settled();
    for (unsigned i = 0; i < most + 1; i++)
        cr_assert_not_null(alloc(HPAGE_GRANULES - MOST));
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), most, "something was not to be had");
}

Test(asked, so_many_at_a_time, .init = start) { ask_on_top(ASKED_MAX); }

Test(asked, one_at_a_time_where_memory_is_limited, .init = start) {
    rt_opt.limit_hard = 1 * GIB;
    ask_on_top(1);
}

static void give_back(void) {
    fake_clock_advance_ms(2 * rt_opt.purge_delay);
    page_tick(sys_clock_ms());
    cr_expect_eq(page_purge(0), 0u);
    (void)page_release();
    cr_expect_eq(stats().committed_bytes, HPAGE_BYTES);
}

Test(asked, nothing_is_given_back_of_what_is_asked_for, .init = start) {
    first = alloc_and(RUN, give_back);
    memset(first, 1, RUN * GRANULE_BYTES);
    record_holds(first, RUN, HPAGE_GRANULES - RUN);
    cr_expect_eq(page_purge(0), (HPAGE_GRANULES - RUN) * GRANULE_BYTES);
    record_holds(first, RUN, 0);
    cr_expect_eq(stats().huge_bytes, 0u);
}

/* Memory is out but for what is asked for. */
static void take_the_last(void) {
    fake_fail(FAKE_COMMIT, 1, 100);
    fake_fail(FAKE_RESERVE, 1, 100);
    take_another();
    cr_expect_null(alloc(HPAGE_GRANULES), "there is no such run");
    fake_fail(FAKE_COMMIT, 0, 0);
    fake_fail(FAKE_RESERVE, 0, 0);
}

static void the_last_is_taken(unsigned refused) {
    char *others[2] = {alloc(HPAGE_GRANULES), NULL}; /* two are committed at a time */
    cr_assert_not_null(others[0]);
    fake_fail(FAKE_HUGE, 1, refused);
    first = alloc_and(RUN, take_the_last);
    cr_expect_eq(second, first + RUN * GRANULE_BYTES, "refused what is there");
    memset(first, 1, (RUN + OTHER_RUN) * GRANULE_BYTES);
    record_holds(first, RUN + OTHER_RUN, refused ? 0 : HPAGE_GRANULES - RUN - OTHER_RUN);
    cr_expect_eq(stats().huge_bytes, (2 - refused) * HPAGE_BYTES);
    page_run_free(second, OTHER_RUN);
    page_run_free(first, RUN);
    (void)page_purge(0);
    record_holds(first, 0, 0);
    cr_expect_eq(stats().huge_bytes, HPAGE_BYTES);
}

Test(asked, memory_is_not_out_while_one_is_asked_for, .init = start) { the_last_is_taken(0); }
Test(asked, memory_is_not_out_while_one_is_refused, .init = start) { the_last_is_taken(1); }

/* --- what the kernel refuses --- */

Test(asked, what_is_refused_is_small_pages, .init = start) {
    static const unsigned sizes[] = {RUN, HPAGE_GRANULES, HPAGE_GRANULES / 2};
    for (unsigned i = 0; i < ARRAY_NR(sizes); i++) {
        fake_fail(FAKE_HUGE, 1, 1);
        char *run = alloc(sizes[i]);
        cr_assert_not_null(run);
        cr_expect_eq(fake_failed_nr(FAKE_HUGE), 1u);
        cr_expect_eq(stats().huge_bytes, 0u);
        record_holds(run, sizes[i], 0);
        page_run_free(run, sizes[i]);
        (void)page_purge(0);
        record_holds(run, 0, 0);
    }
    cr_assert_not_null(alloc(RUN)); /* and the next is not */
    cr_expect_eq(stats().huge_bytes, HPAGE_BYTES);
}

/* As much may be free besides as without it. */
enum { RECORDS = 5, FILL = 120, LEFT = HPAGE_GRANULES - FILL };

static void free_another(void) {
    u64 allowance = tier_allowance(page_tiers);
    page_run_free(second, LEFT);
    cr_expect_eq(stats().purged_bytes_total, 0u);
    cr_assert_gt(page_tiers->free_backed_granules, allowance);
}

Test(asked, other_runs_do_not_go_for_what_is_asked_for, .init = start) {
    char *left[RECORDS];
    rt_opt.thp_after = 1024 * GIB;
    for (unsigned i = 0; i < RECORDS; i++) {
        memset(alloc(FILL), 1, FILL * GRANULE_BYTES); /* or no hugepage would be thought to be used */
        left[i] = alloc(LEFT);
    }
    for (unsigned i = 1; i < RECORDS; i++)
        page_run_free(left[i], LEFT);
    second = left[0];
    rt_opt.thp_after = 0;
    (void)alloc_and(LEFT + 1, free_another);
    cr_expect_gt(stats().purged_bytes_total, 0u, "nor are they let off");
}

Test(asked, exact_limits_count_what_came, .init = start) {
    rt_opt.limit_hard = 1 * GIB;
    s64 before = rt_usage_get();
    fake_fail(FAKE_HUGE, 1, 1);
    first = alloc(RUN);
    cr_assert_not_null(first);
    cr_expect_eq(rt_usage_get() - before, RUN * (s64)GRANULE_BYTES);
    page_run_free(first, RUN);
    (void)page_purge(0);
    cr_assert_not_null(alloc(RUN));
    cr_expect_eq(rt_usage_get() - before, (s64)HPAGE_BYTES);
}

/* What is wanted again so soon after it was purged: all of what came. */
static u64 regretted(void) {
    enum { WANTED = 10 };
    for (unsigned i = 0; i < WANTED; i++)
        cr_assert_not_null(alloc(HPAGE_GRANULES));
    page_run_free(alloc(RUN), RUN);
    cr_assert_gt(page_purge(0), 0u);
    cr_assert_eq(page_tiers->regret_granules + page_tiers->churn_granules, 0u);
    cr_assert_not_null(alloc(RUN));
    return page_tiers->regret_granules + page_tiers->churn_granules;
}

Test(asked, a_hugepage_is_regretted_whole, .init = start) { cr_expect_eq(regretted(), HPAGE_GRANULES); }
Test(asked, what_was_refused_is_regretted_as_it_came, .init = start) {
    fake_fail(FAKE_HUGE, 1, 100);
    cr_expect_eq(regretted(), (u64)RUN);
}
Test(asked, what_comes_unasked_is_regretted_whole, .init = start) {
    rt_opt.thp = OPT_THP_ALWAYS;
    cr_expect_eq(regretted(), HPAGE_GRANULES);
}

/* --- answers that find the lock held --- */

static void hold(void) { atomic_store(&page_tiers->lock.word, OTHER_THREAD); }
static void let_go(void) { atomic_store(&page_tiers->lock.word, (u64)0); }

static void is_left_to_the_holder(unsigned refused) {
    fake_fail(FAKE_HUGE, 1, refused);
    first = alloc_and(RUN, hold); /* it returns at all: nobody waits */
    cr_expect_eq(hpage_huge(record_of(first)), HPAGE_ASKED);
    cr_expect_not(record_of(first)->listed);
    page_run_free(first, RUN);
    cr_expect_eq(record_of(first)->used_nr, RUN);
    let_go();
    (void)page_purge(SIZE_MAX);
    record_holds(first, 0, refused ? RUN : HPAGE_GRANULES);
    cr_expect_eq(stats().huge_bytes, (1 - refused) * HPAGE_BYTES);
    (void)page_purge(0);
    record_holds(first, 0, 0);
    cr_expect_eq(stats().huge_bytes, 0u);
}

Test(asked, what_was_granted_is_left_to_the_holder, .init = start) { is_left_to_the_holder(0); }
Test(asked, what_was_refused_is_left_to_the_holder, .init = start) { is_left_to_the_holder(1); }

/* What its own thread knows of it (the page allocator), before it is settled and after. */
Test(asked, who_has_all_of_one_knows_whether_it_came, .init = start) {
    cr_expect(hpage_is_there(record_of(alloc(HPAGE_GRANULES))));
    fake_fail(FAKE_HUGE, 1, 1);
    first = alloc_and(HPAGE_GRANULES, hold);
    cr_expect_not(hpage_is_there(record_of(first)));
    let_go();
    (void)page_purge(SIZE_MAX);
    cr_expect_eq(hpage_huge(record_of(first)), HPAGE_SMALL);
    cr_expect_not(hpage_is_there(record_of(first)));
}

static void take_the_last_and_hold(void) {
    take_the_last();
    hold();
}

/* A tick gives back before it looks at what was left to it. */
Test(asked, what_was_opened_and_broken_is_not_whole_again, .init = start) {
    cr_assert_not_null(alloc(HPAGE_GRANULES));
    first = alloc_and(RUN, take_the_last_and_hold);
    cr_expect_eq(hpage_huge(record_of(first)), HPAGE_THP);
    cr_expect_neq(atomic_load(&page_tiers->answers), 0u);
    let_go();
    fake_clock_advance_ms(2 * rt_opt.purge_delay);
    page_tick(sys_clock_ms());
    record_holds(first, RUN + OTHER_RUN, 0);
    cr_expect_eq(hpage_huge(record_of(first)), HPAGE_SMALL);
    cr_expect_eq(stats().huge_bytes, HPAGE_BYTES);
}

/* --- fork --- */

static void become_child(void) {
    page_fork_prepare(RT_FORK_ALONE);
    page_fork_child();
    page_fork_done(RT_FORK_PARENT);
}

/* Of a thread that the child does not have. What it had in hand is lost, and nothing else. */
static void lose_who_asks(void) {
    const struct hpage *h = page_tiers->asked[0].record;
    unsigned denied = fake_calls_nr(FAKE_NOHUGE);
    page_tiers->asked[0].by = OTHER_THREAD;
    become_child();
    cr_expect_eq(fake_calls_nr(FAKE_NOHUGE), denied + 1, "the kernel may know already");
    record_holds(h->addr, RUN, 0);
    cr_expect_eq(stats().huge_bytes, 0u);
    cr_expect_eq(alloc(OTHER_RUN), h->addr + RUN * GRANULE_BYTES);
    record_holds(h->addr, RUN + OTHER_RUN, 0);
}

Test(asked, a_child_has_what_a_lost_thread_asked_for, .init = start) { (void)alloc_and(RUN, lose_who_asks); }

Test(asked, a_handler_that_forks_leaves_both_to_ask, .init = start) {
    first = alloc_and(RUN, become_child);
    record_holds(first, RUN, HPAGE_GRANULES - RUN);
    cr_expect_eq(stats().huge_bytes, HPAGE_BYTES);
}

/* The lost thread had said what came of it, but found the lock held by who forked. */
static void answer_and_lose(void) {
    page_fork_prepare(RT_FORK_ALONE);
    atomic_fetch_or(&page_tiers->answers, 1u);
    page_tiers->asked[0].by = OTHER_THREAD;
    page_fork_child();
    page_fork_done(RT_FORK_PARENT);
    all_is_settled();
    cr_expect_eq(hpage_huge(page_tiers->asked[0].record), HPAGE_THP);
    cr_expect(page_tiers->asked[0].record->listed);
    cr_expect(atomic_load(&page_tiers->asked[0].record->awaited), "the touch that brings it is lost");
    cr_expect_eq(page_purge(0), 0u);
}

Test(asked, a_child_believes_what_a_lost_thread_said, .init = start) { (void)alloc_and(RUN, answer_and_lose); }

/* --- threads --- */

enum { THREADS_NR = 4, HELD_NR = 6, STEPS_NR = 600, REFUSED_PART = 3 };

static struct worker {
    pthread_t thread;
    u64 seed;
    struct run {
        char *at;
        unsigned nr;
    } held[HELD_NR];
    unsigned wrong_nr;
} workers[THREADS_NR];

/* Others run while the kernel is asked, which refuses now and then. */
static _Atomic(unsigned) calls_nr;
static void let_others_run(enum fake_call call) {
    if (call != FAKE_HUGE)
        return;
    sys_yield();
    if (atomic_fetch_add(&calls_nr, 1) % REFUSED_PART == 0)
        fake_fail(FAKE_HUGE, 1, 1);
}

/* Whether each granule of the run begins with one byte; then with another. */
static bool run_restamp(const struct run *r, char expected, char stamp) {
    bool good = true;
    for (unsigned i = 0; i < r->nr; i++) {
        good = good && r->at[i * GRANULE_BYTES] == expected;
        r->at[i * GRANULE_BYTES] = stamp;
    }
    return good;
}

static void run_drop(struct worker *w, struct run *r) {
    if (r->at == NULL)
        return;
    w->wrong_nr += !run_restamp(r, (char)(1 + (w - workers)), 1);
    page_run_free(r->at, r->nr);
    r->at = NULL;
}

static void run_replace(struct worker *w, struct run *r) {
    enum page_content content = PAGE_DIRTY;
    u64 random = alone_random(&w->seed);
    run_drop(w, r);
    r->nr = random % 4 == 0 ? (unsigned)HPAGE_GRANULES : 1 + (unsigned)(random / 4 % 60);
    r->at = page_run_alloc(0, r->nr, 1, &content);
    w->wrong_nr += r->at == NULL;
    if (r->at == NULL)
        return;
    bool was_zero = run_restamp(r, 0, (char)(1 + (w - workers)));
    w->wrong_nr += content == PAGE_ZERO && !was_zero;
}

static void *work(void *arg) {
    struct worker *w = arg;
    for (unsigned i = 0; i < STEPS_NR; i++)
        run_replace(w, &w->held[alone_random(&w->seed) % HELD_NR]);
    for (unsigned i = 0; i < HELD_NR; i++)
        run_drop(w, &w->held[i]);
    return NULL;
}

static void ask_by_threads(void) {
    rt_opt.purge_delay = 0; /* so that each record is asked for again and again */
    s64 before = rt_usage_get();
    fake_calling = let_others_run;
    for (unsigned i = 0; i < THREADS_NR; i++) {
        workers[i].seed = 4711 + i;
        MUST(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS_NR; i++) {
        MUST(pthread_join(workers[i].thread, NULL) == 0);
        cr_expect_eq(workers[i].wrong_nr, 0u);
    }
    fake_calling = NULL;
    cr_expect_gt(fake_calls_nr(FAKE_HUGE), 0u);
    (void)page_purge(0);
    cr_expect_eq(rt_usage_get(), before);
    cr_expect_eq(stats().run_used_bytes + stats().run_free_bytes + stats().huge_bytes, 0u);
    for (unsigned i = 0; i < NODE_TIERS_NR; i++) {
        cr_expect_eq(atomic_load(&page_tiers[i].answers), 0u);
        for (unsigned k = 0; k < ASKED_MAX; k++)
            cr_expect_eq(page_tiers[i].asked[k].by, 0u);
    }
}

Test(asked, threads_that_ask_leave_the_sums_right, .init = start) { ask_by_threads(); }
Test(asked, and_what_a_limit_counts, .init = start) {
    rt_opt.limit_hard = 64 * GIB;
    ask_by_threads();
}
