/* SPDX-License-Identifier: MIT */
/*
 * first_touch: a heap grows to 256 MiB of objects of one size, each fully written, is freed whole, oldest first, and
 * grows and is freed once more. The first pass is mostly the kernel's page faults and zeroing, which an allocator makes
 * cheaper or dearer by how it asks for memory; the second tells whether it kept the memory or gave it back. Sizes 64 B,
 * 4 KiB and 64 KiB, each in a process of its own. Prints ns per KiB of each pass, allocation and writing together, and
 * of the first pass's frees.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/args.h"
#include "../lib/child.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"

enum { BYTES_PER_KIB = 1024, BYTES_PER_MIB = 1 << 20 };

static const size_t sizes[] = {64, 4096, 65536};
static uint64_t total_mib = 256;

/* One size and, in memory shared with the child, what it took. */
struct touch {
    size_t size_bytes;
    uint64_t first_ns;
    uint64_t free_ns;
    uint64_t second_ns;
};

static unsigned char stamp_of(size_t object_idx) { return (unsigned char)(object_idx * 2654435761u >> 16); }

static uint64_t heap_grow_ns(unsigned char **objects, size_t nr, size_t size_bytes) {
    uint64_t start_ns = clock_thread_ns();

    for (size_t at = 0; at < nr; at++) {
        objects[at] = alloc_or_die(size_bytes);
        memset(objects[at], stamp_of(at), size_bytes);
    }
    return clock_thread_ns() - start_ns;
}

static uint64_t heap_free_ns(unsigned char **objects, size_t nr, size_t size_bytes) {
    for (size_t at = 0; at < nr; at++) {
        if (objects[at][0] != stamp_of(at) || objects[at][size_bytes - 1] != stamp_of(at))
            die("object %zu of %zu bytes was overwritten", at, size_bytes);
    }
    uint64_t start_ns = clock_thread_ns();

    for (size_t at = 0; at < nr; at++)
        free(objects[at]);
    return clock_thread_ns() - start_ns;
}

static void touch_measure(void *argument) {
    struct touch *touch = argument;
    size_t nr = (size_t)(total_mib * BYTES_PER_MIB / touch->size_bytes);
    unsigned char **objects = mem_map_touched(nr * sizeof(*objects));

    touch->first_ns = heap_grow_ns(objects, nr, touch->size_bytes);
    touch->free_ns = heap_free_ns(objects, nr, touch->size_bytes);
    touch->second_ns = heap_grow_ns(objects, nr, touch->size_bytes);
    heap_free_ns(objects, nr, touch->size_bytes);
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "mib", .number = &total_mib, .min = 1, .max = 1 << 16, .help = "MiB the heap grows to"},
    };

    args_parse_all(argc, argv, "first_touch: ns per KiB of a growing heap, fresh and once more", args, ARGS_NR(args));
    struct touch *touches = child_shared_map(ARGS_NR(sizes) * sizeof(*touches));
    double total_kib = (double)total_mib * BYTES_PER_KIB;

    json_open("first_touch");
    for (size_t at = 0; at < ARGS_NR(sizes); at++) {
        touches[at].size_bytes = sizes[at];
        child_run(touch_measure, &touches[at]);
        json_f64((double)touches[at].first_ns / total_kib, "ns_per_kib_first_%zu", sizes[at]);
        json_f64((double)touches[at].free_ns / total_kib, "ns_per_kib_free_%zu", sizes[at]);
        json_f64((double)touches[at].second_ns / total_kib, "ns_per_kib_second_%zu", sizes[at]);
    }
    json_close();
    return 0;
}
