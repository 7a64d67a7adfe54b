/* SPDX-License-Identifier: MIT */
/*
 * random_free: how much of a fragmented heap an allocator gives back. Objects of random size are allocated and written
 * up to --mib of requested bytes, then --free-pct of them, chosen at random, are freed; after a sleep without any call
 * the resident set is read. Then the rest is freed and, after another sleep, it is read again. The table of pointers is
 * mapped and touched before the start and counts for nothing. Run by tools/bars.
 */
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

enum { BYTES_PER_MIB = 1 << 20, PCT = 100 };

static struct {
    uint64_t total_mib;
    uint64_t min_bytes;
    uint64_t max_bytes;
    uint64_t free_pct;
    uint64_t idle_ms;
} setup = {.total_mib = 1024, .min_bytes = 16, .max_bytes = 1024, .free_pct = 90, .idle_ms = 2000};

static size_t heap_fill(struct rand *rand, void **objects, size_t objects_max) {
    uint64_t left_bytes = setup.total_mib * BYTES_PER_MIB;
    size_t nr = 0;

    while (left_bytes >= setup.max_bytes) {
        size_t size_bytes = rand_between(rand, setup.min_bytes, setup.max_bytes);

        if (nr == objects_max)
            die("more than %zu objects", objects_max);
        objects[nr] = alloc_or_die(size_bytes);
        memset(objects[nr], 0xa5, size_bytes);
        left_bytes -= size_bytes;
        nr++;
    }
    return nr;
}

static void objects_free(void **objects, size_t nr) {
    for (size_t at = 0; at < nr; at++)
        free(objects[at]);
}

static uint64_t rss_after_sleep(void) {
    clock_sleep_ms(setup.idle_ms);
    return mem_rss_bytes();
}

static void measure(void) {
    struct rand rand = {.state = 1};
    uint64_t mean_bytes = (setup.min_bytes + setup.max_bytes) / 2;
    /* A quarter above the expected number: the sum of so many uniform sizes strays by far less. */
    size_t objects_max = (size_t)(setup.total_mib * BYTES_PER_MIB / mean_bytes * 5 / 4 + 1);
    void **objects = mem_map_touched(objects_max * sizeof(*objects));

    free(alloc_or_die(1));
    uint64_t start_bytes = mem_rss_bytes();
    uint64_t start_ns = clock_now_ns();
    size_t nr = heap_fill(&rand, objects, objects_max);
    uint64_t fill_ns = clock_now_ns() - start_ns;
    uint64_t full_bytes = mem_rss_bytes();

    size_t nr_freed = (size_t)(nr * setup.free_pct / PCT);
    rand_shuffle(&rand, objects, nr);
    objects_free(objects, nr_freed);
    uint64_t sparse_bytes = rss_after_sleep();
    objects_free(objects + nr_freed, nr - nr_freed);
    uint64_t empty_bytes = rss_after_sleep();

    json_open("random_free");
    json_u64(start_bytes, "start_bytes");
    json_u64(nr, "objects");
    json_u64(mem_over(full_bytes, start_bytes), "full_bytes");
    json_u64(mem_over(sparse_bytes, start_bytes), "sparse_bytes");
    json_u64(mem_over(empty_bytes, start_bytes), "empty_bytes");
    json_f64((double)fill_ns / 1e9, "fill_s");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "mib", .number = &setup.total_mib, .min = 1, .max = 1 << 20, .help = "MiB requested in all"},
        {.name = "min", .number = &setup.min_bytes, .min = 1, .max = 1 << 20, .help = "smallest object, bytes"},
        {.name = "max", .number = &setup.max_bytes, .min = 1, .max = 1 << 20, .help = "largest object, bytes"},
        {.name = "free-pct", .number = &setup.free_pct, .min = 0, .max = PCT, .help = "share freed first, percent"},
        {.name = "idle-ms", .number = &setup.idle_ms, .min = 0, .max = 600000, .help = "sleep before each reading"},
    };

    args_parse_all(argc, argv, "random_free: memory held after random frees, and after all", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes)
        die("--min is above --max");
    measure();
    return 0;
}
