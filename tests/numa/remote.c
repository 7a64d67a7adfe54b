/* SPDX-License-Identifier: MIT */
/*
 * One node makes, another frees, and allocates for itself meanwhile: memory must return to the first, which so stays as
 * large as it was, and none of it may be stranded on the second, nor handed out there. Owns the two threads and the
 * judging; the nodes are nodes.h's, the figures the kernel's and, for what was counted, quarry's.
 *
 * guest: 2000000
 * guest cpu_id: QUARRY_PERCPU=cpu_id 1000000
 */
#include "nodes.h"

#include <pthread.h>
#include <quarry/quarry.h>
#include <stdatomic.h>
#include <sys/prctl.h>

enum { RING = 4096, HELD = 60000, SIZE = 200, PARTS = 10, OWN_EVERY = 1000, SLACK_KIB = 8192, OWN_PERCENT_MIN = 98 };

static void *ring[RING];
static _Atomic(unsigned long) head, tail;
static unsigned long objects_nr;
static unsigned makers, freers;
static unsigned long first_kib, last_kib, freer_before_kib, freer_kib;
static unsigned long own, own_there;

/* Holds many, hands on the oldest: it is always the same number that is live. */
static void *make(void *unused) {
    static void *held[HELD];
    (void)unused;
    nodes_go(makers);
    for (unsigned long i = 0; i < objects_nr; i++) {
        void **slot = &held[i % HELD];
        if (*slot != NULL) {
            unsigned long at = atomic_load_explicit(&head, memory_order_relaxed);
            while (at - atomic_load_explicit(&tail, memory_order_acquire) == RING)
                sched_yield();
            ring[at % RING] = *slot;
            atomic_store_explicit(&head, at + 1, memory_order_release);
        }
        CHECK((*slot = malloc(SIZE)) != NULL);
        memset(*slot, 1, SIZE);
        if (i + 1 == objects_nr / PARTS) {
            first_kib = nodes_kib(makers);
            freer_before_kib = nodes_kib(freers);
        }
    }
    last_kib = nodes_kib(makers);
    freer_kib = nodes_kib(freers);
    return NULL;
}

static void *drop(void *unused) {
    (void)unused;
    nodes_go(freers);
    for (unsigned long i = 0; i + HELD < objects_nr; i++) {
        while (atomic_load_explicit(&head, memory_order_acquire) == i)
            sched_yield();
        free(ring[i % RING]);
        atomic_store_explicit(&tail, i + 1, memory_order_release);
        unsigned char *mine = malloc(SIZE);
        CHECK(mine != NULL);
        mine[0] = 1;
        if (i % OWN_EVERY == 0) {
            own++;
            own_there += nodes_of(mine) == (int)freers;
        }
        free(mine);
    }
    return NULL;
}

static bool both(unsigned node) { return nodes_memory[node] && nodes_has_cpus(node); }

int main(int argc, char **argv) {
    pthread_t maker, freer;
    uint64_t remote = 0;
    objects_nr = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    nodes_read();
    CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0); /* stacks would grow by hugepages now and then */
    while (!both(makers))
        makers++;
    for (freers = makers + 1; freers < nodes_nr && !both(freers);)
        freers++;
    if (freers == nodes_nr)
        return NODES_SKIPPED;
    CHECK(pthread_create(&maker, NULL, make, NULL) == 0);
    CHECK(pthread_create(&freer, NULL, drop, NULL) == 0);
    CHECK(pthread_join(maker, NULL) == 0);
    CHECK(pthread_join(freer, NULL) == 0);
    CHECK(quarry_stat("remote_frees", &remote) == 0);
    printf(
        "made on node %u: %lu KiB, then %lu; freed on node %u: %lu KiB, then %lu; %lu of %lu own there; counted %lu\n",
        makers, first_kib, last_kib, freers, freer_before_kib, freer_kib, own_there, own, (unsigned long)remote);
    CHECK_MSG(last_kib <= first_kib + first_kib / 10, "the makers' node grew from %lu to %lu KiB", first_kib, last_kib);
    CHECK_MSG(freer_kib <= freer_before_kib + SLACK_KIB, "stranded: %lu KiB, then %lu", freer_before_kib, freer_kib);
    CHECK_MSG(own_there * 100 >= own * OWN_PERCENT_MIN, "%lu of %lu of the freer's own lie there", own_there, own);
    unsigned long freed = objects_nr - HELD;
    CHECK_MSG(remote >= freed - freed / 100 && remote <= freed + freed / 100, "%lu counted of %lu remote frees",
              (unsigned long)remote, freed);
    return 0;
}
