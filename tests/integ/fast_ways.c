/* SPDX-License-Identifier: MIT */
/*
 * Every name that gets an object takes it from this CPU's magazine, or from a locked region's, when there is one, and
 * every name that frees puts it there: the result is the same where one does not, so nothing else would tell. Counts
 * calls that left the fast path, which only calls do that found the magazine empty or full, and the few that begin or
 * come to another CPU.
 */
#include "check.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

#include <quarry/quarry.h>
#pragma weak quarry_stat

enum { WARM = 500, PAIRS = 10000, SLOW_MOST = PAIRS / 20, BYTES = 100, ALIGN = 64 };

static void *(*new_throwing)(size_t size);
static void *(*new_aligned)(size_t size, size_t align);
static void (*delete_plain)(void *p);
static void (*delete_sized)(void *p, size_t size);
static void (*sized)(void *p, size_t size);
static void (*aligned_sized)(void *p, size_t align, size_t size);

static void *get_malloc(void) { return malloc(opaque_size(BYTES)); }
static void *get_calloc(void) { return calloc(opaque_size(1), BYTES); }
static void *get_realloc(void) { return realloc(NULL, opaque_size(BYTES)); }
static void *get_grown(void) { return realloc(malloc(opaque_size(BYTES / 4)), opaque_size(BYTES)); }
static void *get_array(void) { return reallocarray(NULL, opaque_size(2), BYTES / 2); }
static void *get_memalign(void) { return memalign(ALIGN, opaque_size(BYTES)); }
static void *get_aligned(void) { return aligned_alloc(ALIGN, opaque_size(BYTES)); }
static void *get_aligned_little(void) { return aligned_alloc(sizeof(void *), opaque_size(BYTES)); }
static void *get_posix(void) {
    void *p;
    CHECK(posix_memalign(&p, ALIGN, opaque_size(BYTES)) == 0);
    return p;
}
static void *get_new(void) { return new_throwing(opaque_size(BYTES)); }
static void *get_new_aligned(void) { return new_aligned(opaque_size(BYTES), ALIGN); }
static void *get_large(void) { return malloc(opaque_size(200000)); }
static void *get_large_realloc(void) { return realloc(NULL, opaque_size(200000)); }

static void put_free(void *p) { free(p); }
static void put_realloc(void *p) { CHECK(realloc(p, opaque_size(0)) == NULL); }
static void put_sized(void *p) { sized(p, BYTES); }
static void put_aligned_sized(void *p) { aligned_sized(p, ALIGN, BYTES); }
static void put_delete(void *p) { delete_plain(p); }
static void put_delete_sized(void *p) { delete_sized(p, BYTES); }

/* Whose freeing name needs the size of what the other got, or its alignment, has it beside it here. */
static const struct {
    const char *name;
    void *(*get)(void);
    void (*put)(void *p);
} ways[] = {
    {"malloc, free", get_malloc, put_free},
    {"calloc, realloc to 0", get_calloc, put_realloc},
    {"realloc of NULL", get_realloc, put_free},
    {"realloc that moves", get_grown, put_free},
    {"reallocarray of NULL", get_array, put_free},
    {"memalign", get_memalign, put_free},
    {"aligned_alloc, free_aligned_sized", get_aligned, put_aligned_sized},
    {"aligned_alloc of little", get_aligned_little, put_free},
    {"posix_memalign", get_posix, put_free},
    {"malloc, free_sized", get_malloc, put_sized},
    {"new, delete", get_new, put_delete},
    {"new, sized delete", get_new, put_delete_sized},
    {"aligned new", get_new_aligned, put_delete},
    {"malloc of 200,000", get_large, put_free},
    {"realloc of NULL to 200,000", get_large_realloc, put_free},
};

static uint64_t stat(const char *name) {
    uint64_t value = 0;
    CHECK_MSG(quarry_stat(name, &value) == 0, "%s", name);
    return value;
}

static uint64_t slow(void) { return stat("slow_allocs") + stat("slow_frees"); }

static void pairs(size_t way, unsigned nr) {
    for (unsigned i = 0; i < nr; i++) {
        void *p = opaque(ways[way].get());
        CHECK(p != NULL);
        ways[way].put(p);
    }
}

int main(void) {
    CHECK_MSG(quarry_stat != NULL, "quarry is not preloaded");
    symbol_get("_Znwm", (void *)&new_throwing);
    symbol_get("_ZnwmSt11align_val_t", (void *)&new_aligned);
    symbol_get("_ZdlPv", (void *)&delete_plain);
    symbol_get("_ZdlPvm", (void *)&delete_sized);
    symbol_get("free_sized", (void *)&sized);
    symbol_get("free_aligned_sized", (void *)&aligned_sized);
    CHECK(new_throwing && new_aligned && delete_plain && delete_sized && sized && aligned_sized);
    for (size_t way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
        pairs(way, WARM);
        uint64_t before = slow();
        pairs(way, PAIRS);
        CHECK_MSG(slow() - before <= SLOW_MOST, "%s: %llu calls of %d pairs left the fast path", ways[way].name,
                  (unsigned long long)(slow() - before), PAIRS);
    }
    return 0;
}
