/* SPDX-License-Identifier: MIT */
/*
 * See workers.h.
 */
#include "workers.h"

#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

static struct pool pools[WORKERS_LIMIT];
static pthread_t threads[WORKERS_LIMIT];
static size_t running_nr;
static unsigned nap_us;
static atomic_int stopping;
static atomic_size_t started_nr;

static void *worker_run(void *pool) {
    atomic_fetch_add(&started_nr, 1);
    do {
        pool_steps(pool, 64);
        if (nap_us != 0)
            (void)usleep(nap_us);
    } while (!atomic_load_explicit(&stopping, memory_order_relaxed));
    pool_drain(pool);
    return NULL;
}

void workers_nap(unsigned us) { nap_us = us; }

void workers_start(size_t worker_nr, uint64_t seed, size_t size_limit, enum pool_enomem enomem) {
    CHECK(worker_nr <= WORKERS_LIMIT && running_nr == 0);
    atomic_store(&stopping, 0);
    atomic_store(&started_nr, 0);
    for (size_t i = 0; i < worker_nr; i++) {
        pool_init(&pools[i], seed, 1000 + i, size_limit);
        pools[i].enomem = enomem;
        CHECK(pthread_create(&threads[i], NULL, worker_run, &pools[i]) == 0);
    }
    running_nr = worker_nr;
    /* A new thread's own first system calls are the C library's, and may not be refused by what the test does next. */
    while (atomic_load(&started_nr) < worker_nr)
        sched_yield();
}

void workers_stop(void) {
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < running_nr; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(pools[i].steps_nr > 0);
    }
    running_nr = 0;
}
