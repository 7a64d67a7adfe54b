/* SPDX-License-Identifier: MIT */
/*
 * Readers of a cache of SLAB_TYPESAFE_BY_RCU: what they find may be freed and used again under them, but stays an
 * object of its type, with the mark the constructor left. Updaters take and free objects without grace period, and all
 * of them now and then, so that slabs go back; others scribble over what was given back as soon as they get it.
 */
#include "check.h"
#include "oracle.h"

#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READERS = 2, SLOTS = 2048, RUN_MS = 1200, SOAK_MS = 300000, SCRIBBLE = 2000 };
static const uint64_t mark = 0x7e57ed0b1ec7;

struct typed {
    _Atomic(uint64_t) mark, key;
    char more[2000]; /* so that slabs are many */
};

static struct kmem_cache *cache;
static struct typed *slots[SLOTS];
static atomic_int stopping;
static atomic_ulong reads_nr, rounds_nr;

static void construct(void *p) {
    struct typed *t = p;
    atomic_store_explicit(&t->mark, mark, memory_order_relaxed);
    memset(t->more, 0, sizeof(t->more));
}

static void *reader_run(void *index) {
    struct rng rng = {(size_t)index + 1};
    do {
        rcu_read_lock();
        struct typed *t = rcu_dereference(slots[rng_below(&rng, SLOTS)]);
        for (int look = 0; t != NULL && look < 3; look++) {
            uint64_t seen = atomic_load_explicit(&t->mark, memory_order_relaxed);
            CHECK_MSG(seen == mark, "a reader found %lx where the mark was", (unsigned long)seen);
            if (rng_below(&rng, 8) == 0)
                sched_yield();
        }
        rcu_read_unlock();
        atomic_fetch_add_explicit(&reads_nr, 1, memory_order_relaxed);
    } while (!atomic_load_explicit(&stopping, memory_order_relaxed));
    return NULL;
}

/* Objects are free as soon as nobody finds them any more. */
static void *updater_run(void *unused) {
    static void *freed[SLOTS];
    struct rng rng = {100};
    (void)unused;
    do {
        for (size_t i = 0; i < SLOTS; i++) {
            struct typed *t = kmem_cache_alloc(cache, GFP_KERNEL);
            CHECK(t != NULL);
            atomic_store_explicit(&t->key, i, memory_order_relaxed);
            rcu_assign_pointer(slots[i], t);
        }
        for (size_t i = 0; i < SLOTS; i++)
            freed[i] = rcu_replace_pointer(slots[i], NULL, true);
        kmem_cache_free_bulk(cache, SLOTS, freed);
        if (rng_below(&rng, 2) == 0)
            (void)kmem_cache_shrink(cache);
        atomic_fetch_add_explicit(&rounds_nr, 1, memory_order_relaxed);
    } while (!atomic_load_explicit(&stopping, memory_order_relaxed));
    return NULL;
}

static void *scribbler_run(void *unused) {
    static void *held[SCRIBBLE];
    (void)unused;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        for (size_t i = 0; i < SCRIBBLE; i++) {
            CHECK((held[i] = kmalloc(sizeof(struct typed), GFP_KERNEL)) != NULL);
            memset(held[i], 0xee, sizeof(struct typed));
        }
        kfree_bulk(SCRIBBLE, held);
        kfree(kmalloc(opaque_size(2 << 20), GFP_KERNEL));
    }
    return NULL;
}

int main(void) {
    pthread_t threads[READERS + 2];
    struct quarry_kmem_cache_info info;
    size_t nr = 0;
    cache = kmem_cache_create("typed", sizeof(struct typed), 0, SLAB_TYPESAFE_BY_RCU, construct);
    CHECK(cache != NULL);
    for (size_t i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[nr++], NULL, reader_run, (void *)i) == 0);
    CHECK(pthread_create(&threads[nr++], NULL, updater_run, NULL) == 0);
    CHECK(pthread_create(&threads[nr++], NULL, scribbler_run, NULL) == 0);
    do
        usleep((getenv("SOAK") != NULL ? SOAK_MS : RUN_MS) * 1000);
    while (atomic_load(&reads_nr) == 0 || atomic_load(&rounds_nr) == 0); /* where others work it takes longer */
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < nr; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    (void)kmem_cache_shrink(cache);
    rcu_barrier();
    (void)kmem_cache_shrink(cache); /* one may have been under way */
    rcu_barrier();
    rcu_barrier();
    quarry_kmem_cache_info_get((struct quarry_kmem_cache *)cache, &info);
    CHECK_MSG(info.slabs == 0, "%zu slabs are left", info.slabs);
    kmem_cache_destroy(cache);
    printf("%lu reads, %lu rounds\n", atomic_load(&reads_nr), atomic_load(&rounds_nr));
    return 0;
}
