/* SPDX-License-Identifier: MIT */
/*
 * thread_churn: threads that live for a moment, as in programs that start one per request. Each allocates and writes
 * 100 objects of 16..512 B, frees them or half of them, and ends; four are alive at a time. What a thread's first
 * allocation costs, what becomes of its cache at its end, and whether the next thread gets it, is the figure. Prints ns
 * per thread, from the creation of the first to the join of the last: when threads free all of their objects (self),
 * and when the main thread frees the other half after the join (left).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/rand.h"
#include "../lib/thread.h"

enum { THREAD_OBJS = 100, ALIVE_MAX = 64, MIN_BYTES = 16, MAX_BYTES = 512 };

struct worker {
    uint64_t id;
    size_t left_objs; /* how many of its objects it leaves to the main thread: the first ones */
    uint64_t *objects[THREAD_OBJS];
};

static uint64_t alive = 4;

/* The first word of a thread's object, another one for each. */
static uint64_t stamp_of(const struct worker *worker, size_t at) { return worker->id * THREAD_OBJS + at; }

static void object_free(const struct worker *worker, size_t at) {
    if (*worker->objects[at] != stamp_of(worker, at))
        die("object %zu of thread %llu was overwritten", at, (unsigned long long)worker->id);
    free(worker->objects[at]);
}

static void *worker_body(void *argument) {
    struct worker *worker = argument;
    struct rand rand = {.state = worker->id};

    for (size_t at = 0; at < THREAD_OBJS; at++) {
        size_t size_bytes = rand_between(&rand, MIN_BYTES, MAX_BYTES);

        worker->objects[at] = alloc_or_die(size_bytes);
        memset(worker->objects[at], 0xa5, size_bytes);
        *worker->objects[at] = stamp_of(worker, at);
    }
    for (size_t at = worker->left_objs; at < THREAD_OBJS; at++)
        object_free(worker, at);
    return NULL;
}

static void wave_run(uint64_t first_id, size_t left_objs) {
    static struct worker workers[ALIVE_MAX];
    pthread_t threads[ALIVE_MAX];

    for (uint64_t at = 0; at < alive; at++) {
        workers[at].id = first_id + at;
        workers[at].left_objs = left_objs;
        threads[at] = thread_start(worker_body, &workers[at]);
    }
    for (uint64_t at = 0; at < alive; at++) {
        thread_join(threads[at]);
        for (size_t left = 0; left < left_objs; left++)
            object_free(&workers[at], left);
    }
}

static double thread_ns(uint64_t threads, size_t left_objs) {
    uint64_t waves = threads / alive;
    uint64_t start_ns = clock_now_ns();

    for (uint64_t wave = 0; wave < waves; wave++)
        wave_run(wave * alive, left_objs);
    return (double)(clock_now_ns() - start_ns) / (double)(waves * alive);
}

int main(int argc, char **argv) {
    uint64_t threads = 10000;
    const struct arg args[] = {
        {.name = "threads",
         .number = &threads,
         .min = ALIVE_MAX,
         .max = 1u << 24,
         .help = "threads, one kind after the other"},
        {.name = "alive", .number = &alive, .min = 1, .max = ALIVE_MAX, .help = "threads at a time"},
    };

    args_parse_all(argc, argv, "thread_churn: ns per short-lived thread of 100 objects", args, ARGS_NR(args));
    json_open("thread_churn");
    json_f64(thread_ns(threads, 0), "ns_self");
    json_f64(thread_ns(threads, THREAD_OBJS / 2), "ns_left");
    json_close();
    return 0;
}
