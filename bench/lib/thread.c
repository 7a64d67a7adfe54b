/* SPDX-License-Identifier: MIT */
/*
 * Thread helpers of the bench programs (see thread.h). No state.
 */
#include "thread.h"

#include <errno.h>
#include <sched.h>

#include "die.h"

/* Longer than a ring batch takes on the other CPU, shorter than a time slice by far. */
enum { PAUSES_BEFORE_YIELD = 64 };

pthread_t thread_start(void *(*body)(void *), void *argument) {
    pthread_t thread;

    errno = pthread_create(&thread, NULL, body, argument);
    if (errno != 0)
        die("pthread_create");
    return thread;
}

void thread_join(pthread_t thread) {
    errno = pthread_join(thread, NULL);
    if (errno != 0)
        die("pthread_join");
}

void thread_meet(pthread_barrier_t *barrier) {
    int result = pthread_barrier_wait(barrier);

    if (result != 0 && result != PTHREAD_BARRIER_SERIAL_THREAD) {
        errno = result;
        die("pthread_barrier_wait");
    }
}

static inline void cpu_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void thread_wait_step(unsigned attempt) {
    if (attempt < PAUSES_BEFORE_YIELD)
        cpu_pause();
    else
        sched_yield();
}
