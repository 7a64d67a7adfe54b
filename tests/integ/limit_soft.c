/* SPDX-License-Identifier: MIT */
/*
 * The reclaim callbacks. A cache that grows without bound lives under QUARRY_LIMIT_SOFT, because its callback drops it;
 * an allocation inside the callback starts no second round; callbacks do not run in handlers nor where a signal with a
 * handler is blocked; one that unregisters itself is not called again; a hard limit is met with callbacks before it is
 * answered with NULL; registration races with rounds. Set both limits in the driver.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quarry/quarry.h>

enum { ENTRY_BYTES = 3000, SLOTS_NR = 16, RACERS_NR = 4, RACES_NR = 2000 };

struct entry {
    struct entry *next;
};

/* volatile: glibc declares malloc as a leaf, so the compiler thinks that it changes nothing static in this file. */
static struct entry *volatile cache;
static volatile unsigned drops, depth, once_calls;

static void cache_drop(void *arg) {
    CHECK(arg == &cache && depth == 0);
    depth++;
    drops++;
    free(malloc(100000)); /* no round inside a round */
    while (cache != NULL) {
        struct entry *next = cache->next;
        free(cache);
        cache = next;
    }
    depth--;
}

static void once(void *arg) {
    once_calls++;
    CHECK(quarry_reclaim_unregister(once, arg) == 0);
}

static void cache_fill(size_t bytes) {
    for (size_t i = 0; i < bytes / ENTRY_BYTES; i++) {
        struct entry *e = malloc(ENTRY_BYTES);
        CHECK(e != NULL);
        memset(e, 1, ENTRY_BYTES);
        e->next = cache;
        cache = e;
    }
}

static void *never_called;
static atomic_int inside;

static void racing(void *arg) {
    atomic_int *alive = arg;
    atomic_fetch_add(&inside, 1);
    CHECK(atomic_load(alive) == 1);
    atomic_fetch_sub(&inside, 1);
}

/* What is registered dies right after it was taken back: a late call would find it dead. */
static void *race(void *arg) {
    for (int i = 0; i < RACES_NR; i++) {
        atomic_int alive = 1;
        CHECK(quarry_reclaim_register(racing, &alive) == 0);
        if (i % 64 == 0)
            free(malloc((size_t)1 << 40)); /* refused: a round */
        CHECK(quarry_reclaim_unregister(racing, &alive) == 0);
        atomic_store(&alive, 0);
    }
    return arg;
}

static volatile unsigned handler_calls;
static void in_handler(int signal_nr) {
    (void)signal_nr;
    CHECK(malloc((size_t)1 << 40) == NULL);
    handler_calls++;
}

static void nothing(void *arg) { never_called = arg; }

static void slots_check(void) {
    CHECK(quarry_reclaim_register(NULL, NULL) == EINVAL);
    CHECK(quarry_reclaim_unregister(nothing, NULL) == ENOENT);
    for (int i = 0; i < SLOTS_NR; i++)
        CHECK(quarry_reclaim_register(nothing, NULL) == 0);
    CHECK(quarry_reclaim_register(nothing, NULL) == ENOSPC);
    for (int i = 0; i < SLOTS_NR; i++)
        CHECK(quarry_reclaim_unregister(nothing, NULL) == 0);
}

int main(void) {
    struct quarry_pressure p;
    pthread_t racers[RACERS_NR];
    sigset_t all, old;

    slots_check();
    CHECK(quarry_pressure(&p) == QUARRY_PRESSURE_NONE && p.soft_bytes != 0 && p.hard_bytes > 2 * p.soft_bytes);
    CHECK(quarry_reclaim_register(cache_drop, (void *)&cache) == 0 && quarry_reclaim_register(once, &all) == 0);
    cache_fill(p.soft_bytes * 8);
    CHECK_MSG(drops >= 4 && drops <= 64, "%u rounds", drops);
    CHECK(once_calls == 1);
    CHECK(quarry_pressure(&p) <= QUARRY_PRESSURE_HIGH && p.used_bytes < 2 * p.soft_bytes);

    unsigned before = drops;
    CHECK(signal(SIGUSR1, in_handler) != SIG_ERR && raise(SIGUSR1) == 0 && handler_calls == 1);
    CHECK_MSG(drops == before, "%u rounds in a handler", drops - before);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    CHECK(malloc(p.hard_bytes + 1) == NULL && errno == ENOMEM && drops == before); /* as in a handler */
    CHECK(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
    CHECK(malloc(p.hard_bytes + 1) == NULL && errno == ENOMEM && drops == before + 1);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    CHECK(malloc(p.hard_bytes + 1) == NULL && errno == ENOMEM);
    CHECK_MSG(drops == before + 2 && cache == NULL, "%u rounds", drops - before);

    for (int i = 0; i < RACERS_NR; i++)
        CHECK(pthread_create(&racers[i], NULL, race, NULL) == 0);
    for (int i = 0; i < RACERS_NR; i++)
        CHECK(pthread_join(racers[i], NULL) == 0);
    CHECK(atomic_load(&inside) == 0);
    CHECK(quarry_reclaim_unregister(cache_drop, (void *)&cache) == 0);
    printf("callbacks end\n");
    return 0;
}
