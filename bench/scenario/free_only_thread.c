/* SPDX-License-Identifier: MIT */
/*
 * free_only_thread: many producers and one thread that never allocates and frees for all of them. Each producer keeps a
 * live set of fixed count, replaces a random member again and again, and sends the old object through a bounded ring to
 * the free-only thread; what is live is therefore bounded by the sets and the rings. An allocator that brings a freed
 * object back only when its owner happens to look grows beyond that. Requested bytes are counted object by object, and
 * the peak is exact to the few objects between a call and its count. Prints peak and final resident set over the start
 * against peak live bytes. Run by tools/bars.
 */
#include <errno.h>
#include <stdatomic.h>
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
#include "../lib/ring.h"
#include "../lib/thread.h"

enum { PRODUCERS_MAX = 256, SAMPLE_MS = 20, NS_PER_S = 1000000000, OBJECT_MIN_BYTES = 8 };

static struct {
    uint64_t producers;
    uint64_t seconds;
    uint64_t set_objs;
    uint64_t min_bytes;
    uint64_t max_bytes;
} setup = {.producers = 16, .seconds = 60, .set_objs = 40960, .min_bytes = 592, .max_bytes = 592};

/* The first word of every object: how many bytes were asked for. */
struct object {
    uint64_t size_bytes;
};

struct producer {
    uint64_t id;
    uint64_t peak_live_bytes; /* largest sum this producer saw when it added an object */
    uint64_t made_nr;
    struct ring *ring;
    struct object **set;
};

/* Requested bytes between malloc's return and the call of free; relaxed, since only the sum matters. */
static _Atomic uint64_t live_bytes;
static _Atomic bool stop;      /* set by main: producers end */
static _Atomic bool all_ended; /* set by main: nothing more will be sent */

static struct object *object_make(struct producer *producer, struct rand *rand) {
    size_t size_bytes = rand_between(rand, setup.min_bytes, setup.max_bytes);
    struct object *object = alloc_or_die(size_bytes);
    uint64_t live = atomic_fetch_add_explicit(&live_bytes, size_bytes, memory_order_relaxed) + size_bytes;

    if (live > producer->peak_live_bytes)
        producer->peak_live_bytes = live;
    memset(object, 0xa5, size_bytes);
    object->size_bytes = size_bytes;
    producer->made_nr++;
    return object;
}

static void object_free(struct object *object) {
    uint64_t size_bytes = object->size_bytes;

    if (size_bytes < setup.min_bytes || size_bytes > setup.max_bytes)
        die("an object was overwritten");
    atomic_fetch_sub_explicit(&live_bytes, size_bytes, memory_order_relaxed);
    free(object);
}

static void object_send(struct ring *ring, struct object *object) {
    for (unsigned attempt = 0; !ring_push(ring, object); attempt++)
        thread_wait_step(attempt);
}

static void *producer_body(void *argument) {
    struct producer *producer = argument;
    struct rand rand = {.state = producer->id + 1};

    for (uint64_t at = 0; at < setup.set_objs; at++)
        producer->set[at] = object_make(producer, &rand);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        size_t victim = rand_between(&rand, 0, setup.set_objs - 1);
        struct object *old = producer->set[victim];

        producer->set[victim] = object_make(producer, &rand);
        object_send(producer->ring, old);
    }
    ring_publish(producer->ring);
    return NULL;
}

/* Frees what the rings hold, one batch of each in turn; returns how many objects. */
static uint64_t rings_drain(struct producer *producers) {
    uint64_t freed_nr = 0;

    for (uint64_t id = 0; id < setup.producers; id++) {
        struct object *object;

        for (int taken = 0; taken < RING_BATCH_OBJS && (object = ring_pop(producers[id].ring)) != NULL; taken++) {
            object_free(object);
            freed_nr++;
        }
    }
    return freed_nr;
}

static void *freer_body(void *argument) {
    unsigned attempt = 0;

    for (;;) {
        /* order: acquire  pairs: [all_ended]  Read before the rings, so that an empty round after it is the last. */
        bool last_round = atomic_load_explicit(&all_ended, memory_order_acquire);
        uint64_t freed_nr = rings_drain(argument);

        if (freed_nr == 0 && last_round)
            return NULL;
        attempt = freed_nr > 0 ? 0 : attempt + 1;
        if (attempt > 0)
            thread_wait_step(attempt);
    }
}

/* Sleeps through the run; returns the mean resident set of its last quarter. */
static uint64_t run_watch(void) {
    uint64_t start_ns = clock_now_ns();
    uint64_t run_ns = setup.seconds * NS_PER_S;
    uint64_t sum_bytes = 0;
    uint64_t samples_nr = 0;
    uint64_t now_ns;

    while ((now_ns = clock_now_ns()) < start_ns + run_ns) {
        clock_sleep_ms(SAMPLE_MS);
        if (now_ns - start_ns >= run_ns - run_ns / 4) {
            sum_bytes += mem_rss_racy_bytes();
            samples_nr++;
        }
    }
    return samples_nr > 0 ? sum_bytes / samples_nr : mem_rss_bytes();
}

static void producers_init(struct producer *producers) {
    struct ring *rings = mem_map_touched(setup.producers * sizeof(*rings));
    struct object **sets = mem_map_touched(setup.producers * setup.set_objs * sizeof(struct object *));

    for (uint64_t id = 0; id < setup.producers; id++)
        producers[id] = (struct producer){.id = id, .ring = &rings[id], .set = &sets[id * setup.set_objs]};
}

static void report(const struct producer *producers, uint64_t start_bytes, uint64_t late_bytes) {
    uint64_t peak_live_bytes = 0;
    uint64_t made_nr = 0;
    uint64_t peak_bytes = mem_over(mem_peak_bytes(), start_bytes);

    for (uint64_t id = 0; id < setup.producers; id++) {
        made_nr += producers[id].made_nr;
        if (producers[id].peak_live_bytes > peak_live_bytes)
            peak_live_bytes = producers[id].peak_live_bytes;
    }
    json_open("free_only_thread");
    json_u64(peak_live_bytes, "peak_live_bytes");
    json_u64(peak_bytes, "peak_rss_bytes");
    json_u64(mem_over(late_bytes, start_bytes), "late_rss_bytes");
    json_f64((double)peak_bytes / (double)peak_live_bytes, "ratio");
    json_f64((double)made_nr / 1e6 / (double)setup.seconds, "mops");
    json_close();
}

static void measure(void) {
    static struct producer producers[PRODUCERS_MAX];
    pthread_t threads[PRODUCERS_MAX];

    free(alloc_or_die(1));
    producers_init(producers);
    uint64_t start_bytes = mem_rss_bytes();
    pthread_t freer = thread_start(freer_body, producers);

    for (uint64_t id = 0; id < setup.producers; id++)
        threads[id] = thread_start(producer_body, &producers[id]);
    uint64_t late_bytes = run_watch();
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (uint64_t id = 0; id < setup.producers; id++)
        thread_join(threads[id]);
    /* order: release  pairs: [all_ended]  After the joins: the last publication of every ring comes before it. */
    atomic_store_explicit(&all_ended, true, memory_order_release);
    thread_join(freer);
    report(producers, start_bytes, late_bytes);
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "producers", .number = &setup.producers, .min = 1, .max = PRODUCERS_MAX, .help = "producer threads"},
        {.name = "seconds", .number = &setup.seconds, .min = 1, .max = 86400, .help = "length of the run"},
        {.name = "set", .number = &setup.set_objs, .min = 1, .max = 1 << 24, .help = "live objects per producer"},
        {.name = "min", .number = &setup.min_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "smallest object"},
        {.name = "max", .number = &setup.max_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "largest object"},
    };

    args_parse_all(argc, argv, "free_only_thread: many producers, one thread that only frees", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes)
        die("--min is above --max");
    measure();
    return 0;
}
