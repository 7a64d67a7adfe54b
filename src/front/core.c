/* SPDX-License-Identifier: MIT */
/* The functions of core.h: the engine, fast path first, for libquarry-kmem. Owns nothing. */
#include "front/core.h"

#include "engine/atomic.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "sys/sys.h"

#include <string.h>

static void *(*_Atomic alloc_failed)(size_t size);

void quarry_core1_alloc_failed(void *(*fn)(size_t size)) {
    atomic_store_explicit(&alloc_failed, fn, memory_order_relaxed);
}

static COLD void *alloc_slow(size_t size) {
    void *p = engine_alloc_slow(size);
    void *(*failed)(size_t) = p != NULL ? NULL : atomic_load_explicit(&alloc_failed, memory_order_relaxed);
    return failed == NULL ? p : failed(size);
}

FAST_ENTRY void *quarry_core1_alloc(size_t size) {
    void *p = engine_malloc_fast(size);
    return LIKELY(p != NULL) ? p : alloc_slow(size);
}

void *quarry_core1_alloc_atomic(size_t size, bool reserve) {
    return engine_alloc_atomic(size, reserve ? RT_ATOMIC_RESERVE : RT_ATOMIC);
}

void quarry_core1_reserve_start(void) { engine_reserve_start(); }

void *quarry_core1_alloc_at_hand(size_t size) { return engine_malloc_fast(size); }

void *quarry_core1_zalloc(size_t size) { return engine_calloc(1, size); }

void *quarry_core1_alloc_aligned(size_t align, size_t size) { return engine_memalign(align, size); }

FAST_ENTRY void quarry_core1_free(void *p) {
    if (UNLIKELY(!engine_free_fast(p)))
        engine_free_atomic(p);
}

void quarry_core1_warn(const char *line) { sys_stderr(line, strlen(line)); }
