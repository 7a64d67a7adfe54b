/* SPDX-License-Identifier: MIT */
/* How often the kernel is asked of a process that never rests: until a number of walks, or a time, is over. On the
 * pretend clock, each look at which takes as long as is told. */
#include "obs/obs.h"

#include "big/big.h"
#include "engine/engine.h"
#include "fakes/fake.h"
#include "unit/calls.h"

#include <criterion/criterion.h>

enum { TRIES_MOST = 16, NS_PER_MS = 1000000, TIME_MS = 50 };

static struct obs_stats stats;

/* How often the clock was looked at, each time for so many ns. */
static u64 looks(u64 look_ns) {
    fake_clock_look_takes_ns(look_ns);
    u64 start = sys_clock_ns();
    obs_collect(&stats, OBS_KERNEL);
    u64 end = sys_clock_ns();
    fake_clock_look_takes_ns(0);
    return (end - start) / look_ns - 1;
}

/* Counted, and in no record: no walk ever agrees with the counters. */
static void move(void) {
    char *p = alloc(100);
    give(alloc(100));
    *p = 1;
    atomic_fetch_add(&big_held_bytes, 1 * GIB);
    obs_collect(&stats, OBS_KERNEL);
    if (stats.kernel_anon_bytes == 0)
        cr_skip("the kernel does not say what each page is");
}

Test(collect, a_busy_process_is_read_a_number_of_times, .init = move) {
    cr_expect_eq(looks(1), (u64)TRIES_MOST, "one at the start, and one before each walk but the first");
}

Test(collect, and_for_some_time_at_most, .init = move) {
    cr_expect_eq(looks(TIME_MS * NS_PER_MS), 2u, "another walk after %d ms", TIME_MS);
    cr_expect_gt(stats.heap_resident_bytes, 0u, "there is no reading");
    cr_expect_eq(looks(TIME_MS * NS_PER_MS / 4), 5u);
}
