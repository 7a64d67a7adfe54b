/* SPDX-License-Identifier: MIT */
/* What new address space is told about hugepages, step by step, and where in it the heap begins. On a pretend system.
 */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"

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

/* All that is reserved has hugepages: what the limit leaves no room for says no by itself, or it would come in full
 * with the first touch and be counted nowhere; and yes again, where it becomes free and there is room. */
Test(grow, always_says_no_where_a_limit_leaves_no_room, .init = start) {
    enum page_content content;
    struct page_stats st;
    rt_opt.thp = OPT_THP_ALWAYS;
    rt_opt.limit_hard = 1 * GIB;
    cr_assert_not_null(page_run_alloc(0, HPAGE_GRANULES, 1, &content));
    unsigned yes = fake_calls_nr(FAKE_HUGE), no = fake_calls_nr(FAKE_NOHUGE);
    rt_opt.limit_hard = (u64)rt_usage_total() + HPAGE_BYTES / 2;
    char *run = page_run_alloc(0, 1, 1, &content);
    cr_assert_not_null(run);
    cr_expect_eq(fake_calls_nr(FAKE_NOHUGE), no + 1);
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), yes);
    cr_expect_eq(page_backed_bytes_racy(), HPAGE_BYTES + GRANULE_BYTES);
    page_run_free(run, 1);
    (void)page_purge(0);
    rt_opt.limit_hard = 1 * GIB;
    cr_assert_eq(page_run_alloc(0, 1, 1, &content), run);
    cr_expect_eq(fake_calls_nr(FAKE_NOHUGE), no + 1);
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), yes + 1);
    cr_expect_eq((uintptr_t)fake_huge_at, round_down((uintptr_t)run, HPAGE_BYTES));
    page_stats_get(&st);
    cr_expect_eq(st.huge_bytes, 2 * HPAGE_BYTES);
}

/* --- places of chance --- */

#define RESERVED_BYTES (1 * GIB)
enum { GAP_MOST = 127, START_MOST = 31 }; /* hugepages, granules */

static void start_far_in(void) {
    fake_layout = UINT32_MAX; /* the most of each */
    start();
}

static char *alloc(unsigned nr, unsigned align) {
    enum page_content content;
    return page_run_alloc(0, nr, align, &content);
}

static char *reservation(void) { return page_tiers->reserved_end - RESERVED_BYTES; }

Test(grow, the_heap_begins_behind_a_gap_and_inside_a_hugepage, .init = start_far_in) {
    char *run = alloc(1, 1);
    cr_assert_not_null(run);
    cr_expect_eq((uintptr_t)reservation() % HPAGE_BYTES, 0u);
    cr_expect_eq(run - reservation(), (ptrdiff_t)(GAP_MOST * HPAGE_BYTES + START_MOST * GRANULE_BYTES));
}

Test(grow, a_fixed_layout_begins_at_the_beginning, .init = start_far_in) {
    rt_opt.layout = OPT_LAYOUT_FIXED;
    char *run = alloc(1, 1);
    cr_expect_eq(run, reservation());
}

Test(grow, no_address_space_is_left_out_where_it_is_scarce) {
    fake_layout = UINT32_MAX;
    fake_limit(64 * GIB); /* of which reservations are as large as without */
    start();
    char *run = alloc(1, 1);
    cr_expect_eq(run, reservation() + START_MOST * GRANULE_BYTES);
}

/* What is above the start ascends, then what is below it does: all of the record, and nothing twice. */
Test(grow, all_of_the_first_hugepage_is_used, .init = start_far_in) {
    char *first = alloc(1, 1), *base = first - START_MOST * GRANULE_BYTES;
    for (unsigned i = START_MOST + 1; i < START_MOST + HPAGE_GRANULES; i++)
        cr_assert_eq(alloc(1, 1), base + i % HPAGE_GRANULES * GRANULE_BYTES);
    cr_expect_eq(alloc(1, 1), base + HPAGE_BYTES, "the next one begins at its beginning");
    for (unsigned i = 0; i < HPAGE_GRANULES; i++)
        page_run_free(base + i * GRANULE_BYTES, 1);
    cr_expect_eq(alloc(1, 1), base + HPAGE_BYTES + GRANULE_BYTES, "the fullest first");
}

Test(grow, what_does_not_fit_behind_the_start_lies_before_it, .init = start_far_in) {
    enum { LARGE = HPAGE_GRANULES - START_MOST + 1 };
    char *large = alloc(LARGE, 1);
    cr_assert_not_null(large);
    cr_expect_eq((uintptr_t)large % HPAGE_BYTES, 0u);
    page_run_free(large, LARGE);
    cr_expect_eq(alloc(HPAGE_GRANULES, HPAGE_GRANULES), large);
    page_run_free(large, HPAGE_GRANULES);
    cr_expect_eq(alloc(64, 64), large + 64 * GRANULE_BYTES, "aligned behind the start");
    cr_expect_eq(alloc(2, 1), large + START_MOST * GRANULE_BYTES);
}

/* A hugepage that begins to be used in its midst is asked for as a whole, and brought by a byte of whoever has it. */
Test(grow, the_first_hugepage_may_be_a_real_one, .init = start_far_in) {
    rt_opt.thp_after = 0;
    char *run = alloc(1, 1);
    const struct hpage *h = chunk_hpage(chunk_of(run), run);
    cr_expect_eq(run, h->addr + START_MOST * GRANULE_BYTES);
    cr_expect_eq(hpage_huge(h), HPAGE_THP);
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), 1u);
    cr_expect_eq(fake_huge_at, (void *)h->addr);
    cr_expect_not(atomic_load(&h->awaited));
    cr_expect_eq(fake_resident_bytes(run, sys_page_bytes()), sys_page_bytes());
    cr_expect_eq(fake_resident_bytes(h->addr, sys_page_bytes()), 0u, "not the caller's: another may have it by now");
}

/* A tier that gives all back again and again leaves one gap behind, not one each time. */
Test(grow, address_space_is_left_out_once, .init = start_far_in) {
    size_t left = 0;
    for (unsigned i = 0; i < 4; i++) {
        char *run = alloc(1, 1);
        cr_assert_not_null(run);
        page_run_free(run, 1);
        cr_expect_gt(page_release(), 0u);
        if (i == 0)
            left = fake_reserved_bytes();
    }
    cr_expect_eq(fake_reserved_bytes(), left);
}
