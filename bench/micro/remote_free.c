/* SPDX-License-Identifier: MIT */
/*
 * remote_free: every object is freed by another thread than the one that allocated it, with one thread on either side
 * (1_1), one that allocates for four (1_4), and four that allocate for one (4_1): a reader that feeds a pool, and a
 * pool that reports to a collector. Objects of 64 B and of 16..1024 B travel through bounded rings (lib/ring.h), one
 * between each two threads, in deals of 64. Prints ns per object, all threads together, from the first allocation to
 * the last free. Objects are stamped and the stamps summed, so a lost object is a failure.
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

enum { SIDE_MAX = 4, DEAL_OBJS = 64, RUNS_MAX = 101 };

/* makers times takers, one of which is 1, so that rings are counted by the larger side. */
struct shape {
    const char *name;
    unsigned makers;
    unsigned takers;
};

static const struct shape shapes[] = {{"1_1", 1, 1}, {"1_4", 1, 4}, {"4_1", 4, 1}};
static const struct {
    const char *name;
    size_t min_bytes;
    size_t max_bytes;
} sizes[] = {{"64", 64, 64}, {"16_1024", 16, 1024}};

static uint64_t objects = 1 << 20;
static pthread_barrier_t gate;

struct worker {
    struct ring *rings; /* this thread's, one for each thread of the other side */
    unsigned rings_nr;
    uint64_t objects;
    size_t min_bytes;
    size_t max_bytes;
    uint64_t stamp_sum;
};

static void push_waiting(struct ring *ring, void *object) {
    for (unsigned attempt = 0; !ring_push(ring, object); attempt++)
        thread_wait_step(attempt);
}

static void *maker_body(void *argument) {
    struct worker *worker = argument;
    struct rand rand = {.state = 1};

    thread_meet(&gate);
    for (uint64_t made = 0; made < worker->objects; made++) {
        uint64_t *object = alloc_or_die(rand_between(&rand, worker->min_bytes, worker->max_bytes));

        *object = made;
        worker->stamp_sum += made;
        push_waiting(&worker->rings[made / DEAL_OBJS % worker->rings_nr], object);
    }
    for (unsigned ring = 0; ring < worker->rings_nr; ring++)
        ring_publish(&worker->rings[ring]);
    return NULL;
}

/* Frees what one ring holds, at most one deal; returns how many. */
static uint64_t ring_drain(struct worker *worker, struct ring *ring) {
    uint64_t freed = 0;
    uint64_t *object;

    while (freed < DEAL_OBJS && (object = ring_pop(ring)) != NULL) {
        worker->stamp_sum += *object;
        free(object);
        freed++;
    }
    return freed;
}

static void *taker_body(void *argument) {
    struct worker *worker = argument;
    unsigned attempt = 0;

    thread_meet(&gate);
    for (uint64_t left = worker->objects, turn = 0; left > 0; turn++) {
        uint64_t freed = ring_drain(worker, &worker->rings[turn % worker->rings_nr]);

        left -= freed;
        attempt = freed > 0 ? 0 : attempt + 1;
        if (attempt > 0)
            thread_wait_step(attempt);
    }
    return NULL;
}

/* Starts one side, each thread with its part of the objects and of the rings. */
static void side_start(void *(*body)(void *), unsigned threads_nr, const struct worker *common, struct worker *workers,
                       pthread_t *threads) {
    for (unsigned id = 0; id < threads_nr; id++) {
        workers[id] = *common;
        workers[id].rings_nr = common->rings_nr / threads_nr;
        workers[id].rings = common->rings + id * workers[id].rings_nr;
        workers[id].objects = common->objects / threads_nr;
        threads[id] = thread_start(body, &workers[id]);
    }
}

/* Waits for one side; returns the sum of all stamps it saw. */
static uint64_t side_join(unsigned threads_nr, const struct worker *workers, const pthread_t *threads) {
    uint64_t stamp_sum = 0;

    for (unsigned id = 0; id < threads_nr; id++) {
        thread_join(threads[id]);
        stamp_sum += workers[id].stamp_sum;
    }
    return stamp_sum;
}

static double run_ns(const struct shape *shape, size_t min_bytes, size_t max_bytes) {
    struct worker makers[SIDE_MAX];
    struct worker takers[SIDE_MAX];
    pthread_t maker_threads[SIDE_MAX];
    pthread_t taker_threads[SIDE_MAX];
    unsigned rings_nr = shape->makers * shape->takers;
    struct worker common = {.rings_nr = rings_nr, .objects = objects, .min_bytes = min_bytes, .max_bytes = max_bytes};

    common.rings = mem_map_touched(rings_nr * sizeof(struct ring));
    errno = pthread_barrier_init(&gate, NULL, shape->makers + shape->takers + 1);
    if (errno != 0)
        die("pthread_barrier_init");
    side_start(maker_body, shape->makers, &common, makers, maker_threads);
    side_start(taker_body, shape->takers, &common, takers, taker_threads);
    uint64_t start_ns = clock_now_ns();
    thread_meet(&gate);
    uint64_t made_sum = side_join(shape->makers, makers, maker_threads);
    uint64_t taken_sum = side_join(shape->takers, takers, taker_threads);
    uint64_t took_ns = clock_now_ns() - start_ns;

    if (made_sum != taken_sum)
        die("objects were lost or overwritten");
    pthread_barrier_destroy(&gate);
    mem_unmap(common.rings, rings_nr * sizeof(struct ring));
    return (double)took_ns / (double)objects;
}

int main(int argc, char **argv) {
    uint64_t runs = 3;
    double object_ns[RUNS_MAX];
    const struct arg args[] = {
        {.name = "objects",
         .number = &objects,
         .min = SIDE_MAX * DEAL_OBJS,
         .max = 1u << 30,
         .help = "objects per run"},
        {.name = "runs",
         .number = &runs,
         .min = 1,
         .max = RUNS_MAX,
         .help = "runs per shape and size; the median counts"},
    };

    args_parse_all(argc, argv, "remote_free: ns per object freed by another thread", args, ARGS_NR(args));
    objects -= objects % (SIDE_MAX * DEAL_OBJS);
    json_open("remote_free");
    for (size_t shape = 0; shape < ARGS_NR(shapes); shape++) {
        for (size_t size = 0; size < ARGS_NR(sizes); size++) {
            for (uint64_t run = 0; run < runs; run++)
                object_ns[run] = run_ns(&shapes[shape], sizes[size].min_bytes, sizes[size].max_bytes);
            json_f64(median_of(object_ns, runs), "ns_%s_%s", shapes[shape].name, sizes[size].name);
        }
    }
    json_close();
    return 0;
}
