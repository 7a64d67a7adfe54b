/* SPDX-License-Identifier: MIT */
/*
 * random_free: how much of a fragmented heap an allocator gives back. Objects of random size are allocated and written
 * up to --mib of requested bytes, then --free-pct of them, chosen at random, are freed; after a sleep without any call
 * the resident set is read. With --again-mib, so much of objects of other sizes is then allocated and written, and the
 * set is read again at once. Then all is freed and, after another sleep, it is read a last time. The tables of pointers
 * are mapped and touched before the start and count for nothing. Run by tools/bars and tools/frag.
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
/* The other sizes: above those of the first objects, to so many times the largest. */
enum { AGAIN_MAX_FACTOR = 8 };

static struct {
    uint64_t total_mib;
    uint64_t min_bytes;
    uint64_t max_bytes;
    uint64_t free_pct;
    uint64_t idle_ms;
    uint64_t again_mib;
} setup = {.total_mib = 1024, .min_bytes = 16, .max_bytes = 1024, .free_pct = 90, .idle_ms = 2000};

/* Objects of uniform sizes, and where they are. */
struct heap {
    void **objects;
    size_t objects_nr, objects_max;
    uint64_t total_bytes, min_bytes, max_bytes;
};

/* Room for a quarter above the expected number: the sum of so many uniform sizes strays by far less. */
static struct heap heap_open(uint64_t mib, uint64_t min_bytes, uint64_t max_bytes) {
    struct heap heap = {.total_bytes = mib * BYTES_PER_MIB, .min_bytes = min_bytes, .max_bytes = max_bytes};

    heap.objects_max = (size_t)(heap.total_bytes / ((min_bytes + max_bytes) / 2) * 5 / 4 + 1);
    heap.objects = mem_map_touched(heap.objects_max * sizeof(*heap.objects));
    return heap;
}

static void heap_fill(struct rand *rand, struct heap *heap) {
    for (uint64_t left_bytes = heap->total_bytes; left_bytes >= heap->max_bytes; heap->objects_nr++) {
        size_t size_bytes = rand_between(rand, heap->min_bytes, heap->max_bytes);

        if (heap->objects_nr == heap->objects_max)
            die("more than %zu objects", heap->objects_max);
        heap->objects[heap->objects_nr] = alloc_or_die(size_bytes);
        memset(heap->objects[heap->objects_nr], 0xa5, size_bytes);
        left_bytes -= size_bytes;
    }
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
    struct heap heap = heap_open(setup.total_mib, setup.min_bytes, setup.max_bytes);
    struct heap again = heap_open(setup.again_mib, setup.max_bytes + 1, AGAIN_MAX_FACTOR * setup.max_bytes);

    free(alloc_or_die(1));
    uint64_t start_bytes = mem_rss_bytes();
    uint64_t start_ns = clock_now_ns();
    heap_fill(&rand, &heap);
    uint64_t fill_ns = clock_now_ns() - start_ns;
    uint64_t full_bytes = mem_rss_bytes();

    size_t nr_freed = (size_t)(heap.objects_nr * setup.free_pct / PCT);
    rand_shuffle(&rand, heap.objects, heap.objects_nr);
    objects_free(heap.objects, nr_freed);
    uint64_t sparse_bytes = rss_after_sleep();
    heap_fill(&rand, &again);
    uint64_t again_bytes = mem_rss_bytes();
    objects_free(heap.objects + nr_freed, heap.objects_nr - nr_freed);
    objects_free(again.objects, again.objects_nr);
    uint64_t empty_bytes = rss_after_sleep();

    json_open("random_free");
    json_u64(start_bytes, "start_bytes");
    json_u64(heap.objects_nr, "objects");
    json_u64(mem_over(full_bytes, start_bytes), "full_bytes");
    json_u64(mem_over(sparse_bytes, start_bytes), "sparse_bytes");
    if (setup.again_mib != 0)
        json_u64(mem_over(again_bytes, start_bytes), "again_bytes");
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
        {.name = "again-mib",
         .number = &setup.again_mib,
         .min = 0,
         .max = 1 << 20,
         .help = "then, of other sizes, MiB"},
    };

    args_parse_all(argc, argv, "random_free: memory held after random frees, and after all", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes)
        die("--min is above --max");
    measure();
    return 0;
}
