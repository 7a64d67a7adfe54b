/* SPDX-License-Identifier: MIT */
/*
 * The fast path: what nearly every malloc and free does, whole. tests/golden/fast_path.* holds its instructions.
 * Included by front/ and the kernel API, which put names on it and call engine_alloc_slow or engine_free_slow where it
 * gives up.
 */
#ifndef QUARRY_ENGINE_FAST_H
#define QUARRY_ENGINE_FAST_H

#include "engine/engine.h"
#include "mag/rseq.h"

/* An object of at least size bytes, or NULL: larger than 64 KiB, magazine empty, not started, no rseq, calls being
 * counted. */
static ALWAYS_INLINE void *engine_malloc_fast(size_t size) {
    u64 slot;
    if (LIKELY(size < mag_tabs.small_limit))
        slot = mag_tabs.classes.small[size];
    else if (size - 1 < mag_tabs.medium_limit) /* false for 0 before start */
        slot = mag_tabs.classes.medium[(size - 1) >> SLAB_MEDIUM_SHIFT];
    else
        return NULL;
    return rseq_pop(mag_tabs.alloc_view, slot);
}

/* False: magazine full, not an object of a size class (NULL included), not started, no rseq, calls being counted. */
static ALWAYS_INLINE bool engine_free_fast(void *p) { return rseq_push(mag_tabs.free_view, page_map_get(p), p); }

#endif
