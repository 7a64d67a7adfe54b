/* SPDX-License-Identifier: MIT */
/* The functions of core.h: the engine, fast path first, for libquarry-kmem. Owns nothing. */
#include "front/core.h"

#include "engine/engine.h"
#include "engine/fast.h"
#include "sys/sys.h"

#include <string.h>

FAST_ENTRY void *quarry_core1_alloc(size_t size) {
    void *p = engine_malloc_fast(size);
    return LIKELY(p != NULL) ? p : engine_alloc_slow(size);
}

void *quarry_core1_alloc_at_hand(size_t size) { return engine_malloc_fast(size); }

void *quarry_core1_zalloc(size_t size) { return engine_calloc(1, size); }

void *quarry_core1_alloc_aligned(size_t align, size_t size) { return engine_memalign(align, size); }

FAST_ENTRY void quarry_core1_free(void *p) {
    if (UNLIKELY(!engine_free_fast(p)))
        engine_free_slow(p);
}

void quarry_core1_warn(const char *line) { sys_stderr(line, strlen(line)); }
