/* SPDX-License-Identifier: MIT */
/*
 * Guarded objects: now and then an allocation that left the fast path gets its object on a page of its own between two
 * that cannot be touched, and the page cannot be touched either once the object is free. So a use beside it or after
 * its free faults at once, and the report says who allocated it, who freed it and who used it (docs/adr/0055).
 *
 * Their page map entry is "not ours", as that of any foreign address: free comes to the slow path by the exit that is
 * there, and asks here before it calls a pointer bad. So the fast path, and a free of anything else, pay nothing.
 *
 * All of it is lock-free, and async-signal-safe but for guard_arm.
 */
#ifndef QUARRY_ENGINE_GUARD_H
#define QUARRY_ENGINE_GUARD_H

#include "base/types.h"

/* Slow calls up to the next that is guarded; 0: none is. Threads may lose a call to each other. */
extern HIDDEN _Atomic(u32) guard_left;

static ALWAYS_INLINE bool guard_due(void) {
    u32 left = atomic_load_explicit(&guard_left, memory_order_relaxed);
    if (LIKELY(left > 1))
        atomic_store_explicit(&guard_left, left - 1, memory_order_relaxed);
    return UNLIKELY(left == 1);
}

/* As the option says, from now on; once, with a running libc. With guard=1 and harden SIGSEGV has a handler from here
 * on, else with the first object, where the program has none by then (docs/adr/0055). */
void guard_arm(void);

/* Zeroed, aligned as malloc's, usable to exactly size bytes; NULL where it cannot be: larger than a page, all slots in
 * use, a limit is near, in atomic contexts. By mmap, mprotect and madvise alone, as any slow allocation. */
void *guard_alloc(size_t size);

/* What places a set of objects: NULL until the first one. */
struct guard_pool;
extern HIDDEN struct guard_pool *_Atomic guard_pool;

bool guard_pool_has(const struct guard_pool *pool, const void *p);
/* Whether p is the address of a guarded object, or of any byte around one. */
static inline bool guard_has(const void *p) {
    /* order: acquire: what the pool points to.                                                  pairs: [guard.pool] */
    const struct guard_pool *pool = atomic_load_explicit(&guard_pool, memory_order_acquire);
    return UNLIKELY(pool != NULL) && guard_pool_has(pool, p);
}
/* Bytes of a live guarded object that p is the start of; 0: it is none. */
size_t guard_usable(const void *p);
/* p for which guard_has holds. What is no live object is reported. In an atomic context the page is closed later, by
 * guard_close_due. */
void guard_free(void *p);
void guard_close_due(void);

/* p for which guard_has holds, given to free or the like, is no live object. */
_Noreturn void guard_report_pointer(const void *p);

/* Objects now, and all since the start. */
extern HIDDEN _Atomic(u64) guard_objects_nr, guard_samples_nr;

#endif
