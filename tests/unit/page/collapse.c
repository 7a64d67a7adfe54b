/* SPDX-License-Identifier: MIT */
/* Hugepages out of small pages that have become dense: which records, how often, and what is counted. On a pretend
 * system, where a collapse only counts. */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RUN = 16, RECORD_RUNS = (int)HPAGE_GRANULES / RUN, RECORDS = 12, TICK_MS = 100, OLD_MS = 5000 };

static char *runs[RECORDS * RECORD_RUNS];

static unsigned collapses(void) { return fake_calls_nr(FAKE_COLLAPSE); }

static struct page_stats stats(void) {
    struct page_stats st;
    page_stats_get(&st);
    return st;
}

static void ticks(unsigned nr) {
    for (unsigned i = 0; i < nr; i++) {
        fake_clock_advance_ms(TICK_MS);
        page_tick(sys_clock_ms());
    }
}

/* A heap of records of small pages, each wholly handed out, and written but for what never is. */
static void start_but(unsigned first_sparse) {
    rt_options_read(NULL, NULL);
    rt_opt.thp_after = 1 * GIB;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    for (unsigned i = 0; i < RECORDS * RECORD_RUNS; i++) {
        enum page_content content;
        runs[i] = page_run_alloc(0, RUN, 1, &content);
        cr_assert_not_null(runs[i]);
        memset(runs[i], 0x5a, i < first_sparse ? RUN * GRANULE_BYTES : 1);
    }
    rt_opt.thp_after = 2 * MIB;
    fake_clock_advance_ms(OLD_MS);
}

static void start(void) { start_but(RECORDS * RECORD_RUNS); }

Test(collapse, not_what_was_handed_out_and_hardly_touched) {
    start_but(RECORD_RUNS);
    ticks(2 * RECORDS);
    cr_expect_eq(collapses(), 1u);
    cr_expect_eq(stats().huge_bytes, HPAGE_BYTES);
    for (unsigned i = RECORD_RUNS; i < 2 * RECORD_RUNS; i++)
        memset(runs[i], 0x5a, RUN * GRANULE_BYTES);
    ticks(RECORDS);
    cr_expect_eq(collapses(), 2u, "used after all");
}

Test(collapse, one_record_with_each_tick_until_all_are_whole, .init = start) {
    for (unsigned i = 1; i <= RECORDS; i++) {
        ticks(1);
        cr_expect_eq(collapses(), i);
        cr_expect_eq(stats().huge_bytes, i * HPAGE_BYTES);
    }
    ticks(5);
    cr_expect_eq(collapses(), (unsigned)RECORDS, "a hugepage was collapsed");
    cr_expect_eq(stats().collapses, (u64)RECORDS);
    for (unsigned i = 0; i < RECORDS * RECORD_RUNS; i++)
        cr_assert_eq(runs[i][RUN * GRANULE_BYTES - 1], 0x5a);
}

Test(collapse, a_whole_one_is_broken_as_any_other, .init = start) {
    ticks(RECORDS);
    for (unsigned i = 0; i < RECORD_RUNS / 2; i++)
        page_run_free(runs[i], RUN);
    (void)page_purge(0);
    cr_expect_eq(stats().huge_bytes, (RECORDS - 1) * HPAGE_BYTES);
    ticks(5);
    cr_expect_eq(collapses(), (unsigned)RECORDS, "half of it holds no memory");
}

Test(collapse, not_what_was_taken_a_moment_ago, .init = start) {
    page_run_free(runs[RECORD_RUNS], RUN);
    fake_clock_advance_ms(2 * OLD_MS);
    page_tick(sys_clock_ms());
    unsigned before = collapses();
    enum page_content content;
    cr_assert_eq(page_run_alloc(0, RUN, 1, &content), runs[RECORD_RUNS]);
    ticks(RECORDS);
    cr_expect_eq(collapses(), before + RECORDS - 2);
    ticks(20);
    cr_expect_eq(collapses(), before + RECORDS - 1);
}

/* A fork that has the tier may wait for what the tick is on top of: the tick would wait for the tier afterwards. */
Test(collapse, not_on_top_of_what_a_fork_waits_for, .init = start) {
    for (unsigned i = 0; i < RT_FORK_LOCKS_NR; i++) {
        cr_assert(sys_lock_try(&rt_fork_locks[i]));
        ticks(1);
        cr_expect_eq(collapses(), 0u);
        sys_lock_release(&rt_fork_locks[i]);
    }
    ticks(1);
    cr_expect_eq(collapses(), 1u);
}

Test(collapse, not_while_the_heap_is_small, .init = start) {
    rt_opt.thp_after = 64 * MIB;
    ticks(3);
    cr_expect_eq(collapses(), 0u);
}

Test(collapse, not_unless_hugepages_are_to_be_earned, .init = start) {
    rt_opt.thp = OPT_THP_NEVER;
    ticks(3);
    cr_expect_eq(collapses(), 0u);
}

/* All records lose a run, that is an eighth, and then another. */
Test(collapse, dense_and_at_rest_alone, .init = start) {
    ticks(1);
    for (unsigned i = 0; i < RECORDS; i++)
        page_run_free(runs[i * RECORD_RUNS], RUN);
    ticks(1);
    cr_expect_eq(collapses(), 1u, "something was freed a moment ago");
    fake_clock_advance_ms(rt_opt.purge_delay);
    for (unsigned i = 0; i < RECORDS; i++)
        page_run_free(runs[i * RECORD_RUNS + 1], RUN);
    fake_clock_advance_ms(2 * rt_opt.purge_delay);
    ticks(3);
    cr_expect_eq(collapses(), 1u, "a quarter is free");
}

/* [C1] */
Test(collapse, what_was_given_back_inside_stays_given_back, .init = start) {
    for (unsigned i = 0; i < RECORDS; i++) {
        struct sys_range range = {runs[i * RECORD_RUNS], sys_page_bytes()};
        cr_assert_eq(page_purge_inside(&range, 1), 1u);
    }
    ticks(3);
    cr_expect_eq(collapses(), 0u);
    cr_assert(page_refill_inside_try(runs[RECORD_RUNS], sys_page_bytes()));
    ticks(3);
    cr_expect_eq(collapses(), 1u);
    cr_expect_eq(stats().huge_bytes, HPAGE_BYTES);
}

/* The same of whole runs: an eighth of each record is free, and given back. */
Test(collapse, what_holds_no_memory_gets_none, .init = start) {
    for (unsigned i = 0; i < RECORDS; i++)
        page_run_free(runs[i * RECORD_RUNS], RUN);
    (void)page_purge(0);
    fake_clock_advance_ms(OLD_MS);
    ticks(3);
    cr_expect_eq(collapses(), 0u);
}

/* Of the first record a run is freed, given back, and all but some granules of it taken again. */
static void leave_holes(unsigned granules) {
    enum page_content content;
    page_run_free(runs[0], RUN);
    (void)page_purge(0);
    cr_assert_eq(page_run_alloc(0, RUN - granules, 1, &content), runs[0]);
    fake_clock_advance_ms(OLD_MS);
}

/* [C1] What slabs of odd lengths leave of a record. */
Test(collapse, a_few_granules_without_memory_are_filled_and_counted, .init = start) {
    enum { HOLES = 4 };
    leave_holes(HOLES);
    ticks(RECORDS);
    cr_expect_eq(collapses(), (unsigned)RECORDS);
    cr_expect_eq(stats().huge_bytes, RECORDS * HPAGE_BYTES);
    cr_expect_eq(stats().run_free_bytes, HOLES * GRANULE_BYTES);
    cr_expect_eq(page_backed_bytes_racy(), RECORDS * HPAGE_BYTES);
    cr_expect_eq(rt_usage_get(), (s64)(RECORDS * HPAGE_BYTES));
    (void)page_purge(0);
    cr_expect_eq(stats().run_free_bytes, 0u);
    cr_expect_eq(stats().huge_bytes, (RECORDS - 1) * HPAGE_BYTES);
}

Test(collapse, more_than_a_few_are_not, .init = start) {
    leave_holes(5);
    ticks(RECORDS);
    cr_expect_eq(collapses(), RECORDS - 1u);
    cr_expect_eq(stats().run_free_bytes, 0u);
}

Test(collapse, nor_a_few_that_limit_hard_forbids, .init = start) {
    enum { HOLES = 4 };
    leave_holes(HOLES);
    rt_opt.limit_hard = (u64)rt_usage_total() + HOLES * GRANULE_BYTES - 1;
    ticks(2 * RECORDS);
    cr_expect_eq(collapses(), RECORDS - 1u);
    rt_opt.limit_hard++;
    ticks(2 * RECORDS);
    cr_expect_eq(collapses(), (unsigned)RECORDS);
    cr_expect_eq((u64)rt_usage_total(), rt_opt.limit_hard);
}

/* What may not be free and backed would be given back at once, and the record be collapsed and broken with each tick.
 */
static void ticks_change_nothing(void) {
    u64 before = stats().collapses, purges = stats().purges;
    ticks(RECORDS);
    cr_expect_eq(stats().collapses, before);
    cr_expect_eq(stats().purges, purges);
    cr_expect_eq(stats().run_free_bytes, 0u);
}

Test(collapse, nor_a_few_that_are_not_allowed_to_be_free, .init = start) {
    leave_holes(4);
    rt_opt.purge_delay = 0;
    ticks(RECORDS);
    cr_expect_eq(collapses(), RECORDS - 1u);
    cr_expect_eq(stats().huge_bytes, (RECORDS - 1) * HPAGE_BYTES);
    ticks_change_nothing();
}

Test(collapse, nor_beyond_what_limit_soft_leaves, .init = start) {
    leave_holes(4);
    rt_opt.limit_soft = 1; /* passed, and a 64th of it is nothing */
    ticks(RECORDS);
    cr_expect_eq(collapses(), RECORDS - 1u);
    ticks_change_nothing();
}

/* They stay counted, and go as any other free memory. */
Test(collapse, a_few_of_a_collapse_that_fails_are_given_back, .init = start) {
    leave_holes(4);
    fake_fail(FAKE_COLLAPSE, 1, 1);
    ticks(1);
    cr_expect_eq(fake_failed_nr(FAKE_COLLAPSE), 1u);
    cr_expect_eq(stats().run_free_bytes, 4 * GRANULE_BYTES);
    (void)page_purge(0);
    cr_expect_eq(stats().run_free_bytes, 0u);
    cr_expect_eq(rt_usage_get(), (s64)(RECORDS * HPAGE_BYTES - 4 * GRANULE_BYTES));
}

/* Pages inside a slab of a real hugepage go: it is none any more, its free runs go by age, and it may become one again.
 */
Test(collapse, one_with_holes_inside_is_broken, .init = start) {
    struct sys_range range = {runs[0], sys_page_bytes()};
    ticks(RECORDS);
    cr_assert_eq(stats().huge_bytes, RECORDS * HPAGE_BYTES);
    cr_assert_eq(page_purge_inside(&range, 1), 1u);
    page_run_free(runs[1], RUN);
    ticks(1);
    cr_expect_eq(stats().huge_bytes, (RECORDS - 1) * HPAGE_BYTES);
    fake_clock_advance_ms(rt_opt.purge_delay);
    ticks(1);
    cr_expect_eq(stats().run_free_bytes, 0u, "it waits until a quarter of all is free");
    enum page_content content;
    cr_assert_eq(page_run_alloc(0, RUN, 1, &content), runs[1]);
    memset(runs[1], 0x5a, RUN * GRANULE_BYTES);
    cr_assert(page_refill_inside_try(runs[0], sys_page_bytes()));
    fake_clock_advance_ms(OLD_MS);
    ticks(2);
    cr_expect_eq(collapses(), RECORDS + 1u);
    cr_expect_eq(stats().huge_bytes, RECORDS * HPAGE_BYTES);
}

Test(collapse, slow_ones_are_followed_by_pauses, .init = start) {
    enum { SLOW_NS = 3000000, FIRST = 8, SECOND = 32 };
    fake_clock_look_takes_ns(SLOW_NS);
    ticks(1);
    cr_expect_eq(collapses(), 1u);
    ticks(FIRST - 1);
    cr_expect_eq(collapses(), 1u);
    ticks(1);
    cr_expect_eq(collapses(), 2u);
    ticks(SECOND - 1);
    cr_expect_eq(collapses(), 2u);
    fake_clock_look_takes_ns(0);
    ticks(2);
    cr_expect_eq(collapses(), 4u, "a quick one ends the pauses");
}

Test(collapse, what_fails_changes_nothing, .init = start) {
    fake_fail(FAKE_COLLAPSE, 1, 1);
    ticks(1);
    cr_expect_eq(collapses(), 1u);
    cr_expect_eq(stats().huge_bytes, 0u);
    ticks(8 + RECORDS);
    cr_expect_eq(stats().huge_bytes, RECORDS * HPAGE_BYTES, "it is tried again later");
}

/* A record that is about to be collapsed. */
static struct hpage *chosen(void) {
    struct page_tier *t = &page_tiers[0];
    cr_assert(sys_lock_acquire(&t->lock));
    t->now_ms = sys_clock_ms();
    struct hpage *h = tier_collapse_choose_locked(t);
    cr_assert_not_null(h);
    tier_unlock(t);
    return h;
}

/* [C2] As it fails it gives memory back, as another thread might at that moment. */
Test(collapse, a_record_is_left_alone_meanwhile, .init = start) {
    struct hpage *h = chosen();
    u64 before = stats().purged_bytes_total;
    page_run_free(h->addr, RUN);
    (void)page_purge(0);
    cr_expect_eq(stats().purged_bytes_total, before, "given back while it is collapsed");
    struct sys_range range = {h->addr + (size_t)RUN * GRANULE_BYTES, sys_page_bytes()};
    cr_assert_eq(page_purge_inside(&range, 1), 1u);
    tier_collapse(&page_tiers[0], h);
    cr_expect_not(h->huge);
    cr_expect_eq(stats().huge_bytes, 0u);
    (void)page_purge(0);
    cr_expect_gt(stats().purged_bytes_total, before);
}

/* Nor is its address given up, when nothing of it is in use any more and address space is short. */
Test(collapse, a_record_keeps_its_address_meanwhile, .init = start) {
    struct hpage *h = chosen();
    for (unsigned i = 0; i < RECORD_RUNS; i++)
        page_run_free(h->addr + (size_t)i * RUN * GRANULE_BYTES, RUN);
    (void)page_release();
    cr_expect_eq((int)atomic_load(&h->state), (int)HPAGE_RUNS);
    tier_collapse(&page_tiers[0], h);
    (void)page_release();
    cr_expect_eq((int)atomic_load(&h->state), (int)HPAGE_FOREIGN);
}

/* [C3] */
Test(collapse, not_after_a_fork, .init = start) {
    page_collapse_forked(RT_FORK_PARENT);
    ticks(100);
    cr_expect_eq(collapses(), 0u);
    ticks(700);
    cr_expect_eq(collapses(), (unsigned)RECORDS);
}

Test(collapse, in_a_child_never, .init = start) {
    page_collapse_forked(RT_FORK_CHILD);
    page_collapse_forked(RT_FORK_PARENT); /* it forks in its turn */
    ticks(1000);
    cr_expect_eq(collapses(), 0u);
}
