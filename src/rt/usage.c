/* SPDX-License-Identifier: MIT */
/* The counters behind usage.h. */
#include "rt/usage.h"

_Atomic(s64) rt_usage_bytes;
_Atomic(s64) rt_usage_out_bytes;
_Atomic(s64) rt_usage_empty_bytes;
_Atomic(u64) rt_usage_group_soft = UINT64_MAX;
_Atomic(u64) rt_usage_group_hard = UINT64_MAX;

enum { TROUGH_PART = 8 };
#define TROUGH_SLACK_BYTES ((s64)(2 * MIB))

static _Atomic(s64) lowest = INT64_MAX; /* use at the purges since the last regret; INT64_MAX when there was none */
static _Atomic(s64) trough;             /* where waves turn: follows a lower one at once, a higher one slowly */

void rt_usage_purged(void) {
    s64 out = rt_usage_out_get();
    if (out < atomic_load_explicit(&lowest, memory_order_relaxed))
        atomic_store_explicit(&lowest, out, memory_order_relaxed);
}

void rt_usage_regretted(void) {
    s64 low = atomic_load_explicit(&lowest, memory_order_relaxed);
    if (low == INT64_MAX)
        return;
    s64 old = atomic_load_explicit(&trough, memory_order_relaxed);
    atomic_store_explicit(&trough, low < old ? low : old + (low - old) / TROUGH_PART, memory_order_relaxed);
    atomic_store_explicit(&lowest, INT64_MAX, memory_order_relaxed);
}

bool rt_usage_in_waves(void) {
    return rt_usage_out_get() * 2 + TROUGH_SLACK_BYTES >= atomic_load_explicit(&trough, memory_order_relaxed);
}
