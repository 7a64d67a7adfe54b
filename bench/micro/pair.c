/* SPDX-License-Identifier: MIT */
/*
 * pair: one malloc and one free of the same object, again and again, on one thread, for sizes from 8 B to 4 MiB. The
 * shortest way through an allocator: the object is always the one freed last. Prints ns per pair for each size, the
 * median of many short blocks, loop and call overhead included. Run by tools/bars.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/escape.h"
#include "../lib/json.h"
#include "../lib/placed.h"

enum { BLOCKS_MAX = 1001 };

/* Powers of two, and sizes that fall between the size classes of most allocators. */
static const size_t sizes[] = {8,     16,     24,     32,     40,     64,      100,     128,     256,    500,
                               512,   1000,   1024,   2048,   3000,   4096,    8192,    10000,   16384,  32768,
                               65536, 100000, 131072, 262144, 524288, 1000000, 1048576, 2097152, 4194304};

static ALWAYS_INLINE uint64_t pairs_time_ns(size_t size_bytes, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        void *object = malloc(size_bytes);

        escape(object);
        free(object);
    }
    return clock_thread_ns() - start_ns;
}

PLACED(pairs_time_ns, uint64_t, (size_t size_bytes, uint64_t nr), (size_bytes, nr))

/* How many pairs take about block_ns; the doubling also warms the allocator. */
static uint64_t pairs_per_block(size_t size_bytes, uint64_t block_ns) {
    uint64_t nr = 64;

    while (pairs_time_ns_at[0](size_bytes, nr) < block_ns)
        nr *= 2;
    return nr;
}

static double pair_ns(size_t size_bytes, uint64_t block_ns, uint64_t blocks) {
    double block_pair_ns[BLOCKS_MAX];
    uint64_t nr = pairs_per_block(size_bytes, block_ns);

    for (uint64_t block = 0; block < blocks; block++)
        block_pair_ns[block] = (double)pairs_time_ns_at[block % PLACES_NR](size_bytes, nr) / (double)nr;
    return median_of(block_pair_ns, blocks);
}

int main(int argc, char **argv) {
    uint64_t blocks = 16;
    uint64_t block_us = 2000;
    const struct arg args[] = {
        {.name = "blocks", .number = &blocks, .min = 1, .max = BLOCKS_MAX, .help = "timed blocks per size"},
        {.name = "block-us", .number = &block_us, .min = 100, .max = 1000000, .help = "least duration of a block"},
    };

    args_parse_all(argc, argv, "pair: ns per malloc+free pair of one object", args, ARGS_NR(args));
    free(alloc_or_die(sizes[0]));
    json_open("pair");
    for (size_t at = 0; at < ARGS_NR(sizes); at++)
        json_f64(pair_ns(sizes[at], block_us * 1000, blocks), "ns_%zu", sizes[at]);
    json_close();
    return 0;
}
