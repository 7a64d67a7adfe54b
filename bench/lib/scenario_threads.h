/* SPDX-License-Identifier: MIT */
/*
 * Runs the workers of a scenario program. A single worker runs on the caller's thread, as in a program that has no
 * threads, because allocators treat such a process differently. Called by main(); owns no state.
 */
#ifndef BENCH_SCENARIO_THREADS_H
#define BENCH_SCENARIO_THREADS_H

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#include "die.h"
#include "thread.h"

enum { WORKERS_MAX = 1024 };

/* Calls body(&workers[i]) for each of nr workers of worker_bytes each, 1 to WORKERS_MAX, and returns when all have. */
static inline void workers_run(void *(*body)(void *), void *workers, size_t worker_bytes, size_t nr) {
    pthread_t threads[WORKERS_MAX];

    if (nr == 1) {
        body(workers);
        return;
    }
    for (size_t id = 0; id < nr; id++)
        threads[id] = thread_start(body, (char *)workers + id * worker_bytes);
    for (size_t id = 0; id < nr; id++)
        thread_join(threads[id]);
}

/* A barrier for thread_meet(), of 1 or more parties. */
static inline void barrier_open(pthread_barrier_t *barrier, size_t parties) {
    errno = pthread_barrier_init(barrier, NULL, (unsigned)parties);
    if (errno != 0)
        die("pthread_barrier_init");
}

#endif
