/* SPDX-License-Identifier: MIT */
/*
 * batch: 1000 allocations, then 1000 frees, on one thread: newest first (lifo), oldest first (fifo), or in one fixed
 * random order. More objects than a thread cache or a magazine holds for some allocators, so the way between cache and
 * slab is measured with the cache. Prints ns per malloc+free pair for each size and order. Run by tools/bars.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/placed.h"
#include "../lib/rand.h"

enum { BATCH_OBJS = 1000, BLOCKS_MAX = 1001 };

static const size_t sizes[] = {16, 64, 256};

struct order {
    const char *name;
    unsigned turn[BATCH_OBJS]; /* turn[i]: which allocation is freed as the i-th */
};

static struct order orders[] = {{.name = "lifo"}, {.name = "fifo"}, {.name = "random"}};

/* External linkage and a call to malloc and free between them keep the compiler from reasoning about its content. */
extern void *batch_objects[BATCH_OBJS];
void *batch_objects[BATCH_OBJS];

static void orders_init(void) {
    struct rand rand = {.state = 1};

    for (unsigned at = 0; at < BATCH_OBJS; at++) {
        orders[0].turn[at] = BATCH_OBJS - 1 - at;
        orders[1].turn[at] = at;
        orders[2].turn[at] = at;
    }
    for (unsigned left = BATCH_OBJS; left > 1; left--) {
        size_t other = rand_between(&rand, 0, left - 1);
        unsigned moved = orders[2].turn[left - 1];

        orders[2].turn[left - 1] = orders[2].turn[other];
        orders[2].turn[other] = moved;
    }
}

static ALWAYS_INLINE uint64_t batches_time_ns(size_t size_bytes, const struct order *order, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        for (unsigned at = 0; at < BATCH_OBJS; at++)
            batch_objects[at] = malloc(size_bytes);
        for (unsigned at = 0; at < BATCH_OBJS; at++)
            free(batch_objects[order->turn[at]]);
    }
    return clock_thread_ns() - start_ns;
}

PLACED(batches_time_ns, uint64_t, (size_t size_bytes, const struct order *order, uint64_t nr), (size_bytes, order, nr))

static double batch_pair_ns(size_t size_bytes, const struct order *order, uint64_t block_ns, uint64_t blocks) {
    double block_pair_ns[BLOCKS_MAX];
    uint64_t nr = 1;

    while (batches_time_ns_at[0](size_bytes, order, nr) < block_ns)
        nr *= 2;
    for (uint64_t block = 0; block < blocks; block++)
        block_pair_ns[block] =
            (double)batches_time_ns_at[block % PLACES_NR](size_bytes, order, nr) / (double)(nr * BATCH_OBJS);
    return median_of(block_pair_ns, blocks);
}

int main(int argc, char **argv) {
    uint64_t blocks = 16;
    uint64_t block_us = 2000;
    const struct arg args[] = {
        {.name = "blocks", .number = &blocks, .min = 1, .max = BLOCKS_MAX, .help = "timed blocks per size and order"},
        {.name = "block-us", .number = &block_us, .min = 100, .max = 1000000, .help = "least duration of a block"},
    };

    args_parse_all(argc, argv, "batch: ns per pair, 1000 allocations then 1000 frees", args, ARGS_NR(args));
    orders_init();
    free(alloc_or_die(sizes[0]));
    json_open("batch");
    for (size_t size_at = 0; size_at < ARGS_NR(sizes); size_at++)
        for (size_t order_at = 0; order_at < ARGS_NR(orders); order_at++)
            json_f64(batch_pair_ns(sizes[size_at], &orders[order_at], block_us * 1000, blocks), "ns_%s_%zu",
                     orders[order_at].name, sizes[size_at]);
    json_close();
    return 0;
}
