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
        if (settle_step(s, *now_ms, use, use, DELAY_MS) == SETTLE_NOW) {
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

/* What a program passed through may be a tenth of all it has. */
Test(settle, a_tenth_is_a_fall) {
    struct settle_state s = {0};
    u64 now = 10000;
    (void)steps_until(&s, &now, 11000, 100 * MIB);
    cr_expect_eq(steps_until(&s, &now, 15000, 90 * MIB), 11000u + DELAY_MS);
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
    cr_expect_eq(steps_until(&s, &now, 15000, 94 * MIB), 0u, "less than a sixteenth");
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

/* What went back to slabs while the program grew was never its own: use without it is no fall. */
Test(settle, what_is_shed_in_growth_is_no_fall) {
    struct settle_state s = {0};
    u64 now = 10000;
    (void)steps_until(&s, &now, 11000, 100 * MIB);
    settle_shed(&s, 40 * MIB);
    cr_expect_eq(steps_until(&s, &now, 15000, 60 * MIB), 0u);
    cr_expect_neq(steps_until(&s, &now, 20000, 40 * MIB), 0u, "a fall from there is one");
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

/* [T3] A buffer that comes and goes, while slabs rest. */
Test(settle, rest_is_judged_by_slabs_and_runs) {
    struct settle_state s = {0};
    u64 now = 10000, settled = 0;
    (void)settle_step(&s, now, 300 * MIB, 200 * MIB, DELAY_MS);
    for (u64 fell = now += STEP_MS; now < fell + 4000 && settled == 0; now += STEP_MS) {
        u64 buffer = now / STEP_MS % 2 * 64 * MIB;
        if (settle_step(&s, now, 40 * MIB + buffer, 40 * MIB, DELAY_MS) == SETTLE_NOW)
            settled = now - fell;
    }
    cr_expect_eq(settled, (u64)DELAY_MS);
}

/* 48 MiB of regions, and 16 MiB beside them that move by a few magazines. */
Test(settle, a_little_beside_regions_is_rest) {
    struct settle_state s = {0};
    u64 now = 10000, settled = 0;
    (void)settle_step(&s, now - STEP_MS, 256 * MIB, 60 * MIB, DELAY_MS);
    for (; now < 15000 && settled == 0; now += STEP_MS) {
        u64 out = 16 * MIB + (now / 500 % 2) * 2 * MIB;
        settled = settle_step(&s, now, 48 * MIB + out, out, DELAY_MS) == SETTLE_NOW ? now : 0;
    }
    cr_expect_eq(settled, 10000u + DELAY_MS);
}

Test(settle, early_after_an_eighth_of_the_delay_and_not_in_waves) {
    struct settle_state s = {0};
    u64 now = 10000;
    (void)settle_step(&s, now, 100 * MIB, 100 * MIB, DELAY_MS);
    cr_assert_eq(settle_step(&s, now, 40 * MIB, 40 * MIB, DELAY_MS), SETTLE_FALLEN);
    struct settle_state waves = s;
    waves.waves = 1;
    now += DELAY_MS / 8 - 1;
    cr_expect_eq(settle_early(&s, now, 40 * MIB, DELAY_MS), SETTLE_FALLEN);
    now++;
    cr_expect_eq(settle_early(&waves, now, 40 * MIB, DELAY_MS), SETTLE_FALLEN);
    cr_expect_eq(settle_early(&s, now, 40 * MIB, DELAY_MS), SETTLE_NOW);
    cr_expect_eq(settle_step(&s, now, 40 * MIB, 40 * MIB, DELAY_MS), SETTLE_STEADY, "[T1]");
    cr_expect_eq(settle_step(&s, now + 1, 100 * MIB, 100 * MIB, DELAY_MS), SETTLE_STEADY);
    cr_expect_eq(s.waves, 1u, "[T2] it was regretted");
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

/* Calls that always find a magazine, so many with each of some steps; what is held after two seconds. */
static void fallen_settles(unsigned calls, u64 step_ms) {
    size_t live = fill();
    drop();
    cr_assert_gt(page_backed_bytes_racy(), allowed(live), "there is nothing to give back: the test is no test");
    for (u64 ms = 0; ms < 2000; ms += step_ms) {
        for (unsigned i = 0; i < calls; i++)
            give(alloc(sizes[i % 3]));
        fake_clock_advance_ms(step_ms);
    }
    cr_expect_leq(page_backed_bytes_racy(), allowed(live), "%zu held for %zu live", page_backed_bytes_racy(), live);
    cr_expect(!mag_is_watched(), "the calls are watched for ever");
    kept_check();
}

Test(settle, thousands_of_calls_a_second) { fallen_settles(3, 1); }
Test(settle, a_hundred_thousand_calls_a_second) { fallen_settles(100, 1); }
Test(settle, bursts_of_calls) { fallen_settles(2000, 50); }
/* More than may be watched for a second: what rested until then is settled. */
Test(settle, four_hundred_thousand_calls_a_second) { fallen_settles(400, 1); }

/* A fall that takes longer than what may be watched at once would last: time allows more. */
Test(settle, a_long_fall_and_many_calls) {
    enum { PART = 4000, PART_MS = 100, WATCHED_PER_MS = 100, END_MS = 2000 };
    size_t live = fill();
    unsigned dropped = OBJS - OBJS / KEPT_PART - 8 * PART;
    drop_until(dropped);
    for (unsigned ms = 0; ms < END_MS; ms++) {
        for (unsigned i = 0; i < WATCHED_PER_MS; i++)
            give(alloc(sizes[i % 3]));
        fake_clock_advance_ms(1);
        for (unsigned end = dropped + PART; ms % PART_MS == 0 && end <= OBJS - OBJS / KEPT_PART && dropped < end;)
            give(objs[dropped++]);
    }
    cr_expect_leq(page_backed_bytes_racy(), allowed(live), "%zu held for %zu live", page_backed_bytes_racy(), live);
    kept_check();
}

/* All at one moment, and for some time afterwards: none is watched that time did not allow. */
Test(settle, busy_calls_are_watched_for_a_while_alone) {
    enum { WATCHED_AT_ONCE = 65536, WATCHED_PER_MS = 100, CALLS = 4 * WATCHED_AT_ONCE, LATER_MS = 200 };
    (void)fill();
    drop();
    struct mag_stats before, after;
    fake_clock_advance_ms(STEP_MS);
    call_a_little();
    mag_stats_get(&before);
    for (int i = 0; i < CALLS; i++)
        give(alloc(sizes[0]));
    mag_stats_get(&after);
    /* Without rseq there is no other path. */
    bool counts = strcmp(mag_mode_name(), "locked") != 0;
    if (counts)
        cr_expect_leq(after.slow_allocs - before.slow_allocs, (u64)WATCHED_AT_ONCE);
    cr_expect_leq(after.refills - before.refills, 2u, "watched calls go past the magazines");
    for (int ms = 0; ms < LATER_MS; ms++) {
        fake_clock_advance_ms(1);
        for (int i = 0; i < 2 * WATCHED_PER_MS; i++)
            engine_tick_maybe(); /* a slow call of another size */
        for (int i = 0; i < 20 * WATCHED_PER_MS; i++)
            give(alloc(sizes[0]));
    }
    mag_stats_get(&after);
    if (counts)
        cr_expect_leq(after.slow_allocs - before.slow_allocs, (u64)WATCHED_AT_ONCE + LATER_MS * WATCHED_PER_MS);
}

/* A buffer comes and goes, larger than all that rests. */
Test(settle, a_large_buffer_does_not_delay_it) {
    size_t live = fill();
    void *buffer = NULL;
    drop();
    for (unsigned ms = 0; ms < 2000; ms += STEP_MS) {
        if (buffer != NULL)
            give(buffer);
        buffer = buffer != NULL ? NULL : alloc(40 * MIB);
        call_a_little();
        fake_clock_advance_ms(STEP_MS);
    }
    cr_expect_leq(page_backed_bytes_racy(), allowed(live), "%zu held for %zu live", page_backed_bytes_racy(), live);
    kept_check();
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

/* Runs that are taken while memory is given back, more of them than go. */
static unsigned grown_nr;
static void grow_once(enum fake_call call) {
    enum { RUNS = 64 };
    enum page_content content;
    if (call != FAKE_PURGE || page_is_busy_here())
        return;
    fake_calling = NULL;
    for (unsigned i = 0; i < RUNS; i++)
        grown_nr += page_run_alloc(0, HPAGE_GRANULES, 1, &content) != NULL;
}

Test(settle, growth_does_not_hide_what_a_trim_gave_back) {
    (void)fill();
    for (unsigned i = 0; i < OBJS; i++) {
        if (i % 100 >= SIZES_NR) /* each slab keeps some */
            give(objs[i]);
    }
    size_t before = page_backed_bytes_racy();
    fake_calling = grow_once;
    size_t given = engine_trim(0);
    fake_calling = NULL;
    cr_assert_gt(grown_nr, 0u, "nothing grew meanwhile: the test is no test");
    cr_assert_gt(page_backed_bytes_racy(), before, "it grew by less than was given back");
    cr_expect_eq(before + grown_nr * HPAGE_BYTES - given, page_backed_bytes_racy());
}
