/* SPDX-License-Identifier: MIT */
/*
 * retained: blocks that stay between blocks that do not. Every step allocates transient blocks, one block to be
 * retained and transient blocks again, then frees the transient ones; the retained one takes a random place in a table,
 * whose former block is freed. All sizes are drawn from 80 B to 100 KiB, so that small, medium and page-sized paths
 * meet, and the holes that transient blocks leave have to be used by other sizes. A common shape of services that keep
 * results of requests. Prints microseconds per step of one thread, and the resident set with the tables full against
 * the requested bytes in them, and at the end.
 */
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"

enum { TRANSIENT_MAX = 64 };

static struct {
    uint64_t threads;
    uint64_t slots;
    uint64_t steps;
    uint64_t transient;
    uint64_t min_bytes;
    uint64_t max_bytes;
} setup = {.threads = 2, .slots = 2500, .steps = 80000, .transient = 6, .min_bytes = 80, .max_bytes = 100 << 10};

struct worker {
    struct rand rand;
    struct object **retained;
};

static struct object *block_make(struct worker *worker, uint32_t tag) {
    return object_make(size_draw(&worker->rand, setup.min_bytes, setup.max_bytes), tag);
}

/* Retained blocks are written whole, as results are; transient ones at their ends. */
static void step(struct worker *worker, size_t slot) {
    struct object *transient[TRANSIENT_MAX];
    uint32_t before_nr = (uint32_t)rand_between(&worker->rand, 0, setup.transient);

    for (uint32_t at = 0; at < before_nr; at++)
        transient[at] = block_make(worker, at);
    if (worker->retained[slot] != NULL)
        object_free(worker->retained[slot], (uint32_t)slot);
    worker->retained[slot] = object_fill(block_make(worker, (uint32_t)slot));
    for (uint32_t at = before_nr; at < setup.transient; at++)
        transient[at] = block_make(worker, at);
    for (uint32_t at = 0; at < setup.transient; at++)
        object_free(transient[at], at);
}

static void *worker_body(void *argument) {
    struct worker *worker = argument;

    for (size_t slot = 0; slot < setup.slots; slot++)
        step(worker, slot);
    for (uint64_t done = setup.slots; done < setup.steps; done++)
        step(worker, rand_between(&worker->rand, 0, setup.slots - 1));
    return NULL;
}

static uint64_t retained_bytes(const struct worker *worker) {
    uint64_t bytes = 0;

    for (size_t slot = 0; slot < setup.slots; slot++)
        bytes += worker->retained[slot]->size_bytes;
    return bytes;
}

static void measure(void) {
    static struct worker workers[WORKERS_MAX];
    uint64_t live_bytes = 0;

    for (uint64_t id = 0; id < setup.threads; id++) {
        workers[id].rand.state = id + 1;
        workers[id].retained = mem_map_touched(setup.slots * sizeof(struct object *));
    }
    uint64_t start_ns = clock_now_ns();
    workers_run(worker_body, workers, sizeof(*workers), setup.threads);
    uint64_t took_ns = clock_now_ns() - start_ns;
    uint64_t full_bytes = mem_rss_bytes();
    for (uint64_t id = 0; id < setup.threads; id++) {
        live_bytes += retained_bytes(&workers[id]);
        for (size_t slot = 0; slot < setup.slots; slot++)
            object_free(workers[id].retained[slot], (uint32_t)slot);
    }

    json_open("retained");
    json_f64((double)took_ns / 1e3 / (double)setup.steps, "us_step");
    json_u64(live_bytes, "live_bytes");
    json_u64(full_bytes, "rss_live_bytes");
    json_f64((double)full_bytes / (double)live_bytes, "ratio_rss_live");
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "threads"},
        {.name = "slots", .number = &setup.slots, .min = 1, .max = 1 << 20, .help = "retained blocks per thread"},
        {.name = "steps", .number = &setup.steps, .min = 1, .max = 1u << 30, .help = "per thread, --slots or more"},
        {.name = "transient", .number = &setup.transient, .min = 0, .max = TRANSIENT_MAX, .help = "blocks per step"},
        {.name = "min", .number = &setup.min_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 24, .help = "smallest block"},
        {.name = "max", .number = &setup.max_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 24, .help = "largest block"},
    };

    args_parse_all(argc, argv, "retained: blocks that stay, with transient ones between", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes || setup.steps < setup.slots)
        die("--min is above --max, or --steps below --slots");
    measure();
    return 0;
}
