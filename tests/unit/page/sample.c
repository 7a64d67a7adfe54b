/* SPDX-License-Identifier: MIT */
/* Hugepages where memory is used, small pages where it is not (page/sample.c). On a pretend system, with real memory.
 */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "unit/page/meanwhile.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SMALL = 4, AGE = 4, TRUST_FIRST = 16, TRUST_MOST = 64 };

static char *last;

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp_after = SMALL * HPAGE_BYTES;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

/* A record in one run, of which so many bytes are written from its start on. */
static char *record_used(size_t bytes) {
    char *run = alloc(HPAGE_GRANULES);
    cr_assert_not_null(run);
    memset(run, 1, bytes);
    return last = run;
}

static bool came_whole(const char *run) { return hpage_huge(chunk_hpage(chunk_of(run), run)) == HPAGE_THP; }

static void records_used(unsigned nr, size_t bytes) {
    for (unsigned i = 0; i < nr; i++)
        (void)record_used(bytes);
}

/* Of the next records, all in use, so many come whole before one does not. */
static unsigned whole_in_a_row(void) {
    unsigned nr = 0;
    while (nr <= 2 * TRUST_MOST && came_whole(record_used(HPAGE_BYTES)))
        nr++;
    return nr;
}

Test(sample, what_is_used_has_hugepages_but_for_one_now_and_then, .init = start) {
    records_used(SMALL, HPAGE_BYTES);
    (void)whole_in_a_row();
    cr_expect_eq(whole_in_a_row(), AGE + 1u + 2 * TRUST_FIRST);
    cr_expect_eq(whole_in_a_row(), AGE + 1u + TRUST_MOST);
    cr_expect_eq(whole_in_a_row(), AGE + 1u + TRUST_MOST);
}

Test(sample, half_a_record_is_use, .init = start) {
    records_used(SMALL, HPAGE_BYTES / 2);
    cr_expect_gt(whole_in_a_row(), (unsigned)TRUST_FIRST);
}

Test(sample, what_is_not_used_has_none, .init = start) {
    records_used(SMALL + 3 * AGE, HPAGE_BYTES / 2 - sys_page_bytes());
    cr_expect_leq(stats().huge_bytes, HPAGE_BYTES, "but for what came before the first look");
    cr_expect_leq(fake_calls_nr(FAKE_HUGE), 1u);
    cr_expect_eq(stats().run_free_bytes, 0u);
    /* Until records of small pages are used. */
    records_used(3 * AGE, HPAGE_BYTES);
    cr_expect(came_whole(record_used(0)));
}

Test(sample, what_was_given_back_or_is_hardly_taken_tells_nothing, .init = start) {
    records_used(SMALL, HPAGE_BYTES);
    (void)whole_in_a_row();
    char *sample = last;
    records_used(AGE, HPAGE_BYTES);
    page_run_free(sample, HPAGE_GRANULES);
    (void)page_purge(0);
    cr_expect_eq(alloc(1), sample, "a record that holds no memory is begun anew");
    cr_expect_not(came_whole(sample));
    memset(sample, 1, GRANULE_BYTES);
    records_used(AGE, HPAGE_BYTES);
    cr_expect_not(came_whole(record_used(HPAGE_BYTES)), "one granule told something");
    records_used(AGE, HPAGE_BYTES);
    cr_expect(came_whole(record_used(0)));
}

Test(sample, always_means_always, .init = start) {
    rt_opt.thp = OPT_THP_ALWAYS;
    for (unsigned i = 0; i < 2 * TRUST_FIRST; i++)
        cr_expect(came_whole(record_used(0)));
}

Test(sample, from_the_first_on_all_are_taken_to_be_used, .init = start) {
    rt_opt.thp_after = 0;
    cr_expect_eq(whole_in_a_row(), (unsigned)TRUST_FIRST);
    cr_expect_eq(whole_in_a_row(), AGE + 1u + 2 * TRUST_FIRST);
}
