/* SPDX-License-Identifier: MIT */
/*
 * kmem_cache: kmem_cache_alloc and kmem_cache_free of one object beside malloc and free of one of the same size, and
 * kmem_cache_alloc_bulk and kmem_cache_free_bulk of 16 and 64 objects beside as many single calls, on one thread.
 * Linked with quarry, whose malloc it is; timed blocks of the two sides take turns, so that both meet the same machine.
 * Prints ns for each, medians of the blocks, and the medians of the ratios of neighbours. Bars: a pair 1.05 x malloc's,
 * bulk 0.5 x single calls; with --caches 300 made before, each used once, too. Not run by tools/bars, which compares
 * allocators.
 */
#include <linux/slab.h>
#include <stdio.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/escape.h"
#include "../lib/json.h"
#include "../lib/placed.h"

enum { BLOCKS_MAX = 1001, OBJS_MAX = 64 };

static const unsigned sizes[] = {16, 64, 192, 256, 1024, 4096};
static const unsigned bulks[] = {16, 64};

static ALWAYS_INLINE uint64_t malloc_time_ns(struct kmem_cache *cache, size_t size, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    (void)cache;
    for (; nr > 0; nr--) {
        void *object = malloc(size);

        escape(object);
        free(object);
    }
    return clock_thread_ns() - start_ns;
}

static ALWAYS_INLINE uint64_t cache_time_ns(struct kmem_cache *cache, size_t size, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    (void)size;
    for (; nr > 0; nr--) {
        void *object = kmem_cache_alloc(cache, GFP_KERNEL);

        escape(object);
        kmem_cache_free(cache, object);
    }
    return clock_thread_ns() - start_ns;
}

/* nr objects at a time, by single calls and by one. */
static ALWAYS_INLINE uint64_t singles_time_ns(struct kmem_cache *cache, size_t objs_nr, uint64_t nr) {
    void *objects[OBJS_MAX];
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        for (size_t i = 0; i < objs_nr; i++)
            objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
        escape(objects);
        for (size_t i = 0; i < objs_nr; i++)
            kmem_cache_free(cache, objects[i]);
    }
    return clock_thread_ns() - start_ns;
}

static ALWAYS_INLINE uint64_t bulk_time_ns(struct kmem_cache *cache, size_t objs_nr, uint64_t nr) {
    void *objects[OBJS_MAX];
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        if (kmem_cache_alloc_bulk(cache, GFP_KERNEL, objs_nr, objects) == 0)
            die("out of memory");
        escape(objects);
        kmem_cache_free_bulk(cache, objs_nr, objects);
    }
    return clock_thread_ns() - start_ns;
}

#define TIMED(name) PLACED(name, uint64_t, (struct kmem_cache * cache, size_t what, uint64_t nr), (cache, what, nr))
TIMED(malloc_time_ns)
TIMED(cache_time_ns)
TIMED(singles_time_ns)
TIMED(bulk_time_ns)

typedef uint64_t (*const timed_fn[PLACES_NR])(struct kmem_cache *cache, size_t what, uint64_t nr);

static uint64_t rounds_per_block(timed_fn *fn, struct kmem_cache *cache, size_t what, uint64_t block_ns) {
    uint64_t nr = 64;

    while ((*fn)[0](cache, what, nr) < block_ns)
        nr *= 2;
    return nr;
}

struct compared {
    double base_ns, other_ns, ratio;
};

/* Two sides in turn: base, other, base, other .. */
static struct compared compare(timed_fn *base, timed_fn *other, struct kmem_cache *cache, size_t what, uint64_t blocks,
                               uint64_t block_ns) {
    static double base_ns[BLOCKS_MAX], other_ns[BLOCKS_MAX], ratio[BLOCKS_MAX];
    uint64_t nr = rounds_per_block(base, cache, what, block_ns);

    (void)rounds_per_block(other, cache, what, block_ns);
    for (uint64_t block = 0; block < blocks; block++) {
        unsigned place = block % PLACES_NR;

        base_ns[block] = (double)(*base)[place](cache, what, nr) / (double)nr;
        other_ns[block] = (double)(*other)[place](cache, what, nr) / (double)nr;
        ratio[block] = other_ns[block] / base_ns[block];
    }
    return (struct compared){median_of(base_ns, blocks), median_of(other_ns, blocks), median_of(ratio, blocks)};
}

static struct kmem_cache *cache_or_die(unsigned size) {
    static unsigned nr;
    char name[32];

    (void)snprintf(name, sizeof(name), "bench-%u", nr++);
    struct kmem_cache *cache = kmem_cache_create(name, size, 0, SLAB_NO_MERGE, NULL);

    if (cache == NULL)
        die("no cache");
    return cache;
}

int main(int argc, char **argv) {
    uint64_t blocks = 101;
    uint64_t block_us = 1000;
    uint64_t caches = 0;
    const struct arg args[] = {
        {.name = "blocks", .number = &blocks, .min = 1, .max = BLOCKS_MAX, .help = "timed blocks of each side"},
        {.name = "caches", .number = &caches, .max = 1000, .help = "other caches there are"},
        {.name = "block-us", .number = &block_us, .min = 100, .max = 1000000, .help = "least duration of a block"},
    };

    args_parse_all(argc, argv, "kmem_cache: ns per pair against malloc, and per object in bulk", args, ARGS_NR(args));
    for (uint64_t nr = 0; nr < caches; nr++) {
        struct kmem_cache *other = cache_or_die(64);

        kmem_cache_free(other, kmem_cache_alloc(other, GFP_KERNEL));
    }
    json_open("kmem_cache");
    for (size_t at = 0; at < ARGS_NR(sizes); at++) {
        struct kmem_cache *cache = cache_or_die(sizes[at]);
        struct compared c = compare(&malloc_time_ns_at, &cache_time_ns_at, cache, sizes[at], blocks, block_us * 1000);

        json_f64(c.base_ns, "malloc_ns_%u", sizes[at]);
        json_f64(c.other_ns, "cache_ns_%u", sizes[at]);
        json_f64(c.ratio, "ratio_%u", sizes[at]);
        kmem_cache_destroy(cache);
    }
    for (size_t at = 0; at < ARGS_NR(bulks); at++) {
        struct kmem_cache *cache = cache_or_die(256);
        struct compared c = compare(&singles_time_ns_at, &bulk_time_ns_at, cache, bulks[at], blocks, block_us * 1000);

        json_f64(c.base_ns / bulks[at], "single_ns_of_%u", bulks[at]);
        json_f64(c.other_ns / bulks[at], "bulk_ns_of_%u", bulks[at]);
        json_f64(c.ratio, "bulk_ratio_%u", bulks[at]);
        kmem_cache_destroy(cache);
    }
    json_close();
    return 0;
}
