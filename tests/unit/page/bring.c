/* SPDX-License-Identifier: MIT */
/* Memory that is brought before it is written (page/bring.c): what, for whom, and when not. On a pretend system, with
 * real memory. */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/context.h"
#include "rt/options.h"
#include "unit/page/meanwhile.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RUN = 8, LEAST = 4 };
#define RUN_BYTES (RUN * GRANULE_BYTES)

static size_t page;

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    page = sys_page_bytes();
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

/* Whether it was asked for. */
static bool is_brought(char *p, size_t bytes) {
    unsigned before = fake_calls_nr(FAKE_POPULATE);
    page_bring(p, bytes);
    return fake_calls_nr(FAKE_POPULATE) != before;
}

Test(bring, whole_pages_that_begin_in_it_and_no_others, .init = start) {
    char *run = alloc(RUN);
    cr_expect(is_brought(run + 1, LEAST * page));
    cr_expect_eq(fake_resident_bytes(run, page), 0u, "the first page is begun: it may be there");
    cr_expect_eq(fake_resident_bytes(run + page, LEAST * page), LEAST * page);
    cr_expect_eq(fake_resident_bytes(run, RUN_BYTES), LEAST * page);
    for (size_t at = 0; at < RUN_BYTES; at++)
        cr_assert_eq(run[at], 0);
}

Test(bring, few_pages_are_left_to_their_faults, .init = start) {
    char *run = alloc(RUN);
    cr_expect_not(is_brought(run, (LEAST - 1) * page));
    cr_expect_not(is_brought(run + 1, (LEAST - 1) * page));
    cr_expect(is_brought(run, LEAST * page));
}

Test(bring, who_may_not_block_makes_no_call, .init = start) {
    char *run = alloc(RUN);
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    cr_expect_not(is_brought(run, RUN_BYTES));
    rt_context_leave(before);
    cr_expect(is_brought(run, RUN_BYTES));
}

Test(bring, a_refusal_is_believed, .init = start) {
    char *run = alloc(RUN);
    fake_fail(FAKE_POPULATE, 1, 1);
    cr_expect(is_brought(run, RUN_BYTES));
    cr_expect_eq(fake_failed_nr(FAKE_POPULATE), 1u);
    cr_expect_eq(fake_resident_bytes(run, RUN_BYTES), 0u);
    cr_expect_not(is_brought(run, RUN_BYTES));
    memset(run, 1, RUN_BYTES);
}

Test(bring, what_came_with_a_hugepage_is_there, .init = start) {
    rt_opt.thp = OPT_THP_ALWAYS;
    char *run = alloc(RUN);
    cr_expect_not(is_brought(run, RUN_BYTES));
}

/* As page/sample.c found out. */
Test(bring, nothing_where_memory_is_not_used, .init = start) {
    char *run = alloc(RUN);
    atomic_store(&tier_of(run)->unused, true);
    cr_expect_not(is_brought(run, RUN_BYTES));
}
