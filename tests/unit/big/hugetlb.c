/* SPDX-License-Identifier: MIT */
/* Big regions out of the administrator's pool. On a pretend system, which ends the test where a page of the pool is
 * purged. */
#include "page/hugetlb.h"
#include "big/big.h"
#include "fakes/fake.h"
#include "rt/options.h"
#include "rt/usage.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

enum { POOL = 16 };
#define SMALLEST (8 * MIB)
#define SMALLEST_HPAGES ((unsigned)(SMALLEST / HPAGE_BYTES))

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.hugetlb = 1;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    fake_hugetlb(POOL);
}

static unsigned taken(void) { return POOL - fake_hugetlb_left(); }

static char *region(size_t bytes, size_t align, enum big_use use) {
    size_t dirty_bytes = 1;
    char *p = big_alloc(bytes, align, use, &dirty_bytes);
    cr_assert_not_null(p);
    cr_expect_eq(dirty_bytes, 0u);
    return p;
}

static void expect_all_back(void) {
    (void)big_tick(0, BIG_EVERYTHING);
    cr_expect_eq(taken(), 0u);
    cr_expect_eq(page_hugetlb_bytes_racy(), 0u);
    cr_expect_eq(rt_usage_get(), 0);
}

Test(hugetlb_regions, whole_hugepages_all_usable, .init = start) {
    char *p = region(SMALLEST + 1, 1, BIG_ANY);
    cr_expect_eq(taken(), SMALLEST_HPAGES + 1);
    cr_expect_eq(big_usable(p), SMALLEST + HPAGE_BYTES);
    cr_expect_eq(page_hugetlb_bytes_racy(), SMALLEST + HPAGE_BYTES);
    cr_expect_eq((size_t)rt_usage_get(), SMALLEST + HPAGE_BYTES);
    memset(p, 1, big_usable(p));
    cr_assert(big_free(p));
    expect_all_back();
}

Test(hugetlb_regions, not_for_what_needs_something_else, .init = start) {
    (void)region(SMALLEST - 4096, 1, BIG_ANY);
    (void)region(SMALLEST, 1, BIG_SPARSE);
    (void)region(SMALLEST, 2 * HPAGE_BYTES, BIG_ANY);
    rt_opt.harden = 1;
    (void)region(SMALLEST, 1, BIG_ANY);
    rt_opt.harden = 0;
    rt_opt.hugetlb = 0;
    (void)region(SMALLEST, 1, BIG_ANY);
    cr_expect_eq(fake_calls_nr(FAKE_HUGETLB), 0u);
}

Test(hugetlb_regions, an_ordinary_one_where_the_pool_has_too_few, .init = start) {
    char *p = region((POOL + 1) * HPAGE_BYTES, 1, BIG_ANY);
    cr_expect_eq(taken(), 0u);
    cr_assert(big_free(p));
    fake_fail(FAKE_POPULATE, 1, 1);
    p = region(SMALLEST, 1, BIG_ANY);
    cr_expect_eq(taken(), 0u);
    cr_expect_eq(big_usable(p), SMALLEST);
    cr_expect_eq(fake_failed_nr(FAKE_POPULATE), 1u);
}

Test(hugetlb_regions, kept_for_reuse_as_any_other, .init = start) {
    rt_opt.vmalloc_cache = 64 * MIB;
    char *p = region(SMALLEST, 1, BIG_ANY);
    cr_assert(big_free(p)); /* more than is kept at first */
    p = region(SMALLEST, 1, BIG_ANY);
    memset(p, 1, SMALLEST);
    cr_assert(big_free(p));
    size_t dirty_bytes;
    cr_expect_eq((char *)big_alloc(SMALLEST / 2, 1, BIG_ANY, &dirty_bytes), p);
    cr_expect_eq(dirty_bytes, SMALLEST / 2);
    cr_expect_eq(big_usable(p), SMALLEST / 2);
    cr_expect_eq(taken(), SMALLEST_HPAGES / 2);
}

Test(hugetlb_regions, shrinking_gives_whole_ones_back, .init = start) {
    char *p = region(SMALLEST, 1, BIG_ANY);
    cr_expect_eq((char *)big_resize(p, SMALLEST / 2 + 1), p);
    cr_expect_eq(big_usable(p), SMALLEST / 2 + HPAGE_BYTES);
    cr_expect_eq(taken(), SMALLEST_HPAGES / 2 + 1);
    cr_expect_eq(page_hugetlb_bytes_racy(), SMALLEST / 2 + HPAGE_BYTES);
    cr_expect_eq((size_t)rt_usage_get(), SMALLEST / 2 + HPAGE_BYTES);
    memset(p, 1, big_usable(p));
    cr_expect_eq((char *)big_resize(p, SMALLEST / 2 + 2), p, "in the last one");
    cr_assert(big_free(p));
    expect_all_back();
}

/* While it is copied both places hold memory. */
Test(hugetlb_regions, growing_needs_room_for_the_copy, .init = start) {
    char *p = region(SMALLEST, 1, BIG_ANY);
    rt_opt.limit_hard = rt_usage_total() + SMALLEST;
    cr_expect_null(big_resize(p, SMALLEST + HPAGE_BYTES));
    cr_expect_eq((size_t)rt_usage_get(), SMALLEST);
    rt_opt.limit_hard += 2 * HPAGE_BYTES;
    cr_expect_not_null(big_resize(p, SMALLEST + HPAGE_BYTES));
    cr_expect_eq((size_t)rt_usage_get(), SMALLEST + HPAGE_BYTES);
}

/* The copy has no guard behind it, and what follows is not its own. */
Test(hugetlb_regions, a_copy_moves_when_it_grows, .init = start) {
    char *p = region(SMALLEST, 1, BIG_ANY);
    memset(p, 3, SMALLEST);
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_CHILD);
    unsigned released = fake_calls_nr(FAKE_RELEASE);
    char *q = big_resize(p, SMALLEST + HPAGE_BYTES);
    cr_assert_not_null(q);
    cr_expect_eq(q[SMALLEST - 1], 3);
    cr_expect_eq(fake_calls_nr(FAKE_RELEASE), released, "of nothing");
    cr_assert(big_free(q));
    (void)big_tick(0, BIG_EVERYTHING);
    cr_expect_eq(rt_usage_get(), 0);
}

Test(hugetlb_regions, growing_leaves_them, .init = start) {
    char *p = region(SMALLEST, 1, BIG_ANY);
    p[0] = 1;
    p[SMALLEST - 1] = 2;
    char *q = big_resize(p, SMALLEST + HPAGE_BYTES);
    cr_assert_not_null(q);
    cr_expect_eq(q[0], 1);
    cr_expect_eq(q[SMALLEST - 1], 2);
    cr_expect_eq(q[SMALLEST], 0);
    cr_expect_eq(taken(), 0u);
    cr_expect_eq(big_usable(q), SMALLEST + HPAGE_BYTES);
    cr_expect_eq((size_t)rt_usage_get(), SMALLEST + HPAGE_BYTES);
    cr_expect_eq(big_usable(p), 0u);
    unsigned moved = fake_calls_nr(FAKE_MOVE);
    q = big_resize(q, 4 * SMALLEST);
    cr_expect_eq(fake_calls_nr(FAKE_MOVE), moved + 1, "the second time nothing is copied");
    cr_assert(big_free(q));
    (void)big_tick(0, BIG_EVERYTHING);
    cr_expect_eq(rt_usage_get(), 0);
}

/* What was cut off may be another's by then. */
Test(hugetlb_regions, a_copy_that_was_cut_ends_where_it_was_cut, .init = start) {
    char *p = region(SMALLEST, 1, BIG_ANY);
    cr_expect_eq((char *)big_resize(p, SMALLEST / 2), p);
    char *other = mmap(p + SMALLEST / 2, HPAGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    cr_assert_eq(other, p + SMALLEST / 2);
    *other = 9;
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_CHILD);
    cr_expect_eq((char *)big_resize(p, SMALLEST / 4), p);
    cr_expect_eq(*other, 9);
    *other = 8;
}

Test(hugetlb_regions, a_child_copies_those_in_use_and_those_kept, .init = start) {
    char *p = region(SMALLEST, 1, BIG_ANY);
    memset(p, 3, SMALLEST);
    page_hugetlb_fork_prepare();
    page_hugetlb_forked(RT_FORK_CHILD);
    cr_expect_eq(taken(), 0u);
    cr_expect_eq(page_hugetlb_bytes_racy(), 0u);
    for (size_t at = 0; at < SMALLEST; at += 64)
        cr_assert_eq(p[at], 3);
    cr_expect_eq((char *)big_resize(p, SMALLEST / 2), p);
    cr_expect_eq(big_usable(p), SMALLEST / 2, "it is ordinary now");
    cr_assert(big_free(p));
    (void)big_tick(0, BIG_EVERYTHING);
    cr_expect_eq(rt_usage_get(), 0);
}
