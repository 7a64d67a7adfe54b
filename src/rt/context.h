/* SPDX-License-Identifier: MIT */
/*
 * What this thread may do just now. An allocation that must neither enter the system nor wait (the kernel API's
 * GFP_ATOMIC, and every kfree) runs the same slow path as any other, in a context that the few places that would make
 * a system call look at: the metadata pool (rt/meta.c), the making of slabs and the giving back (slab/). What they
 * leave undone they note as a chore, which the next thread that may block does (engine/atomic.c). Whatever is not in
 * that slow path, above all the page tier's lock, is not reached in such a context.
 *
 * A thread's own word: a signal handler enters and leaves on top of the code it interrupts, and leaves the word as it
 * was. A handler that jumps away leaves its thread atomic: its frees then go on leaving chores to others.
 */
#ifndef QUARRY_RT_CONTEXT_H
#define QUARRY_RT_CONTEXT_H

#include "base/types.h"

enum rt_context {
    RT_MAY_BLOCK = 0,
    RT_ATOMIC,         /* no system call, no waiting */
    RT_ATOMIC_RESERVE, /* the same, and the reserve may be drawn on */
};

extern HIDDEN __thread _Atomic(u8) rt_context_word;

static ALWAYS_INLINE enum rt_context rt_context(void) {
    return (enum rt_context)atomic_load_explicit(&rt_context_word, memory_order_relaxed);
}
static ALWAYS_INLINE bool rt_may_block(void) { return LIKELY(rt_context() == RT_MAY_BLOCK); }

/* Returns the context before, for the leave. Nothing moves over either. */
static ALWAYS_INLINE enum rt_context rt_context_enter(enum rt_context context) {
    enum rt_context before = rt_context();
    atomic_store_explicit(&rt_context_word, (u8)context, memory_order_relaxed);
    /* order: acq_rel signal fence: the compiler leaves what follows behind the word.       pairs: [context.signal] */
    atomic_signal_fence(memory_order_acq_rel);
    return before;
}
static ALWAYS_INLINE void rt_context_leave(enum rt_context before) {
    /* order: acq_rel signal fence: and what came before, before.                           pairs: [context.signal] */
    atomic_signal_fence(memory_order_acq_rel);
    atomic_store_explicit(&rt_context_word, (u8)before, memory_order_relaxed);
}

/* Bits of what is left to do. Hints: a chore noted while it is being done is done again. */
enum {
    RT_CHORE_SWEEP = 1,
    RT_CHORE_RESERVE = 2,
    RT_CHORE_GRACE = 4,
    RT_CHORE_REGIONS = 8,
    RT_CHORE_PAGES = 16,
    RT_CHORE_GUARDS = 32,
};
extern HIDDEN _Atomic(u32) rt_chores;

static inline void rt_chore_note(u32 chore) {
    if ((atomic_load_explicit(&rt_chores, memory_order_relaxed) & chore) == 0)
        atomic_fetch_or_explicit(&rt_chores, chore, memory_order_relaxed);
}

#endif
