/* SPDX-License-Identifier: MIT */
/*
 * idle_threads: what a process keeps when its threads have had their burst and sleep. Each thread allocates small
 * objects up to its share, writes them, frees them all in random order and then blocks, without another call to the
 * allocator; main sleeps and measures. With --apart a thread frees without waiting for the others to have allocated;
 * with --join the threads have ended before the sleep. The start is taken before the first thread is created, so the
 * threads' stacks (about 12 KiB each) count for every allocator alike. Run by tools/bars.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/thread.h"

enum { THREADS_MAX = 1024, BYTES_PER_MIB = 1 << 20 };

static struct {
    uint64_t threads;
    uint64_t share_mib;
    uint64_t idle_ms;
    uint64_t min_bytes;
    uint64_t max_bytes;
    bool apart;
    bool join;
} setup = {.threads = 64, .share_mib = 8, .idle_ms = 2000, .min_bytes = 16, .max_bytes = 512};

static pthread_barrier_t all_allocated; /* the workers */
static pthread_barrier_t all_freed;     /* the workers and main */
static pthread_barrier_t all_measured;  /* the workers and main */

static size_t share_fill(struct rand *rand, void **objects) {
    uint64_t left_bytes = setup.share_mib * BYTES_PER_MIB;
    size_t nr = 0;

    while (left_bytes >= setup.max_bytes) {
        size_t size_bytes = rand_between(rand, setup.min_bytes, setup.max_bytes);

        objects[nr] = alloc_or_die(size_bytes);
        memset(objects[nr], 0xa5, size_bytes);
        left_bytes -= size_bytes;
        nr++;
    }
    return nr;
}

static void share_burst(struct rand *rand) {
    size_t books_bytes = setup.share_mib * BYTES_PER_MIB / setup.min_bytes * sizeof(void *);
    void **objects = mem_map_lazy(books_bytes);
    size_t nr = share_fill(rand, objects);

    if (!setup.apart)
        thread_meet(&all_allocated);
    rand_shuffle(rand, objects, nr);
    for (size_t at = 0; at < nr; at++)
        free(objects[at]);
    mem_unmap(objects, books_bytes);
}

static void *worker_body(void *argument) {
    struct rand rand = {.state = (uint64_t)(uintptr_t)argument};

    share_burst(&rand);
    if (!setup.join) {
        thread_meet(&all_freed);
        thread_meet(&all_measured);
    }
    return NULL;
}

static void barrier_open(pthread_barrier_t *barrier, uint64_t parties) {
    errno = pthread_barrier_init(barrier, NULL, (unsigned)parties);
    if (errno != 0)
        die("pthread_barrier_init");
}

static void workers_join(const pthread_t *workers) {
    for (uint64_t id = 0; id < setup.threads; id++)
        thread_join(workers[id]);
}

int main(int argc, char **argv) {
    static pthread_t workers[THREADS_MAX];
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = THREADS_MAX, .help = "threads"},
        {.name = "mib", .number = &setup.share_mib, .min = 1, .max = 1024, .help = "MiB allocated by each thread"},
        {.name = "idle-ms", .number = &setup.idle_ms, .min = 0, .max = 600000, .help = "sleep before measuring"},
        {.name = "min", .number = &setup.min_bytes, .min = 1, .max = 1 << 20, .help = "smallest object, bytes"},
        {.name = "max", .number = &setup.max_bytes, .min = 1, .max = 1 << 20, .help = "largest object, bytes"},
        {.name = "apart", .flag = &setup.apart, .help = "do not wait until all threads have allocated"},
        {.name = "join", .flag = &setup.join, .help = "end the threads before the sleep"},
    };

    args_parse_all(argc, argv, "idle_threads: memory held by threads that have freed everything", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes)
        die("--min is above --max");
    free(alloc_or_die(1));
    barrier_open(&all_allocated, setup.threads);
    barrier_open(&all_freed, setup.threads + 1);
    barrier_open(&all_measured, setup.threads + 1);

    uint64_t start_bytes = mem_rss_bytes();
    for (uint64_t id = 0; id < setup.threads; id++)
        workers[id] = thread_start(worker_body, (void *)(uintptr_t)(id + 1));
    if (setup.join)
        workers_join(workers);
    else
        thread_meet(&all_freed);
    uint64_t freed_bytes = mem_rss_bytes();
    clock_sleep_ms(setup.idle_ms);
    uint64_t idle_bytes = mem_rss_bytes();
    if (!setup.join) {
        thread_meet(&all_measured);
        workers_join(workers);
    }

    json_open("idle_threads");
    json_u64(start_bytes, "start_bytes");
    json_u64(mem_over(freed_bytes, start_bytes), "freed_bytes");
    json_u64(mem_over(idle_bytes, start_bytes), "held_bytes");
    json_close();
    return 0;
}
