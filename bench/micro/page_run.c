/* SPDX-License-Identifier: MIT */
/*
 * page_run: objects of 32 KiB to 512 KiB, above the slabs of most allocators and below their huge mappings: buffers of
 * files, sockets and images. Pairs of malloc and free of one size, untouched; then a live set of 16 of which random
 * members are replaced, all of one size or of uniformly mixed sizes, the first word of each written. Prints ns per
 * malloc+free pair for each. The kernel's work is part of the figure if memory is given back in between.
 */
#include <stddef.h>
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/json.h"
#include "../lib/rounds.h"
#include "large.h"

enum { LIVE_OBJS = 16, ROUND_OBJS = 50000, MIN_BYTES = 32768, MAX_BYTES = 524288 };

static const size_t sizes[] = {32768, 65536, 131072, 262144, 524288};
static struct live live = {.objs = LIVE_OBJS, .rand = {.state = 1}};

static ALWAYS_INLINE uint64_t pairs_time_ns(size_t size_bytes, uint64_t nr) {
    return large_pairs_ns(size_bytes, 0, nr);
}

static ALWAYS_INLINE uint64_t live_time_ns(size_t size_bytes, uint64_t nr) {
    return live_replace_ns(&live, size_bytes, size_bytes, nr);
}

static ALWAYS_INLINE uint64_t mixed_time_ns(size_t max_bytes, uint64_t nr) {
    return live_replace_ns(&live, MIN_BYTES, max_bytes, nr);
}

PLACED(pairs_time_ns, uint64_t, (size_t size_bytes, uint64_t nr), (size_bytes, nr))
PLACED(live_time_ns, uint64_t, (size_t size_bytes, uint64_t nr), (size_bytes, nr))
PLACED(mixed_time_ns, uint64_t, (size_t max_bytes, uint64_t nr), (max_bytes, nr))

int main(int argc, char **argv) {
    uint64_t rounds = 15;
    const struct arg args[] = {
        {.name = "rounds", .number = &rounds, .min = 1, .max = ROUNDS_MAX, .help = "timed rounds per size and kind"},
    };

    args_parse_all(argc, argv, "page_run: ns per pair of 32 KiB to 512 KiB", args, ARGS_NR(args));
    json_open("page_run");
    for (size_t at = 0; at < ARGS_NR(sizes); at++)
        json_f64(rounds_op_ns(pairs_time_ns_at, sizes[at], ROUND_OBJS, rounds), "ns_pair_%zu", sizes[at]);
    for (size_t at = 0; at < ARGS_NR(sizes); at++) {
        json_f64(rounds_op_ns(live_time_ns_at, sizes[at], ROUND_OBJS, rounds), "ns_live_%zu", sizes[at]);
        live_empty(&live);
    }
    json_f64(rounds_op_ns(mixed_time_ns_at, MAX_BYTES, ROUND_OBJS, rounds), "ns_live_mixed");
    live_empty(&live);
    json_close();
    return 0;
}
