/* SPDX-License-Identifier: MIT */
/*
 * Where the heap's own records lie: one node's thread makes objects, another node's frees half of them, and so is the
 * first to touch the bitmaps of their slabs. They must be memory of the first node all the same. The records are the
 * one mapping of a process that is of gigabytes; which of its pages lie where is in numa_maps. Owns the threads and the
 * judging; the nodes are nodes.h's. It is begun anew on the makers' node where the environment says so, as it may be by
 * chance: then the records that were there first are that node's.
 *
 * guest:
 * guest cpu_id: QUARRY_PERCPU=cpu_id
 * guest begun: RECORDS_BEGIN=maker
 */
#include "nodes.h"

#include <pthread.h>

enum { OBJECTS = 1500000, SIZE = 32, SLAB_OBJS = 512, PAGE_KIB = 4, PERCENT_MIN = 50 };
/* A bit for each object, and 32 bytes for each slab. */
enum { BITMAPS_KIB = OBJECTS / 8 / 1024, DESCS_KIB = OBJECTS / SLAB_OBJS * 32 / 1024 };

static void *objects[OBJECTS];
static unsigned makers, freers;

/* From where the address space is reserved to where it ends: neighbours with as much as a page between them are apart.
 */
static void records_find(uintptr_t *ret_from, uintptr_t *ret_to) {
    uintptr_t from, to, run_from = 0, run_to = 0;
    char line[512];
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file != NULL);
    *ret_from = *ret_to = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        CHECK(sscanf(line, "%lx-%lx", &from, &to) == 2);
        run_from = from == run_to ? run_from : from;
        run_to = to;
        if (run_to - run_from > *ret_to - *ret_from) {
            *ret_from = run_from;
            *ret_to = run_to;
        }
    }
    fclose(file);
    CHECK(*ret_to - *ret_from > (uintptr_t)4 << 30);
}

/* KiB of records by node. */
static void records_count(unsigned long *ret_kib) {
    char line[1024], key[16];
    uintptr_t from, to, at;
    records_find(&from, &to);
    memset(ret_kib, 0, NODES_MAX * sizeof(*ret_kib));
    FILE *file = fopen("/proc/self/numa_maps", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%lx", &at) != 1 || at < from || at >= to)
            continue;
        for (unsigned node = 0; node < nodes_nr; node++) {
            (void)snprintf(key, sizeof(key), " N%u=", node);
            const char *count = strstr(line, key);
            ret_kib[node] += count == NULL ? 0 : strtoul(count + strlen(key), NULL, 10) * PAGE_KIB;
        }
    }
    fclose(file);
}

/*
 * KiB of memory among the records that may become hugepages: where these come unasked, as Debian has it, they bring
 * memory of the node that was first, for records of any. By what the kernel was told, since whether one comes depends
 * on where the mapping lies. Before there are threads, whose stacks may be neighbours. What is only reserved, the page
 * map's most, has no memory.
 */
static unsigned long records_may_be_huge_kib(void) {
    enum { HUGE_BYTES = 2 << 20 };
    char line[512], may[8];
    uintptr_t from, to, start, end;
    unsigned long inode, sum = 0, kib = 0;
    records_find(&from, &to);
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &start, &end, may, &inode) == 4)
            kib = start >= from && start < to && inode == 0 && may[1] == 'w' && end - start >= HUGE_BYTES
                      ? (end - start) / 1024
                      : 0;
        else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " nh") == NULL)
            sum += kib;
    }
    fclose(file);
    return sum;
}

static void *make(void *unused) {
    (void)unused;
    nodes_go(makers);
    for (unsigned i = 0; i < OBJECTS; i++)
        CHECK((objects[i] = malloc(SIZE)) != NULL);
    return NULL;
}

static void *drop(void *unused) {
    (void)unused;
    nodes_go(freers);
    for (unsigned i = 0; i < OBJECTS; i += 2)
        free(objects[i]);
    return NULL;
}

static void run(void *(*fn)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fn, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static bool both(unsigned node) { return nodes_memory[node] && nodes_has_cpus(node); }

static void try_pair(unsigned maker, unsigned freer) {
    unsigned long at_first[NODES_MAX], made[NODES_MAX], freed[NODES_MAX];
    makers = maker;
    freers = freer;
    records_count(at_first);
    run(make);
    records_count(made);
    run(drop);
    records_count(freed);
    for (unsigned i = 1; i < OBJECTS; i += 2)
        free(objects[i]);
    printf("made on node %u: records there %lu KiB, then %lu, then %lu; freed on node %u: %lu, %lu, %lu\n", makers,
           at_first[makers], made[makers], freed[makers], freers, at_first[freers], made[freers], freed[freers]);
    /* Pages that held records before count for neither; by first touch the makers' node would have the descriptors. */
    long there_kib = (long)freed[makers] - (long)at_first[makers];
    CHECK_MSG(there_kib * 100 >= (DESCS_KIB + BITMAPS_KIB) * PERCENT_MIN, "%ld KiB on node %u for %u of records",
              there_kib, makers, DESCS_KIB + BITMAPS_KIB);
}

/* The kernel would move what has no policy to where it is used: what was there before nodes were looked for, and
 * neighbours of the records, libraries' data. */
static void balancing_end(void) {
    FILE *file = fopen("/proc/sys/kernel/numa_balancing", "w");
    CHECK(file == NULL || (fputs("0", file) >= 0 && fclose(file) == 0));
}

int main(int argc, char **argv) {
    (void)argc;
    unsigned first = 0, second;
    balancing_end();
    nodes_read();
    while (!both(first))
        first++;
    for (second = first + 1; second < nodes_nr && !both(second);)
        second++;
    if (second == nodes_nr)
        return NODES_SKIPPED;
    if (getenv("RECORDS_BEGIN") != NULL)
        nodes_begin_on(second, "RECORDS_BEGIN", argv);
    CHECK_MSG(records_may_be_huge_kib() == 0, "%lu KiB of records may be hugepages", records_may_be_huge_kib());
    nodes_go(first);
    try_pair(second, first);
    return 0;
}
