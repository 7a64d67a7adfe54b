/* SPDX-License-Identifier: MIT */
/*
 * Clocks and median of the bench programs (see clock.h). No state. The sort is in place, because a call into the
 * allocator from here would be part of what is measured.
 */
#include "clock.h"

#include <errno.h>
#include <time.h>

#include "die.h"

enum { NS_PER_S = 1000000000, NS_PER_MS = 1000000, MS_PER_S = 1000 };

static uint64_t clock_read_ns(clockid_t clock) {
    struct timespec now;

    if (clock_gettime(clock, &now) != 0)
        die("clock_gettime");
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ns(void) { return clock_read_ns(CLOCK_MONOTONIC); }

uint64_t clock_thread_ns(void) { return clock_read_ns(CLOCK_THREAD_CPUTIME_ID); }
uint64_t clock_process_ns(void) { return clock_read_ns(CLOCK_PROCESS_CPUTIME_ID); }

void clock_sleep_ms(uint64_t duration_ms) {
    struct timespec left = {
        .tv_sec = (time_t)(duration_ms / MS_PER_S),
        .tv_nsec = (long)(duration_ms % MS_PER_S) * NS_PER_MS,
    };

    while (nanosleep(&left, &left) != 0) {
        if (errno != EINTR)
            die("nanosleep");
    }
}

/* Insertion sort: at most a few thousand values, and qsort() of glibc 2.36 calls malloc for large arrays. */
static void sort_doubles(double *values, size_t nr) {
    for (size_t next = 1; next < nr; next++) {
        double value = values[next];
        size_t at = next;

        for (; at > 0 && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

double median_of(double *values, size_t nr) {
    if (nr == 0)
        die("median of nothing");
    sort_doubles(values, nr);
    return nr % 2 == 1 ? values[nr / 2] : (values[nr / 2 - 1] + values[nr / 2]) / 2;
}
