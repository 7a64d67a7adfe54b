/* SPDX-License-Identifier: MIT */
/* Private to engine/: starting, housekeeping, and finding out what a bad pointer is. */
#ifndef QUARRY_ENGINE_START_H
#define QUARRY_ENGINE_START_H

#include "base/types.h"

/* COLD until the first allocation, or CONFIGURED where libc's readiness came first: the options are read, nothing else
 * is there. A process that never allocates stays so. */
enum engine_state { ENGINE_COLD = 0, ENGINE_CONFIGURED, ENGINE_READY };
extern _Atomic(int) engine_state;

/* True once the allocator can be used. Cheap when it is. */
bool engine_start(void);
static ALWAYS_INLINE bool engine_ready(void) {
    /* order: acquire: everything made at start is seen. pairs: [engine.start] */
    return LIKELY(atomic_load_explicit(&engine_state, memory_order_acquire) == ENGINE_READY) || engine_start();
}

/* The same without starting. */
static ALWAYS_INLINE bool engine_started(void) {
    /* order: acquire, as above. pairs: [engine.start] */
    return atomic_load_explicit(&engine_state, memory_order_acquire) == ENGINE_READY;
}

/* Housekeeping now and then; called at the end of slow calls with nothing held. */
void engine_tick_maybe(void);
/* The same for an allocation that is looked at because all are (mag_watch()), and found a magazine. */
void engine_tick_watched(void);
/* The same at the end of a free: many bytes count as many calls. */
void engine_tick_freed(size_t bytes);
/* Whoever was ticking at the fork is not in the child. */
void engine_tick_fork_child(void);
/* With background=on: a thread that ticks. Needs a running libc. */
void engine_background_start(void);
/* Memory ran out: gives back what it can. True: worth another try. */
bool engine_reclaim(void);

/* p is no live object: report it, or bear with it if it is another allocator's. Returns only in the latter case. */
void engine_bad_pointer(const void *p);

/* --- counted calls (only with the stats option) --- */
enum engine_call {
    ENGINE_CALL_MALLOC,
    ENGINE_CALL_CALLOC,
    ENGINE_CALL_REALLOC,
    ENGINE_CALL_MEMALIGN,
    ENGINE_CALL_FREE,
    ENGINE_CALLS_NR
};
extern HIDDEN bool engine_counting;
extern _Atomic(u64) engine_ticks_nr;
/* Of calls so far; bytes out, exact at rest; the most of them, within a sixteenth, or 4 KiB, for each id. */
u64 engine_calls_get(enum engine_call call);
s64 engine_live_get(void);
s64 engine_peak_get(void);
void engine_count(enum engine_call call, s64 bytes);

#endif
