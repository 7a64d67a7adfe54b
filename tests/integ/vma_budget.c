/* SPDX-License-Identifier: MIT */
/*
 * 100 GiB of large requests of any sizes stay within 2,000 mappings of the kernel's, while they come, while they go in
 * random order, and while others come into their places; a program has 65,530 for everything. Nearly none of it is
 * touched. Usage: vma_budget SMALLEST LARGEST [SEED], sizes in KiB.
 */
#include "check.h"
#include "oracle.h"
#include "proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUDGET = 2000, REGIONS_MAX = 110000, LOOKS_NR = 20, ROUNDS_NR = 3 };
#define KIB ((size_t)1024)
#define TOTAL_BYTES ((size_t)100 << 30)

static struct region {
    unsigned char *p;
    size_t size;
} regions[REGIONS_MAX];
static size_t regions_nr, held_bytes, most_mappings, smallest, largest;
static struct rng rng;

static void mappings_look(const char *when) {
    size_t nr = proc_mapping_nr();
    most_mappings = nr > most_mappings ? nr : most_mappings;
    CHECK_MSG(nr <= BUDGET, "%zu mappings for %zu GiB in %zu regions, %s", nr, held_bytes >> 30, regions_nr, when);
}

/* As many small ones as large ones: sizes are drawn by their magnitude. */
static size_t size_draw(void) {
    size_t low = smallest;
    while (low * 2 < largest && rng_below(&rng, 2) != 0)
        low *= 2;
    size_t high = low * 2 < largest ? low * 2 : largest;
    return (low + (high > low ? rng_below(&rng, high - low) : 0)) * KIB;
}

static void region_add(void) {
    struct region *r = &regions[regions_nr];
    r->size = size_draw();
    r->p = rng_below(&rng, 4) == 0 ? calloc(1, r->size) : malloc(r->size);
    CHECK_MSG(r->p != NULL, "no memory for %zu KiB beside %zu GiB", r->size / KIB, held_bytes >> 30);
    if (rng_below(&rng, 64) == 0)
        r->p[r->size - 1] = 1;
    held_bytes += r->size;
    regions_nr++;
}

static void region_remove(void) {
    struct region *r = &regions[rng_below(&rng, regions_nr)];
    held_bytes -= r->size;
    free(r->p);
    *r = regions[--regions_nr];
}

static void region_resize(void) {
    struct region *r = &regions[rng_below(&rng, regions_nr)];
    size_t size = size_draw();
    unsigned char *p = realloc(r->p, size);
    CHECK(p != NULL);
    held_bytes += size - r->size;
    r->p = p;
    r->size = size;
}

static void fill(void) {
    size_t step = TOTAL_BYTES / LOOKS_NR, next = held_bytes + step;
    while (held_bytes < TOTAL_BYTES && regions_nr < REGIONS_MAX) {
        region_add();
        if (held_bytes < next)
            continue;
        mappings_look("filling");
        next = held_bytes + step;
    }
}

static void thin(void) {
    size_t step = TOTAL_BYTES / 2 / LOOKS_NR, next = held_bytes - step;
    while (held_bytes > TOTAL_BYTES / 2) {
        region_remove();
        if (held_bytes > next)
            continue;
        mappings_look("freeing");
        next = held_bytes - step;
    }
}

int main(int argc, char **argv) {
    CHECK(argc >= 3);
    smallest = strtoull(argv[1], NULL, 10);
    largest = strtoull(argv[2], NULL, 10);
    rng.state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    for (int round = 0; round < ROUNDS_NR; round++) {
        fill();
        for (size_t i = 0; i < regions_nr / 64; i++)
            region_resize();
        mappings_look("after resizing");
        thin();
    }
    while (regions_nr > 0)
        region_remove();
    mappings_look("after all were freed");
    printf("%zu mappings at most\n", most_mappings);
    return 0;
}
