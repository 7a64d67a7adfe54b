/* SPDX-License-Identifier: MIT */
/* The slow path of free, sized frees, realloc, and questions about a pointer. */
#include "big/big.h"
#include "engine/atomic.h"
#include "engine/debug.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "engine/guard.h"
#include "engine/harden.h"
#include "engine/lent.h"
#include "engine/pressure.h"
#include "mag/mag.h"
#include "rt/misuse.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

#include <string.h>

static ALWAYS_INLINE unsigned class_of(const void *p) { return page_map_get(p) % PAGE_MAP_CLASSES; }
static ALWAYS_INLINE bool class_is_slab(unsigned cls) { return slab_entry_is_slab(cls); }

enum engine_kind engine_kind_of(const void *p) {
    if (!engine_ready())
        return ENGINE_NOT_OURS;
    unsigned cls = class_of(p);
    if (class_is_slab(cls) || guard_usable(p) != 0)
        return ENGINE_SLAB;
    size_t bytes = cls == PAGE_MAP_BIG ? big_usable(p) : engine_lent_usable(p, cls);
    return bytes != 0 ? ENGINE_BIG : ENGINE_NOT_OURS;
}

/* Usable bytes, or 0 for what is no object of ours. */
static size_t usable_or_zero(const void *p) {
    unsigned cls = class_of(p);
    if (harden_covers(cls))
        return harden_usable(p);
    if (engine_is_debugged(p, cls))
        return engine_debug_get()->usable(p);
    if (LIKELY(class_is_slab(cls)))
        return slab_geometry_of(slab_id_of(p, cls))->size_bytes;
    if (cls == PAGE_MAP_BIG)
        return big_usable(p);
    size_t lent = engine_lent_usable(p, cls);
    return lent != 0 ? lent : guard_usable(p);
}

size_t engine_usable(const void *p) {
    if (p == NULL || !engine_ready())
        return 0;
    size_t bytes = usable_or_zero(p);
    if (UNLIKELY(bytes == 0))
        engine_bad_pointer(p);
    return bytes;
}

void engine_free_slow(void *p) {
    if (p == NULL || !engine_ready())
        return;
    unsigned slot = page_map_get(p), cls = slot % PAGE_MAP_CLASSES;
    if (engine_is_debugged(p, cls)) {
        engine_debug_get()->free(p, NULL);
        return;
    }
    /* Objects that are lent are not counted where they are made either. */
    if (UNLIKELY(engine_counting) && !harden_covers(cls) && !engine_lent_may_be(cls))
        engine_count(ENGINE_CALL_FREE, -(s64)usable_or_zero(p));
    if (!harden_covers(cls) && mag_push_untried(slot, p))
        return;
    size_t bytes = cls < SLAB_CLASSES_NR ? slab_geometry[cls].size_bytes : HPAGE_BYTES;
    if (harden_covers(cls))
        harden_free(p);
    else if (LIKELY(class_is_slab(cls)))
        mag_free(slot, p);
    else if (cls == PAGE_MAP_NOT_OURS && guard_has(p))
        guard_free(p);
    else if (cls == PAGE_MAP_BIG ? !big_free(p) : !engine_lent_free(p, cls))
        engine_bad_pointer(p);
    engine_chores_look();
    engine_tick_freed(bytes);
}

/* The size a sized free states must be one that would have got this object, or for which realloc would have left it
 * where it is. */
static void check_sized(const void *p, size_t size, size_t align) {
    size_t usable = engine_usable(p);
    if (usable == 0)
        return;
    bool aligned = align <= 1 || (is_pow2(align) && ((uintptr_t)p & (align - 1)) == 0);
    if (!aligned)
        rt_misuse(MISUSE_ALIGN, p, usable, NULL);
    if (harden_covers(class_of(p))) {
        if (MAX(size, (size_t)1) != usable)
            rt_misuse_size(p, size, usable);
        return;
    }
    unsigned cls = align > 16 ? slab_class_aligned(size, align) : size <= SLAB_OBJECT_MAX ? slab_class_for(size) : 0;
    bool whole_region = class_of(p) == PAGE_MAP_BIG && round_up(size, sys_page_bytes()) == usable;
    if (cls != class_of(p) && !whole_region && !engine_fits_in_place(usable, size))
        rt_misuse_size(p, size, usable);
}

static void release(void *p) {
    if (!engine_free_fast(p))
        engine_free_slow(p);
}

void engine_free_sized(void *p, size_t size, size_t align) {
    if (p == NULL || !engine_ready())
        return;
    if (QUARRY_CHECKS)
        check_sized(p, size, align);
    release(p);
}

/* --- realloc --- */

static void *alloc(size_t size) {
    void *p = engine_malloc_fast(size);
    return LIKELY(p != NULL) ? p : engine_alloc_slow(size);
}

static void *realloc_into(void *q, void *p, size_t bytes) {
    memcpy(q, p, bytes);
    release(p);
    return q;
}

static void *realloc_copy(void *p, size_t old_bytes, size_t size) {
    void *q = alloc(size);
    return q == NULL ? NULL : realloc_into(q, p, MIN(old_bytes, size));
}

/* An object that grows by less than a part is likely to grow again, and each class on the way would be a copy: it gets
 * the part, if that can be had. */
enum { GROWTH_PART = 4 };
/* And what is to be larger than this is a region from then on, which grows without a copy. */
#define GROWN_BYTES (1 * MIB)

static void *realloc_move(void *p, size_t usable, size_t size) {
    size_t part = usable + usable / GROWTH_PART;
    void *q = NULL;
    if (size > MAX(usable, GROWN_BYTES))
        q = engine_alloc_region(size);
    else if (size > usable && size < part && part <= GROWN_BYTES)
        q = engine_alloc_easy(part);
    return q != NULL ? realloc_into(q, p, usable) : realloc_copy(p, usable, size);
}

/* Growth that a limit forbids is tried again when all that is free went back: a copy would need room for both. */
static void *region_resize(void *p, size_t usable, size_t size) {
    void *q = big_resize(p, size);
    if (q != NULL || size <= usable || !rt_usage_forbids(size - usable))
        return q;
    engine_pressure_hard();
    return big_resize(p, size);
}

static void *realloc_big(void *p, size_t usable, size_t size) {
    if (size > GROWN_BYTES / ENGINE_SHRINK_PART) {
        void *q = region_resize(p, usable, size);
        if (q != NULL || size <= usable)
            return q != NULL ? q : p;
    }
    return realloc_copy(p, usable, size);
}

void *engine_realloc(void *p, size_t size) {
    if (p == NULL)
        return alloc(size);
    if (size > PTRDIFF_MAX || !engine_ready())
        return NULL;
    size = MAX(size, (size_t)1);
    size_t usable = engine_usable(p);
    if (usable == 0)
        return NULL;
    if (UNLIKELY(engine_counting))
        engine_count(ENGINE_CALL_REALLOC, 0);
    /* What a program keeps a pointer to after realloc is found sooner where the object always moves. */
    if (UNLIKELY(rt_opt.harden))
        return size == usable ? p : realloc_copy(p, usable, size);
    if (class_of(p) == PAGE_MAP_BIG)
        return realloc_big(p, usable, size);
    return engine_fits_in_place(usable, size) ? p : realloc_move(p, usable, size);
}
