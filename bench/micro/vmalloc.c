/* SPDX-License-Identifier: MIT */
/*
 * vmalloc: objects of 1 MiB to 64 MiB, which many allocators map one by one. Pairs of malloc and free, the object
 * untouched or its first byte written; and a live set of 100 of which random members are replaced, the first word of
 * each written. Nothing but the first page is ever used, so a system call, a page fault or zeroing stands out. Prints
 * ns per malloc+free pair for each size and kind.
 */
#include <stddef.h>
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/json.h"
#include "../lib/rounds.h"
#include "large.h"

enum { LIVE_OBJS = 100, PAIRS = 3000, REPLACED = 1500 };

static const size_t sizes[] = {1 << 20, 4 << 20, 16 << 20, 64 << 20};
static struct live live = {.objs = LIVE_OBJS, .rand = {.state = 1}};

static ALWAYS_INLINE uint64_t untouched_time_ns(size_t size_bytes, uint64_t nr) {
    return large_pairs_ns(size_bytes, 0, nr);
}

static ALWAYS_INLINE uint64_t touched_time_ns(size_t size_bytes, uint64_t nr) {
    return large_pairs_ns(size_bytes, 1, nr);
}

static ALWAYS_INLINE uint64_t live_time_ns(size_t size_bytes, uint64_t nr) {
    return live_replace_ns(&live, size_bytes, size_bytes, nr);
}

PLACED(untouched_time_ns, uint64_t, (size_t size_bytes, uint64_t nr), (size_bytes, nr))
PLACED(touched_time_ns, uint64_t, (size_t size_bytes, uint64_t nr), (size_bytes, nr))
PLACED(live_time_ns, uint64_t, (size_t size_bytes, uint64_t nr), (size_bytes, nr))

int main(int argc, char **argv) {
    uint64_t rounds = 9;
    const struct arg args[] = {
        {.name = "rounds", .number = &rounds, .min = 1, .max = ROUNDS_MAX, .help = "timed rounds per size and kind"},
    };

    args_parse_all(argc, argv, "vmalloc: ns per pair of 1 MiB to 64 MiB", args, ARGS_NR(args));
    json_open("vmalloc");
    for (size_t at = 0; at < ARGS_NR(sizes); at++) {
        json_f64(rounds_op_ns(untouched_time_ns_at, sizes[at], PAIRS, rounds), "ns_untouched_%zu", sizes[at]);
        json_f64(rounds_op_ns(touched_time_ns_at, sizes[at], PAIRS, rounds), "ns_touched_%zu", sizes[at]);
        json_f64(rounds_op_ns(live_time_ns_at, sizes[at], REPLACED, rounds), "ns_live_%zu", sizes[at]);
        live_empty(&live);
    }
    json_close();
    return 0;
}
