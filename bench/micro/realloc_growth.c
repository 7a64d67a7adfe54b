/* SPDX-License-Identifier: MIT */
/*
 * realloc_growth: buffers that grow as programs make them grow. by_1: from 1 B to 64 KiB by one byte at a time, as a
 * naive string does, alone, and two buffers in turn, which are then in each other's way. by_half: from 16 B to 64 MiB
 * by half of its size each time, as a vector does. by_double: from 1 MiB to 1 GiB by doubling; there the kernel's
 * remapping or the copying of all that is old decides. Every page is written as soon as it is there, and read again at
 * the end. Prints ns per realloc, without the writing, and for the last two ns_touch_..: ns per realloc that the
 * writing took, because what realloc saved by moving to new pages is paid there.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"

enum { BYTE_STEPS = 65536, PAGE_BYTES = 4096, BYTES_PER_MIB = 1 << 20, RUNS_MAX = 101 };

/* How a large buffer grows: from, to, and by numerator / 2 of its size. */
struct growth {
    size_t from_bytes;
    size_t to_bytes;
    size_t halves;
};

struct cost {
    double realloc_ns;
    double touch_ns;
};

static unsigned char *realloc_or_die(unsigned char *buffer, size_t size_bytes) {
    unsigned char *grown = realloc(buffer, size_bytes);

    if (grown == NULL)
        die("realloc to %zu bytes failed", size_bytes);
    return grown;
}

static unsigned char stamp_of(size_t offset) { return (unsigned char)(offset * 2654435761u >> 24); }

/* One byte at each multiple of step_bytes in from..to. */
static void stamps_write(unsigned char *buffer, size_t from_bytes, size_t to_bytes, size_t step_bytes) {
    for (size_t at = (from_bytes + step_bytes - 1) / step_bytes * step_bytes; at < to_bytes; at += step_bytes)
        buffer[at] = stamp_of(at);
}

static void stamps_check(const unsigned char *buffer, size_t size_bytes, size_t step_bytes) {
    for (size_t at = 0; at < size_bytes; at += step_bytes) {
        if (buffer[at] != stamp_of(at))
            die("byte %zu was lost on the way", at);
    }
}

/* buffers (1 or 2) grow in turn; the one byte written per step is part of the figure. */
static double by_1_ns(size_t buffers_nr) {
    unsigned char *buffers[2] = {NULL, NULL};
    uint64_t start_ns = clock_thread_ns();

    for (size_t size_bytes = 1; size_bytes <= BYTE_STEPS; size_bytes++) {
        for (size_t which = 0; which < buffers_nr; which++) {
            buffers[which] = realloc_or_die(buffers[which], size_bytes);
            buffers[which][size_bytes - 1] = stamp_of(size_bytes - 1);
        }
    }
    uint64_t took_ns = clock_thread_ns() - start_ns;

    for (size_t which = 0; which < buffers_nr; which++) {
        stamps_check(buffers[which], BYTE_STEPS, 1);
        free(buffers[which]);
    }
    return (double)took_ns / (double)(BYTE_STEPS * buffers_nr);
}

static struct cost growth_run(const struct growth *growth) {
    struct cost cost = {0, 0};
    unsigned steps = 0;
    size_t size_bytes = growth->from_bytes;
    unsigned char *buffer = realloc_or_die(NULL, size_bytes);

    stamps_write(buffer, 0, size_bytes, PAGE_BYTES);
    while (size_bytes < growth->to_bytes) {
        size_t old_bytes = size_bytes;

        size_bytes = size_bytes * growth->halves / 2;
        if (size_bytes > growth->to_bytes)
            size_bytes = growth->to_bytes;
        uint64_t start_ns = clock_thread_ns();
        buffer = realloc_or_die(buffer, size_bytes);
        uint64_t grown_ns = clock_thread_ns();
        stamps_write(buffer, old_bytes, size_bytes, PAGE_BYTES);
        cost.realloc_ns += (double)(grown_ns - start_ns);
        cost.touch_ns += (double)(clock_thread_ns() - grown_ns);
        steps++;
    }
    stamps_check(buffer, size_bytes, PAGE_BYTES);
    free(buffer);
    cost.realloc_ns /= steps;
    cost.touch_ns /= steps;
    return cost;
}

static void by_1_print(size_t buffers_nr, uint64_t runs, const char *name) {
    double run_ns[RUNS_MAX];

    for (uint64_t run = 0; run < runs; run++)
        run_ns[run] = by_1_ns(buffers_nr);
    json_f64(median_of(run_ns, runs), "ns_%s", name);
}

static void growth_print(const struct growth *growth, uint64_t runs, const char *name) {
    double realloc_ns[RUNS_MAX];
    double touch_ns[RUNS_MAX];

    for (uint64_t run = 0; run < runs; run++) {
        struct cost cost = growth_run(growth);

        realloc_ns[run] = cost.realloc_ns;
        touch_ns[run] = cost.touch_ns;
    }
    json_f64(median_of(realloc_ns, runs), "ns_%s", name);
    json_f64(median_of(touch_ns, runs), "ns_touch_%s", name);
}

int main(int argc, char **argv) {
    uint64_t runs = 3;
    uint64_t largest_mib = 1024;
    const struct arg args[] = {
        {.name = "runs",
         .number = &runs,
         .min = 1,
         .max = RUNS_MAX,
         .help = "runs of by_1 and by_half; the median counts"},
        {.name = "mib", .number = &largest_mib, .min = 2, .max = 1 << 16, .help = "MiB at the end of by_double, once"},
    };

    args_parse_all(argc, argv, "realloc_growth: ns per realloc of growing buffers", args, ARGS_NR(args));
    struct growth by_half = {.from_bytes = 16, .to_bytes = 64 * BYTES_PER_MIB, .halves = 3};
    struct growth by_double = {.from_bytes = BYTES_PER_MIB, .to_bytes = largest_mib * BYTES_PER_MIB, .halves = 4};

    json_open("realloc_growth");
    by_1_print(1, runs, "by_1");
    by_1_print(2, runs, "by_1_two");
    growth_print(&by_half, runs, "by_half");
    growth_print(&by_double, 1, "by_double");
    json_close();
    return 0;
}
