/* SPDX-License-Identifier: MIT */
/*
 * Threads that lose their rseq registration while they run: the kernel then leaves mm_cid and cpu_id at values that
 * look like CPU 0's, or at -1, for good, and such a thread must not use the per-CPU path. Half of the threads
 * unregister, before their first allocation or in the middle; the oracle watches all.
 */
#include "check.h"
#include "oracle.h"
#include "registration.h"

#include <pthread.h>
#include <stdint.h>

enum { THREADS = 8, STEPS = 150000, SIZE_LIMIT = 300 };

static struct pool pools[THREADS];

/* glibc unregisters nothing at thread exit: the kernel forgets the thread with its registration. */
static void *thread_run(void *index) {
    size_t i = (size_t)index;

    if (i % 4 == 0)
        (void)rseq_unregister();
    pool_steps(&pools[i], STEPS);
    if (i % 4 == 1)
        (void)rseq_unregister();
    pool_steps(&pools[i], STEPS);
    pool_drain(&pools[i]);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];

    (void)rseq_area();
    for (size_t i = 0; i < THREADS; i++) {
        pool_init(&pools[i], 9, i, SIZE_LIMIT);
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
