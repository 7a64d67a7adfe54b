/* SPDX-License-Identifier: MIT */
/* Records of the administrator's pool: when they are taken, that no part of one is ever purged, what goes back, what a
 * child of a fork makes of them. On a pretend system, which ends the test where a page of the pool is purged. */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUN = 32, RECORD_RUNS = (int)HPAGE_GRANULES / RUN, POOL = 6, BEFORE = 1, RUNS_MAX = 64 };
#define RUN_BYTES (RUN * GRANULE_BYTES)
#define AFTER (BEFORE * HPAGE_BYTES)

static char *runs[RUNS_MAX];
static unsigned runs_nr;

static struct page_stats stats(void) {
    struct page_stats st;
    page_stats_get(&st);
    return st;
}

static u64 pool_bytes(void) { return stats().hugetlb_bytes; }
static unsigned taken(void) { return POOL - fake_hugetlb_left(); }

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    rt_opt.hugetlb = 1;
    rt_opt.thp_after = AFTER;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    fake_hugetlb(POOL);
}

static bool run_add(void) {
    enum page_content content;
    char *p = page_run_alloc(0, RUN, 1, &content);
    if (p == NULL)
        return false;
    memset(p, (int)(runs_nr + 1), RUN_BYTES);
    runs[runs_nr++] = p;
    return true;
}

static void records_add(unsigned nr) {
    for (unsigned i = 0; i < nr * RECORD_RUNS; i++)
        cr_assert(run_add());
}

static void run_check(unsigned i) {
    for (size_t at = 0; at < RUN_BYTES; at += 64)
        cr_assert_eq(runs[i][at], (char)(i + 1), "run %u at %zu", i, at);
}

static bool is_of_pool(const char *p) { return chunk_hpage(chunk_of(p), p)->huge == HPAGE_HUGETLB; }

/* The sums over all records, [P3] among them, and what the limits are compared with. */
static void sums_check(void) {
    struct page_stats st = stats();
    cr_expect_eq(st.run_used_bytes, runs_nr * RUN_BYTES);
    cr_expect_eq((u64)rt_usage_get(), st.run_used_bytes + st.run_free_bytes);
    cr_expect_eq(page_backed_bytes_racy(), st.run_used_bytes + st.run_free_bytes);
}

Test(hugetlb, taken_from_a_heap_size_on_until_there_are_none, .init = start) {
    records_add(BEFORE);
    cr_expect_eq(fake_calls_nr(FAKE_HUGETLB), 0u, "the heap was small");
    records_add(POOL);
    cr_expect_eq(pool_bytes(), POOL * HPAGE_BYTES);
    cr_expect_eq(fake_hugetlb_left(), 0u);
    cr_expect_eq(fake_calls_nr(FAKE_POPULATE), (unsigned)POOL);
    records_add(2);
    cr_expect_eq(pool_bytes(), POOL * HPAGE_BYTES);
    cr_expect_not(is_of_pool(runs[runs_nr - 1]));
    for (unsigned i = 0; i < runs_nr; i++)
        run_check(i);
    sums_check();
}

Test(hugetlb, not_unless_the_option_says_so, .init = start) {
    rt_opt.hugetlb = 0;
    records_add(BEFORE + 2);
    rt_opt.hugetlb = rt_opt.harden = 1;
    records_add(1);
    rt_opt.harden = 0;
    rt_opt.numa = OPT_NUMA_INTERLEAVE;
    records_add(1);
    cr_expect_eq(fake_calls_nr(FAKE_HUGETLB), 0u);
}

Test(hugetlb, a_part_of_one_is_never_purged, .init = start) {
    records_add(BEFORE + 1);
    char *last = runs[--runs_nr];
    page_run_free(last, RUN);
    page_run_free(runs[--runs_nr], RUN);
    page_run_free(runs[1], RUN); /* an ordinary record has less that is free, and is looked at later */
    runs[1] = runs[--runs_nr];
    sums_check();
    (void)page_purge(0);
    (void)page_release();
    fake_clock_advance_ms(10 * rt_opt.purge_delay);
    page_tick(sys_clock_ms());
    cr_expect_eq(pool_bytes(), HPAGE_BYTES);
    cr_expect_eq(stats().run_free_bytes, 2 * RUN_BYTES);
    struct sys_range ranges[2] = {{runs[0], sys_page_bytes()}, {runs[runs_nr - 1], sys_page_bytes()}};
    cr_assert(is_of_pool(ranges[1].addr));
    cr_expect_eq(page_purge_inside(ranges, 2), 1u, "of the first alone, which is no page of the pool");
    cr_assert(page_refill_inside_try(runs[0], sys_page_bytes()));
    for (unsigned i = 0; i < 3; i++)
        cr_assert(run_add());
    cr_expect_eq(runs[runs_nr - 1], last, "it is used again");
    sums_check();
}

static void last_record_free(void) {
    for (unsigned i = 0; i < RECORD_RUNS; i++)
        page_run_free(runs[--runs_nr], RUN);
}

Test(hugetlb, what_is_wholly_free_goes_back_with_time, .init = start) {
    records_add(BEFORE + 2);
    fake_clock_advance_ms(10000);
    page_tick(sys_clock_ms());
    last_record_free();
    page_tick(sys_clock_ms());
    cr_expect_eq(taken(), 2u, "it was freed a moment ago");
    fake_clock_advance_ms(rt_opt.purge_delay + 1);
    page_tick(sys_clock_ms());
    cr_expect_eq(taken(), 1u);
    cr_expect_eq(pool_bytes(), HPAGE_BYTES);
    sums_check();
    records_add(1);
    cr_expect_eq(taken(), 2u, "and comes again");
    sums_check();
}

Test(hugetlb, and_at_once_where_that_is_asked_for, .init = start) {
    records_add(BEFORE + 2);
    last_record_free();
    cr_expect_geq(page_purge(0), HPAGE_BYTES);
    cr_expect_eq(taken(), 1u);
    sums_check();
}

Test(hugetlb, one_that_can_not_be_unmapped_stays, .init = start) {
    records_add(BEFORE + 1);
    last_record_free();
    fake_fail(FAKE_RELEASE, 1, 1);
    (void)page_purge(0);
    cr_expect_eq(pool_bytes(), HPAGE_BYTES);
    sums_check();
    (void)page_purge(0);
    cr_expect_eq(pool_bytes(), 0u);
    sums_check();
}

/* [H1] The kernel set it aside, and then has none. */
Test(hugetlb, none_that_does_not_come, .init = start) {
    records_add(BEFORE);
    size_t reserved = fake_reserved_bytes();
    fake_fail(FAKE_POPULATE, 1, 1000);
    records_add(1);
    cr_expect_eq(pool_bytes(), 0u);
    cr_expect_eq(fake_hugetlb_left(), (unsigned)POOL);
    cr_expect_eq(fake_reserved_bytes(), reserved, "what was set aside stays mapped");
    cr_expect_not(is_of_pool(runs[runs_nr - 1]));
    sums_check();
}

/* Where the pool's address space begins a chunk, the chunk's records count as well. */
Test(hugetlb, no_hugepage_beyond_the_hard_limit, .init = start) {
    rt_opt.limit_hard = (size_t)1 << 40;
    records_add(BEFORE);
    rt_opt.limit_hard = rt_usage_total() + HPAGE_BYTES;
    cr_assert(run_add());
    cr_expect_eq(pool_bytes(), 0u, "a whole one and the run are more than is left");
    sums_check();
    rt_opt.limit_hard += 2 * HPAGE_BYTES;
    records_add(1);
    cr_expect_eq(pool_bytes(), HPAGE_BYTES);
    sums_check();
}

/* The sixteenth record is asked for with a second one. */
Test(hugetlb, what_is_set_aside_in_advance_goes_back, .init = start) {
    fake_hugetlb(40);
    records_add(BEFORE);
    for (unsigned i = 0; i < 17; i++) {
        records_add(1);
        runs_nr -= RECORD_RUNS; /* they stay, unchecked */
    }
    unsigned set_aside = 40 - fake_hugetlb_left();
    cr_expect_eq(set_aside, 18u);
    (void)page_purge(0);
    cr_expect_eq(40 - fake_hugetlb_left(), 17u);
}

/* [H3] This process is made the child. */
static void become_child(void) {
    page_fork_prepare(RT_FORK_ALONE);
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_CHILD);
    page_fork_done(RT_FORK_PARENT);
}

Test(hugetlb, a_child_copies_and_holds_none, .init = start) {
    records_add(BEFORE + 3);
    page_run_free(runs[--runs_nr], RUN);
    size_t reserved = fake_reserved_bytes();
    become_child();
    cr_expect_eq(pool_bytes(), 0u);
    cr_expect_eq(taken(), 0u);
    cr_expect_eq(fake_reserved_bytes(), reserved, "address space is lost");
    for (unsigned i = 0; i < runs_nr; i++)
        run_check(i);
    sums_check();
    (void)page_purge(0);
    cr_expect_eq(stats().run_free_bytes, 0u, "as any other memory it is purged");
    sums_check();
    records_add(2);
    cr_expect_gt(pool_bytes(), 0u, "it may have its own");
}

Test(hugetlb, a_child_without_memory_goes_on_with_them, .init = start) {
    records_add(BEFORE + 2);
    size_t reserved = fake_reserved_bytes();
    static const enum fake_call kinds[] = {FAKE_RESERVE, FAKE_COMMIT, FAKE_MOVE};
    for (unsigned k = 0; k < 3; k++) {
        fake_fail(kinds[k], 1, 1000);
        become_child();
        fake_fail(kinds[k], 0, 0);
        cr_expect_eq(pool_bytes(), 2 * HPAGE_BYTES);
        cr_expect_eq(fake_reserved_bytes(), reserved, "address space is lost");
        for (unsigned i = 0; i < runs_nr; i++)
            run_check(i);
        sums_check();
    }
    fake_fail(FAKE_PIPE, 1, 1);
    become_child();
    cr_expect_eq(pool_bytes(), 0u, "nobody can be told");
}

/* The kernel unmapped the place first, and then had no memory to move anything there. */
Test(hugetlb, a_child_loses_nothing_by_moves_that_fail_late, .init = start) {
    records_add(BEFORE + 2);
    size_t reserved = fake_reserved_bytes();
    fake_fail(FAKE_MOVE_LATE, 1, 1000);
    become_child();
    cr_expect_gt(fake_failed_nr(FAKE_MOVE_LATE), 0u);
    cr_expect_eq(pool_bytes(), 0u);
    cr_expect_eq(fake_reserved_bytes(), reserved, "address space is lost");
    for (unsigned i = 0; i < runs_nr; i++)
        run_check(i);
    sums_check();
}

static int descriptors_nr(void) {
    int fd = dup(0);
    cr_assert_geq(fd, 0);
    return close(fd) == 0 ? fd : -1;
}

/* A handler on top of who holds the tiers: they are not this fork's. Nor are those it lost. */
Test(hugetlb, a_child_copies_of_tiers_that_are_being_changed, .init = start) {
    records_add(BEFORE + 2);
    for (unsigned i = 0; i < tiers_nr(); i++)
        cr_assert(sys_lock_try(&tier_at(i)->lock));
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_CHILD);
    for (unsigned i = 0; i < tiers_nr(); i++)
        sys_lock_release(&tier_at(i)->lock);
    cr_expect_eq(taken(), 0u, "a write to them would take pages that may not be there");
    cr_expect_eq(pool_bytes(), 2 * HPAGE_BYTES, "what the interrupted one counts changed below it");
    for (unsigned i = 0; i < runs_nr; i++)
        run_check(i);
    sums_check();
    last_record_free();
    cr_expect_geq(page_purge(0), HPAGE_BYTES);
    cr_expect_eq(pool_bytes(), HPAGE_BYTES);
    sums_check();
}

/* The clock stands still here: a wait for the deadline would be for ever, and one without would find no child. */
Test(hugetlb, a_fork_that_fails_is_not_waited_for, .init = start, .timeout = 100) {
    int fd = descriptors_nr();
    records_add(BEFORE + 1);
    for (unsigned i = 0; i < 20; i++) {
        page_hugetlb_fork_prepare();
        page_hugetlb_forked(RT_FORK_PARENT);
    }
    cr_expect_eq(fake_calls_nr(FAKE_PIPE), 20u);
    cr_expect_eq(descriptors_nr(), fd);
    page_hugetlb_fork_prepare();
    pid_t child = fork();
    if (child == 0)
        _exit(0); /* dies without a word */
    page_hugetlb_forked(RT_FORK_PARENT);
    cr_expect_eq(waitpid(child, NULL, 0), child);
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_CHILD);
    cr_expect_eq(descriptors_nr(), fd);
}

/* Another thread gave the last of it back between the two. */
Test(hugetlb, what_is_held_is_asked_for_once, .init = start, .timeout = 100) {
    int fd = descriptors_nr();
    records_add(BEFORE + 1);
    page_hugetlb_fork_prepare();
    last_record_free();
    cr_expect_geq(page_purge(0), HPAGE_BYTES);
    pid_t child = fork();
    page_hugetlb_forked(child == 0 ? RT_FORK_CHILD : RT_FORK_PARENT);
    if (child == 0)
        _exit(descriptors_nr() == fd ? 0 : 1);
    int status = 1;
    cr_expect_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_expect_eq(descriptors_nr(), fd);
}

Test(hugetlb, a_process_that_forked_takes_no_more, .init = start) {
    records_add(BEFORE + 1);
    fake_fail(FAKE_PIPE, 1, 1); /* nobody is waited for */
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_PARENT);
    records_add(2);
    cr_expect_eq(pool_bytes(), HPAGE_BYTES);
    cr_expect_eq(taken(), 1u);
}

Test(hugetlb, a_fork_without_any_is_no_reason, .init = start) {
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_PARENT);
    cr_expect_eq(fake_calls_nr(FAKE_PIPE), 0u);
    records_add(BEFORE + 1);
    cr_expect_eq(pool_bytes(), HPAGE_BYTES);
}
