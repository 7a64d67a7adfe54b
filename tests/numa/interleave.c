/* SPDX-License-Identifier: MIT */
/*
 * What the numa option says of placement, as the kernel sees it: interleaved pages lie evenly, hugepages among them and
 * in large objects too; bound and preferred ones where they should; with the option off where they
 * are touched first. Owns the judging; the nodes are nodes.h's. Arguments: how many MiB of small objects, of a large
 * one, and the node that all of it must be on.
 *
 * guest interleave: QUARRY_NUMA=interleave QUARRY_THP=never 48 24
 * guest interleave-thp: QUARRY_NUMA=interleave 48 24
 * guest interleave-hugepages: QUARRY_NUMA=interleave 260 0
 * guest interleave-large: QUARRY_NUMA=interleave 0 260
 * guest off: QUARRY_NUMA=off 48 24 0
 * guest bind: QUARRY_GUARD=0 QUARRY_NUMA=bind:1 48 24 1
 * guest prefer: QUARRY_GUARD=0 QUARRY_NUMA=prefer:1 48 24 1
 */
#include "nodes.h"

enum { MIB = 1 << 20, MIB_MAX = 400, PIECE = 3000, PERCENT = 5, PAGE = 4096 };

static unsigned char *pieces[(size_t)MIB_MAX * MIB / PIECE];
static unsigned long pages[NODES_MAX], all;

static void page_count(const unsigned char *p) {
    int node = nodes_of(p);
    CHECK(node >= 0 && node < NODES_MAX);
    pages[node]++;
    all++;
}

static void small_objects(size_t bytes) {
    uintptr_t last = 0;
    for (size_t i = 0; i < bytes / PIECE; i++) {
        CHECK((pieces[i] = malloc(PIECE)) != NULL);
        memset(pieces[i], 1, PIECE);
        if ((uintptr_t)pieces[i] / PAGE != last)
            page_count(pieces[i]);
        last = (uintptr_t)pieces[i] / PAGE;
    }
}

static void large_object(size_t bytes) {
    unsigned char *p = malloc(bytes);
    CHECK(p != NULL);
    memset(p, 1, bytes);
    for (size_t at = 0; at < bytes; at += PAGE)
        page_count(p + at);
}

static unsigned long hugepages_kib(void) {
    char line[256];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "AnonHugePages: %lu", &kib);
    if (file != NULL)
        fclose(file);
    return kib;
}

static void expect_even(const char *what) {
    unsigned long with_memory = 0;
    for (unsigned node = 0; node < nodes_nr; node++) {
        with_memory += nodes_memory[node];
        printf("%s: node %u: %lu of %lu\n", what, node, pages[node], all);
    }
    for (unsigned node = 0; node < nodes_nr; node++) {
        unsigned long share = nodes_memory[node] ? all / with_memory : 0, most = all / with_memory * PERCENT / 100;
        CHECK_MSG(pages[node] <= share + most && pages[node] + most >= share, "%s: node %u has %lu of %lu", what, node,
                  pages[node], all);
    }
}

static void judge(const char *what, const char *node) {
    if (all == 0)
        return;
    if (node == NULL)
        expect_even(what);
    else
        CHECK_MSG(pages[strtoul(node, NULL, 10)] == all, "%s: not all are on node %s", what, node);
    memset(pages, 0, sizeof(pages));
    all = 0;
}

int main(int argc, char **argv) {
    CHECK(argc >= 3);
    size_t small = strtoul(argv[1], NULL, 10), large = strtoul(argv[2], NULL, 10);
    CHECK(small <= MIB_MAX);
    nodes_read();
    nodes_go(0);
    if (getenv("BEGUN_THERE") == NULL) { /* what the start touched elsewhere may serve again */
        CHECK(setenv("BEGUN_THERE", "1", 1) == 0);
        CHECK(execv("/proc/self/exe", argv) == 0);
    }
    small_objects(small * MIB);
    judge("small objects", argv[3]);
    if (large != 0)
        large_object(large * MIB);
    judge("a large object", argv[3]);
    printf("%lu KiB are hugepages\n", hugepages_kib());
    return 0;
}
