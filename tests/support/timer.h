/* SPDX-License-Identifier: MIT */
/* A timer that interrupts the thread which starts it, and no other, with a signal again and again. */
#ifndef QUARRY_TESTS_TIMER_H
#define QUARRY_TESTS_TIMER_H

#include "check.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* glibc 2.36 has no name for it; musl has. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Ends with timer_delete(). */
static inline timer_t timer_start(int signal_nr, long every_ns) {
    struct itimerspec every = {{0, every_ns}, {0, every_ns}};
    struct sigevent event;
    timer_t timer;
    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal_nr;
    event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &every, NULL) == 0);
    return timer;
}

#endif
