/* SPDX-License-Identifier: MIT */
/*
 * cache_eviction: a cache that runs for long at a fixed size. Each thread has a shard: keys are asked for, some far
 * more often than others; a miss allocates the value (100 B to 8 KiB), writes it and evicts the least recently used
 * ones until the shard is within its share of --mib; a hit now and then replaces the value by one of another size. What
 * lives together was not allocated together, and live bytes never change, so a resident set that grows is
 * fragmentation. Keys and sizes as in the published analyses of memcached. Prints the resident set when the shards are
 * first full (rss_start_bytes), half way and at the end, all with the cache full, after all was freed
 * (rss_empty_bytes), and mops.
 */
#include <stdbool.h>
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"

enum { BYTES_PER_MIB = 1 << 20, VALUE_MIN_BYTES = 100, VALUE_MAX_BYTES = 8192, UPDATE_EVERY = 16 };

/* Well below the mean of the sizes drawn, so that keys of this size in sum are enough to fill a shard. */
enum { VALUE_SAFE_MEAN_BYTES = 1024 };

static struct {
    uint64_t threads;
    uint64_t live_mib;
    uint64_t keys;
    uint64_t requests;
} setup = {.threads = 2, .live_mib = 64, .keys = 200000, .requests = 700000};

/* What a shard has of one key; the key is its index. A least recently used list runs through those that have a value.
 */
struct entry {
    struct object *value; /* its tag is the key; NULL when not cached */
    uint32_t newer;
    uint32_t older;
};

/* Entry 0 is no key: newer of it is the oldest entry, and older of it is the newest. */
struct shard {
    struct rand rand;
    struct entry *entries;
    uint64_t live_bytes;
    uint64_t hits_nr;
};

static pthread_barrier_t reached;  /* the shards and main: a point of measure is there */
static pthread_barrier_t measured; /* the same: and has been taken */

static void list_remove(struct entry *entries, uint32_t key) {
    entries[entries[key].newer].older = entries[key].older;
    entries[entries[key].older].newer = entries[key].newer;
}

static void list_add_newest(struct entry *entries, uint32_t key) {
    entries[key].newer = 0;
    entries[key].older = entries[0].older;
    entries[entries[0].older].newer = key;
    entries[0].older = key;
}

static void value_drop(struct shard *shard, uint32_t key) {
    struct entry *entry = &shard->entries[key];

    list_remove(shard->entries, key);
    shard->live_bytes -= entry->value->size_bytes;
    object_free(entry->value, key);
    entry->value = NULL;
}

static void value_add(struct shard *shard, uint32_t key) {
    size_t size_bytes = size_draw(&shard->rand, VALUE_MIN_BYTES, VALUE_MAX_BYTES);

    while (shard->live_bytes + size_bytes > setup.live_mib * BYTES_PER_MIB / setup.threads)
        value_drop(shard, shard->entries[0].newer);
    shard->entries[key].value = object_fill(object_make(size_bytes, key));
    shard->live_bytes += size_bytes;
    list_add_newest(shard->entries, key);
}

/* The square of a uniform draw: a tenth of the keys has a third of the requests, and no key is never asked for. */
static uint32_t key_draw(struct rand *rand) {
    uint64_t draw = rand_between(rand, 0, UINT32_MAX - 1);

    return 1 + (uint32_t)((draw * draw >> 32) * setup.keys >> 32);
}

static void request(struct shard *shard) {
    uint32_t key = key_draw(&shard->rand);

    if (shard->entries[key].value == NULL) {
        value_add(shard, key);
        return;
    }
    object_check(shard->entries[key].value, key);
    shard->hits_nr++;
    if (shard->hits_nr % UPDATE_EVERY == 0) {
        value_drop(shard, key);
        value_add(shard, key);
    } else {
        list_remove(shard->entries, key);
        list_add_newest(shard->entries, key);
    }
}

static void measure_wait(void) {
    thread_meet(&reached);
    thread_meet(&measured);
}

static void shard_fill(struct shard *shard) {
    while (shard->live_bytes + VALUE_MAX_BYTES <= setup.live_mib * BYTES_PER_MIB / setup.threads)
        request(shard);
}

static void *shard_body(void *argument) {
    struct shard *shard = argument;

    shard_fill(shard);
    measure_wait();
    for (int half = 0; half < 2; half++) {
        for (uint64_t done = 0; done < setup.requests / 2; done++)
            request(shard);
        measure_wait();
    }
    while (shard->live_bytes > 0)
        value_drop(shard, shard->entries[0].newer);
    return NULL;
}

static uint64_t rss_when_reached(uint64_t books_bytes) {
    thread_meet(&reached);
    uint64_t rss_bytes = mem_over(mem_rss_bytes(), books_bytes);
    thread_meet(&measured);
    return rss_bytes;
}

static void measure(void) {
    static struct shard shards[WORKERS_MAX];
    pthread_t threads[WORKERS_MAX];
    size_t entries_bytes = (setup.keys + 1) * sizeof(struct entry);
    uint64_t books_bytes = setup.threads * entries_bytes;

    barrier_open(&reached, setup.threads + 1);
    barrier_open(&measured, setup.threads + 1);
    for (uint64_t id = 0; id < setup.threads; id++) {
        shards[id] = (struct shard){.rand = {.state = id + 1}, .entries = mem_map_touched(entries_bytes)};
        threads[id] = thread_start(shard_body, &shards[id]);
    }
    uint64_t start_bytes = rss_when_reached(books_bytes);
    uint64_t start_ns = clock_now_ns();
    uint64_t middle_bytes = rss_when_reached(books_bytes);
    uint64_t end_bytes = rss_when_reached(books_bytes);
    uint64_t took_ns = clock_now_ns() - start_ns;
    for (uint64_t id = 0; id < setup.threads; id++)
        thread_join(threads[id]);

    json_open("cache_eviction");
    json_f64((double)(setup.threads * setup.requests) * 1e3 / (double)took_ns, "mops");
    json_u64(start_bytes, "rss_start_bytes");
    json_u64(middle_bytes, "rss_middle_bytes");
    json_u64(end_bytes, "rss_end_bytes");
    json_f64((double)end_bytes / (double)(setup.live_mib * BYTES_PER_MIB), "ratio_rss_end");
    json_u64(mem_over(mem_rss_bytes(), books_bytes), "rss_empty_bytes");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "shards"},
        {.name = "mib", .number = &setup.live_mib, .min = 1, .max = 1 << 16, .help = "size of all shards, MiB"},
        {.name = "keys", .number = &setup.keys, .min = 1, .max = 1 << 30, .help = "keys of each shard"},
        {.name = "requests", .number = &setup.requests, .min = 2, .max = 1ull << 40, .help = "to each full shard"},
    };

    args_parse_all(argc, argv, "cache_eviction: a full cache that evicts the least recently used", args, ARGS_NR(args));
    uint64_t share_bytes = setup.live_mib * BYTES_PER_MIB / setup.threads;
    if (share_bytes < 2 * VALUE_MAX_BYTES || setup.keys * VALUE_SAFE_MEAN_BYTES < share_bytes)
        die("a shard's share of --mib is below %d bytes, or more than its --keys fill", 2 * VALUE_MAX_BYTES);
    measure();
    return 0;
}
