/* SPDX-License-Identifier: MIT */
/* The watch: what others ran on this CPU meanwhile is not counted, and what the thread itself waited for is. */
#include "sys/sys.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

enum { NS_PER_MS = 1000000, NAP_MS = 5 };

static _Atomic(bool) over;

static void *spin(void *unused) {
    while (!atomic_load(&over))
        continue;
    return unused;
}

/* This thread, and those it makes, share one CPU from now on. */
static void stay_on_one_cpu(void) {
    cpu_set_t all, one;
    unsigned cpu = 0;
    cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

Test(watch, the_turns_of_others_are_not_counted) {
    pthread_t other;
    struct sys_watch watch;
    stay_on_one_cpu();
    cr_assert_eq(pthread_create(&other, NULL, spin, NULL), 0);
    u64 start_ns = sys_clock_ns(), ran_ns = sys_clock_thread_ns();
    sys_watch_begin(&watch);
    while (sys_clock_ns() - start_ns < sys_clock_thread_ns() - ran_ns + (u64)NAP_MS * NS_PER_MS)
        continue;
    u64 seen_ns = sys_watch_ns(&watch), all_ns = sys_clock_ns() - start_ns;
    atomic_store(&over, true);
    cr_assert_eq(pthread_join(other, NULL), 0);
    cr_expect_leq(seen_ns + (u64)NAP_MS * NS_PER_MS, all_ns);
}

Test(watch, waits_of_its_own_are_counted) {
    struct sys_watch watch;
    sys_watch_begin(&watch);
    sys_sleep_ms(NAP_MS);
    cr_expect_geq(sys_watch_ns(&watch), (u64)NAP_MS * NS_PER_MS);
}
