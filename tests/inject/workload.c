/* SPDX-License-Identifier: MIT */
/*
 * The workload of refuse.c: it visits all tiers, stage by stage, and checks what objects hold and that NULL comes with
 * ENOMEM, and only where may_be_null() says so. Each stage gives back all it took.
 */
#include "workload.h"

#include "check.h"
#include "inject.h"
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What libquarry-kmem's vmalloc is made of (big/area.h). */
enum { AREA_HUGE = 1, AREA_ANY_NODE = -1 };
static void *(*area_alloc)(size_t size, size_t align, unsigned flags, int node, const void *caller);
static void *(*area_resize)(void *p, size_t size);
static void (*area_free)(void *p);

enum {
    POOL_STEPS = 600,
    RUNS_NR = 64,
    HOLES_NR = 3000, /* of a class that grows so far that its memory is brought */
    HOLE_STEP = 40,
    REGIONS_NR = 20,
    SQUEEZED_NR = 64,
    MANY_NR = 280, /* more regions than are given mappings of their own */
};

bool work_squeezes;

/* --- objects --- */

bool work_granted(const void *p) {
    bool excused = may_be_null();
    if (p != NULL)
        return true;
    CHECK_MSG(errno == ENOMEM, "NULL with errno %d", errno);
    CHECK_MSG(excused, "refused although there was memory to be had");
    return false;
}

void work_object_get(struct object *o, size_t size, uint64_t stamp) {
    errno = 0;
    o->size = size;
    o->memory = malloc(size);
    if (work_granted(o->memory))
        object_stamp(o, stamp);
}

static void object_get_aligned(struct object *o, size_t align, size_t size, uint64_t stamp) {
    errno = 0;
    o->size = size;
    o->memory = aligned_alloc(align, size);
    CHECK(((uintptr_t)o->memory & (align - 1)) == 0);
    if (work_granted(o->memory))
        object_stamp(o, stamp);
}

/* The stamps of what is reallocated do not depend on its size: a byte in each page. */
static void pages_stamp(unsigned char *p, size_t size) {
    for (size_t at = 0; at < size; at += 4096)
        p[at] = (unsigned char)(at >> 12);
}

static void pages_check(const unsigned char *p, size_t size) {
    for (size_t at = 0; at < size; at += 4096)
        CHECK_MSG(p[at] == (unsigned char)(at >> 12), "byte %zu of %zu is %u", at, size, p[at]);
}

static void region_resize(struct object *o, size_t size) {
    errno = 0;
    unsigned char *p = realloc(o->memory, size);
    if (!work_granted(p)) {
        pages_check(o->memory, o->size);
        return;
    }
    pages_check(p, o->size < size ? o->size : size);
    pages_stamp(p, size);
    o->memory = p;
    o->size = size;
}

/* --- the workload --- */

void work_mixed(uint64_t seed) {
    static struct pool pool;
    pool_init(&pool, seed, seed, 0);
    pool.enomem = POOL_ENOMEM_COUNTED;
    for (unsigned i = 0; i < POOL_STEPS; i++) {
        unsigned long refused_nr = pool.enomem_nr;
        pool_step(&pool);
        CHECK_MSG(may_be_null() || pool.enomem_nr == refused_nr, "step %u refused although there was memory to be had",
                  i);
    }
    pool_drain(&pool);
}

/* Runs of granules, more than may stay free. */
static void work_runs(void) {
    static struct object runs[RUNS_NR];
    for (unsigned i = 0; i < RUNS_NR; i++)
        work_object_get(&runs[i], 300 * KIB, i);
    for (unsigned i = 0; i < RUNS_NR; i += 2)
        object_retire(&runs[i]);
    for (unsigned i = 0; i < RUNS_NR; i += 2)
        work_object_get(&runs[i], 200 * KIB, i);
    for (unsigned i = 0; i < RUNS_NR; i++)
        object_retire(&runs[i]);
}

/* Pages inside slabs go, and are wanted again. */
static void work_holes(void) {
    static struct object objs[HOLES_NR];
    for (unsigned i = 0; i < HOLES_NR; i++)
        work_object_get(&objs[i], 1000, i);
    for (unsigned i = 0; i < HOLES_NR; i++) {
        if (i % HOLE_STEP != 0)
            object_retire(&objs[i]);
    }
    (void)malloc_trim(0);
    for (unsigned i = 0; i < HOLES_NR; i++) {
        if (i % HOLE_STEP != 0)
            work_object_get(&objs[i], 1000, i);
    }
    for (unsigned i = 0; i < HOLES_NR; i++)
        object_retire(&objs[i]);
}

static void zeroed_region(size_t size) {
    errno = 0;
    unsigned char *p = calloc(1, size);
    if (!work_granted(p))
        return;
    for (size_t at = 0; at < size; at += 512)
        CHECK(p[at] == 0);
    memset(p, 0xff, size);
    free(p);
}

static void work_resize(void) {
    struct object o = {NULL, 2 * MIB, 0};
    errno = 0;
    o.memory = malloc(o.size);
    if (!work_granted(o.memory))
        return;
    pages_stamp(o.memory, o.size);
    static const size_t sizes[] = {3 * MIB, 5 * MIB, 4 * MIB, 9 * MIB, 10 * MIB, 2 * MIB, 600 * KIB, 3 * MIB};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        region_resize(&o, sizes[i]);
    free(o.memory);
}

static void work_regions(void) {
    static struct object regions[REGIONS_NR];
    for (unsigned i = 0; i < REGIONS_NR; i++) {
        size_t size = (1 + i % 4) * MIB + 4096 * (i + 1);
        if (i % 5 == 0)
            object_get_aligned(&regions[i], (size_t)2 * MIB << (i / 5 * 2), 2 * MIB, i);
        else
            work_object_get(&regions[i], size, i);
    }
    for (unsigned i = 0; i < REGIONS_NR; i++)
        object_retire(&regions[i]);
    for (unsigned i = 0; i < 3; i++)
        work_object_get(&regions[i], (2 + i) * MIB, i);
    for (unsigned i = 0; i < 3; i++)
        object_retire(&regions[i]);
    zeroed_region(3 * MIB);
    zeroed_region(3 * MIB + 8192);
}

static void work_fork(void) {
    struct object held[2];
    work_object_get(&held[0], 5000, 1);
    work_object_get(&held[1], 2 * MIB, 2);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        work_child(); /* its calls are not those that the parent counts */
        object_retire(&held[0]);
        object_retire(&held[1]);
        work_mixed(7);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_MSG(status == 0, "the child of a fork ended with status %#x", (unsigned)status);
    object_retire(&held[0]);
    object_retire(&held[1]);
}

/* A region that cannot grow where it is, because another lies behind it. */
static void work_crowded(void) {
    struct object held[6];
    for (unsigned i = 0; i < 6; i++)
        work_object_get(&held[i], 2500 * KIB, i);
    for (unsigned i = 0; i < 6; i++) {
        if (held[i].memory == NULL)
            continue;
        pages_stamp(held[i].memory, held[i].size);
        region_resize(&held[i], 5 * MIB);
        free(held[i].memory);
    }
}

/* Regions so many that they are packed. */
static void work_many(void) {
    static struct object regions[MANY_NR];
    for (unsigned i = 0; i < MANY_NR; i++)
        work_object_get(&regions[i], 2 * MIB + 4096 * (i % 9 + 1), i);
    work_crowded();
    for (unsigned i = MANY_NR - 4; i < MANY_NR; i++) {
        object_retire(&regions[i]);
        work_resize();
    }
    for (unsigned i = 0; i < MANY_NR; i++)
        object_retire(&regions[i]);
}

/* The kernel API says NULL without errno. */
static bool area_granted(const void *p) {
    CHECK_MSG(may_be_null() || p != NULL, "an area refused although there was memory to be had");
    return p != NULL;
}

static void area_work(unsigned flags) {
    static const size_t sizes[] = {5 * MIB, 4 * MIB, 5 * MIB, 9 * MIB, 9 * MIB + 4096, 3 * MIB};
    size_t size = 3 * MIB;
    char *p = area_alloc(size, 4096, flags, AREA_ANY_NODE, NULL);
    if (!area_granted(p))
        return;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        pages_stamp((unsigned char *)p, size);
        char *q = area_resize(p, sizes[i]);
        size_t kept = sizes[i] < size ? sizes[i] : size;
        if (moves_are_refused() ? q == NULL : !area_granted(q))
            q = p, kept = size;
        else
            size = sizes[i];
        pages_check((unsigned char *)q, kept);
        p = q;
    }
    area_free(p);
}

/* Areas of the kernel API, which live in the same tier; one in the way of the other's growth. */
static void work_areas(void) {
    char *p = area_alloc(MIB, 2 * MIB, 0, AREA_ANY_NODE, NULL);
    bool held = area_granted(p);
    area_work(0);
    area_work(AREA_HUGE);
    if (held)
        area_free(p);
}

size_t work_space_bytes(void) {
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Address space is out: what is free and whole goes back with its addresses. */
static void work_squeezed(void) {
    static struct object objs[SQUEEZED_NR];
    struct rlimit old, tight;
    CHECK(getrlimit(RLIMIT_AS, &old) == 0);
    tight = old;
    tight.rlim_cur = work_space_bytes() + 24 * MIB;
    CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
    work_squeezes = true;
    for (unsigned i = 0; i < SQUEEZED_NR; i++)
        work_object_get(&objs[i], 1500 * KIB, i);
    for (unsigned i = 0; i < SQUEEZED_NR; i++)
        object_retire(&objs[i]);
    CHECK(setrlimit(RLIMIT_AS, &old) == 0);
    work_squeezes = false;
}

/* A region that may have hugepages, those of a pool too, and grows. */
static void work_large(void) {
    struct object held;
    work_object_get(&held, 9 * MIB, 1);
    if (held.memory == NULL)
        return;
    pages_stamp(held.memory, held.size);
    region_resize(&held, 13 * MIB);
    free(held.memory);
}

static void work_first(void) { work_mixed(1); }
static void work_last(void) {
    work_mixed(2);
    (void)malloc_trim(0);
}

void work(bool (*enough)(void)) {
    static void (*const stages[])(void) = {work_first, work_large, work_runs, work_holes,    work_regions, work_resize,
                                           work_many,  work_areas, work_fork, work_squeezed, work_last};
    for (unsigned i = 0; i < sizeof(stages) / sizeof(stages[0]) && !enough(); i++)
        stages[i]();
}

void work_served(void) {
    work_mixed(3);
    work_runs();
    work_large();
    work_resize();
    area_work(0);
}

void work_start(void) {
    symbol_get("quarry_core1_area_alloc", &area_alloc);
    symbol_get("quarry_core1_area_resize", &area_resize);
    symbol_get("quarry_core1_area_free", &area_free);
}
