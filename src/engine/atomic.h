/* SPDX-License-Identifier: MIT */
/* Allocating and freeing without blocking, for the kernel API. Everything here is async-signal-safe, on top of whatever
 * code of quarry's the handler interrupted, and lock-free; but engine_reserve_start. */
#ifndef QUARRY_ENGINE_ATOMIC_H
#define QUARRY_ENGINE_ATOMIC_H

#include "rt/context.h"

/* At least size bytes, out of a magazine, the depot, slabs that have room, or the reserve if the context has it; NULL
 * when there is none, when the allocator is not started, and above the largest size class. No system call. */
void *engine_alloc_atomic(size_t size, enum rt_context context);
/* An object of a class, past the fast path and uncounted, in a context. */
void *engine_take_in(enum rt_context context, unsigned cls);
/* Takes what the fast path refused, without system call. */
void engine_free_atomic(void *p);
/* From now on there is a reserve, as large as the option says. May enter the system. */
void engine_reserve_start(void);

/* What to call when slabs of pinned classes (slab/made.h) are to go back, which a grace period must come before. */
void engine_grace_wanted(void (*fn)(void));

/* What atomic contexts left to do; called by those who may block, with nothing held. */
void engine_chores_do(void);
static inline void engine_chores_look(void) {
    if (UNLIKELY(atomic_load_explicit(&rt_chores, memory_order_relaxed) != 0) && rt_may_block())
        engine_chores_do();
}

#endif
