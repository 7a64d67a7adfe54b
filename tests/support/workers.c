/* SPDX-License-Identifier: MIT */
/*
 * See workers.h.
 */
#include "workers.h"

#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

static struct pool pools[WORKERS_LIMIT];
static pthread_t threads[WORKERS_LIMIT];
static size_t running_nr;
static atomic_int stopping;

static void *worker_run(void *pool) {
    do
        pool_steps(pool, 64);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed));
    pool_drain(pool);
    return NULL;
}

void workers_start(size_t worker_nr, uint64_t seed, size_t size_limit, enum pool_enomem enomem) {
    CHECK(worker_nr <= WORKERS_LIMIT && running_nr == 0);
    atomic_store(&stopping, 0);
    for (size_t i = 0; i < worker_nr; i++) {
        pool_init(&pools[i], seed, 1000 + i, size_limit);
        pools[i].enomem = enomem;
        CHECK(pthread_create(&threads[i], NULL, worker_run, &pools[i]) == 0);
    }
    running_nr = worker_nr;
}

void workers_stop(void) {
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < running_nr; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(pools[i].steps_nr > 0);
    }
    running_nr = 0;
}
