/* SPDX-License-Identifier: MIT */
/*
 * Private to kmem/: how many threads are somewhere. In the child of a fork the count begins anew: whoever else was
 * there is not, and the forking thread's own code below the handler that forked, which goes on there, leaves without
 * being counted. It knows by the generation, the upper half, which it took by the very step that counted it: at no
 * instruction is it counted and does not know, or the other way round.
 */
#ifndef QUARRY_KMEM_PRESENCE_H
#define QUARRY_KMEM_PRESENCE_H

#include "base/types.h"

typedef _Atomic(u64) presence;

enum { PRESENCE_SHIFT = 32 };

/* The generation, for presence_leave(). */
static inline u32 presence_enter(presence *p) {
    return (u32)(atomic_fetch_add_explicit(p, 1, memory_order_relaxed) >> PRESENCE_SHIFT);
}

static inline void presence_leave(presence *p, u32 generation) {
    u64 seen = atomic_load_explicit(p, memory_order_relaxed);
    while (seen >> PRESENCE_SHIFT == generation) {
        /* order: release: what was done inside is seen by who finds nobody inside.              pairs: [batch.gone] */
        if (atomic_compare_exchange_weak_explicit(p, &seen, seen - 1, memory_order_release, memory_order_relaxed))
            return;
    }
}

static inline bool presence_any(presence *p, memory_order order) { return (u32)atomic_load_explicit(p, order) != 0; }

static inline void presence_fork_child(presence *p) {
    u64 generation = atomic_load_explicit(p, memory_order_relaxed) >> PRESENCE_SHIFT;
    atomic_store_explicit(p, (generation + 1) << PRESENCE_SHIFT, memory_order_relaxed);
}

#endif
