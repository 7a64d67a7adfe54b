/* SPDX-License-Identifier: MIT */
/*
 * Many threads on many caches. Each takes objects by ones and by the run, stamps them, hands them to others through
 * mailboxes, and makes and destroys caches of its own; the main thread shrinks the shared ones meanwhile. An object
 * with two owners, one that lost its constructor's mark or lies in another cache's slab, a counter that does not come
 * back to zero, and any object said to be out when its cache is destroyed, ends the program as failed. Time-boxed:
 * --seconds.
 */
#include "kernel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 12, CACHES = 60, MAILBOXES = 64, HELD = 80, RUN = 40, OWN_OBJS = 120, SEED = 20261121 };
enum { MARK = 0x600d };

/* Free objects keep mark and home where their cache has a constructor. */
struct thing {
    unsigned mark, home; /* written once, by the constructor */
    uint64_t owner;
    uint64_t check;
};

struct kind {
    struct kmem_cache *cache;
    unsigned size;
    bool constructed;
};

static struct kind kinds[CACHES];
static _Atomic(struct thing *) mailboxes[CACHES][MAILBOXES];
static atomic_bool over;
static atomic_ulong lives_nr, steps_nr;

static void construct(void *p) { ((struct thing *)p)->mark = MARK; }

static uint64_t random_next(uint64_t *seed) {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

static void thing_take(const struct kind *k, struct thing *t, uint64_t owner) {
    CHECK_MSG(t != NULL, "out of memory");
    CHECK_MSG(!k->constructed || t->mark == MARK, "an object lost what its constructor wrote");
    t->owner = owner;
    t->check = owner ^ (uintptr_t)t;
    ((char *)t)[k->size - 1] = (char)owner;
}

static void thing_check(const struct kind *k, const struct thing *t, uint64_t owner) {
    CHECK_MSG(t->owner == owner && t->check == (owner ^ (uintptr_t)t) && ((const char *)t)[k->size - 1] == (char)owner,
              "an object of thread %lu has two owners", (unsigned long)owner);
}

/* What one leaves, another frees: the owner's stamp is read before. */
static void mailbox_step(unsigned kind, struct thing **at, uint64_t me, uint64_t r) {
    const struct kind *k = &kinds[kind];
    struct thing *theirs = atomic_exchange(&mailboxes[kind][r % MAILBOXES], *at);
    *at = NULL;
    if (theirs == NULL)
        return;
    thing_check(k, theirs, theirs->owner);
    CHECK(theirs->owner < THREADS);
    theirs->owner = THREADS + me;
    if (r & 1024)
        kmem_cache_free(k->cache, theirs);
    else
        kfree(theirs);
}

static void run_step(unsigned kind, uint64_t me, uint64_t r) {
    const struct kind *k = &kinds[kind];
    void *run[RUN];
    size_t nr = r % RUN;
    CHECK(kmem_cache_alloc_bulk(k->cache, GFP_KERNEL, nr, run) == (int)nr);
    for (size_t i = 0; i < nr; i++)
        thing_take(k, run[i], me);
    for (size_t i = 0; i < nr; i++)
        thing_check(k, run[i], me);
    kmem_cache_free_bulk(r & 4096 ? k->cache : NULL, nr, run);
}

/* A cache of this thread's own, from its first slab to its last. */
static void life(uint64_t me, uint64_t r) {
    unsigned size = (unsigned)(sizeof(struct thing) + 1 + r % 1500);
    char name[32];
    (void)snprintf(name, sizeof(name), "life-%u", (unsigned)me);
    struct kind k = {kmem_cache_create(name, size, 0, SLAB_NO_MERGE, r & 1 << 20 ? construct : NULL), size,
                     (r & 1 << 20) != 0};
    void *all[OWN_OBJS];
    CHECK(k.cache != NULL);
    for (int i = 0; i < OWN_OBJS; i++)
        thing_take(&k, all[i] = kmem_cache_alloc(k.cache, GFP_KERNEL), me);
    for (int i = 0; i < OWN_OBJS; i++) {
        thing_check(&k, all[i], me);
        kmem_cache_free(k.cache, all[i]);
    }
    kmem_cache_destroy(k.cache); /* the driver sees any report */
    atomic_fetch_add(&lives_nr, 1);
}

struct held {
    struct thing *thing;
    unsigned kind;
};

static void *worker(void *arg) {
    uint64_t me = (uintptr_t)arg, seed = SEED + me * 7919;
    struct held held[HELD] = {{NULL, 0}};
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        uint64_t r = random_next(&seed);
        struct held *h = &held[r % HELD];
        unsigned kind = (unsigned)(r >> 8) % CACHES;
        if (r >> 32 & 1 && h->thing == NULL) {
            h->kind = kind;
            thing_take(&kinds[kind], h->thing = kmem_cache_alloc(kinds[kind].cache, GFP_KERNEL), me);
        } else if (h->thing != NULL) {
            thing_check(&kinds[h->kind], h->thing, me);
            mailbox_step(h->kind, &h->thing, me, r >> 40);
        }
        if ((r >> 33) % 8 == 0)
            run_step(kind, me, r >> 36);
        if ((r >> 44) % 2048 == 0)
            life(me, r >> 8);
        atomic_fetch_add_explicit(&steps_nr, 1, memory_order_relaxed);
    }
    for (int i = 0; i < HELD; i++) {
        if (held[i].thing == NULL)
            continue;
        thing_check(&kinds[held[i].kind], held[i].thing, me);
        kmem_cache_free(kinds[held[i].kind].cache, held[i].thing);
    }
    return NULL;
}

static void kinds_make(void) {
    for (unsigned i = 0; i < CACHES; i++) {
        struct kind *k = &kinds[i];
        char name[16];
        (void)snprintf(name, sizeof(name), "kind-%u", i);
        k->size = (unsigned)sizeof(struct thing) + 8 + (i < 40 ? i * 24 : i * i);
        k->constructed = i % 3 == 0;
        k->cache = kmem_cache_create(name, k->size, 0, (i % 5 == 0 ? SLAB_TYPESAFE_BY_RCU : 0) | SLAB_NO_MERGE,
                                     k->constructed ? construct : NULL);
        CHECK(k->cache != NULL);
    }
}

static void kinds_end(void) {
    for (unsigned i = 0; i < CACHES; i++) {
        struct quarry_kmem_cache_info info;
        for (int m = 0; m < MAILBOXES; m++) {
            struct thing *left = atomic_load(&mailboxes[i][m]);
            if (left != NULL)
                kmem_cache_free(kinds[i].cache, left);
        }
        (void)kmem_cache_shrink(kinds[i].cache);
        quarry_kmem_cache_info_get(kinds[i].cache, &info);
        CHECK_MSG(info.active_objs == 0, "%s: %zu objects are lost", info.name, info.active_objs);
        CHECK(info.full == 0 && info.partial == 0);
        kmem_cache_destroy(kinds[i].cache);
    }
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    long seconds = argc == 3 && strcmp(argv[1], "--seconds") == 0 ? strtol(argv[2], NULL, 10) : 1;
    printf("seed %d, %ld s\n", SEED, seconds);
    kinds_make();
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)i) == 0);
    /* One life in 2,048 steps: where CPUs are emulated and others work, seconds are not enough for it. */
    for (uint64_t turn = 0, end = now_ms() + (uint64_t)seconds * 1000; now_ms() < end || atomic_load(&lives_nr) == 0;
         turn++) {
        (void)kmem_cache_shrink(kinds[turn * 7 % CACHES].cache);
        (void)sched_yield();
    }
    atomic_store(&over, true);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    kinds_end();
    printf("%lu steps, %lu caches came and went\n", atomic_load(&steps_nr), atomic_load(&lives_nr));
    return 0;
}
