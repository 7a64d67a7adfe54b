/* SPDX-License-Identifier: MIT */
/* Our pages against the kernel's page table: each page written or given back moves one figure by its size, and no
 * other. On the real system. */
#include "obs/backing.h"

#include "big/big.h"
#include "unit/core.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>

enum { RUN_GRANULES = 32 };
#define RUN_BYTES (RUN_GRANULES * GRANULE_BYTES)

static struct obs_backing before;

static struct obs_backing look(void) {
    struct obs_backing b;
    obs_backing_read(&b);
    cr_assert(b.known, "this needs /proc/self/pagemap");
    return b;
}

/* How the figures moved since the last call of start or moved. */
static void moved(s64 heap_bytes, s64 unbacked_bytes, s64 unasked_bytes, const char *when) {
    struct obs_backing now = look();
    cr_expect_eq((s64)(now.heap_bytes - before.heap_bytes), heap_bytes, "%s: heap %ld, not %ld", when,
                 (long)(now.heap_bytes - before.heap_bytes), (long)heap_bytes);
    cr_expect_eq((s64)(now.unbacked_bytes - before.unbacked_bytes), unbacked_bytes, "%s: unbacked %ld, not %ld", when,
                 (long)(now.unbacked_bytes - before.unbacked_bytes), (long)unbacked_bytes);
    cr_expect_eq((s64)(now.unasked_bytes - before.unasked_bytes), unasked_bytes, "%s: unasked %ld, not %ld", when,
                 (long)(now.unasked_bytes - before.unasked_bytes), (long)unasked_bytes);
    before = now;
}

static char *run_take(void) {
    enum page_content content;
    char *run = page_run_alloc(0, RUN_GRANULES, 1, &content);
    cr_assert_not_null(run);
    return run;
}

static void start(void) {
    core_start_slabs();
    rt_opt.thp = OPT_THP_NEVER;
    page_run_free(run_take(), RUN_GRANULES); /* the first reservation and its records */
    page_purge(0);
    before = look();
}

Test(backing, runs_page_by_page, .init = start) {
    size_t page = sys_page_bytes();
    char *run = run_take();
    moved(0, RUN_BYTES, 0, "handed out");
    memset(run, 1, 3 * page);
    moved(3 * (s64)page, -3 * (s64)page, 0, "three pages written");
    struct sys_range range = {run, 2 * page};
    cr_assert_eq(page_purge_inside(&range, 1), 1u);
    moved(-2 * (s64)page, 2 * (s64)page, 0, "two given back inside");
    page_forget_inside(run, 2 * page);
    page_run_free(run, RUN_GRANULES);
    moved(0, 0, 0, "freed, and still backed");
    page_purge(0);
    moved(-(s64)page, (s64)page - (s64)RUN_BYTES, 0, "purged");
}

Test(backing, memory_nobody_asked_for, .init = start) {
    size_t page = sys_page_bytes();
    char *run = run_take();
    moved(0, RUN_BYTES, 0, "handed out");
    run[RUN_BYTES] = 1; /* committed, and not handed out: as what comes with the rest of a hugepage */
    moved((s64)page, 0, (s64)page, "beyond the run");
}

Test(backing, regions_and_freed_regions, .init = start) {
    size_t dirty_bytes;
    char *p = big_alloc(8 * MIB, 1, BIG_ANY, &dirty_bytes);
    cr_assert(big_free(p));
    p = big_alloc(4 * MIB, 1, BIG_ANY, &dirty_bytes); /* wanted back, so that it will be kept */
    cr_assert_not_null(p);
    moved(0, 4 * MIB, 0, "allocated");
    memset(p, 1, 1 * MIB);
    moved(1 * MIB, -(s64)MIB, 0, "a quarter written");
    cr_assert(big_free(p));
    moved(0, 0, 0, "freed and kept");
    cr_assert_eq(big_tick(0, BIG_EVERYTHING), 4 * MIB);
    moved(-(s64)MIB, -3 * (s64)MIB, 0, "released");
}

Test(backing, own_records, .init = start) {
    char *blocks = rt_meta_alloc(256 * KIB, sys_page_bytes());
    u64 had = look().meta_bytes;
    memset(blocks, 1, 256 * KIB);
    cr_expect_eq(look().meta_bytes - had, 256 * KIB);
    cr_expect_geq(had, sizeof(struct page_desc) * HPAGE_GRANULES);
}

Test(backing, without_the_page_table_nothing_is_known, .init = start) {
    struct rlimit usual, none;
    struct obs_backing b = {.known = true};
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    obs_backing_read(&b);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &usual), 0); /* Criterion wants descriptors */
    cr_expect(!b.known);
}
