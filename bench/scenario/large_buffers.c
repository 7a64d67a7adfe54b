/* SPDX-License-Identifier: MIT */
/*
 * large_buffers: buffers of files, images and columns. A small table of buffers, a random one freed and replaced again
 * and again: first of exactly 2 MiB, which is one huge page and nothing for a header beside it; then of 5 to 25 MiB, in
 * whole bytes. A buffer is written in part, from its start, one write per page; an allocator that keeps what it has
 * spares the faults, and holds more memory. Prints microseconds per replacement, writing included, for each of the two;
 * the resident set with each table full; and at the end.
 */
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"

enum { SLOTS_MAX = 256, BYTES_PER_MIB = 1 << 20, WRITE_STEP_BYTES = 4096, PCT = 100 };

static struct {
    uint64_t threads;
    uint64_t slots;
    uint64_t written_pct;
    uint64_t huge_replacements;
    uint64_t mixed_replacements;
} setup = {.threads = 1, .slots = 8, .written_pct = 25, .huge_replacements = 40000, .mixed_replacements = 1500};

/* What the buffers of one pass are like. */
struct pass {
    size_t min_bytes;
    size_t max_bytes;
    uint64_t replacements;
};

struct worker {
    const struct pass *pass;
    struct rand rand;
    struct object *slots[SLOTS_MAX];
};

static void buffer_replace(struct worker *worker, uint32_t slot) {
    size_t size_bytes = rand_between(&worker->rand, worker->pass->min_bytes, worker->pass->max_bytes);
    size_t written_bytes = size_bytes / PCT * setup.written_pct;

    if (worker->slots[slot] != NULL)
        object_free(worker->slots[slot], slot);
    worker->slots[slot] = object_make(size_bytes, slot);
    for (size_t at = sizeof(struct object); at < written_bytes; at += WRITE_STEP_BYTES)
        ((unsigned char *)worker->slots[slot])[at] = (unsigned char)at;
}

static void *worker_body(void *argument) {
    struct worker *worker = argument;

    for (uint32_t slot = 0; slot < setup.slots; slot++)
        buffer_replace(worker, slot);
    for (uint64_t done = setup.slots; done < worker->pass->replacements; done++)
        buffer_replace(worker, (uint32_t)rand_between(&worker->rand, 0, setup.slots - 1));
    return NULL;
}

static void slots_free(struct worker *worker) {
    for (uint32_t slot = 0; slot < setup.slots; slot++) {
        object_free(worker->slots[slot], slot);
        worker->slots[slot] = NULL;
    }
}

/* Returns microseconds per replacement of one thread. */
static double pass_run_us(const struct pass *pass, uint64_t *ret_full_bytes) {
    static struct worker workers[WORKERS_MAX];

    for (uint64_t id = 0; id < setup.threads; id++) {
        workers[id].pass = pass;
        workers[id].rand.state = id + 1;
    }
    uint64_t start_ns = clock_now_ns();
    workers_run(worker_body, workers, sizeof(*workers), setup.threads);
    uint64_t took_ns = clock_now_ns() - start_ns;
    *ret_full_bytes = mem_rss_bytes();
    for (uint64_t id = 0; id < setup.threads; id++)
        slots_free(&workers[id]);
    return (double)took_ns / 1e3 / (double)pass->replacements;
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "threads"},
        {.name = "slots", .number = &setup.slots, .min = 1, .max = SLOTS_MAX, .help = "live buffers per thread"},
        {.name = "written-pct", .number = &setup.written_pct, .min = 0, .max = PCT, .help = "written of each buffer"},
        {.name = "huge", .number = &setup.huge_replacements, .min = 1, .max = 1 << 24, .help = "buffers of 2 MiB"},
        {.name = "mixed", .number = &setup.mixed_replacements, .min = 1, .max = 1 << 24, .help = "of 5 to 25 MiB"},
    };

    args_parse_all(argc, argv, "large_buffers: buffers of 2 MiB, then of 5 to 25 MiB, partly written", args,
                   ARGS_NR(args));
    if (setup.huge_replacements < setup.slots || setup.mixed_replacements < setup.slots)
        die("fewer buffers than --slots");
    const struct pass huge = {2 * BYTES_PER_MIB, 2 * BYTES_PER_MIB, setup.huge_replacements};
    const struct pass mixed = {5 * BYTES_PER_MIB, 25 * BYTES_PER_MIB, setup.mixed_replacements};
    uint64_t huge_full_bytes;
    uint64_t mixed_full_bytes;
    double huge_us = pass_run_us(&huge, &huge_full_bytes);
    double mixed_us = pass_run_us(&mixed, &mixed_full_bytes);

    json_open("large_buffers");
    json_f64(huge_us, "us_2mib");
    json_f64(mixed_us, "us_5_25mib");
    json_u64(huge_full_bytes, "rss_live_2mib_bytes");
    json_u64(mixed_full_bytes, "rss_live_5_25mib_bytes");
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
    return 0;
}
