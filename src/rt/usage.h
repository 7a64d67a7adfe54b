/* SPDX-License-Identifier: MIT */
/* How much memory the whole process holds through quarry, and whether a hard limit admits more. Kept by page/
 * and big/. */
#ifndef QUARRY_RT_USAGE_H
#define QUARRY_RT_USAGE_H

#include "base/types.h"
#include "rt/meta.h"
#include "rt/options.h"

/*
 * The limits in force: the options', or lower ones of control groups, which change while the program runs. Whether
 * there can be any is fixed at start: then the option is not 0 (RT_LIMIT_NONE where only control groups may set one).
 */
#define RT_LIMIT_NONE ((size_t)1 << 46)
extern _Atomic(u64) rt_usage_group_soft, rt_usage_group_hard; /* UINT64_MAX: none */
static inline u64 rt_limit_soft(void) {
    return MIN(rt_opt.limit_soft, atomic_load_explicit(&rt_usage_group_soft, memory_order_relaxed));
}
static inline u64 rt_limit_hard(void) {
    return MIN(rt_opt.limit_hard, atomic_load_explicit(&rt_usage_group_hard, memory_order_relaxed));
}

extern _Atomic(s64) rt_usage_bytes;
/* Bytes of slab objects outside their slabs: with the program and in magazines. Kept by slab/. */
extern _Atomic(s64) rt_usage_out_bytes;
/* Of wholly free slabs that are kept; in page/ they count as free pages do. */
extern _Atomic(s64) rt_usage_empty_bytes;

/*
 * Waves. Memory that was purged and soon wanted again shows a program that works in waves, and page/ and slab/ each
 * remember how much they regret and keep that much more. How low the waves go is remembered here: a program whose use
 * falls far below its lowest wave has ended its work, and nothing is kept for another. Hints, approximate under
 * contention.
 */
void rt_usage_purged(void);    /* memory is being purged now */
void rt_usage_regretted(void); /* some that was purged is wanted again */
bool rt_usage_in_waves(void);  /* whether regret still counts */

static inline void rt_usage_add(s64 bytes) { atomic_fetch_add_explicit(&rt_usage_bytes, bytes, memory_order_relaxed); }
static inline s64 rt_usage_out_get(void) { return atomic_load_explicit(&rt_usage_out_bytes, memory_order_relaxed); }
static inline s64 rt_usage_get(void) { return atomic_load_explicit(&rt_usage_bytes, memory_order_relaxed); }

/* What the limits are compared with: runs and regions that may hold memory, and quarry's own records. */
static inline u64 rt_usage_total(void) {
    return (u64)MAX(rt_usage_get(), 0) + atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed);
}
/*
 * Counts bytes that are about to be used, unless limit_hard forbids. Exact among threads: all add to one counter before
 * they use anything, so the last of those that together pass the limit sees the sum of all. One that is refused is
 * counted for a moment, and may make another be refused that had room: that one reclaims and tries again.
 */
static inline bool rt_usage_reserve(size_t bytes) {
    rt_usage_add((s64)bytes);
    if (LIKELY(rt_opt.limit_hard == 0) || rt_usage_total() <= rt_limit_hard())
        return true;
    rt_usage_add(-(s64)bytes);
    return false;
}
/* So many bytes more would pass limit_hard now. */
static inline bool rt_usage_forbids(size_t bytes) {
    return rt_opt.limit_hard != 0 && rt_usage_total() + bytes > rt_limit_hard();
}
static inline bool rt_usage_pressed(void) { return rt_opt.limit_soft != 0 && rt_usage_total() > rt_limit_soft(); }

#endif
