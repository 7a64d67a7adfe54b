/* SPDX-License-Identifier: MIT */
/* The nodes of the guest for its programs: which have memory and CPUs, threads that go to one, and where pages lie, as
 * the kernel says. By sysfs and raw system calls, so that nothing of what is tested says what is right. */
#ifndef QUARRY_TESTS_NUMA_NODES_H
#define QUARRY_TESTS_NUMA_NODES_H

#include "check.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NODES_MAX = 8, NODES_CPUS_MAX = 64, NODES_SKIPPED = 77 };

static unsigned nodes_nr; /* numbers below it may be nodes */
static bool nodes_memory[NODES_MAX];
static cpu_set_t nodes_cpus[NODES_MAX];
static unsigned nodes_distance[NODES_MAX][NODES_MAX];

/* "0-1,3" of a file, each number to what is given. */
static inline void nodes_list_each(const char *path, void (*fn)(unsigned number, void *arg), void *arg) {
    char text[256] = "";
    FILE *file = fopen(path, "r");
    if (file != NULL && fgets(text, sizeof(text), file) == NULL)
        text[0] = '\0';
    if (file != NULL)
        fclose(file);
    for (char *at = text; *at >= '0' && *at <= '9';) {
        unsigned long from = strtoul(at, &at, 10), to = from;
        if (*at == '-')
            to = strtoul(at + 1, &at, 10);
        for (; from <= to; from++)
            fn((unsigned)from, arg);
        at += *at == ',';
    }
}

static inline void nodes_note(unsigned node, void *unused) {
    (void)unused;
    CHECK(node < NODES_MAX);
    nodes_nr = node + 1 > nodes_nr ? node + 1 : nodes_nr;
}
static inline void nodes_note_memory(unsigned node, void *unused) {
    (void)unused;
    nodes_memory[node] = true;
}
static inline void nodes_note_cpu(unsigned cpu, void *set) { CPU_SET(cpu, (cpu_set_t *)set); }

/* On a machine with one node, skips the program. */
static inline void nodes_read(void) {
    char path[96];
    nodes_list_each("/sys/devices/system/node/online", nodes_note, NULL);
    nodes_list_each("/sys/devices/system/node/has_memory", nodes_note_memory, NULL);
    for (unsigned node = 0; node < nodes_nr; node++) {
        (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
        CPU_ZERO(&nodes_cpus[node]);
        nodes_list_each(path, nodes_note_cpu, &nodes_cpus[node]);
        (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/distance", node);
        FILE *file = fopen(path, "r");
        for (unsigned other = 0; file != NULL && other < nodes_nr; other++)
            CHECK(fscanf(file, "%u", &nodes_distance[node][other]) == 1);
        if (file != NULL)
            fclose(file);
    }
    if (nodes_nr < 2) {
        puts("skipped: one node");
        exit(NODES_SKIPPED);
    }
}

static inline bool nodes_has_cpus(unsigned node) { return CPU_COUNT(&nodes_cpus[node]) != 0; }
static inline void nodes_go(unsigned node) { CHECK(sched_setaffinity(0, sizeof(cpu_set_t), &nodes_cpus[node]) == 0); }

/* Begun anew by a thread of the node, so that the first memory of the heap, and its first records, lie there; without
 * the variable that asked for it. */
static inline void nodes_begin_on(unsigned node, const char *variable, char **argv) {
    CHECK(unsetenv(variable) == 0);
    nodes_go(node);
    CHECK(execv("/proc/self/exe", argv) == 0);
}

/* The nearest node with memory. */
static inline unsigned nodes_home(unsigned node) {
    unsigned best = NODES_MAX;
    for (unsigned other = 0; other < nodes_nr; other++) {
        if (nodes_memory[other] &&
            (best == NODES_MAX || nodes_distance[node][other] < nodes_distance[node][best] || other == node))
            best = other;
        if (best == node)
            break;
    }
    CHECK(best < NODES_MAX);
    return best;
}

/* The node of the page at p, or negative: it has no memory. */
static inline int nodes_of(const void *p) {
    int status = -ENOENT;
    /* A page that the kernel is moving just then is nowhere for a moment; one that is not there stays so. */
    for (int tries = 0; status == -ENOENT && tries < 100; tries++) {
        if (tries > 0)
            (void)usleep(1000);
        CHECK(syscall(SYS_move_pages, 0, 1ul, &p, NULL, &status, 0) == 0);
    }
    return status;
}

/* Anonymous memory of this process on a node, in KiB. */
static inline unsigned long nodes_kib(unsigned node) {
    char line[1024], key[16];
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/numa_maps", "r");
    CHECK(file != NULL);
    (void)snprintf(key, sizeof(key), " N%u=", node);
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *at = strstr(line, " anon=") != NULL ? strstr(line, key) : NULL;
        const char *size = strstr(line, "kernelpagesize_kB=");
        if (at != NULL)
            pages += strtoul(at + strlen(key), NULL, 10) * (size == NULL ? 4 : strtoul(size + 18, NULL, 10));
    }
    fclose(file);
    return pages;
}

#endif
