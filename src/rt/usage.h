/* SPDX-License-Identifier: MIT */
/* How much memory the whole process holds through quarry, and whether the limit_hard option admits more. Kept by page/
 * and big/. */
#ifndef QUARRY_RT_USAGE_H
#define QUARRY_RT_USAGE_H

#include "base/types.h"
#include "rt/options.h"

extern _Atomic(s64) rt_usage_bytes;

static inline void rt_usage_add(s64 bytes) { atomic_fetch_add_explicit(&rt_usage_bytes, bytes, memory_order_relaxed); }
static inline s64 rt_usage_get(void) { return atomic_load_explicit(&rt_usage_bytes, memory_order_relaxed); }

/* Racy: threads that pass at the same moment may exceed the limit by what they each asked for. */
static inline bool rt_usage_admits(size_t bytes) {
    return LIKELY(rt_opt.limit_hard == 0) || (u64)rt_usage_get() + bytes <= rt_opt.limit_hard;
}
static inline bool rt_usage_pressed(void) { return rt_opt.limit_soft != 0 && (u64)rt_usage_get() > rt_opt.limit_soft; }

#endif
