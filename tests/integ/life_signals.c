/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers that allocate and free, 20,000 times a second and thread, interrupting threads that do nothing but
 * allocate and free. POSIX does not ask for it; quarry promises it. Two oracles watch: each thread's pool, and
 * each handler's own pool, of which every object may have been handed out in the middle of the other's malloc.
 *
 * That they come at that rate does not depend on the machine: expirations that find the signal still pending are
 * counted by the kernel and told with it. So whenever a handler begins, the signals so far and what they told must be
 * as many as the time demanded that had passed when the handler before it ended. How many of them were signals of their
 * own is up to the machine; each thread goes on until it had its share. Where a handler takes longer than the timer,
 * the next would begin before the thread came to anything, and so for ever: one that finds the thread where the last
 * one left it has its signal held back until the thread has done a turn. And what the storm leaves is what it found.
 */
#include "check.h"
#include "floor.h"
#include "oracle.h"
#include "timer.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    THREADS = 3,
    HANDLER_STEPS = 4,
    TIMER_NS = 50000,
    HANDLER_SIZE_LIMIT = 40000,
    SIGNALS_WARM = 200, /* of each thread, at least */
    SIGNALS_USUAL = 1000,
    SIGNALS_SOAK = 200000,
    TURNS_MIN = 200, /* of the thread's own work */
};

struct interrupted {
    struct pool pool, handler_pool;
    uint64_t start_ns, handled_ns; /* the timer's start; the end of the latest handler */
    unsigned long signals_nr, expirations_nr;
    unsigned long steps_seen_nr; /* of the pool, by the latest handler */
    volatile sig_atomic_t held;
};

static struct interrupted all[THREADS];
static _Thread_local struct interrupted *self;
static unsigned long signals_wanted;

static uint64_t now_ns(void) {
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void signal_held(int how) {
    sigset_t timer;

    sigemptyset(&timer);
    sigaddset(&timer, SIGRTMIN);
    CHECK(pthread_sigmask(how, &timer, NULL) == 0);
}

static void on_timer(int signal_nr, siginfo_t *info, void *context) {
    int saved = errno;

    (void)signal_nr;
    self->signals_nr++;
    self->expirations_nr += 1 + (unsigned long)info->si_overrun;
    uint64_t demanded_nr = (self->handled_ns - self->start_ns) / TIMER_NS;
    CHECK_MSG(self->expirations_nr + 1 >= demanded_nr, "%lu expirations where %llu were demanded", self->expirations_nr,
              (unsigned long long)demanded_nr);
    if (self->pool.steps_nr == self->steps_seen_nr) {
        self->held = 1;
        sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGRTMIN);
    }
    self->steps_seen_nr = self->pool.steps_nr;
    pool_steps(&self->handler_pool, HANDLER_STEPS);
    self->handled_ns = now_ns();
    errno = saved;
}

static void *thread_run(void *interrupted) {
    timer_t timer;

    self = interrupted;
    self->signals_nr = self->expirations_nr = 0;
    self->steps_seen_nr = ULONG_MAX;
    self->held = 0;
    self->start_ns = self->handled_ns = UINT64_MAX;
    signal_held(SIG_BLOCK);
    timer = timer_start(SIGRTMIN, TIMER_NS);
    self->start_ns = self->handled_ns = now_ns();
    signal_held(SIG_UNBLOCK);
    for (unsigned turn = 0; turn < TURNS_MIN || *(volatile unsigned long *)&self->signals_nr < signals_wanted; turn++) {
        pool_steps(&self->pool, 64);
        if (self->held) {
            self->held = 0;
            signal_held(SIG_UNBLOCK);
        }
    }
    CHECK(timer_delete(timer) == 0);
    signal_held(SIG_BLOCK);
    pool_drain(&self->pool);
    pool_drain(&self->handler_pool);
    return NULL;
}

static void storm(uint64_t seed, unsigned long signals_each) {
    pthread_t threads[THREADS];

    signals_wanted = signals_each;
    for (size_t i = 0; i < THREADS; i++) {
        pool_init(&all[i].pool, seed, i, 0);
        pool_init(&all[i].handler_pool, seed + 1, 100 + i, HANDLER_SIZE_LIMIT);
        CHECK(pthread_create(&threads[i], NULL, thread_run, &all[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_RESTART | SA_SIGINFO};

    CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
    floor_threads(THREADS);
    storm(1, SIGNALS_WARM);
    struct floor before = floor_take();
    storm(3, getenv("SOAK") != NULL ? SIGNALS_SOAK : SIGNALS_USUAL);
    floor_check(&before);
    for (size_t i = 0; i < THREADS; i++)
        printf("%lu signals of %lu demanded\n", all[i].signals_nr, all[i].expirations_nr);
    return 0;
}
