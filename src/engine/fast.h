/* SPDX-License-Identifier: MIT */
/*
 * The fast path: what nearly every malloc and free does, whole. tests/golden/fast_path.* holds its instructions.
 * Included by front/ and the kernel API, which put names on it and call engine_alloc_slow or engine_free_slow where it
 * gives up.
 */
#ifndef QUARRY_ENGINE_FAST_H
#define QUARRY_ENGINE_FAST_H

#include "engine/engine.h"
#include "engine/start.h"
#include "mag/rseq.h"

/* The next, of sizes that are not small. */
static ALWAYS_INLINE void *engine_medium_fast(size_t size) {
    if (size - 1 < mag_tabs.medium_limit) /* false for 0 before start */
        return rseq_pop_at(mag_tabs.alloc_view, mag_tabs.classes.medium, (size - 1) >> SLAB_MEDIUM_SHIFT);
    if (size - 1 < mag_tabs.large_limit)
        return rseq_pop(mag_tabs.alloc_view, slab_tables_rest.large[(size - 1) >> SLAB_LARGE_SHIFT]);
    return NULL;
}

/* An object of at least size bytes, or NULL: larger than any class, magazine empty, not started, no rseq, calls being
 * counted. */
static ALWAYS_INLINE void *engine_malloc_fast(size_t size) {
    if (LIKELY(size < mag_tabs.small_limit))
        return rseq_pop_at(mag_tabs.alloc_view, mag_tabs.classes.small, size);
    return engine_medium_fast(size);
}

/* Defines entry_fast(size), which is engine_malloc_fast(size) in an instruction less: see RSEQ_POP_ENTRY. */
#define ENGINE_MALLOC_ENTRY(entry)                                                                                     \
    RSEQ_POP_ENTRY(entry)                                                                                              \
    static ALWAYS_INLINE void *entry##_fast(size_t size) {                                                             \
        return LIKELY(size < mag_tabs.small_limit) ? entry##_pop(mag_tabs.alloc_view, size)                            \
                                                   : engine_medium_fast(size);                                         \
    }

/* The same at a multiple of align, a power of two; NULL also for an alignment above 64 KiB. A class's size is a
 * multiple of the step between the classes around it, a power of two, so a size that is a multiple of align finds a
 * class whose is, and objects lie at multiples of the largest power of two that divides their size. */
static ALWAYS_INLINE void *engine_memalign_fast(size_t align, size_t size) {
    size_t bytes = round_up(size + (size == 0), align);
    if (UNLIKELY(align > SLAB_MEDIUM_MAX || bytes == 0)) /* 0: rounding up went past the last address */
        return NULL;
    return engine_malloc_fast(bytes);
}

enum { ENGINE_SHRINK_PART = 2 }; /* realloc moves an object that would use less of it than one part */

/* Whether an object of usable bytes serves a request for size without wasting more than it may. */
static ALWAYS_INLINE bool engine_fits_in_place(size_t usable, size_t size) {
    return size <= usable && (size > usable / ENGINE_SHRINK_PART || usable <= 64);
}

/* Whether p is an object of a size class and realloc to size, which is not 0, leaves it where it is. False for NULL,
 * and when calls are counted. */
static ALWAYS_INLINE bool engine_realloc_stays(const void *p, size_t size) {
    unsigned cls = page_map_get(p) % PAGE_MAP_CLASSES;
    return LIKELY(cls - 1u < SLAB_CLASS_MAX) && engine_fits_in_place(slab_geometry[cls].size_bytes, size) &&
           !engine_counting;
}

/* False: magazine full, not an object of a size class (NULL included), not started, no rseq, calls being counted. */
static ALWAYS_INLINE bool engine_free_fast(void *p) {
    return rseq_push_at(mag_free_view(), rt_meta.map_end, page_map_index(p), p);
}

#endif
