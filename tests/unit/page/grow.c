/* SPDX-License-Identifier: MIT */
/* What new address space is told about hugepages, step by step. On a pretend system. */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"

#include <criterion/criterion.h>

enum { STEPS_NR = 6 };

static void start(void) {
    rt_options_read(NULL, NULL);
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

/* As the library starts on a system that gives them. */
static void start_where_small_come(void) {
    fake_thp_unasked_small(true);
    cr_assert_eq(page_init(), 0);
}

static u64 committed_bytes(void) {
    struct page_stats st;
    page_stats_get(&st);
    return st.committed_bytes;
}

/* Whether each of the steps was told to have no hugepages (n) or nothing (-). The record that begins it is taken, and
 * then the others of it. */
static const char *steps_told(void) {
    static char told[STEPS_NR + 1];
    enum page_content content;
    u64 end = 0, at = 0;
    for (unsigned i = 0; i < STEPS_NR; i++) {
        unsigned before = fake_calls_nr(FAKE_NOHUGE);
        for (bool first = true; first || at < end; first = false) {
            cr_assert_not_null(page_run_alloc(0, HPAGE_GRANULES, 1, &content));
            at += HPAGE_BYTES;
            if (first)
                told[i] = fake_calls_nr(FAKE_NOHUGE) != before ? 'n' : '-';
            end = committed_bytes();
        }
    }
    return told;
}

Test(grow, a_reservation_is_told_no_once, .init = start) {
    rt_opt.thp_after = 1 * GIB;
    cr_expect_str_eq(steps_told(), "n-----");
}

Test(grow, each_reservation_is_told, .init = start) {
    enum { RESERVATION_HPAGES = 512 };
    enum page_content content;
    rt_opt.thp_after = 4 * GIB;
    unsigned before = fake_calls_nr(FAKE_NOHUGE); /* the records' pool was told at the start */
    for (unsigned i = 0; i < RESERVATION_HPAGES; i++)
        cr_assert_not_null(page_run_alloc(0, HPAGE_GRANULES, 1, &content));
    cr_expect_eq(fake_calls_nr(FAKE_NOHUGE), before + 1);
    cr_assert_not_null(page_run_alloc(0, HPAGE_GRANULES, 1, &content));
    cr_expect_eq(fake_calls_nr(FAKE_NOHUGE), before + 2);
}

Test(grow, what_was_refused_is_said_again, .init = start) {
    rt_opt.thp_after = 1 * GIB;
    fake_fail(FAKE_NOHUGE, 1, 2);
    cr_expect_str_eq(steps_told(), "nnn---");
}

Test(grow, small_sizes_may_come_until_the_large_one_is_earned, .init = start) {
    rt_opt.thp_after = 32 * MIB; /* steps begin at 0, 4, 12, 28, 60 and 124 MiB */
    start_where_small_come();
    fake_fail(FAKE_HUGE, 1, 1000); /* the first touch of a hugepage would say no as well */
    cr_expect_str_eq(steps_told(), "n---n-");
}

Test(grow, not_where_memory_is_to_be_exact, .init = start) {
    rt_opt.thp_after = 1 * GIB;
    rt_opt.limit_hard = 1 * GIB;
    start_where_small_come();
    cr_expect_str_eq(steps_told(), "n-----");
}

Test(grow, not_where_none_are_wanted, .init = start) {
    rt_opt.thp = OPT_THP_NEVER;
    start_where_small_come();
    cr_expect_str_eq(steps_told(), "n-----");
}

Test(grow, always_means_always, .init = start) {
    rt_opt.thp = OPT_THP_ALWAYS;
    start_where_small_come();
    cr_expect_str_eq(steps_told(), "------");
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), 1u, "all that is reserved, at once");
}
