/* SPDX-License-Identifier: MIT */
/*
 * Policies that threads set for themselves after the heap found the nodes, by libnuma's set_mempolicy(2): small objects
 * lie where they say, as the kernel says. With the argument `process`, one that was set before, and that all threads
 * have, as numactl sets it. Owns the threads and the judging; the nodes are nodes.h's.
 *
 * guest: LD_PRELOAD=/lib/libquarry.so:/lib/libnuma.so.1
 * guest process: LD_PRELOAD=/lib/libquarry.so:/lib/libnuma.so.1 process
 * guest cpu_id: LD_PRELOAD=/lib/libquarry.so:/lib/libnuma.so.1 QUARRY_PERCPU=cpu_id
 * guest locked: LD_PRELOAD=/lib/libquarry.so:/lib/libnuma.so.1 QUARRY_PERCPU=off
 */
#include "nodes.h"

#include <pthread.h>

enum { OBJECTS = 24000, SIZES = 4, PERCENT_MIN = 99, EVEN_PERCENT = 10, /* by magazines */ LATE_OBJECTS = 30000 };
enum { DEFAULT = 0, PREFERRED = 1, BIND = 2, INTERLEAVE = 3 }; /* of linux/mempolicy.h */
static const size_t sizes[SIZES] = {48, 400, 2000, 5000};

extern long set_mempolicy(int mode, const unsigned long *nodes, unsigned long max_node) __attribute__((weak));

static unsigned char *objects[OBJECTS];
static unsigned long on[NODES_MAX];
static unsigned here, there;

static void policy_set(int mode, unsigned long nodes) {
    CHECK(set_mempolicy(mode, nodes == 0 ? NULL : &nodes, nodes == 0 ? 0 : NODES_MAX + 1) == 0);
}

static void take_and_look(void) {
    memset(on, 0, sizeof(on));
    for (unsigned i = 0; i < OBJECTS; i++) {
        CHECK((objects[i] = malloc(sizes[i % SIZES])) != NULL);
        objects[i][0] = 1;
    }
    for (unsigned i = 0; i < OBJECTS; i++) {
        int node = nodes_of(objects[i]);
        CHECK(node >= 0 && node < NODES_MAX);
        on[node]++;
    }
    for (unsigned i = 0; i < OBJECTS; i++)
        free(objects[i]);
}

static void expect_on(unsigned node, const char *what) {
    take_and_look();
    printf("%s: %lu of %u objects on node %u\n", what, on[node], OBJECTS, node);
    CHECK_MSG(on[node] * 100 >= OBJECTS * (unsigned long)PERCENT_MIN, "%s: %lu of %u objects are on node %u", what,
              on[node], OBJECTS, node);
}

/* Calls that leave the fast path, until the library looks again. */
static void go_on_for_a_while(void) {
    static void *kept[LATE_OBJECTS];
    for (unsigned i = 0; i < LATE_OBJECTS; i++)
        CHECK((kept[i] = malloc(sizes[i % SIZES])) != NULL);
    for (unsigned i = 0; i < LATE_OBJECTS; i++)
        free(kept[i]);
}

static void *without(void *unused) {
    (void)unused;
    nodes_go(here);
    expect_on(here, "no policy");
    return NULL;
}

static void *from_the_first(void *mode) {
    nodes_go(here);
    policy_set((int)(intptr_t)mode, 1ul << there);
    expect_on(there, (intptr_t)mode == BIND ? "bound" : "preferred");
    return NULL;
}

static void *changed(void *unused) {
    (void)unused;
    nodes_go(here);
    expect_on(here, "before");
    policy_set(PREFERRED, 1ul << there);
    go_on_for_a_while();
    expect_on(there, "since");
    policy_set(DEFAULT, 0);
    go_on_for_a_while();
    expect_on(here, "after");
    return NULL;
}

static void *in_turn(void *unused) {
    (void)unused;
    nodes_go(here);
    policy_set(INTERLEAVE, 1ul << here | 1ul << there);
    take_and_look();
    unsigned long half = OBJECTS / 2, slack = half * EVEN_PERCENT / 100;
    printf("in turn: %lu and %lu objects\n", on[here], on[there]);
    CHECK_MSG(on[here] + slack >= half && on[there] + slack >= half, "%lu and %lu of %u", on[here], on[there], OBJECTS);
    return NULL;
}

static void *inherited(void *unused) {
    (void)unused;
    nodes_go(here);
    expect_on(there, "the process's");
    return NULL;
}

static void run(void *(*fn)(void *), intptr_t arg) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fn, (void *)arg) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static bool both(unsigned node) { return nodes_memory[node] && nodes_has_cpus(node); }

int main(int argc, char **argv) {
    nodes_read();
    while (!both(here))
        here++;
    for (there = here + 1; there < nodes_nr && !nodes_memory[there];)
        there++;
    if (there == nodes_nr || set_mempolicy == NULL)
        return NODES_SKIPPED;
    if (argc > 1 && strcmp(argv[1], "process") == 0) {
        policy_set(BIND, 1ul << there);
        run(inherited, 0);
        return 0;
    }
    run(without, 0); /* the nodes are found */
    run(from_the_first, PREFERRED);
    run(from_the_first, BIND);
    run(changed, 0);
    run(in_turn, 0);
    run(without, 0);
    return 0;
}
