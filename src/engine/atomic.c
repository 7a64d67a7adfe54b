/* SPDX-License-Identifier: MIT */
/*
 * Allocating and freeing where nothing may block: the slow path in an atomic context (rt/context.h), and the chores it
 * leaves to those who may. Called by front/core.c for the kernel API.
 */
#include "engine/atomic.h"

#include "big/big.h"
#include "buddy/buddy.h"
#include "engine/debug.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "engine/guard.h"
#include "engine/harden.h"
#include "mag/mag.h"
#include "rt/options.h"

#include <string.h>

void *engine_take_in(enum rt_context context, unsigned cls) {
    void *p = mag_pop_untried(cls);
    if (p != NULL)
        return p;
    enum rt_context before = rt_context_enter(context);
    p = mag_alloc(cls, NULL);
    rt_context_leave(before);
    return p;
}

/* As engine_alloc_unguarded makes them. */
COLD static void *alloc_hardened(size_t size, enum rt_context context) {
    size_t bytes = slab_geometry[slab_class_for(MAX(size, (size_t)1))].size_bytes;
    bool fits = bytes + HARDEN_SEAL_BYTES <= HARDEN_OBJECT_MAX;
    unsigned cls = fits ? slab_class_aligned(bytes + HARDEN_SEAL_BYTES, MIN(bytes & -bytes, SLAB_ALIGN_MAX)) : 0;
    void *p = cls == 0 ? NULL : harden_look(engine_take_in(context, cls));
    if (p != NULL)
        engine_count(ENGINE_CALL_MALLOC, (s64)bytes);
    return p == NULL ? NULL : harden_seal(p, bytes);
}

void *engine_alloc_atomic(size_t size, enum rt_context context) {
    void *p = engine_malloc_fast(size);
    if (LIKELY(p != NULL))
        return p;
    if (!engine_started() || size > rt_opt.vmalloc_threshold || size > SLAB_OBJECT_MAX)
        return NULL;
    if (UNLIKELY(rt_opt.harden))
        return alloc_hardened(size, context);
    unsigned cls = slab_class_for(MAX(size, (size_t)1));
    p = engine_take_in(context, cls);
    if (UNLIKELY(rt_opt.zero) && p != NULL) /* nothing comes out of magazines then */
        memset(p, 0, slab_geometry[cls].size_bytes);
    if (UNLIKELY(engine_counting) && p != NULL)
        engine_count(ENGINE_CALL_MALLOC, (s64)slab_geometry[cls].size_bytes);
    return p;
}

/* False: no region. */
static bool region_free(void *p) {
    size_t bytes = big_usable(p);
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    bool freed = big_free(p);
    rt_context_leave(before);
    if (UNLIKELY(engine_counting) && freed)
        engine_count(ENGINE_CALL_FREE, -(s64)bytes);
    return freed;
}

static void guarded_free(void *p) {
    if (UNLIKELY(engine_counting))
        engine_count(ENGINE_CALL_FREE, -(s64)guard_usable(p));
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    guard_free(p);
    rt_context_leave(before);
}

/* Misuse goes the usual way. */
void engine_free_atomic(void *p) {
    unsigned slot = page_map_get(p), entry = slot % PAGE_MAP_CLASSES;
    if (UNLIKELY(entry == PAGE_MAP_NOT_OURS) && guard_has(p)) {
        guarded_free(p);
        return;
    }
    if (engine_started() && harden_covers(entry)) {
        enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
        harden_free(p);
        rt_context_leave(before);
        return;
    }
    if (!engine_started() || !slab_entry_is_slab(entry)) {
        if (!engine_started() || entry != PAGE_MAP_BIG || !region_free(p))
            engine_free_slow(p);
        return;
    }
    if (engine_is_debugged(p, entry)) {
        engine_debug_get()->free(p, NULL);
        return;
    }
    if (UNLIKELY(engine_counting))
        engine_count(ENGINE_CALL_FREE, -(s64)slab_geometry_of(slab_id_of(p, entry))->size_bytes);
    if (mag_push_untried(slot, p))
        return;
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    mag_free(slot, p);
    rt_context_leave(before);
}

static void reserve_fill(void) {
    page_reserve_fill();
    buddy_reserve_fill();
}

void engine_reserve_start(void) {
    if (engine_ready())
        reserve_fill();
}

static void (*_Atomic grace_wanted)(void);

void engine_grace_wanted(void (*fn)(void)) { atomic_store_explicit(&grace_wanted, fn, memory_order_relaxed); }

COLD void engine_chores_do(void) {
    void (*grace)(void) = atomic_load_explicit(&grace_wanted, memory_order_relaxed);
    u32 chores = page_is_busy_here() ? 0 : atomic_exchange_explicit(&rt_chores, 0, memory_order_relaxed);
    if ((chores & RT_CHORE_SWEEP) != 0)
        slab_sweep_due();
    if ((chores & RT_CHORE_RESERVE) != 0)
        reserve_fill();
    if ((chores & RT_CHORE_REGIONS) != 0)
        big_deferred_give();
    if ((chores & RT_CHORE_PAGES) != 0)
        buddy_retire_due();
    if ((chores & RT_CHORE_GUARDS) != 0)
        guard_close_due();
    if ((chores & RT_CHORE_GRACE) != 0 && grace != NULL)
        grace();
}
