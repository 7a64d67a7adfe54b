/* SPDX-License-Identifier: MIT */
/*
 * What the numa option says of placement, as the kernel sees it: interleaved pages lie evenly, bound and preferred ones
 * where they should, and with "off" where they were first touched. Owns the judging; the nodes are nodes.h's.
 *
 * guest interleave: QUARRY_NUMA=interleave QUARRY_THP=never
 * guest bind: QUARRY_NUMA=bind:1 1
 * guest prefer: QUARRY_NUMA=prefer:1 1
 */
#include "nodes.h"

enum { BYTES = 48 << 20, PIECE = 3000, PERCENT = 5, PAGE = 4096 };

static unsigned char *pieces[BYTES / PIECE];

int main(int argc, char **argv) {
    unsigned long pages[NODES_MAX] = {0}, all = 0, with_memory = 0;
    uintptr_t last = 0;
    nodes_read();
    nodes_go(0);
    for (unsigned i = 0; i < BYTES / PIECE; i++) {
        CHECK((pieces[i] = malloc(PIECE)) != NULL);
        memset(pieces[i], 1, PIECE);
        int node = nodes_of(pieces[i]);
        CHECK(node >= 0 && node < NODES_MAX);
        if ((uintptr_t)pieces[i] / PAGE == last)
            continue;
        last = (uintptr_t)pieces[i] / PAGE;
        pages[node]++;
        all++;
    }
    for (unsigned node = 0; node < nodes_nr; node++) {
        with_memory += nodes_memory[node];
        printf("node %u: %lu of %lu\n", node, pages[node], all);
    }
    if (argc > 1) {
        CHECK(pages[strtoul(argv[1], NULL, 10)] == all);
        return 0;
    }
    for (unsigned node = 0; node < nodes_nr; node++) {
        unsigned long share = nodes_memory[node] ? all / with_memory : 0, most = all / with_memory * PERCENT / 100;
        CHECK_MSG(pages[node] <= share + most && pages[node] + most >= share, "node %u has %lu of %lu", node,
                  pages[node], all);
    }
    return 0;
}
