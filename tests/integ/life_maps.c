/* SPDX-License-Identifier: MIT */
/*
 * A process that has as many mappings as vm.max_map_count allows, or but a few less. It gets there by itself, so that
 * the kernel's own refusals are met: mmap gives nothing, mprotect, munmap, madvise and mremap refuse whatever would
 * split a mapping. While threads allocate: what objects hold stays, NULL comes with ENOMEM and to large requests alone,
 * small ones go on, free always works. When the mappings are gone again all is served, and the accounts and the number
 * of mappings are where they were.
 */
#include "check.h"
#include "oracle.h"
#include "proc.h"
#include "workers.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    MAPS_MAX = 1200000, /* where more are allowed the kernel's own memory for them is too much for a test */
    WORKERS_NR = 3,
    STEPS_NR = 3000,
    SMALL_NR = 4000,
    SMALL_MAX = 1000,
    GROW_NR = 30000, /* below what earns hugepages, which are mappings */
    REGIONS_NR = 24,
    SETTLE_NS = 20000000,
    MAPPINGS_SLACK = 64,
};
#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)

static char *filler;
static size_t filler_pages, filled;

static size_t maps_allowed(void) {
    size_t nr = 0;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    if (file == NULL || fscanf(file, "%zu", &nr) != 1)
        check_skip("vm.max_map_count cannot be read");
    (void)fclose(file);
    if (nr > MAPS_MAX)
        check_skip("vm.max_map_count is %zu", nr);
    return nr;
}

/* Each second page of an area nobody may touch becomes readable: two mappings more. Returns when the kernel refuses. */
static void maps_fill(void) {
    while (2 * filled + 1 < filler_pages && mprotect(filler + (2 * filled + 1) * PAGE, PAGE, PROT_READ) == 0)
        filled++;
    CHECK_MSG(2 * filled + 1 < filler_pages && errno == ENOMEM, "no refusal after %zu: errno %d", filled, errno);
}

/* So many mappings less, each of them by one. */
static void maps_spare(size_t nr) {
    for (; nr > 0 && filled > 0; nr -= nr < 2 ? nr : 2)
        CHECK(mprotect(filler + (2 * --filled + 1) * PAGE, PAGE, PROT_NONE) == 0);
}

/* What fits into memory that is there is served however few mappings are left. */
static void small_serve(struct rng *rng) {
    static void *held[SMALL_NR];
    for (size_t i = 0; i < SMALL_NR; i++) {
        size_t size = 1 + rng_below(rng, SMALL_MAX);
        CHECK_MSG((held[i] = malloc(size)) != NULL, "the %zuth small object of %zu bytes", i, size);
        memset(held[i], (int)i, size);
    }
    for (size_t i = 0; i < SMALL_NR; i++) {
        CHECK(*(unsigned char *)held[i] == (unsigned char)i);
        free(held[i]);
    }
}

/* A heap that is small grows by some steps of its own, when no mapping is left: it is one mapping before and after. */
static void small_grow(void) {
    static void *held[GROW_NR];
    maps_fill();
    for (size_t i = 0; i < GROW_NR; i++) {
        CHECK_MSG((held[i] = malloc(SMALL_MAX)) != NULL, "the %zuth object of %d bytes", i, SMALL_MAX);
        memset(held[i], (int)i, SMALL_MAX);
    }
    for (size_t i = 0; i < GROW_NR; i++)
        free(held[i]);
    CHECK(mprotect(filler, filler_pages * PAGE, PROT_NONE) == 0);
    filled = 0;
}

/* Large ones come, change their size and go, or are refused as they should be. Returns how many were refused. */
static unsigned long regions_try(struct rng *rng) {
    struct object regions[REGIONS_NR] = {{0}};
    unsigned long refused = 0;
    for (size_t step = 0; step < 4 * (size_t)REGIONS_NR; step++) {
        struct object *o = &regions[rng_below(rng, REGIONS_NR)];
        size_t size = MIB + 1 + rng_below(rng, 6 * MIB);
        errno = 0;
        if (o->memory != NULL && rng_below(rng, 3) == 0) {
            object_retire(o);
            continue;
        }
        if (o->memory != NULL)
            object_check(o);
        void *p = o->memory == NULL ? malloc(size) : realloc(o->memory, size);
        CHECK(p != NULL || errno == ENOMEM);
        refused += p == NULL;
        if (p == NULL)
            continue;
        *o = (struct object){p, size, 0};
        object_stamp(o, step + 1);
    }
    for (size_t i = 0; i < REGIONS_NR; i++)
        object_retire(&regions[i]);
    return refused;
}

struct floor {
    uint64_t live_bytes, big_regions;
    size_t mappings;
};

static struct floor floor_take(void) {
    int (*stat_read)(const char *, uint64_t *);
    struct floor now = {0, 0, 0};
    symbol_get("quarry_stat", &stat_read);
    CHECK(stat_read != NULL);
    (void)malloc_trim(0);
    CHECK(stat_read("live_bytes", &now.live_bytes) == 0 && stat_read("big_regions", &now.big_regions) == 0);
    now.mappings = proc_mapping_nr();
    return now;
}

static unsigned long level_run(struct pool *pool, struct rng *rng, size_t spare) {
    struct timespec settle = {0, SETTLE_NS};
    unsigned long refused;
    maps_fill();
    maps_spare(spare);
    small_serve(rng);
    refused = regions_try(rng);
    pool_steps(pool, STEPS_NR);
    (void)malloc_trim(0);
    nanosleep(&settle, NULL); /* the others meet it, too */
    small_serve(rng);
    return refused;
}

int main(void) {
    static const size_t spares[] = {0, 1, 2, 4, 8, 30, 0};
    static struct pool pool;
    struct rng rng = {1};
    unsigned long refused = 0;
    filler_pages = 2 * maps_allowed() + 2;
    filler = mmap(NULL, filler_pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(filler != MAP_FAILED);
    free(malloc(SMALL_MAX));
    small_grow();
    /* Once without want, so that what stays is there before. */
    pool_init(&pool, 1, 1, 0);
    pool.enomem = POOL_ENOMEM_COUNTED;
    pool_steps(&pool, STEPS_NR);
    pool_drain(&pool);
    small_serve(&rng);
    CHECK(regions_try(&rng) == 0);
    struct floor before = floor_take();
    workers_start(WORKERS_NR, 1, 0, POOL_ENOMEM_COUNTED);
    for (size_t i = 0; i < sizeof(spares) / sizeof(spares[0]); i++)
        refused += level_run(&pool, &rng, spares[i]);
    CHECK(mprotect(filler, filler_pages * PAGE, PROT_NONE) == 0);
    CHECK_MSG(refused > 0, "nothing was refused");
    workers_stop();
    pool_drain(&pool);
    CHECK(regions_try(&rng) == 0);
    struct floor after = floor_take();
    CHECK_MSG(after.live_bytes <= before.live_bytes + 64 * (size_t)1024, "%llu bytes are live, %llu were",
              (unsigned long long)after.live_bytes, (unsigned long long)before.live_bytes);
    CHECK(after.big_regions == before.big_regions);
    CHECK_MSG(after.mappings <= before.mappings + MAPPINGS_SLACK, "%zu mappings, %zu were", after.mappings,
              before.mappings);
    printf("%lu refused\n", refused);
    return 0;
}
