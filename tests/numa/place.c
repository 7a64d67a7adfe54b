/* SPDX-License-Identifier: MIT */
/*
 * Where malloc's memory lies: threads on each node allocate, threads of another node touch first, and the kernel says
 * where each page is. Owns the judging; the nodes are nodes.h's.
 *
 * guest:
 * guest cpu_id: QUARRY_PERCPU=cpu_id
 * guest locked: QUARRY_PERCPU=off
 */
#include "nodes.h"

#include <pthread.h>

enum { OBJECTS = 24000, SIZES = 4, PERCENT_MIN = 99, ROUNDS = 2 };
static const size_t sizes[SIZES] = {48, 400, 2000, 5000};

static unsigned char *objects[OBJECTS];

struct job {
    void (*fn)(unsigned node);
    unsigned node;
};

static void *job_run(void *arg) {
    const struct job *job = arg;
    nodes_go(job->node);
    job->fn(job->node);
    return NULL;
}

/* In a thread of its own on the node, so that what it allocates is all it ever did. */
static void on_node(unsigned node, void (*fn)(unsigned node)) {
    struct job job = {fn, node};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, job_run, &job) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void allocate(unsigned node) {
    (void)node;
    for (unsigned i = 0; i < OBJECTS; i++)
        CHECK((objects[i] = malloc(sizes[i % SIZES])) != NULL);
}

static void touch(unsigned node) {
    for (unsigned i = 0; i < OBJECTS; i++)
        objects[i][0] = (unsigned char)node;
}

static void drop(unsigned node) {
    (void)node;
    for (unsigned i = 0; i < OBJECTS; i++)
        free(objects[i]);
}

static unsigned other_with_cpus(unsigned node) {
    for (unsigned i = 1; i < nodes_nr; i++) {
        unsigned other = (node + i) % nodes_nr;
        if (nodes_has_cpus(other) && nodes_home(other) != nodes_home(node))
            return other;
    }
    return node;
}

static void judge(unsigned node, const char *when) {
    unsigned home = nodes_home(node), there = 0;
    for (unsigned i = 0; i < OBJECTS; i++)
        there += nodes_of(objects[i]) == (int)home;
    printf("node %u, %s: %u of %u objects on node %u\n", node, when, there, OBJECTS, home);
    CHECK_MSG(there * 100ul >= OBJECTS * (unsigned long)PERCENT_MIN, "node %u, %s: %u of %u objects lie on node %u",
              node, when, there, OBJECTS, home);
}

/* Freed by the other node's thread, so that the next round would find its memory there were it kept there. */
static void try_node(unsigned node) {
    unsigned other = other_with_cpus(node);
    on_node(node, allocate);
    on_node(other, touch);
    judge(node, "touched by another node");
    on_node(other, drop);
    on_node(node, allocate);
    on_node(node, touch);
    judge(node, "after another node freed");
    on_node(node, drop);
}

int main(void) {
    nodes_read();
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned node = 0; node < nodes_nr; node++) {
            if (nodes_has_cpus(node))
                try_node(node);
        }
    }
    return 0;
}
