/* SPDX-License-Identifier: MIT */
/*
 * calloc: zeroed memory of 16 B to 4 MiB, on one thread. fresh: the heap grows from nothing by objects of one size,
 * none of which is written, and is freed afterwards; pages that come from the kernel need no zeroing, and what an
 * allocator does to them regardless shows here. Each size has a process of its own, so that no memory was used before.
 * reused: calloc and free of one object that is dirty at both ends when it is freed. Prints ns per calloc (fresh), and
 * ns per calloc+free pair (reused). Bytes at both ends must be zero.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/child.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/escape.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/placed.h"
#include "../lib/rounds.h"

enum { FRESH_BYTES = 32 << 20, FRESH_OBJS_MIN = 64, REUSED_BYTES = 64 << 20, REUSED_OBJS_MAX = 50000 };

static const size_t sizes[] = {16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304};

/* One size and, in memory shared with the child, what it took. */
struct fresh {
    size_t size_bytes;
    double calloc_ns;
};

static void zero_check(const unsigned char *object, size_t size_bytes) {
    if (object == NULL || object[0] != 0 || object[size_bytes - 1] != 0)
        die("calloc(1, %zu) failed or is not zero", size_bytes);
}

static void fresh_measure(void *argument) {
    struct fresh *fresh = argument;
    size_t nr = FRESH_BYTES / fresh->size_bytes > FRESH_OBJS_MIN ? FRESH_BYTES / fresh->size_bytes : FRESH_OBJS_MIN;
    unsigned char **objects = mem_map_touched(nr * sizeof(*objects));
    uint64_t start_ns = clock_thread_ns();

    for (size_t at = 0; at < nr; at++)
        objects[at] = calloc(1, fresh->size_bytes);
    fresh->calloc_ns = (double)(clock_thread_ns() - start_ns) / (double)nr;
    for (size_t at = 0; at < nr; at++) {
        zero_check(objects[at], fresh->size_bytes);
        free(objects[at]);
    }
}

static ALWAYS_INLINE uint64_t reused_time_ns(size_t size_bytes, uint64_t nr) {
    uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        unsigned char *object = calloc(1, size_bytes);

        escape(object);
        zero_check(object, size_bytes);
        object[0] = object[size_bytes - 1] = 1;
        escape(object);
        free(object);
    }
    return clock_thread_ns() - start_ns;
}

PLACED(reused_time_ns, uint64_t, (size_t size_bytes, uint64_t nr), (size_bytes, nr))

static uint64_t reused_nr(size_t size_bytes) {
    return REUSED_BYTES / size_bytes < REUSED_OBJS_MAX ? REUSED_BYTES / size_bytes : REUSED_OBJS_MAX;
}

int main(int argc, char **argv) {
    uint64_t rounds = 33;
    const struct arg args[] = {
        {.name = "rounds", .number = &rounds, .min = 1, .max = ROUNDS_MAX, .help = "timed rounds per reused size"},
    };

    args_parse_all(argc, argv, "calloc: ns per call on fresh memory, ns per pair on reused memory", args,
                   ARGS_NR(args));
    struct fresh *fresh = child_shared_map(ARGS_NR(sizes) * sizeof(*fresh));
    for (size_t at = 0; at < ARGS_NR(sizes); at++) {
        fresh[at].size_bytes = sizes[at];
        child_run(fresh_measure, &fresh[at]);
    }
    json_open("calloc");
    for (size_t at = 0; at < ARGS_NR(sizes); at++)
        json_f64(fresh[at].calloc_ns, "ns_fresh_%zu", sizes[at]);
    for (size_t at = 0; at < ARGS_NR(sizes); at++)
        json_f64(rounds_op_ns(reused_time_ns_at, sizes[at], reused_nr(sizes[at]), rounds), "ns_reused_%zu", sizes[at]);
    json_close();
    return 0;
}
