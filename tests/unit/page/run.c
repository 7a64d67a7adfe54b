/* SPDX-License-Identifier: MIT */
/* Runs of granules: never two in one place, aligned, in the fullest hugepage that fits; frees under a held lock; every
 * system call failing in turn. On a pretend system. */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RUNS_MAX = 400 };

static struct run {
    char *at;
    unsigned nr;
    u8 stamp;
} runs[RUNS_MAX];
static unsigned runs_nr;
static u64 seed = 4711;

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

static char *alloc(unsigned nr, unsigned align) {
    enum page_content content = PAGE_DIRTY;
    return page_run_alloc(0, nr, align, &content);
}

static u64 used_bytes(void) {
    struct page_stats st;
    page_stats_get(&st);
    return st.run_used_bytes;
}

/* First and last bytes of each granule carry the run's stamp. */
static void run_stamp(struct run *r) {
    for (unsigned i = 0; i < r->nr; i++)
        r->at[i * GRANULE_BYTES] = r->at[(i + 1) * GRANULE_BYTES - 1] = (char)r->stamp;
}
static bool run_stamped(const struct run *r) {
    for (unsigned i = 0; i < r->nr; i++) {
        if ((u8)r->at[i * GRANULE_BYTES] != r->stamp || (u8)r->at[(i + 1) * GRANULE_BYTES - 1] != r->stamp)
            return false;
    }
    return true;
}

static bool run_add(unsigned nr, unsigned align) {
    enum page_content content = PAGE_DIRTY;
    char *at = page_run_alloc(0, nr, align, &content);
    if (at == NULL)
        return false;
    cr_assert_eq((uintptr_t)at % (align * GRANULE_BYTES), 0u, "%u granules aligned to %u at %p", nr, align, (void *)at);
    cr_assert_eq((uintptr_t)at / HPAGE_BYTES, ((uintptr_t)at + nr * GRANULE_BYTES - 1) / HPAGE_BYTES,
                 "a run crosses hugepages");
    for (unsigned i = 0; content == PAGE_ZERO && i < nr; i++)
        cr_assert(at[i * GRANULE_BYTES] == 0 && at[(i + 1) * GRANULE_BYTES - 1] == 0, "said to be zero");
    runs[runs_nr] = (struct run){at, nr, (u8)(1 + runs_nr % 250)};
    run_stamp(&runs[runs_nr++]);
    return true;
}

static void run_remove(unsigned i) {
    cr_assert(run_stamped(&runs[i]), "a run of %u granules was written by another's owner", runs[i].nr);
    page_run_free(runs[i].at, runs[i].nr);
    runs[i] = runs[--runs_nr];
}

static void remove_all(void) {
    while (runs_nr > 0)
        run_remove(runs_nr - 1);
}

static u64 live_bytes(void) {
    u64 granules = 0;
    for (unsigned i = 0; i < runs_nr; i++)
        granules += runs[i].nr;
    return granules * GRANULE_BYTES;
}

/* [P1] to [P3] of page/tier.h, and used, backed and longest of every hugepage. */
static void check_tier(void) {
    const struct page_tier *t = &page_tiers[0];
    u64 waste = 0;
    for (unsigned list = 1; list < LISTS_NR; list++) {
        bool marked = (t->listed[list / 64] >> (list % 64)) & 1;
        cr_assert_eq(marked, t->by_longest[list] != NULL);
        for (const struct hpage *h = t->by_longest[list]; h != NULL; h = h->next) {
            unsigned longest = 0, run = 0, used = 0;
            for (unsigned g = 0; g < HPAGE_GRANULES; g++) {
                bool taken = (h->used[g / 64] >> (g % 64)) & 1, backed = (h->backed[g / 64] >> (g % 64)) & 1;
                used += taken;
                waste += backed && !taken;
                run = taken ? 0 : run + 1;
                longest = MAX(longest, run);
            }
            cr_assert_eq(longest, list);
            cr_assert_eq(h->longest, list);
            cr_assert_eq(h->used_nr, used);
            cr_assert(h->next == NULL || h->next->prev == h);
        }
    }
    cr_assert_eq(t->free_backed_granules, waste);
}

static void churn(unsigned rounds) {
    for (unsigned round = 0; round < rounds; round++) {
        u64 r = alone_random(&seed);
        unsigned align = 1u << (r / 8 % 7), nr = (unsigned)round_up(1 + r / 64 % 64, align);
        if (runs_nr < RUNS_MAX && (r % 8 < 4 || runs_nr == 0)) {
            if (r / 4096 % 2 == 0)
                cr_assert(run_add(1 + (unsigned)(r / 64 % 8), 1));
            else
                cr_assert(run_add(MIN(nr, 64u), align));
        } else if (runs_nr > 0) {
            run_remove((unsigned)(r / 8192 % runs_nr));
        }
        if (round % 64 == 0) {
            cr_assert_eq(used_bytes(), live_bytes());
            check_tier();
        }
    }
}

Test(run, runs_never_overlap, .init = start) {
    churn(20000);
    remove_all();
    cr_expect_eq(used_bytes(), 0u);
    check_tier();
}

Test(run, ticks_and_purges_in_between_change_nothing_for_the_owner, .init = start) {
    for (int i = 0; i < 100; i++) {
        churn(100);
        fake_clock_advance_ms(700);
        page_tick(sys_clock_ms());
        if (i % 10 == 0)
            page_purge(0);
        if (i % 25 == 0)
            page_release();
        check_tier();
    }
    remove_all();
    cr_expect_eq(used_bytes(), 0u);
}

Test(run, a_freed_run_is_not_ours, .init = start) {
    char *p = alloc(4, 1);
    page_map_set(p, 4, 17);
    page_run_free(p, 4);
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(page_map_get(p + i * GRANULE_BYTES), 0u);
}

Test(run, the_shortest_hole_that_fits_is_filled_first, .init = start) {
    char *of[6];
    /* Three hugepages, full. */
    for (int i = 0; i < 6; i++)
        of[i] = alloc(64, 64);
    page_run_free(of[0], 20);
    page_run_free(of[2] + 8 * GRANULE_BYTES, 6);
    page_run_free(of[4], 64);
    cr_expect_eq(alloc(5, 1), of[2] + 8 * GRANULE_BYTES);
    cr_expect_eq(alloc(1, 1), of[2] + 13 * GRANULE_BYTES);
    cr_expect_eq(alloc(1, 1), of[0]);
    cr_expect_eq(alloc(30, 1), of[4]);
    cr_expect_eq(alloc(16, 16), of[4] + 32 * GRANULE_BYTES);
    cr_expect_eq(alloc(19, 1), of[0] + 1 * GRANULE_BYTES);
}

Test(run, a_free_under_the_held_lock_is_done_by_the_holder, .init = start) {
    char *a = alloc(3, 1), *b = alloc(5, 1);
    page_map_set(a, 3, 9);
    page_fork_prepare(RT_FORK_ALONE);
    cr_expect(page_is_busy_here());
    cr_expect_null(alloc(1, 1), "a run was given on top of the lock's holder");
    page_run_free(a, 3);
    page_run_free(b, 5);
    cr_expect_eq(page_map_get(a), 0u);
    cr_expect_eq(used_bytes(), 8 * GRANULE_BYTES);
    page_fork_done(RT_FORK_PARENT);
    cr_expect_not(page_is_busy_here());
    cr_expect_eq(used_bytes(), 0u);
    check_tier();
    cr_expect_eq(alloc(128 / 2, 1), a);
}

/* As if another thread had been interrupted in the middle. */
static void tier_hold(unsigned i) { atomic_store(&page_tiers[i].lock.word, (u64)0x1000); }
static void tier_let_go(unsigned i) { atomic_store(&page_tiers[i].lock.word, (u64)0); }

Test(run, a_lock_that_is_held_is_gone_round, .init = start) {
    char *runs_of[NODE_TIERS_NR];
    for (unsigned i = 0; i < NODE_TIERS_NR; i++) {
        runs_of[i] = alloc(3, 1);
        cr_assert_not_null(runs_of[i]);
        cr_expect_eq(tier_of(runs_of[i]) - page_tiers, (ptrdiff_t)i);
        if (i + 1 < NODE_TIERS_NR)
            tier_hold(i);
    }
    cr_expect_eq(used_bytes(), NODE_TIERS_NR * 3 * GRANULE_BYTES);
    page_run_free(runs_of[0], 3); /* waits for its tier */
    page_run_free(runs_of[NODE_TIERS_NR - 1], 3);
    cr_expect_eq(used_bytes(), (NODE_TIERS_NR - 1) * 3 * GRANULE_BYTES);
    for (unsigned i = 0; i < NODE_TIERS_NR; i++)
        tier_let_go(i);
    cr_expect_eq(alloc(1, 1), runs_of[0], "the first tier is not used again");
    page_run_free(runs_of[1], 3);
    page_run_free(runs_of[2], 3);
    cr_expect_eq(used_bytes(), GRANULE_BYTES);
    check_tier();
}

static char *alloc_reclaimable(unsigned nr) {
    enum page_content content = PAGE_DIRTY;
    return page_run_alloc_reclaimable(0, nr, 1, &content);
}

static u64 hpage_of(const char *run) { return (uintptr_t)run >> HPAGE_SHIFT; }

Test(run, lifetimes_share_no_hugepage, .init = start) {
    enum { NR = 300 };
    char *others[NR], *short_lived[NR];
    for (unsigned i = 0; i < NR; i++) {
        cr_assert_not_null(others[i] = alloc(1 + i % 3, 1));
        cr_assert_not_null(short_lived[i] = alloc_reclaimable(1 + i % 3));
        cr_expect_eq(tier_of(others[i]) - page_tiers, 0);
        cr_expect_eq(tier_of(short_lived[i]) - page_tiers, NODE_TIER_RECLAIMABLE);
    }
    for (unsigned i = 0; i < NR; i++)
        cr_expect_neq(hpage_of(others[i]), hpage_of(short_lived[i]));
    for (unsigned i = 0; i < NR; i++)
        page_run_free(short_lived[i], 1 + i % 3);
    for (unsigned i = 0; i < NR; i++)
        cr_expect_eq(chunk_hpage(chunk_of(short_lived[i]), short_lived[i])->used_nr, 0u);
    check_tier();
}

/* Rather among others than waiting; and who does not tell them apart keeps out. */
Test(run, a_lifetime_does_not_wait_for_its_tier, .init = start) {
    char *mine = alloc_reclaimable(2);
    tier_hold(NODE_TIER_RECLAIMABLE);
    char *among = alloc_reclaimable(2);
    cr_expect_eq(tier_of(among) - page_tiers, 0);
    tier_let_go(NODE_TIER_RECLAIMABLE);
    for (unsigned i = 0; i + 1 < NODE_TIER_RECLAIMABLE; i++)
        tier_hold(i);
    cr_expect_eq(tier_of(alloc(2, 1)) - page_tiers, NODE_TIER_RECLAIMABLE - 1);
    for (unsigned i = 0; i + 1 < NODE_TIER_RECLAIMABLE; i++)
        tier_let_go(i);
    page_run_free(mine, 2);
    page_run_free(among, 2);
    check_tier();
}

Test(run, when_address_space_is_out_other_tiers_are_asked, .init = start) {
    tier_hold(0);
    char *b = alloc(64, 1);
    tier_let_go(0);
    cr_assert_eq(tier_of(b) - page_tiers, 1);
    fake_fail(FAKE_RESERVE, 1, 1000);
    cr_expect_eq(alloc(64, 1), b + 64 * GRANULE_BYTES);
    fake_fail(FAKE_RESERVE, 0, 0);
    char *a = alloc(64, 1);
    cr_assert_eq(tier_of(a) - page_tiers, 0);
    fake_fail(FAKE_RESERVE, 1, 1000);
    tier_hold(1);
    tier_hold(2);
    cr_expect_eq(alloc(64, 1), a + 64 * GRANULE_BYTES);
}

Test(run, the_tiers_that_step_in_keep_little, .init = start) {
    char *p[16];
    tier_hold(0);
    for (unsigned i = 0; i < ARRAY_NR(p); i++)
        p[i] = alloc(64, 1);
    tier_let_go(0);
    for (unsigned i = 0; i < ARRAY_NR(p); i++)
        page_run_free(p[i], 64);
    struct page_stats st;
    page_stats_get(&st);
    cr_expect_leq(st.run_free_bytes, 1 * MIB);
}

Test(run, the_hard_limit_is_kept, .init = start) {
    unsigned granules = 8;
    cr_assert(run_add(8, 1)); /* the records of the chunk are made and counted now */
    rt_opt.limit_hard = 4 * MIB + atomic_load(&rt_meta.used_bytes);
    while (run_add(8, 1))
        granules += 8;
    cr_expect_eq(granules * GRANULE_BYTES, 4 * MIB);
    run_remove(0);
    cr_expect(run_add(8, 1));
    cr_expect_not(run_add(1, 1));
}

Test(run, small_processes_commit_little, .init = start) {
    struct page_stats st;
    alloc(1, 1);
    page_stats_get(&st);
    cr_expect_leq(st.committed_bytes, 4 * MIB);
    cr_expect_leq(fake_calls_nr(FAKE_COMMIT), 7u);
    for (int i = 0; i < 200; i++)
        alloc(64, 1);
    cr_expect_leq(fake_calls_nr(FAKE_COMMIT), 16u, "commits grow geometrically");
}

/* --- every call failing --- */

/* Allocates much, gives it back; what fails, fails with nothing lost. */
static void scenario(void) {
    for (unsigned i = 0; i < 60; i++)
        (void)run_add(64, 1);
    for (unsigned i = 0; i < runs_nr; i += 2)
        run_remove(i);
    page_purge(0);
    page_tick(sys_clock_ms() + 5000);
    page_release();
    for (unsigned i = 0; i < 20; i++)
        (void)run_add(33, 1);
    cr_assert_eq(used_bytes(), live_bytes());
    check_tier();
}

static void fail_each(enum fake_call call, unsigned many) {
    /* Every one of the first, then one in ever more. */
    for (unsigned nth = 1;; nth += 1 + nth / 8) {
        fake_fail(call, nth, many);
        scenario();
        unsigned failed = fake_failed_nr(call);
        fake_fail(call, 0, 0);
        /* Now that nothing fails, everything works. */
        cr_assert(run_add(64, 64), "%s %u: no memory afterwards", fake_call_name(call), nth);
        remove_all();
        cr_assert_eq(used_bytes(), 0u);
        check_tier();
        page_purge(0);
        page_release();
        if (failed == 0) {
            cr_expect_gt(nth, 1u, "%s is never called: nothing was tested", fake_call_name(call));
            return;
        }
        cr_assert_lt(nth, 2000u);
    }
}

Test(run, a_reservation_fails, .init = start) { fail_each(FAKE_RESERVE, 1); }
Test(run, all_reservations_fail, .init = start) { fail_each(FAKE_RESERVE, 40); }
Test(run, a_commit_fails, .init = start) { fail_each(FAKE_COMMIT, 1); }
Test(run, all_commits_fail, .init = start) { fail_each(FAKE_COMMIT, 100); }
Test(run, a_purge_fails, .init = start) { fail_each(FAKE_PURGE, 1); }
Test(run, all_purges_fail, .init = start) { fail_each(FAKE_PURGE, 1000); }
Test(run, a_release_fails, .init = start) { fail_each(FAKE_RELEASE, 1); }
Test(run, all_releases_fail, .init = start) { fail_each(FAKE_RELEASE, 1000); }

Test(run, start_fails_without_address_space_and_retries_with_less) {
    rt_options_read(NULL, NULL);
    fake_fail(FAKE_RESERVE, 1, 100);
    cr_expect_neq(rt_meta_init(), 0);
    fake_fail(FAKE_RESERVE, 1, 3);
    cr_expect_eq(rt_meta_init(), 0);
    cr_expect_eq(page_init(), 0);
    cr_expect_not_null(alloc(1, 1));
}

Test(run, a_reservation_without_records_is_given_back, .init = start) {
    size_t before = fake_reserved_bytes();
    fake_fail(FAKE_COMMIT, 1, 1);
    cr_expect_null(alloc(1, 1));
    cr_expect_eq(fake_failed_nr(FAKE_COMMIT), 1u);
    cr_expect_eq(fake_reserved_bytes(), before);
    cr_expect_not_null(alloc(1, 1));
}
