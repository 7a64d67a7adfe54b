/* SPDX-License-Identifier: MIT */
/*
 * When a fall of use is over: the state machine alone, and the whole engine on the pretend address space and clock,
 * where what is held two seconds after a fall is exact.
 */
#include "engine/settle.h"

#include "engine/engine.h"
#include "engine/start.h"
#include "fakes/fake.h"
#include "mag/mag.h"
#include "page/page.h"
#include "rt/options.h"
#include "unit/calls.h"

#include <criterion/criterion.h>
#include <string.h>

enum { DELAY_MS = 1000, STEP_MS = 50 };

/* Steps of use until the given time. Returns when SETTLE_NOW came, or 0. */
static u64 steps_until(struct settle_state *s, u64 *now_ms, u64 until_ms, u64 use) {
    u64 settled = 0;
    for (; *now_ms < until_ms; *now_ms += STEP_MS) {
        if (settle_step(s, *now_ms, use, DELAY_MS) == SETTLE_NOW) {
            cr_expect_eq(settled, 0u, "[T1] settled twice");
            settled = *now_ms;
        }
    }
    return settled;
}

Test(settle, a_fall_is_settled_once_and_after_the_delay) {
    struct settle_state s = {0};
    u64 now = 10000;
    cr_expect_eq(steps_until(&s, &now, 15000, 100 * MIB), 0u, "nothing fell");
    cr_expect_eq(steps_until(&s, &now, 25000, 40 * MIB), 15000u + DELAY_MS);
    cr_expect_eq(steps_until(&s, &now, 30000, 41 * MIB), 0u);
}

Test(settle, what_moves_is_not_at_rest) {
    struct settle_state s = {0};
    u64 now = 10000;
    (void)steps_until(&s, &now, 11000, 100 * MIB);
    for (u64 use = 80 * MIB; use >= 20 * MIB; use -= 10 * MIB)
        cr_expect_eq(steps_until(&s, &now, now + DELAY_MS / 2, use), 0u);
    cr_expect_eq(steps_until(&s, &now, now + 5000, 20 * MIB), now - 5000 + DELAY_MS / 2);
}

Test(settle, what_never_rests_is_settled_at_last) {
    struct settle_state s = {0};
    u64 now = 10000, settled = 0;
    (void)steps_until(&s, &now, 11000, 100 * MIB);
    for (unsigned i = 0; i < 20 && settled == 0; i++)
        settled = steps_until(&s, &now, now + DELAY_MS / 2, (i % 2 == 0 ? 20 : 30) * MIB);
    cr_expect_eq(settled, 11000u + 8 * DELAY_MS);
}

Test(settle, small_falls_and_rises_are_none) {
    struct settle_state s = {0};
    u64 now = 10000;
    (void)steps_until(&s, &now, 11000, 100 * MIB);
    cr_expect_eq(steps_until(&s, &now, 15000, 89 * MIB), 0u, "less than an eighth");
    (void)steps_until(&s, &now, 15500, 50 * MIB);
    cr_expect_eq(steps_until(&s, &now, 20000, 95 * MIB), 0u, "it rose again");
    struct settle_state small = {0};
    (void)steps_until(&small, &now, 21000, 2 * MIB);
    cr_expect_eq(steps_until(&small, &now, 25000, 1 * MIB), 0u, "too little to look for");
}

Test(settle, housekeeping_is_no_motion) {
    struct settle_state s = {0};
    u64 now = 10000;
    (void)steps_until(&s, &now, 11000, 100 * MIB);
    (void)steps_until(&s, &now, 11500, 40 * MIB);
    settle_rebase(&s, 40 * MIB, 30 * MIB);
    cr_expect_eq(steps_until(&s, &now, 15000, 30 * MIB), 11000u + DELAY_MS);
}

/* [T2] Troughs of a second and a half: the first are settled, later ones no more; a long one is, and is not regretted.
 */
Test(settle, waves_double_the_delay) {
    struct settle_state s = {0};
    u64 now = 10000;
    unsigned settled = 0;
    for (int wave = 0; wave < 10; wave++) {
        (void)steps_until(&s, &now, now + 500, 100 * MIB);
        settled += steps_until(&s, &now, now + 1500, 20 * MIB) != 0;
    }
    cr_expect_eq(settled, 1u, "%u of 10 troughs were settled", settled);
    (void)steps_until(&s, &now, now + 500, 100 * MIB);
    u64 fell = now;
    cr_expect_eq(steps_until(&s, &now, now + 20000, 20 * MIB), fell + 2 * DELAY_MS);
    fell = now;
    (void)steps_until(&s, &now, now + 500, 100 * MIB);
    fell = now;
    cr_expect_eq(steps_until(&s, &now, now + 5000, 20 * MIB), fell + DELAY_MS, "the last was not regretted");
}

/* --- the whole engine --- */

enum { OBJS = 80000, SIZES_NR = 5, KEPT_PART = 5, CALLS_PER_STEP = 3 };
static char *objs[OBJS];
static const size_t sizes[SIZES_NR] = {48, 200, 700, 1500, 5000};

static size_t fill(void) {
    size_t live = 0;
    for (unsigned i = 0; i < OBJS; i++) {
        objs[i] = alloc(sizes[i % SIZES_NR]);
        cr_assert_not_null(objs[i]);
        memset(objs[i], (int)(i % 251), sizes[i % SIZES_NR]);
        if (i >= OBJS - OBJS / KEPT_PART)
            live += engine_usable(objs[i]);
    }
    return live;
}

static void drop_until(unsigned end) {
    for (unsigned i = 0; i < end; i++)
        give(objs[i]);
}

static void drop(void) { drop_until(OBJS - OBJS / KEPT_PART); }

static void kept_check(void) {
    for (unsigned i = OBJS - OBJS / KEPT_PART; i < OBJS; i++) {
        cr_assert_eq(objs[i][0], (char)(i % 251));
        cr_assert_eq(objs[i][sizes[i % SIZES_NR] - 1], (char)(i % 251));
    }
}

static size_t allowed(size_t live) { return live + live / 10; }

/* Calls that always find a magazine: of the same few sizes, and balanced. */
static void call_a_little(void) {
    for (int i = 0; i < CALLS_PER_STEP; i++)
        give(alloc(sizes[i]));
}

Test(settle, two_seconds_after_a_fall_a_tenth_is_held) {
    size_t live = fill(), full = page_backed_bytes_racy();
    drop();
    cr_assert_gt(page_backed_bytes_racy(), allowed(live), "there is nothing to give back: the test is no test");
    u64 before = sys_clock_ms();
    while (sys_clock_ms() - before < 2000) {
        call_a_little();
        fake_clock_advance_ms(STEP_MS);
    }
    call_a_little();
    cr_expect_leq(page_backed_bytes_racy(), allowed(live), "%zu of %zu held for %zu live", page_backed_bytes_racy(),
                  full, live);
    cr_expect(!mag_is_watched(), "the calls are watched for ever");
    kept_check();
}

Test(settle, when_nothing_is_live_next_to_nothing_is_held) {
    (void)fill();
    drop_until(OBJS);
    fake_clock_advance_ms(STEP_MS);
    call_a_little();
    fake_clock_advance_ms(DELAY_MS);
    call_a_little();
    cr_expect_leq(page_backed_bytes_racy(), 512 * KIB, "%zu bytes held", page_backed_bytes_racy());
}

Test(settle, without_calls_nothing_happens_and_the_first_ones_find_it) {
    size_t live = fill();
    drop();
    size_t held = page_backed_bytes_racy();
    fake_clock_advance_ms(60000);
    cr_expect_eq(page_backed_bytes_racy(), held);
    call_a_little();
    cr_expect_leq(page_backed_bytes_racy(), allowed(live));
    kept_check();
}

Test(settle, busy_calls_are_watched_for_a_while_alone) {
    enum { WATCHED_MOST = 4096 };
    (void)fill();
    drop();
    struct mag_stats before, after;
    fake_clock_advance_ms(STEP_MS);
    call_a_little();
    mag_stats_get(&before);
    for (int i = 0; i < 100 * WATCHED_MOST; i++)
        give(alloc(sizes[0]));
    mag_stats_get(&after);
    /* Without rseq there is no other path. */
    if (strcmp(mag_mode_name(), "locked") != 0)
        cr_expect_leq(after.slow_allocs - before.slow_allocs, (u64)WATCHED_MOST);
    cr_expect_leq(after.refills - before.refills, 2u, "watched calls go past the magazines");
}

/* A buffer that comes and goes is a rise and a fall each time, and nothing to begin and end a watch for. */
Test(settle, use_that_swings_does_not_switch_the_watch) {
    enum { TURNS = 1000, SWITCHES_MOST = TURNS / 10 };
    unsigned switches = 0;
    give(alloc(sizes[0]));
    for (int i = 0; i < TURNS; i++) {
        bool before = mag_is_watched();
        void *p = alloc(3 * MIB);
        cr_assert_not_null(p);
        switches += before != mag_is_watched();
        before = mag_is_watched();
        give(p);
        switches += before != mag_is_watched();
    }
    cr_expect_leq(switches, (unsigned)SWITCHES_MOST, "switched %u times", switches);
}

Test(settle, a_background_thread_makes_the_watch_needless) {
    cr_assert(engine_start());
    rt_opt.background = OPT_BACKGROUND_ON;
    (void)fill();
    drop();
    fake_clock_advance_ms(STEP_MS);
    call_a_little();
    cr_expect(!mag_is_watched());
}
