/* SPDX-License-Identifier: MIT */
/*
 * prodcons: P producer threads allocate, P consumer threads free, and no object is freed by the thread that allocated
 * it. Each producer has a bounded ring to each consumer and deals objects out to them in turn, so the figure holds the
 * cost of remote frees together with a queue that is far cheaper than they are. Prints millions of objects per second,
 * counted from the first allocation to the last free; the median of several runs within the process. Run by tools/bars.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/ring.h"
#include "../lib/thread.h"

enum { PAIRS_MAX = 16, RUNS_MAX = 101, SIZES_NR = 4096, DEAL_OBJS = 64, NS_PER_US = 1000 };

struct bench {
    uint64_t pairs;
    uint64_t objects; /* per producer; a multiple of pairs * DEAL_OBJS, so that every consumer gets the same number */
    pthread_barrier_t gate;
    struct ring *rings; /* [producer][consumer] */
    uint32_t sizes[SIZES_NR];
};

struct worker {
    struct bench *bench;
    uint64_t id;
    uint64_t stamp_sum; /* consumers: of all objects freed */
};

static struct ring *ring_between(struct bench *bench, uint64_t producer, uint64_t consumer) {
    return &bench->rings[producer * bench->pairs + consumer];
}

static void push_waiting(struct ring *ring, void *object) {
    for (unsigned attempt = 0; !ring_push(ring, object); attempt++)
        thread_wait_step(attempt);
}

static void *producer_body(void *argument) {
    struct worker *worker = argument;
    struct bench *bench = worker->bench;

    thread_meet(&bench->gate);
    for (uint64_t made = 0; made < bench->objects; made++) {
        uint64_t *object = alloc_or_die(bench->sizes[made % SIZES_NR]);

        *object = made;
        push_waiting(ring_between(bench, worker->id, made / DEAL_OBJS % bench->pairs), object);
    }
    for (uint64_t consumer = 0; consumer < bench->pairs; consumer++)
        ring_publish(ring_between(bench, worker->id, consumer));
    return NULL;
}

/* Frees what one ring holds, at most one deal; returns how many. Reading the object is part of the work, as in life. */
static uint64_t ring_drain(struct ring *ring, uint64_t *stamp_sum) {
    uint64_t freed = 0;
    uint64_t *object;

    while (freed < DEAL_OBJS && (object = ring_pop(ring)) != NULL) {
        *stamp_sum += *object;
        free(object);
        freed++;
    }
    return freed;
}

static void *consumer_body(void *argument) {
    struct worker *worker = argument;
    struct bench *bench = worker->bench;
    uint64_t left = bench->objects;
    uint64_t stamp_sum = 0;
    unsigned attempt = 0;

    thread_meet(&bench->gate);
    for (uint64_t producer = 0; left > 0; producer = (producer + 1) % bench->pairs) {
        uint64_t freed = ring_drain(ring_between(bench, producer, worker->id), &stamp_sum);

        left -= freed;
        attempt = freed > 0 ? 0 : attempt + 1;
        if (attempt > 0)
            thread_wait_step(attempt);
    }
    worker->stamp_sum = stamp_sum;
    return NULL;
}

/* Every object must have arrived once and unharmed: each producer stamped 0, 1, 2 and so on. */
static void stamps_check(const struct bench *bench, const struct worker *consumers) {
    uint64_t sum = 0;

    for (uint64_t id = 0; id < bench->pairs; id++)
        sum += consumers[id].stamp_sum;
    if (sum != bench->pairs * (bench->objects * (bench->objects - 1) / 2))
        die("objects were lost or overwritten");
}

static uint64_t run_ns(struct bench *bench) {
    struct worker makers[PAIRS_MAX];
    struct worker takers[PAIRS_MAX];
    pthread_t producers[PAIRS_MAX];
    pthread_t consumers[PAIRS_MAX];
    size_t ring_bytes = bench->pairs * bench->pairs * sizeof(struct ring);

    bench->rings = mem_map_touched(ring_bytes);
    errno = pthread_barrier_init(&bench->gate, NULL, (unsigned)(2 * bench->pairs + 1));
    if (errno != 0)
        die("pthread_barrier_init");
    for (uint64_t id = 0; id < bench->pairs; id++) {
        makers[id] = takers[id] = (struct worker){.bench = bench, .id = id};
        producers[id] = thread_start(producer_body, &makers[id]);
        consumers[id] = thread_start(consumer_body, &takers[id]);
    }
    uint64_t start_ns = clock_now_ns();
    thread_meet(&bench->gate);
    for (uint64_t id = 0; id < bench->pairs; id++) {
        thread_join(producers[id]);
        thread_join(consumers[id]);
    }
    uint64_t took_ns = clock_now_ns() - start_ns;

    stamps_check(bench, takers);
    pthread_barrier_destroy(&bench->gate);
    mem_unmap(bench->rings, ring_bytes);
    return took_ns;
}

int main(int argc, char **argv) {
    static struct bench bench = {.pairs = 1, .objects = 1 << 21};
    double runs_mops[RUNS_MAX];
    uint64_t runs = 5;
    uint64_t min_bytes = 64;
    uint64_t max_bytes = 64;
    struct rand rand = {.state = 1};
    const struct arg args[] = {
        {.name = "pairs", .number = &bench.pairs, .min = 1, .max = PAIRS_MAX, .help = "producers, and consumers"},
        {.name = "objects", .number = &bench.objects, .min = 4096, .max = 1u << 30, .help = "objects per producer"},
        {.name = "runs", .number = &runs, .min = 1, .max = RUNS_MAX, .help = "runs, of which the median counts"},
        {.name = "min", .number = &min_bytes, .min = 8, .max = 1 << 20, .help = "smallest object, bytes"},
        {.name = "max", .number = &max_bytes, .min = 8, .max = 1 << 20, .help = "largest object, bytes"},
    };

    args_parse_all(argc, argv, "prodcons: every object freed by another thread", args, ARGS_NR(args));
    if (min_bytes > max_bytes)
        die("--min is above --max");
    bench.objects -= bench.objects % (bench.pairs * DEAL_OBJS);
    for (size_t at = 0; at < SIZES_NR; at++)
        bench.sizes[at] = (uint32_t)rand_between(&rand, min_bytes, max_bytes);
    for (uint64_t run = 0; run < runs; run++)
        runs_mops[run] = (double)(bench.pairs * bench.objects) * NS_PER_US / (double)run_ns(&bench);

    json_open("prodcons");
    json_f64(median_of(runs_mops, runs), "mops");
    json_u64(bench.pairs, "producers");
    json_close();
    return 0;
}
