/* SPDX-License-Identifier: MIT */
/*
 * Readers against updaters: updaters replace objects and give the old ones to kfree_rcu, readers look at what they
 * find, and others take freed memory of the same sizes at once and scribble over it. A reader that finds a scribble saw
 * freed memory. At the end nothing is out that was not before. Argument: memb, bp or qsbr, the last two plugged in.
 */
#include "check.h"
#include "flavours.h"
#include "oracle.h"

#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { READERS = 3, UPDATERS = 2, SLOTS = 64, WARM_MS = 100, RUN_MS = 1200, SOAK_MS = 600000, SIZES = 4 };
static const size_t extra[SIZES] = {0, 100, 900, 3500}; /* so large that heads lie at many offsets */

struct node {
    uint64_t stamp, check; /* check: ~stamp */
    struct rcu_head rcu;
    char payload[];
};

static struct node *slots[SLOTS];
static atomic_int stopping;
static atomic_ulong reads_nr, updates_nr;

static struct node *node_make(uint64_t stamp, size_t bytes) {
    struct node *n = kmalloc(sizeof(*n) + bytes, GFP_KERNEL);
    CHECK(n != NULL);
    n->stamp = stamp;
    n->check = ~stamp;
    memset(n->payload, (int)(stamp & 0x7f), bytes);
    return n;
}

/* Looked at twice, with a chance to be preempted in between. */
static void node_read(const struct node *n, struct rng *rng) {
    for (int look = 0; look < 2; look++) {
        uint64_t stamp = __atomic_load_n(&n->stamp, __ATOMIC_RELAXED),
                 check = __atomic_load_n(&n->check, __ATOMIC_RELAXED);
        CHECK_MSG(stamp == ~check, "a reader saw freed memory: %lx and %lx", (unsigned long)stamp,
                  (unsigned long)check);
        if (rng_below(rng, 64) == 0)
            sched_yield();
    }
}

static void *reader_run(void *index) {
    struct rng rng = {(size_t)index + 1};
    flavour_thread_begin();
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        for (int i = 0; i < 100; i++) {
            rcu_read_lock();
            node_read(rcu_dereference(slots[rng_below(&rng, SLOTS)]), &rng);
            rcu_read_unlock();
        }
        flavour_quiescent();
        atomic_fetch_add_explicit(&reads_nr, 100, memory_order_relaxed);
    }
    flavour_thread_end();
    return NULL;
}

static void *updater_run(void *index) {
    struct rng rng = {(size_t)index + 100};
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        struct node *fresh = node_make(rng_next(&rng), extra[rng_below(&rng, SIZES)]);
        struct node *old = rcu_replace_pointer(slots[rng_below(&rng, SLOTS)], fresh, true);
        if (rng_below(&rng, 16) == 0)
            kfree_rcu_mightsleep(old);
        else
            kfree_rcu(old, rcu);
        if (atomic_fetch_add_explicit(&updates_nr, 1, memory_order_relaxed) % 20000 == 0)
            kvfree_rcu_barrier(); /* else updates are faster than grace periods, without end */
    }
    return NULL;
}

/* Whoever gets freed memory first. */
static void *scribbler_run(void *unused) {
    enum { HELD = 128 };
    static void *held[HELD];
    struct rng rng = {1000};
    (void)unused;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        void **at = &held[rng_below(&rng, HELD)];
        size_t bytes = sizeof(struct node) + extra[rng_below(&rng, SIZES)];
        kfree(*at);
        CHECK((*at = kmalloc(bytes, GFP_KERNEL)) != NULL);
        memset(*at, 0xee, bytes);
    }
    kfree_bulk(HELD, held);
    memset(held, 0, sizeof(held));
    return NULL;
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t torture(unsigned ms) {
    pthread_t threads[READERS + UPDATERS + 1];
    size_t nr = 0;
    uint64_t out = 0;
    atomic_store(&stopping, 0);
    for (size_t i = 0; i < SLOTS; i++)
        rcu_assign_pointer(slots[i], node_make(i, 0));
    for (size_t i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[nr++], NULL, reader_run, (void *)i) == 0);
    for (size_t i = 0; i < UPDATERS; i++)
        CHECK(pthread_create(&threads[nr++], NULL, updater_run, (void *)i) == 0);
    CHECK(pthread_create(&threads[nr++], NULL, scribbler_run, NULL) == 0);
    for (double end = now_s() + ms / 1e3;
         now_s() < end || atomic_load(&reads_nr) == 0 || atomic_load(&updates_nr) == 0;) {
        usleep(100000);
        kvfree_rcu_barrier();
    }
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < nr; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < SLOTS; i++)
        kfree_rcu(slots[i], rcu);
    kvfree_rcu_barrier();
    quarry_trim(0);
    CHECK(quarry_stat("live_bytes", &out) == 0);
    return out;
}

/* kfree_rcu against kfree of as many objects: for people, not for the verdict. */
static double seconds(bool rcu) {
    enum { NR = 1000000, HELD = 1000 };
    static struct node *held[HELD];
    double from = now_s();
    for (int i = 0; i < NR / HELD; i++) {
        for (int j = 0; j < HELD; j++)
            CHECK((held[j] = kmalloc(sizeof(struct node), GFP_KERNEL)) != NULL);
        for (int j = 0; j < HELD; j++) {
            if (rcu)
                kfree_rcu(held[j], rcu);
            else
                kfree(held[j]);
        }
    }
    if (rcu)
        kvfree_rcu_barrier();
    return now_s() - from;
}

int main(int argc, char **argv) {
    flavour_choose(argc > 1 ? argv[1] : "memb");
    uint64_t before = torture(WARM_MS);
    uint64_t after = torture(getenv("SOAK") != NULL ? SOAK_MS : RUN_MS);
    CHECK_MSG(after == before, "%lu bytes were out before, %lu after", (unsigned long)before, (unsigned long)after);
    printf("%lu reads, %lu updates\n", atomic_load(&reads_nr), atomic_load(&updates_nr));
    printf("a million objects: kmalloc and kfree %.3f s, kmalloc and kfree_rcu %.3f s\n", seconds(false),
           seconds(true));
    return 0;
}
