/* SPDX-License-Identifier: MIT */
/*
 * false_sharing: small objects of different threads on one cache line, which then moves between the CPUs at every
 * write. Active: each thread allocates an object, writes it many times, frees it, and does so again; an allocator that
 * cuts one line up for several threads makes them share it. Passive: main allocates the first object of every thread,
 * one after the other, and each thread frees its own; an allocator that gives the memory to the thread that freed it
 * then goes on sharing what main's objects shared. After cache-thrash and cache-scratch as described in Berger et al.,
 * "Hoard" (ASPLOS 2000). Prints ns per write of one thread, for each of the two.
 */
#include <stdbool.h>
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/escape.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/scenario_threads.h"

#include <stdlib.h>
#include <string.h>

enum { OBJECT_MAX_BYTES = 4096 };

static struct {
    uint64_t threads;
    uint64_t rounds;
    uint64_t objects;
    uint64_t writes;
    uint64_t size_bytes;
} setup = {.threads = 2, .rounds = 20, .objects = 1000, .writes = 2000, .size_bytes = 8};

struct worker {
    unsigned char *given; /* allocated by main, or NULL */
};

/* Counts in every byte of the object in turn; volatile, so that each write reaches the cache. */
static void object_use(volatile unsigned char *object) {
    for (uint64_t byte = 0; byte < setup.size_bytes; byte++)
        object[byte] = 0;
    for (uint64_t done = 0; done < setup.writes; done++) {
        for (uint64_t byte = 0; byte < setup.size_bytes; byte++)
            object[byte]++;
    }
    for (uint64_t byte = 0; byte < setup.size_bytes; byte++) {
        if (object[byte] != (unsigned char)setup.writes)
            die("an object was overwritten");
    }
}

static void *worker_body(void *argument) {
    struct worker *worker = argument;

    if (worker->given != NULL) {
        object_use(worker->given);
        free(worker->given);
    }
    for (uint64_t made = 0; made < setup.objects; made++) {
        unsigned char *object = alloc_or_die(setup.size_bytes);

        object_use(object);
        escape(object);
        free(object);
    }
    return NULL;
}

static void round_run(bool passive) {
    static struct worker workers[WORKERS_MAX];

    for (uint64_t id = 0; id < setup.threads; id++)
        workers[id].given = passive ? alloc_or_die(setup.size_bytes) : NULL;
    workers_run(worker_body, workers, sizeof(*workers), setup.threads);
}

/* Many short rounds: whether two objects meet on a line is luck, and one round would report the luck. */
static double write_ns(bool passive) {
    uint64_t writes_nr = setup.rounds * (setup.objects + (passive ? 1 : 0)) * setup.writes * setup.size_bytes;
    uint64_t start_ns = clock_now_ns();

    for (uint64_t round = 0; round < setup.rounds; round++)
        round_run(passive);
    return (double)(clock_now_ns() - start_ns) / (double)writes_nr;
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "threads"},
        {.name = "rounds", .number = &setup.rounds, .min = 1, .max = 1 << 20, .help = "times the threads are started"},
        {.name = "objects", .number = &setup.objects, .min = 1, .max = 1 << 24, .help = "per thread and round"},
        {.name = "writes", .number = &setup.writes, .min = 1, .max = 1 << 24, .help = "to each byte of an object"},
        {.name = "size", .number = &setup.size_bytes, .min = 1, .max = OBJECT_MAX_BYTES, .help = "object size, bytes"},
    };

    args_parse_all(argc, argv, "false_sharing: objects of several threads on one cache line", args, ARGS_NR(args));
    double active_ns = write_ns(false);
    double passive_ns = write_ns(true);
    json_open("false_sharing");
    json_f64(active_ns, "ns_active");
    json_f64(passive_ns, "ns_passive");
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
    return 0;
}
