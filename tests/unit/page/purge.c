/* SPDX-License-Identifier: MIT */
/* Giving memory back: at once beyond the allowance, after the delay by the clock, never while in use, and truthfully
 * counted. On a pretend system, where time moves when told. */
#include "fakes/fake.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RUN = 32, RUNS_MAX = 256 };
#define RUN_BYTES (RUN * GRANULE_BYTES)
#define ALLOWANCE_BYTES (8 * MIB)

static char *runs[RUNS_MAX];

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    /* The tier learns the time from ticks, once it has anything. */
    enum page_content content;
    page_run_free(page_run_alloc(0, 1, 1, &content), 1);
    page_purge(0);
    fake_clock_advance_ms(3000); /* or what comes next would regret the purge */
    page_tick(sys_clock_ms());
}

static void take_and_touch(unsigned nr) {
    enum page_content content;
    for (unsigned i = 0; i < nr; i++) {
        runs[i] = page_run_alloc(0, RUN, 1, &content);
        cr_assert_not_null(runs[i]);
        memset(runs[i], 0x5a, RUN_BYTES);
    }
}

static void free_runs(unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++)
        page_run_free(runs[i], RUN);
}

static size_t resident(unsigned from, unsigned to) {
    size_t bytes = 0;
    for (unsigned i = from; i < to; i++)
        bytes += fake_resident_bytes(runs[i], RUN_BYTES);
    return bytes;
}

static struct page_stats stats(void) {
    struct page_stats st;
    page_stats_get(&st);
    return st;
}

static void tick_after(u64 ms) {
    fake_clock_advance_ms(ms);
    page_tick(sys_clock_ms());
}

Test(purge, what_exceeds_the_allowance_goes_with_the_free, .init = start) {
    take_and_touch(RUNS_MAX);
    cr_assert_eq(resident(0, RUNS_MAX), RUNS_MAX * RUN_BYTES);
    free_runs(0, RUNS_MAX);
    cr_expect_leq(stats().run_free_bytes, ALLOWANCE_BYTES);
    cr_expect_eq(resident(0, RUNS_MAX), stats().run_free_bytes, "the account is not what the kernel says");
    cr_expect_eq(page_backed_bytes_racy(), stats().run_free_bytes);
    cr_expect_eq(rt_usage_get(), (s64)stats().run_free_bytes);
}

Test(purge, the_program_may_be_told_to_keep_more, .init = start) {
    rt_opt.keep = 3 * RUNS_MAX / 4 * RUN_BYTES;
    take_and_touch(RUNS_MAX);
    free_runs(0, RUNS_MAX);
    cr_expect_leq(resident(0, RUNS_MAX), rt_opt.keep);
    cr_expect_geq(resident(0, RUNS_MAX), rt_opt.keep - HPAGE_BYTES, "all but the last hugepage's part");
    tick_after(rt_opt.purge_delay);
    cr_expect_eq(resident(0, RUNS_MAX), 0u, "it is kept for a while, and no longer");
}

Test(purge, the_program_may_be_told_to_keep_next_to_nothing, .init = start) {
    rt_opt.keep = 0;
    take_and_touch(RUNS_MAX / 2);
    free_runs(0, RUNS_MAX / 2);
    cr_expect_leq(resident(0, RUNS_MAX / 2), 1 * MIB);
}

Test(purge, the_allowance_follows_what_is_in_use, .init = start) {
    take_and_touch(RUNS_MAX);
    free_runs(RUNS_MAX / 2, RUNS_MAX);
    cr_expect_leq(stats().run_free_bytes, MAX(ALLOWANCE_BYTES, RUNS_MAX / 2 * RUN_BYTES / 8));
    cr_expect_eq(resident(0, RUNS_MAX / 2), RUNS_MAX / 2 * RUN_BYTES);
    for (unsigned i = 0; i < RUNS_MAX / 2; i++)
        cr_assert_eq(runs[i][RUN_BYTES - 1], 0x5a);
}

Test(purge, what_is_within_the_allowance_goes_after_the_delay, .init = start) {
    take_and_touch(8);
    free_runs(0, 8);
    cr_expect_eq(resident(0, 8), 8 * RUN_BYTES);
    tick_after(rt_opt.purge_delay - 1);
    cr_expect_eq(resident(0, 8), 8 * RUN_BYTES, "given back before its time");
    tick_after(1);
    cr_expect_eq(resident(0, 8), 0u);
    cr_expect_eq(stats().run_free_bytes, 0u);
    cr_expect_eq(stats().purged_bytes_total, 8 * RUN_BYTES + GRANULE_BYTES);
}

Test(purge, use_starts_the_delay_anew, .init = start) {
    take_and_touch(8);
    free_runs(0, 4);
    tick_after(900);
    /* The same hugepages lose more: they are not at rest. */
    free_runs(4, 8);
    tick_after(900);
    cr_expect_gt(resident(0, 8), 0u);
    tick_after(900);
    cr_expect_eq(resident(0, 8), 0u);
}

Test(purge, no_delay_means_at_the_next_tick, .init = start) {
    rt_opt.purge_delay = 0;
    take_and_touch(4);
    free_runs(0, 4);
    page_tick(sys_clock_ms());
    cr_expect_eq(resident(0, 4), 0u);
}

Test(purge, on_demand_down_to_what_is_to_be_kept, .init = start) {
    take_and_touch(14);
    free_runs(0, 14);
    size_t had = stats().run_free_bytes;
    size_t given = page_purge(2 * MIB);
    cr_expect_eq(given, had - stats().run_free_bytes);
    cr_expect_leq(stats().run_free_bytes, 2 * MIB);
    cr_expect_eq(page_purge(0), had - given);
    cr_expect_eq(resident(0, 14), 0u);
    cr_expect_eq(page_purge(0), 0u);
}

Test(purge, what_was_purged_reads_as_zeros_and_says_so, .init = start) {
    enum page_content content = PAGE_DIRTY;
    take_and_touch(1);
    page_run_free(runs[0], RUN);
    char *again = page_run_alloc(0, RUN, 1, &content);
    cr_expect_eq(again, runs[0]);
    cr_expect_eq((int)content, (int)PAGE_DIRTY);
    page_run_free(again, RUN);
    page_purge(0);
    again = page_run_alloc(0, RUN, 1, &content);
    cr_expect_eq((int)content, (int)PAGE_ZERO);
    for (size_t i = 0; i < RUN_BYTES; i++)
        cr_assert_eq(again[i], 0);
    /* Half of it purged is not zero. */
    page_run_free(again, RUN / 2);
    memset(again + RUN_BYTES / 2, 1, RUN_BYTES / 2);
    page_purge(0);
    page_run_free(again + RUN_BYTES / 2, RUN / 2);
    (void)page_run_alloc(0, RUN, 1, &content);
    cr_expect_eq((int)content, (int)PAGE_DIRTY);
}

Test(purge, a_refused_purge_keeps_the_account, .init = start) {
    take_and_touch(4);
    free_runs(0, 4);
    fake_fail(FAKE_PURGE, 1, 100);
    cr_expect_eq(page_purge(0), 0u);
    cr_expect_gt(fake_failed_nr(FAKE_PURGE), 0u);
    cr_expect_eq(stats().run_free_bytes, 4 * RUN_BYTES);
    fake_fail(FAKE_PURGE, 0, 0);
    cr_expect_eq(page_purge(0), 4 * RUN_BYTES);
}

/* Of many runs that go together the system may refuse some: those stay, and go next time. */
Test(purge, a_refused_part_of_a_purge_stays_counted, .init = start) {
    enum { TAKEN = 8, REFUSED = 2 };
    take_and_touch(TAKEN);
    for (unsigned i = 0; i < TAKEN; i += 2)
        free_runs(i, i + 1);
    size_t before = stats().run_free_bytes;
    fake_fail(FAKE_PURGE, 2, REFUSED);
    size_t given = page_purge(0);
    cr_expect_eq(fake_failed_nr(FAKE_PURGE), (unsigned)REFUSED, "%u were refused", fake_failed_nr(FAKE_PURGE));
    cr_expect_eq(given, before - REFUSED * RUN_BYTES);
    cr_expect_eq(stats().run_free_bytes, REFUSED * RUN_BYTES);
    size_t kept = 0;
    for (unsigned i = 0; i < TAKEN; i += 2)
        kept += resident(i, i + 1);
    cr_expect_eq(kept, REFUSED * RUN_BYTES);
    cr_expect_eq(resident(1, 2), RUN_BYTES, "a run in use lost memory");
    fake_fail(FAKE_PURGE, 0, 0);
    cr_expect_eq(page_purge(0), REFUSED * RUN_BYTES);
}

Test(purge, regret_widens_the_allowance_and_fades, .init = start) {
    /* Much freed, purged, and wanted back at once. */
    take_and_touch(RUNS_MAX);
    free_runs(0, RUNS_MAX);
    u64 kept_first = stats().run_free_bytes;
    take_and_touch(RUNS_MAX);
    free_runs(0, RUNS_MAX);
    cr_expect_gt(stats().run_free_bytes, 2 * kept_first);
    cr_expect_leq(stats().run_free_bytes, RUNS_MAX * RUN_BYTES);
    for (int i = 0; i < 200; i++)
        tick_after(100);
    cr_expect_eq(stats().run_free_bytes, 0u);
    cr_expect_leq(page_tiers[0].regret_granules, 1u);
}

/* Free runs that the next wave cannot use are not kept for it, or there would be memory for two. */
Test(purge, regret_keeps_no_more_than_another_wave_takes, .init = start) {
    enum { LARGE = 64, LARGE_NR = 32, ALLOWANCE_PART = 8 };
    const size_t wave = RUNS_MAX * RUN_BYTES;
    take_and_touch(RUNS_MAX);
    free_runs(0, RUNS_MAX);
    take_and_touch(RUNS_MAX);
    for (unsigned i = 0; i < RUNS_MAX; i += 2)
        free_runs(i, i + 1);
    cr_assert_eq(stats().run_free_bytes, wave / 2);
    for (unsigned i = 0; i < LARGE_NR; i++) {
        enum page_content content;
        cr_assert_not_null(page_run_alloc(0, LARGE, 1, &content));
    }
    size_t used = stats().run_used_bytes;
    cr_assert_eq(used, wave / 2 + LARGE_NR * LARGE * GRANULE_BYTES);
    cr_expect_leq(stats().run_free_bytes, wave - used + used / ALLOWANCE_PART);
    cr_expect_gt(stats().run_free_bytes, used / ALLOWANCE_PART);
}

/* Runs of 32 to 512 KiB, the oldest replaced by one of another size: as much is in use all the time, and what is free
 * does not fit. It must not go out and come in with each turn. */
Test(purge, what_does_not_fit_is_kept_while_use_is_steady, .init = start) {
    enum { LIVE = 100, TURNS = 32000, SMALLEST = 2, SIZES = 31, GIVEN_PART = 1000 };
    static struct {
        char *run;
        unsigned nr;
    } ring[LIVE];
    u64 seed = 1, first_half = 0;
    size_t turned = 0;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        unsigned at = turn % LIVE;
        enum page_content content;
        if (turn == TURNS / 2)
            first_half = stats().purged_bytes_total;
        if (ring[at].run != NULL)
            page_run_free(ring[at].run, ring[at].nr);
        ring[at].nr = SMALLEST + (unsigned)(alone_random(&seed) % SIZES);
        ring[at].run = page_run_alloc(0, ring[at].nr, 1, &content);
        cr_assert_not_null(ring[at].run);
        turned += turn < TURNS / 2 ? 0 : ring[at].nr * GRANULE_BYTES;
    }
    size_t given = stats().purged_bytes_total - first_half;
    cr_expect_lt(given, turned / GIVEN_PART, "%zu MiB given back of %zu MiB turned over", given / MIB, turned / MIB);
    size_t used = stats().run_used_bytes;
    for (unsigned tick = 0; tick < 64; tick++)
        tick_after(100);
    cr_expect_leq(stats().run_free_bytes, used / 8, "kept for ever");
}

Test(purge, memory_pressure_keeps_next_to_nothing, .init = start) {
    take_and_touch(8);
    rt_opt.limit_soft = 1 * MIB;
    free_runs(0, 4);
    cr_expect_leq(stats().run_free_bytes, GRANULE_BYTES);
    cr_expect_leq(resident(0, 4), GRANULE_BYTES);
}

Test(purge, inside_a_run_is_counted_and_taken_back, .init = start) {
    take_and_touch(1);
    s64 before = rt_usage_get();
    const struct sys_range ranges[] = {{runs[0] + 4096, 4096}, {runs[0] + 8192, 4096}};
    cr_expect_eq(page_purge_inside(ranges, 2), 3u);
    cr_expect_eq(stats().inside_purged_bytes, 8192u);
    cr_expect_eq(rt_usage_get(), before - 8192);
    cr_expect_eq(page_backed_bytes_racy(), RUN_BYTES - 8192);
    cr_expect_eq(resident(0, 1), RUN_BYTES - 8192);
    cr_expect_eq(runs[0][4096], 0);
    cr_expect_eq(runs[0][4095], 0x5a);
    rt_opt.limit_hard = (size_t)rt_usage_total() + 8191;
    cr_expect_not(page_refill_inside_try(runs[0] + 4096, 8192));
    cr_expect_eq(rt_usage_get(), before - 8192);
    rt_opt.limit_hard++;
    cr_expect(page_refill_inside_try(runs[0] + 4096, 8192));
    rt_opt.limit_hard = 0;
    cr_expect_eq(stats().inside_purged_bytes, 0u);
    cr_expect_eq(rt_usage_get(), before);
    fake_fail(FAKE_PURGE, 1, 1);
    cr_expect_eq(page_purge_inside(ranges, 2), 2u, "the first is refused, the second is not");
    cr_expect_eq(stats().inside_purged_bytes, 4096u);
}

Test(purge, release_gives_address_space_and_it_can_be_had_again, .init = start) {
    take_and_touch(RUNS_MAX);
    size_t reserved = fake_reserved_bytes();
    char *kept = runs[0];
    free_runs(1, RUNS_MAX);
    size_t released = page_release();
    cr_expect_gt(released, 100 * MIB);
    cr_expect_eq(fake_reserved_bytes(), reserved - released);
    cr_expect_eq(kept[RUN_BYTES - 1], 0x5a);
    cr_expect_leq(stats().committed_bytes, 2 * HPAGE_BYTES);
    take_and_touch(RUNS_MAX - 1);
    cr_expect_eq(kept[0], 0x5a);
    cr_expect_eq(stats().run_used_bytes, RUNS_MAX * RUN_BYTES);
}

/* Another reservation has records, which count: what is left of this one is all there will be. */
Test(purge, release_keeps_what_the_limit_would_not_give_again, .init = start) {
    enum page_content content;
    take_and_touch(RUNS_MAX);
    free_runs(HPAGE_GRANULES / RUN, RUNS_MAX); /* what stays is full */
    page_purge(0);
    rt_opt.limit_hard = (size_t)rt_usage_total() + MIB;
    (void)page_release();
    unsigned got = 0;
    while (page_run_alloc(0, HPAGE_GRANULES / 4, 1, &content) != NULL)
        got++;
    cr_expect_eq(got, MIB / (HPAGE_BYTES / 4));
    cr_expect_leq(rt_usage_total(), rt_opt.limit_hard);
}

Test(purge, no_reservation_is_made_above_the_limit, .init = start) {
    enum page_content content;
    take_and_touch(2 * HPAGE_GRANULES / RUN);
    (void)page_release();
    rt_opt.limit_hard = (size_t)rt_usage_total() + MIB;
    cr_expect_null(page_run_alloc(0, HPAGE_GRANULES / 4, HPAGE_GRANULES / 4, &content));
    cr_expect_eq(rt_usage_total(), rt_opt.limit_hard - MIB);
    rt_opt.limit_hard += 4 * MIB;
    cr_expect_not_null(page_run_alloc(0, HPAGE_GRANULES / 4, HPAGE_GRANULES / 4, &content));
    cr_expect_leq(rt_usage_total(), rt_opt.limit_hard);
}

static unsigned records_released;

/* Another tier may get the address, and make the record its own, from now on. */
static void expect_nobodys(void *addr, size_t bytes) {
    if (bytes != HPAGE_BYTES)
        return;
    const struct hpage *h = chunk_hpage(chunk_of(addr), addr);
    records_released++;
    MUST(h->addr == NULL && !h->listed && atomic_load(&h->state) != HPAGE_RUNS);
}

Test(purge, a_record_is_nobodys_before_its_address_is, .init = start) {
    take_and_touch(RUNS_MAX);
    free_runs(1, RUNS_MAX);
    fake_released = expect_nobodys;
    (void)page_release();
    cr_expect_gt(records_released, 10u);
}

/* What the system keeps is the tier's as before. */
Test(purge, a_refused_release_changes_nothing, .init = start) {
    take_and_touch(RUNS_MAX);
    free_runs(0, RUNS_MAX);
    struct page_stats before = stats();
    size_t reserved = fake_reserved_bytes();
    fake_fail(FAKE_RELEASE, 1, 1000);
    cr_expect_eq(page_release(), 0u);
    cr_expect_gt(fake_failed_nr(FAKE_RELEASE), 10u);
    struct page_stats after = stats();
    cr_expect_eq(after.committed_bytes, before.committed_bytes);
    cr_expect_eq(after.run_free_bytes, before.run_free_bytes);
    fake_fail(FAKE_RELEASE, 0, 0);
    take_and_touch(RUNS_MAX);
    cr_expect_eq(fake_reserved_bytes(), reserved, "what was there serves");
    free_runs(0, RUNS_MAX);
}

/* --- hugepages --- */

Test(purge, hugepages_are_earned, .init = start) {
    rt_opt.thp = OPT_THP_EARNED;
    rt_opt.thp_after = 16 * MIB;
    take_and_touch(16);
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), 0u);
    cr_expect_eq(stats().huge_bytes, 0u);
    take_and_touch(200);
    cr_expect_gt(fake_calls_nr(FAKE_HUGE), 0u);
    cr_expect_gt(stats().huge_bytes, 0u);
    cr_expect_lt(stats().huge_bytes, stats().committed_bytes);
}

Test(purge, each_hugepage_is_asked_for_around_its_first_touch_alone, .init = start) {
    rt_opt.thp = OPT_THP_EARNED;
    rt_opt.thp_after = 2 * MIB;
    take_and_touch(200);
    unsigned asked = fake_calls_nr(FAKE_HUGE);
    cr_expect_eq(stats().huge_bytes, asked * HPAGE_BYTES);
    cr_expect_geq(fake_calls_nr(FAKE_NOHUGE), asked, "the kernel may fill it again");
}

Test(purge, a_granule_reads_as_zeros_until_it_is_taken_hugepage_or_not, .init = start) {
    rt_opt.thp = OPT_THP_ALWAYS;
    enum page_content content;
    char *first = page_run_alloc(0, RUN, 1, &content);
    cr_expect_eq((int)content, (int)PAGE_ZERO);
    cr_assert_eq(stats().huge_bytes, HPAGE_BYTES);
    char *second = page_run_alloc(0, RUN, 1, &content);
    cr_expect_eq((int)content, (int)PAGE_ZERO, "what came with the hugepage was never written");
    page_run_free(first, RUN);
    cr_expect_eq(page_run_alloc(0, RUN, 1, &content), first);
    cr_expect_eq((int)content, (int)PAGE_DIRTY);
    page_run_free(first, RUN);
    page_run_free(second, RUN);
    page_purge(0);
    cr_expect_eq(page_run_alloc(0, RUN, 1, &content), first);
    cr_expect_eq((int)content, (int)PAGE_ZERO, "purged memory reads as zeros");
}

Test(purge, a_hugepage_is_left_alone_until_its_touch_has_brought_it, .init = start) {
    enum page_content content;
    rt_opt.thp = OPT_THP_ALWAYS;
    char *run = page_run_alloc(0, 1, 1, &content);
    struct hpage *h = chunk_hpage(chunk_of(run), run);
    cr_assert(h->huge && !atomic_load(&h->awaited));
    atomic_store(&h->awaited, true);
    cr_expect_eq(page_purge(0), 0u);
    cr_expect_eq(stats().run_free_bytes, HPAGE_BYTES - GRANULE_BYTES);
    atomic_store(&h->awaited, false);
    cr_expect_eq(page_purge(0), HPAGE_BYTES - GRANULE_BYTES);
}

Test(purge, slow_hugepages_are_asked_for_ever_less_and_come_back, .init = start) {
    rt_opt.thp = OPT_THP_EARNED;
    rt_opt.thp_after = 2 * MIB;
    fake_clock_look_takes_ns(10000000);
    take_and_touch(RUNS_MAX);
    unsigned hugepages = RUNS_MAX * RUN / (unsigned)HPAGE_GRANULES, asked = fake_calls_nr(FAKE_HUGE);
    cr_expect(asked >= 2 && asked <= 4, "%u of %u asked for", asked, hugepages);
    fake_clock_look_takes_ns(100000);
    for (int round = 0; round < 4; round++) {
        free_runs(0, RUNS_MAX);
        page_purge(0);
        asked = fake_calls_nr(FAKE_HUGE);
        take_and_touch(RUNS_MAX);
    }
    cr_expect_gt(fake_calls_nr(FAKE_HUGE) - asked, hugepages / 2);
}
