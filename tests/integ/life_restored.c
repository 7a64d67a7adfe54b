/* SPDX-License-Identifier: MIT */
/*
 * What a checkpoint and its restore may leave behind: all threads stand still, and when they go on the kernel knows
 * nothing of their rseq areas any more; as `barrier', nor does it let this process use membarrier. What they hold is as
 * it was, some of it in magazines of ids that nobody has now. They must be served, without those ids, and give back;
 * and when the areas are registered again, as a good restore does by itself, by the ids again.
 */
#include "check.h"
#include "deny.h"
#include "oracle.h"
#include "registration.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <quarry/quarry.h>
#pragma weak quarry_stat

enum { THREADS = 6, STEPS = 60000, SIZE_LIMIT = 300, PAIRS = 20000, PAIR_BYTES = 100, TURNS = 3 };

static struct pool pools[THREADS];
static pthread_barrier_t everybody; /* and main */

static void meet(void) {
    int status = pthread_barrier_wait(&everybody);
    CHECK(status == 0 || status == PTHREAD_BARRIER_SERIAL_THREAD);
}

/* Between two meetings main alone runs, or the threads alone do. */
static void *thread_run(void *pool) {
    for (unsigned turn = 0; turn < TURNS; turn++) {
        pool_steps(pool, STEPS);
        meet();
        unsigned bytes = rseq_unregister();
        meet();
        pool_steps(pool, STEPS);
        meet();
        rseq_register(bytes);
        meet();
    }
    pool_steps(pool, STEPS);
    pool_drain(pool);
    return NULL;
}

static uint64_t without_id(void) {
    uint64_t nr = 0;
    CHECK(quarry_stat("fallback_ops", &nr) == 0);
    return nr;
}

static void pairs(void) {
    for (unsigned i = 0; i < PAIRS; i++) {
        void *volatile p = malloc(PAIR_BYTES);
        CHECK(p != NULL);
        free(p);
    }
}

/* One thread leaves its id for nobody: what it does is done by it, or, without, none of it is. */
static void pairs_by_id(void) {
    uint64_t before = without_id();
    pairs();
    CHECK_MSG(without_id() == before, "%llu calls without an id", (unsigned long long)(without_id() - before));
}

static void pairs_without(void) {
    uint64_t before = without_id();
    pairs();
    CHECK_MSG(without_id() - before >= 2 * PAIRS, "%llu of %d calls without an id",
              (unsigned long long)(without_id() - before), 2 * PAIRS);
}

static void restored(void) {
    meet();
    unsigned bytes = rseq_unregister();
    uint64_t before = without_id(); /* nobody allocates before all have met */
    meet();
    meet(); /* the threads run, and are done */
    CHECK_MSG(without_id() - before >= (uint64_t)THREADS * STEPS / 4, "%llu calls without an id",
              (unsigned long long)(without_id() - before));
    pairs_without();
    (void)malloc_trim(0);
    pairs_without();
    rseq_register(bytes);
    pairs_by_id();
    (void)malloc_trim(0);
    pairs_by_id();
    meet();
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    CHECK(argc == 1 || (argc == 2 && strcmp(argv[1], "barrier") == 0));
    (void)rseq_area();
    CHECK(quarry_stat != NULL);
    pairs();
    if (without_id() != 0)
        check_skip("the magazines are locked");
    pairs_by_id();
    CHECK(pthread_barrier_init(&everybody, NULL, THREADS + 1) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        pool_init(&pools[i], 9, i, SIZE_LIMIT);
        CHECK(pthread_create(&threads[i], NULL, thread_run, &pools[i]) == 0);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (argc == 2 && turn == 1)
            deny_syscall(SYS_membarrier, EPERM);
        restored();
    }
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
