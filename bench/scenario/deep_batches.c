/* SPDX-License-Identifier: MIT */
/*
 * deep_batches: far more objects at a time than a thread's cache holds. A batch of objects of many sizes is allocated
 * in full, then freed newest first, oldest first or in random order, and this again and again: programs that build a
 * structure, use it and drop it. Front caches overflow on every batch, so what is measured is how objects travel
 * between them and the heap behind, and whether the heap gives memory up that the next batch needs. On one thread, then
 * on several. Prints ns per malloc and free of one object, for each order and number of threads.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"

enum order { LIFO, FIFO, RANDOM, ORDERS_NR };

static const char *const order_names[ORDERS_NR] = {"lifo", "fifo", "random"};

static struct {
    uint64_t threads;
    uint64_t batches;
    uint64_t objects;
    uint64_t min_bytes;
    uint64_t max_bytes;
} setup = {.threads = 2, .batches = 3, .objects = 100000, .min_bytes = 16, .max_bytes = 2048};

struct worker {
    enum order order;
    struct rand rand;
    struct object **objects;
    uint32_t *turns; /* the random order in which a batch is freed; the same for all batches and workers */
};

static void batch_free(struct worker *worker) {
    for (uint32_t done = 0; done < setup.objects; done++) {
        uint32_t at = done;

        if (worker->order == LIFO)
            at = (uint32_t)setup.objects - 1 - done;
        else if (worker->order == RANDOM)
            at = worker->turns[done];
        object_free(worker->objects[at], at);
    }
}

static void *worker_body(void *argument) {
    struct worker *worker = argument;

    for (uint64_t batch = 0; batch < setup.batches; batch++) {
        for (uint32_t at = 0; at < setup.objects; at++)
            worker->objects[at] = object_make(size_draw(&worker->rand, setup.min_bytes, setup.max_bytes), at);
        batch_free(worker);
    }
    return NULL;
}

static uint32_t *turns_make(void) {
    uint32_t *turns = mem_map_touched(setup.objects * sizeof(*turns));
    struct rand rand = {.state = 1};

    for (uint32_t at = 0; at < setup.objects; at++) {
        size_t other = rand_between(&rand, 0, at);

        turns[at] = turns[other];
        turns[other] = at;
    }
    return turns;
}

/* The time of one object: what passed over the objects of one worker. */
static double batches_ns(struct worker *workers, uint64_t threads, enum order order) {
    for (uint64_t id = 0; id < threads; id++) {
        workers[id].order = order;
        workers[id].rand.state = id + 1;
    }
    uint64_t start_ns = clock_now_ns();
    workers_run(worker_body, workers, sizeof(*workers), threads);
    return (double)(clock_now_ns() - start_ns) / (double)(setup.batches * setup.objects);
}

static void report(struct worker *workers, uint64_t threads) {
    for (int order = 0; order < ORDERS_NR; order++)
        json_f64(batches_ns(workers, threads, (enum order)order), "ns_%s_threads%llu", order_names[order],
                 (unsigned long long)threads);
}

int main(int argc, char **argv) {
    static struct worker workers[WORKERS_MAX];
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "threads, after one alone"},
        {.name = "batches", .number = &setup.batches, .min = 1, .max = 1 << 20, .help = "per thread and order"},
        {.name = "objects", .number = &setup.objects, .min = 1, .max = 1 << 24, .help = "per batch"},
        {.name = "min", .number = &setup.min_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "smallest object"},
        {.name = "max", .number = &setup.max_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "largest object"},
    };

    args_parse_all(argc, argv, "deep_batches: batches of many sizes, allocated whole and freed whole", args,
                   ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes)
        die("--min is above --max");
    uint32_t *turns = turns_make();
    for (uint64_t id = 0; id < setup.threads; id++) {
        workers[id].objects = mem_map_touched(setup.objects * sizeof(struct object *));
        workers[id].turns = turns;
    }
    json_open("deep_batches");
    report(workers, 1);
    if (setup.threads > 1)
        report(workers, setup.threads);
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
    return 0;
}
