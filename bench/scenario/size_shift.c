/* SPDX-License-Identifier: MIT */
/*
 * size_shift: fragmentation by sizes that change while the live bytes do not. A store holds a fixed number of requested
 * bytes; in each phase objects of another range of sizes replace random old ones, so the old sizes leave holes that the
 * new ones do not fit, and only whole free pages help. The ranges, apart from their order, are those of the workloads
 * in Rumble et al., "Log-structured memory for DRAM-based storage" (FAST 2014). Prints the resident set after each
 * phase, its largest ratio to the live bytes, nanoseconds per replacement, and the resident set after all was freed.
 * The table of pointers is not part of any of these.
 */
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"

enum { BYTES_PER_MIB = 1 << 20 };

static const struct phase {
    size_t min_bytes;
    size_t max_bytes;
} phases[] = {{100, 100}, {130, 130}, {100, 200}, {1000, 2000}, {5000, 15000}, {200, 250}, {50, 150}};

enum { PHASES_NR = sizeof(phases) / sizeof(phases[0]), SMALLEST_BYTES = 50 };

static struct {
    uint64_t live_mib;
    uint64_t turnover_pct;
} setup = {.live_mib = 32, .turnover_pct = 200};

struct store {
    struct rand rand;
    struct object **objects; /* in no order */
    size_t objects_nr;
    uint64_t live_bytes;
    uint64_t tags; /* of the objects that live, summed */
};

static void object_add(struct store *store, const struct phase *phase) {
    size_t size_bytes = rand_between(&store->rand, phase->min_bytes, phase->max_bytes);
    uint32_t tag = (uint32_t)rand_next(&store->rand);

    store->objects[store->objects_nr++] = object_fill(object_make(size_bytes, tag));
    store->live_bytes += size_bytes;
    store->tags += tag;
}

static void object_drop(struct store *store, size_t at) {
    struct object *object = store->objects[at];

    store->live_bytes -= object->size_bytes;
    store->tags -= object->tag;
    store->objects[at] = store->objects[--store->objects_nr];
    object_free(object, object->tag);
}

/* Adds objects of the phase's sizes until added_bytes are new, random ones making room. Returns how many were added. */
static uint64_t phase_run(struct store *store, const struct phase *phase, uint64_t added_bytes) {
    uint64_t limit_bytes = setup.live_mib * BYTES_PER_MIB - phase->max_bytes;
    uint64_t added_nr = 0;
    uint64_t left_bytes = added_bytes;

    while (left_bytes >= phase->max_bytes) {
        while (store->live_bytes > limit_bytes)
            object_drop(store, rand_between(&store->rand, 0, store->objects_nr - 1));
        object_add(store, phase);
        left_bytes -= store->objects[store->objects_nr - 1]->size_bytes;
        added_nr++;
    }
    return added_nr;
}

static void store_empty(struct store *store) {
    while (store->objects_nr > 0)
        object_drop(store, store->objects_nr - 1);
    if (store->live_bytes != 0 || store->tags != 0)
        die("objects were lost or overwritten");
}

static void measure(void) {
    uint64_t live_bytes = setup.live_mib * BYTES_PER_MIB;
    size_t books_bytes = live_bytes / SMALLEST_BYTES * sizeof(struct object *);
    struct store store = {.rand = {.state = 1}, .objects = mem_map_touched(books_bytes)};
    uint64_t phase_bytes[PHASES_NR];
    uint64_t largest_bytes = 0;
    uint64_t added_nr = 0;
    uint64_t start_ns = clock_now_ns();

    for (int at = 0; at < PHASES_NR; at++) {
        added_nr += phase_run(&store, &phases[at], live_bytes / 100 * setup.turnover_pct);
        phase_bytes[at] = mem_over(mem_rss_bytes(), books_bytes);
        if (phase_bytes[at] > largest_bytes)
            largest_bytes = phase_bytes[at];
    }
    uint64_t took_ns = clock_now_ns() - start_ns;
    store_empty(&store);

    json_open("size_shift");
    json_f64((double)took_ns / (double)added_nr, "ns_replace");
    for (int at = 0; at < PHASES_NR; at++)
        json_u64(phase_bytes[at], "rss_phase%d_%zu_%zu_bytes", at, phases[at].min_bytes, phases[at].max_bytes);
    json_f64((double)largest_bytes / (double)live_bytes, "ratio_rss_largest");
    json_u64(mem_over(mem_rss_bytes(), books_bytes), "rss_end_bytes");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "mib", .number = &setup.live_mib, .min = 1, .max = 1 << 16, .help = "MiB requested and live"},
        {.name = "turnover-pct",
         .number = &setup.turnover_pct,
         .min = 100,
         .max = 10000,
         .help = "of --mib, per phase"},
    };

    args_parse_all(argc, argv, "size_shift: sizes that change while the live bytes stay", args, ARGS_NR(args));
    measure();
    return 0;
}
