/* SPDX-License-Identifier: MIT */
/*
 * latency: how long a single call takes, and above all how long the slowest do. One thread replaces random members of a
 * live set by objects of mixed sizes, as a busy server does: nine of ten 16..512 B, nearly all others up to 8 KiB, one
 * of a hundred up to 256 KiB. Every malloc and every free is timed by the CPU's own counter. Objects are written at
 * both ends outside the timed part, and checked before they are freed. Prints the 50th, 99th, 99.9th and 99.99th
 * percentile and the maximum of both in ns. The timer's own cost is printed too, and is subtracted from nothing. The
 * maximum is the machine's as much as the allocator's: an interrupt is in it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/die.h"
#include "../lib/hist.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/ticks.h"

enum { SMALL_MIN_BYTES = 16, SMALL_MAX_BYTES = 512, MEDIUM_MAX_BYTES = 8192, LARGE_MAX_BYTES = 262144 };

/* The object's slot and size, at its start and at its end. */
struct slot {
    unsigned char *object;
    size_t size_bytes;
};

static struct hist malloc_ticks;
static struct hist free_ticks;

static size_t size_draw(struct rand *rand) {
    size_t kind = rand_between(rand, 0, 99);

    if (kind < 90)
        return rand_between(rand, SMALL_MIN_BYTES, SMALL_MAX_BYTES);
    if (kind < 99)
        return rand_between(rand, SMALL_MAX_BYTES + 1, MEDIUM_MAX_BYTES);
    return rand_between(rand, MEDIUM_MAX_BYTES + 1, LARGE_MAX_BYTES);
}

static void slot_fill(struct slot *slot, size_t size_bytes) {
    uint64_t start = ticks_now();
    unsigned char *object = malloc(size_bytes);

    hist_add(&malloc_ticks, ticks_now() - start);
    if (object == NULL)
        die("malloc(%zu) failed", size_bytes);
    object[0] = object[size_bytes - 1] = (unsigned char)size_bytes;
    *slot = (struct slot){.object = object, .size_bytes = size_bytes};
}

static void slot_empty(struct slot *slot) {
    if (slot->object[0] != (unsigned char)slot->size_bytes ||
        slot->object[slot->size_bytes - 1] != (unsigned char)slot->size_bytes)
        die("an object of %zu bytes was overwritten", slot->size_bytes);
    uint64_t start = ticks_now();
    free(slot->object);
    hist_add(&free_ticks, ticks_now() - start);
}

static void workload(struct slot *slots, uint64_t live, uint64_t replaced) {
    struct rand rand = {.state = 1};

    for (uint64_t at = 0; at < live; at++)
        slot_fill(&slots[at], size_draw(&rand));
    for (; replaced > 0; replaced--) {
        struct slot *slot = &slots[rand_between(&rand, 0, live - 1)];

        slot_empty(slot);
        slot_fill(slot, size_draw(&rand));
    }
    for (uint64_t at = 0; at < live; at++)
        slot_empty(&slots[at]);
}

static void hist_print(const struct hist *ticks, double ns_per_tick, const char *call) {
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};

    for (size_t at = 0; at < ARGS_NR(quantiles); at++)
        json_f64((double)hist_quantile(ticks, quantiles[at].share) * ns_per_tick, "%s_%s_ns", call, quantiles[at].name);
    json_f64((double)ticks->max * ns_per_tick, "%s_max_ns", call);
}

int main(int argc, char **argv) {
    uint64_t live = 20000;
    uint64_t replaced = 3000000;
    const struct arg args[] = {
        {.name = "live", .number = &live, .min = 1, .max = 1u << 24, .help = "objects in the live set"},
        {.name = "replaced", .number = &replaced, .min = 1, .max = 1u << 30, .help = "objects replaced"},
    };

    args_parse_all(argc, argv, "latency: percentiles of single calls of malloc and free", args, ARGS_NR(args));
    struct slot *slots = mem_map_touched(live * sizeof(*slots));
    struct ticks_mark start = ticks_mark_now();
    workload(slots, live, replaced);
    double ns_per_tick = ticks_ns_per_tick(&start);

    json_open("latency");
    hist_print(&malloc_ticks, ns_per_tick, "malloc");
    hist_print(&free_ticks, ns_per_tick, "free");
    json_f64((double)ticks_own_cost() * ns_per_tick, "timer_ns");
    json_close();
    return 0;
}
