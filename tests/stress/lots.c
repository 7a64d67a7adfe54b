/* SPDX-License-Identifier: MIT */
/*
 * Threads allocate, resize and free large regions, so many that they are cut from lots, and hand some to each other.
 * The oracle: every region carries its owner's stamps (oracle.h) until it is freed; in the end nothing is live, and no
 * memory of the regions is left. Usage: lots [SEED] --seconds N
 */
#include "check.h"
#include "oracle.h"
#include "proc.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS_NR = 4, SLOTS_NR = 150, SHARED_NR = 64 };
#define MIB ((size_t)1 << 20)
#define LEFT_MAX_BYTES (16 * MIB)

static struct object shared[SHARED_NR];
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool stop;
static uint64_t seed;

static size_t size_draw(struct rng *rng) {
    return MIB + 1 + rng_below(rng, rng_below(rng, 8) == 0 ? 9 * MIB : 2 * MIB);
}

static void region_fill(struct object *o, struct rng *rng, uint64_t stamp) {
    o->size = size_draw(rng);
    CHECK((o->memory = malloc(o->size)) != NULL);
    object_stamp(o, stamp);
}

/* realloc keeps what the stamps of both sizes cover only byte by byte: the first word is enough here, and all is
 * stamped anew. */
static void region_resize(struct object *o, struct rng *rng, uint64_t stamp) {
    uint64_t first;
    object_check(o);
    memcpy(&first, o->memory, sizeof(first));
    o->size = size_draw(rng);
    CHECK((o->memory = realloc(o->memory, o->size)) != NULL);
    CHECK(memcmp(o->memory, &first, sizeof(first)) == 0);
    object_stamp(o, stamp);
}

static void region_swap(struct object *o, struct rng *rng) {
    struct object *with = &shared[rng_below(rng, SHARED_NR)], kept = *o;
    pthread_mutex_lock(&shared_lock);
    *o = *with;
    *with = kept;
    pthread_mutex_unlock(&shared_lock);
}

static void *worker(void *arg) {
    static struct object all[THREADS_NR][SLOTS_NR];
    uint64_t id = (uintptr_t)arg, step = 0;
    struct object *slots = all[id];
    struct rng rng = {seed * 31 + id};
    while (!atomic_load(&stop)) {
        struct object *o = &slots[rng_below(&rng, SLOTS_NR)];
        uint64_t stamp = (id << 48) + ++step;
        size_t dice = rng_below(&rng, 8);
        if (dice == 0)
            region_swap(o, &rng);
        else if (o->memory == NULL)
            region_fill(o, &rng, stamp);
        else if (dice < 3)
            region_resize(o, &rng, stamp);
        else if (dice < 5)
            object_retire(o);
        else
            object_check(o);
    }
    for (int i = 0; i < SLOTS_NR; i++)
        object_retire(&slots[i]);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS_NR];
    CHECK(argc >= 3 && strcmp(argv[argc - 2], "--seconds") == 0);
    seed = argc > 3 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    free(malloc(2 * MIB));
    size_t start = proc_anonymous_bytes();
    for (uintptr_t i = 0; i < THREADS_NR; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)i) == 0);
    struct timespec span = {atoi(argv[argc - 1]), 0};
    nanosleep(&span, NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS_NR; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < SHARED_NR; i++)
        object_retire(&shared[i]);
    (void)malloc_trim(0);
    size_t end = proc_anonymous_bytes();
    CHECK_MSG(end <= start + LEFT_MAX_BYTES, "%zu KiB are left, %zu at the start", end >> 10, start >> 10);
    return 0;
}
