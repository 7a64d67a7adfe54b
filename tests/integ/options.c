/* SPDX-License-Identifier: MIT */
/*
 * What options do, each looked at with and without it: a case by name, then "set" or "unset". The driver gives the
 * environment; here are counts and bytes that differ. Expects to run on the preloaded library.
 */
#include "check.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "life_plugin.h"

#include <quarry/quarry.h>
#pragma weak quarry_stat
#pragma weak quarry_owns

enum { KIB = 1024, MIB = 1024 * 1024 };

static uint64_t stat_of(const char *name) {
    uint64_t value;
    CHECK(quarry_stat != NULL && quarry_stat(name, &value) == 0);
    return value;
}

static uint64_t max_of(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* One CPU, so one set of magazines, however they are found. */
static void stay(void) {
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    int left = 1;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set) && left-- <= 0)
            CPU_CLR(cpu, &set);
    }
    CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
}

/* --- memory between the program and the slabs --- */

enum { WAVE_NR = 400 };

/* Objects by the wave, so that magazines and the depot hold all they may. The most there was in `name` between waves.
 */
static uint64_t waves_most(const char *name, size_t bytes) {
    enum { WAVES = 40 };
    static void *held[WAVE_NR];
    uint64_t most = 0;
    for (unsigned wave = 0; wave < WAVES; wave++) {
        for (unsigned i = 0; i < WAVE_NR; i++)
            CHECK((held[i] = malloc(opaque_size(bytes))) != NULL);
        for (unsigned i = 0; i < WAVE_NR; i++)
            free(held[i]);
        most = max_of(most, stat_of(name));
    }
    return most;
}

/* magazine_bytes=4K: a magazine and its spare hold an object each. */
static void magazine_bytes(bool set) {
    enum { BYTES = 16 * KIB, FEW = 4 };
    stay();
    uint64_t most = waves_most("cached_bytes", BYTES);
    CHECK_MSG((most <= FEW * BYTES) == set, "magazines held %lu bytes", (unsigned long)most);
}

/* depot_bytes=0 */
static void depot_bytes(bool set) {
    stay();
    uint64_t most = waves_most("depot_bytes", 4 * KIB);
    CHECK_MSG((most == 0) == set && (stat_of("depot_puts") == 0) == set, "the depot held %lu bytes",
              (unsigned long)most);
}

/* vmalloc_threshold=64K */
static void vmalloc_threshold(bool set) {
    uint64_t before = stat_of("big_regions");
    void *small = malloc(opaque_size(60 * KIB));
    CHECK(small != NULL && stat_of("big_regions") == before);
    void *p = malloc(opaque_size(100 * KIB));
    CHECK(p != NULL);
    uint64_t more = stat_of("big_regions") - before;
    CHECK_MSG(more == (set ? 1 : 0), "%lu regions more", (unsigned long)more);
    free(p);
    free(small);
    CHECK(stat_of("big_regions") == before);
}

/* vmalloc_cache=0 */
static void vmalloc_cache(bool set) {
    enum { ROUNDS = 50, BYTES = 4 * MIB };
    uint64_t most = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char *p = malloc(opaque_size(BYTES));
        CHECK(p != NULL);
        memset(p, 1, BYTES);
        free(p);
        most = max_of(most, stat_of("big_cached_bytes"));
    }
    CHECK_MSG((most == 0) == set, "%lu bytes were kept", (unsigned long)most);
}

/* --- whose malloc, and what happens at the end --- */

static const char *plugin_path;

/* deepbind=keep: the library opened so has the C library's malloc. */
static void deepbind(bool set) {
    void *library = dlopen(plugin_path, RTLD_NOW | RTLD_DEEPBIND);
    CHECK_MSG(library != NULL, "%s", dlerror());
    const struct plugin *(*get)(void) = (const struct plugin *(*)(void))dlsym(library, "plugin_get");
    CHECK(get != NULL && quarry_owns != NULL);
    void *p = get()->alloc(100), *own = malloc(opaque_size(100));
    CHECK(p != NULL && quarry_owns(own));
    CHECK_MSG(quarry_owns(p) == !set, "the plugin's memory is %s", quarry_owns(p) ? "ours" : "another malloc's");
    get()->release(p);
    free(own);
}

/* exit_check=off: the second free is in a magazine still, and nobody looks. Without it the driver expects the end. */
static void exit_check(bool set) {
    void *p = malloc(opaque_size(64)), *between = malloc(opaque_size(64));
    (void)set;
    free(p);
    free(between);
    free(opaque(p));
}

/* --- option zero --- */

static void *new_of(size_t bytes) {
    void *(*operator_new)(size_t) = NULL;
    symbol_get("_Znwm", &operator_new);
    CHECK(operator_new != NULL);
    return operator_new(bytes);
}
static void *malloc_of(size_t bytes) { return malloc(opaque_size(bytes)); }
static void *realloc_of(size_t bytes) { return realloc(NULL, opaque_size(bytes)); }
static void *reallocarray_of(size_t bytes) { return reallocarray(NULL, 1, opaque_size(bytes)); }
static void *memalign_of(size_t bytes) { return memalign(64, opaque_size(bytes)); }
static void *memalign_large_of(size_t bytes) { return memalign(2 * MIB, opaque_size(bytes)); }
static void *aligned_of(size_t bytes) { return aligned_alloc(32, opaque_size(bytes)); }
static void *valloc_of(size_t bytes) { return valloc(opaque_size(bytes)); }
static void *posix_of(size_t bytes) {
    void *p = NULL;
    CHECK(posix_memalign(&p, 256, opaque_size(bytes)) == 0);
    return p;
}
static void *calloc_of(size_t bytes) { return calloc(1, opaque_size(bytes)); }

static const struct zero_way {
    const char *name;
    void *(*get)(size_t bytes);
} zero_ways[] = {
    {"malloc", malloc_of},
    {"realloc of NULL", realloc_of},
    {"reallocarray of NULL", reallocarray_of},
    {"memalign", memalign_of},
    {"memalign at 2 MiB", memalign_large_of},
    {"aligned_alloc", aligned_of},
    {"posix_memalign", posix_of},
    {"valloc", valloc_of},
    {"operator new", new_of},
    {"calloc", calloc_of},
};
/* A size of each tier, each less than its class has. */
static const size_t zero_sizes[] = {1, 33, 200, 1001, 5000, 33000, 140000, MIB + 1, 3 * MIB + 5};

enum { DIRT = 0xa5, DIRTY_NR = 8 };

/* First byte from `from` on that is not zero; `bytes` when all are. */
static size_t dirty_at(const unsigned char *p, size_t from, size_t bytes) {
    while (from < bytes && p[from] == 0)
        from++;
    return from;
}

/* Leaves several freed objects, written to the last byte, where the next ones of the size will come from. */
static void leave_dirt(void *(*get)(size_t bytes), size_t bytes) {
    void *held[DIRTY_NR];
    for (unsigned i = 0; i < DIRTY_NR; i++) {
        CHECK((held[i] = get(bytes)) != NULL);
        memset(held[i], DIRT, malloc_usable_size(held[i]));
    }
    for (unsigned i = 0; i < DIRTY_NR; i++)
        free(held[i]);
}

/* Whether an object that was zero in all that may be used came, each of several times. */
static bool comes_zero(const struct zero_way *way, size_t bytes) {
    void *held[DIRTY_NR];
    bool zero = true;
    leave_dirt(way->get, bytes);
    for (unsigned i = 0; i < DIRTY_NR; i++) {
        CHECK((held[i] = way->get(bytes)) != NULL);
        size_t usable = malloc_usable_size(held[i]);
        zero = zero && dirty_at(held[i], 0, usable) == usable;
    }
    for (unsigned i = 0; i < DIRTY_NR; i++)
        free(held[i]);
    return zero;
}

/* Grows by steps; writes what it asked for and no more. What each step adds, to the end of what may be used, is zero.
 */
static bool grows_zero(size_t from, size_t to, size_t step) {
    bool zero = true;
    size_t bytes = from;
    for (size_t dirt = from; dirt <= to; dirt *= 2)
        leave_dirt(malloc_of, dirt);
    unsigned char *p = malloc(opaque_size(from));
    CHECK(p != NULL);
    memset(p, 1, from);
    while (bytes + step <= to) {
        CHECK((p = realloc(p, opaque_size(bytes + step))) != NULL);
        CHECK(p[0] == 1 && p[bytes - 1] == 1);
        size_t usable = malloc_usable_size(p);
        zero = zero && dirty_at(p, bytes, usable) == usable;
        memset(p + bytes, 1, step);
        bytes += step;
    }
    free(p);
    return zero;
}

/* Unset some way must show what was there, or this could not fail. */
static void zero(bool set) {
    enum { WAYS_NR = sizeof zero_ways / sizeof zero_ways[0], SIZES_NR = sizeof zero_sizes / sizeof zero_sizes[0] };
    unsigned dirty_nr = 0;
    for (unsigned w = 0; w < WAYS_NR; w++) {
        for (unsigned s = 0; s < SIZES_NR; s++) {
            bool clean = comes_zero(&zero_ways[w], zero_sizes[s]);
            CHECK_MSG(clean || !set, "%s of %zu bytes was not zero", zero_ways[w].name, zero_sizes[s]);
            dirty_nr += !clean;
        }
    }
    static const size_t growth[][3] = {
        {10, 2000, 7}, {1000, 60000, 333}, {40000, 900000, 5000}, {900000, 6 * MIB, 100001}};
    for (unsigned i = 0; i < sizeof growth / sizeof growth[0]; i++) {
        bool clean = grows_zero(growth[i][0], growth[i][1], growth[i][2]);
        CHECK_MSG(clean || !set, "what realloc added from %zu bytes on was not zero", growth[i][0]);
        dirty_nr += !clean;
    }
    CHECK_MSG(set || dirty_nr >= WAYS_NR, "only %u ways showed old bytes without the option", dirty_nr);
}

static const struct {
    const char *name;
    void (*run)(bool set);
} cases[] = {
    {"magazine_bytes", magazine_bytes},
    {"depot_bytes", depot_bytes},
    {"vmalloc_threshold", vmalloc_threshold},
    {"vmalloc_cache", vmalloc_cache},
    {"deepbind", deepbind},
    {"exit_check", exit_check},
    {"zero", zero},
};

int main(int argc, char **argv) {
    CHECK(argc == 4);
    plugin_path = argv[3];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run(strcmp(argv[2], "set") == 0);
            return 0;
        }
    }
    check_fail(__FILE__, __LINE__, "no case %s", argv[1]);
}
