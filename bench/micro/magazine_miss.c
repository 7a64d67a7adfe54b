/* SPDX-License-Identifier: MIT */
/*
 * magazine_miss: bursts of allocations that outgrow a thread's cache, and bursts of frees that overflow it, in turn, on
 * one thread. Bursts of 100, 1000, 10000 and 100000 objects of 64 B, freed oldest first, the order that gives the least
 * recently used memory back first. As the bursts grow, a smaller and smaller share is served by the cache, and refill
 * and flush show: of magazines, of the slabs behind them, and of the pages behind those. Prints ns per malloc+free
 * pair.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/placed.h"
#include "../lib/rounds.h"

enum { OBJECT_BYTES = 64, BURST_MAX_OBJS = 100000, ROUND_OBJS = 200000 };

static const size_t bursts[] = {100, 1000, 10000, 100000};
static size_t **objects;

static ALWAYS_INLINE void burst(size_t objs) {
    size_t stamp_sum = 0;

    for (size_t at = 0; at < objs; at++) {
        objects[at] = malloc(OBJECT_BYTES);
        *objects[at] = at;
    }
    for (size_t at = 0; at < objs; at++) {
        stamp_sum += *objects[at];
        free(objects[at]);
    }
    if (stamp_sum != objs * (objs - 1) / 2)
        die("an object was overwritten");
}

/* nr counts objects, a multiple of the burst. */
static ALWAYS_INLINE uint64_t bursts_time_ns(size_t burst_objs, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr -= burst_objs)
        burst(burst_objs);
    return clock_thread_ns() - start_ns;
}

PLACED(bursts_time_ns, uint64_t, (size_t burst_objs, uint64_t nr), (burst_objs, nr))

int main(int argc, char **argv) {
    uint64_t rounds = 101;
    const struct arg args[] = {
        {.name = "rounds", .number = &rounds, .min = 1, .max = ROUNDS_MAX, .help = "timed rounds per burst"},
    };

    args_parse_all(argc, argv, "magazine_miss: ns per pair in bursts beyond a thread's cache", args, ARGS_NR(args));
    objects = mem_map_touched(BURST_MAX_OBJS * sizeof(*objects));
    json_open("magazine_miss");
    for (size_t at = 0; at < ARGS_NR(bursts); at++)
        json_f64(rounds_op_ns(bursts_time_ns_at, bursts[at], ROUND_OBJS, rounds), "ns_%zu", bursts[at]);
    json_close();
    return 0;
}
