/* SPDX-License-Identifier: MIT */
/*
 * overhead: resident bytes per requested byte of a heap that only grows. Objects of one size, or of uniform random
 * sizes, are allocated and written in full up to --mib of requested bytes. The table of pointers is mapped and touched
 * before the start and counts for nothing. After the measure every object is checked for its stamp: an allocator that
 * hands out overlapping objects would look thrifty. Run by tools/bars, one process per size.
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

enum { BYTES_PER_MIB = 1 << 20 };

static struct {
    uint64_t total_mib;
    uint64_t min_bytes;
    uint64_t max_bytes;
} setup = {.total_mib = 256, .min_bytes = 64, .max_bytes = 64};

static unsigned char stamp_of(size_t object_idx) { return (unsigned char)(object_idx * 2654435761u >> 16); }

static uint64_t heap_fill(unsigned char **objects, size_t nr) {
    struct rand rand = {.state = 1};
    uint64_t requested_bytes = 0;

    for (size_t at = 0; at < nr; at++) {
        size_t size_bytes = rand_between(&rand, setup.min_bytes, setup.max_bytes);

        objects[at] = alloc_or_die(size_bytes);
        memset(objects[at], stamp_of(at), size_bytes);
        requested_bytes += size_bytes;
    }
    return requested_bytes;
}

/* Draws the same sizes again, so that both ends of every object are checked. */
static void heap_check(unsigned char *const *objects, size_t nr) {
    struct rand rand = {.state = 1};

    for (size_t at = 0; at < nr; at++) {
        size_t size_bytes = rand_between(&rand, setup.min_bytes, setup.max_bytes);

        if (objects[at][0] != stamp_of(at) || objects[at][size_bytes - 1] != stamp_of(at))
            die("object %zu of %zu bytes was overwritten", at, size_bytes);
    }
}

static void measure(void) {
    uint64_t mean_bytes = (setup.min_bytes + setup.max_bytes + 1) / 2;
    size_t nr = (size_t)(setup.total_mib * BYTES_PER_MIB / mean_bytes);
    unsigned char **objects = mem_map_touched(nr * sizeof(*objects));

    free(alloc_or_die(1));
    uint64_t start_bytes = mem_rss_bytes();
    uint64_t start_ns = clock_now_ns();
    uint64_t requested_bytes = heap_fill(objects, nr);
    uint64_t fill_ns = clock_now_ns() - start_ns;
    uint64_t resident_bytes = mem_over(mem_rss_bytes(), start_bytes);

    heap_check(objects, nr);
    json_open("overhead");
    json_u64(requested_bytes, "requested_bytes");
    json_u64(resident_bytes, "resident_bytes");
    json_f64((double)resident_bytes / (double)requested_bytes, "ratio");
    json_f64((double)fill_ns / 1e9, "fill_s");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "mib", .number = &setup.total_mib, .min = 1, .max = 1 << 20, .help = "MiB requested in all"},
        {.name = "min", .number = &setup.min_bytes, .min = 1, .max = 1 << 20, .help = "smallest object, bytes"},
        {.name = "max", .number = &setup.max_bytes, .min = 1, .max = 1 << 20, .help = "largest object, bytes"},
    };

    args_parse_all(argc, argv, "overhead: resident bytes per requested byte", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes)
        die("--min is above --max");
    measure();
    return 0;
}
