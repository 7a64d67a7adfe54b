/* SPDX-License-Identifier: MIT */
/* Chooses the per-CPU primitives of this architecture. */
#ifndef QUARRY_MAG_RSEQ_H
#define QUARRY_MAG_RSEQ_H

#if QUARRY_RSEQ && defined(__x86_64__)
#include "mag/rseq_x86_64.h"
#elif QUARRY_RSEQ && defined(__aarch64__)
#include "mag/rseq_aarch64.h"
#else
#include "mag/rseq_none.h"
#endif

#if !QUARRY_RSEQ || !defined(__x86_64__)
#define RSEQ_POP_ENTRY(entry)                                                                                          \
    static ALWAYS_INLINE void *entry##_pop(u64 *const *views, u64 size) {                                              \
        return rseq_pop(views, mag_tabs.classes.small[size] / sizeof(u64));                                            \
    }
/* rseq_pop and rseq_push with the slot that is table[index] bytes behind the first. */
static ALWAYS_INLINE void *rseq_pop_at(u64 *const *views, const u16 *table, u64 index) {
    return rseq_pop(views, table[index] / sizeof(u64));
}
static ALWAYS_INLINE bool rseq_push_at(u64 *const *views, const u32 *table, s64 index, void *p) {
    return rseq_push(views, table[index] / sizeof(u64), p);
}
#endif

#endif
