/* SPDX-License-Identifier: MIT */
/* The per-CPU primitives where there are none: every operation is refused, and the slow path uses the locked regions.
 * For other architectures, other libcs, and builds for ThreadSanitizer. */
#ifndef QUARRY_MAG_RSEQ_NONE_H
#define QUARRY_MAG_RSEQ_NONE_H

#include "mag/tabs.h"

enum rseq_status { RSEQ_DONE, RSEQ_REFUSED, RSEQ_ABSENT };

static ALWAYS_INLINE void *rseq_pop(u64 *const *views, u64 slot) {
    (void)views, (void)slot;
    return NULL;
}
static ALWAYS_INLINE bool rseq_push(u64 *const *views, u64 slot, void *p) {
    (void)views, (void)slot, (void)p;
    return false;
}
static inline u64 rseq_pop_run(u64 *const *views, u64 slot, u64 nr, void **objs) {
    (void)views, (void)slot, (void)nr, (void)objs;
    return 0;
}
static inline u64 rseq_push_run(u64 *const *views, u64 slot, u64 nr, void *const *objs) {
    (void)views, (void)slot, (void)nr, (void)objs;
    return 0;
}
static inline enum rseq_status rseq_swap_if_empty(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    (void)views, (void)off, (void)next, (void)ret_old;
    return RSEQ_ABSENT;
}
static inline enum rseq_status rseq_swap_if_full(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    (void)views, (void)off, (void)next, (void)ret_old;
    return RSEQ_ABSENT;
}
static inline enum rseq_status rseq_swap_if_equal(u64 *const *views, s64 off, u64 expected, u64 next, u64 *ret_old) {
    (void)views, (void)off, (void)expected, (void)next, (void)ret_old;
    return RSEQ_ABSENT;
}
static inline int rseq_id_racy(void) { return -1; }

#endif
