/* SPDX-License-Identifier: MIT */
/*
 * The depot: full magazines between the CPUs and the slabs, a lock-free stack for each class and node. Its size is bounded in bytes, in proportion to what the
 * class has in use, and trimmed by working set: what stayed unused through two intervals goes back to the slabs (the magazine layer of libumem).
 */
#include "mag/region.h"
#include "rt/options.h"
#include "rt/pool.h"

#define DEPOT_MIN_BYTES (256 * KIB)

enum { LIVE_PART = 8 };

static struct depot {
    struct rt_stack full;
    _Atomic(s32) objs;
    _Atomic(s32) objs_min; /* fewest since the last trim */
    s32 idle_objs;         /* unused through the interval before */
} depots[SLAB_CLASSES_NR];

static size_t depot_max_bytes(unsigned cls) {
    if (rt_opt.depot_bytes == 0)
        return 0;
    struct slab_class_stats st;
    slab_class_stats_get(cls, &st);
    return CLAMP(st.out_objs * slab_geometry[cls].size_bytes / LIVE_PART, MIN(DEPOT_MIN_BYTES, rt_opt.depot_bytes), rt_opt.depot_bytes);
}

/* The depot keeps magazines of the first node alone; those of other nodes' objects go to their slabs at once. */
static struct depot *depot_for(unsigned slot) { return slot < SLAB_CLASSES_NR ? &depots[slot] : NULL; }

u64 depot_get(unsigned slot) {
    struct depot *d = depot_for(slot);
    u64 *w = d == NULL ? NULL : rt_stack_pop(&d->full);
    if (w == NULL)
        return 0;
    s32 cap = (s32)mag_cap((u64)w);
    s32 left = atomic_fetch_sub_explicit(&d->objs, cap, memory_order_relaxed) - cap;
    if (left < atomic_load_explicit(&d->objs_min, memory_order_relaxed))
        atomic_store_explicit(&d->objs_min, left, memory_order_relaxed);
    return (u64)(w + cap);
}

bool depot_put(unsigned slot, u64 m_full) {
    struct depot *d = depot_for(slot);
    u64 *w = (u64 *)(((u64 *)m_full)[1] & ~(u64)MAG_WORD_END); // NOLINT(performance-no-int-to-ptr)
    s32 cap = (s32)mag_cap((u64)w);
    if (d == NULL)
        return false;
    s32 objs = atomic_load_explicit(&d->objs, memory_order_relaxed) + cap;
    if (objs > 0 && (size_t)objs * slab_geometry[slot].size_bytes > depot_max_bytes(slot))
        return false;
    atomic_fetch_add_explicit(&d->objs, cap, memory_order_relaxed);
    rt_stack_push(&d->full, w);
    return true;
}

u64 depot_bytes_racy(void) {
    u64 bytes = 0;
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
        bytes += (u64)MAX(atomic_load_explicit(&depots[cls].objs, memory_order_relaxed), 0) * slab_geometry[cls].size_bytes;
    return bytes;
}

static void depot_give(unsigned cls, s32 objs) {
    u64 m;
    while (objs > 0 && (m = depot_get(cls)) != 0) {
        objs -= (s32)mag_count(m);
        mag_flush(m);
    }
}

/* Called by one thread at a time (engine/tick.c). */
void mag_depot_trim(enum mag_drain which) {
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        struct depot *d = &depots[cls];
        if (atomic_load_explicit(&d->full.head, memory_order_relaxed) == 0)
            continue;
        s32 idle = MAX(atomic_load_explicit(&d->objs_min, memory_order_relaxed), 0);
        if (which == MAG_DRAIN_ALL)
            depot_give(cls, INT32_MAX);
        else
            depot_give(cls, MIN(idle, d->idle_objs));
        d->idle_objs = idle;
        atomic_store_explicit(&d->objs_min, atomic_load_explicit(&d->objs, memory_order_relaxed), memory_order_relaxed);
    }
}
