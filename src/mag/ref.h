/* SPDX-License-Identifier: MIT */
/*
 * The model in C of the per-CPU primitives: what the sections of rseq_<arch>.h do, on slots the caller has for itself
 * (under a region's lock, or after the id was stopped). Fallback, reference in tests, and the build for ThreadSanitizer
 * in one. Accesses are relaxed atomics because accounts are read meanwhile.
 */
#ifndef QUARRY_MAG_REF_H
#define QUARRY_MAG_REF_H

#include "mag/rseq.h"

static inline u64 ref_load(const u64 *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void ref_store(u64 *word, u64 value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

static inline void *ref_pop(u64 *slots, u64 slot) {
    u64 *top = (u64 *)ref_load(&slots[slot]); // NOLINT(performance-no-int-to-ptr)
    u64 obj = ref_load(top);
    if (obj & MAG_WORD_END)
        return NULL;
    ref_store(&slots[slot], (u64)(top - 1));
    return (void *)obj; // NOLINT(performance-no-int-to-ptr)
}

static inline bool ref_push(u64 *slots, u64 slot, void *p) {
    u64 *top = (u64 *)ref_load(&slots[slot]); // NOLINT(performance-no-int-to-ptr)
    if (ref_load(&top[1]) & MAG_WORD_END)
        return false;
    ref_store(&top[1], (u64)p);
    ref_store(&slots[slot], (u64)(top + 1));
    return true;
}

static inline u64 ref_pop_run(u64 *slots, u64 slot, u64 nr, void **objs) {
    u64 done = 0;
    while (done < nr && (objs[done] = ref_pop(slots, slot)) != NULL)
        done++;
    return done;
}

static inline u64 ref_push_run(u64 *slots, u64 slot, u64 nr, void *const *objs) {
    u64 done = 0;
    while (done < nr && ref_push(slots, slot, objs[done]))
        done++;
    return done;
}

static inline u64 *ref_word(u64 *slots, s64 off) { return (u64 *)(void *)((char *)slots + off); }

static inline enum rseq_status ref_swap_if_empty(u64 *slots, s64 off, u64 next, u64 *ret_old) {
    *ret_old = ref_load(ref_word(slots, off));
    if ((ref_load((u64 *)*ret_old) & MAG_WORD_STOPPED) != MAG_WORD_END) // NOLINT(performance-no-int-to-ptr)
        return RSEQ_REFUSED;
    ref_store(ref_word(slots, off), next);
    return RSEQ_DONE;
}

static inline enum rseq_status ref_swap_if_full(u64 *slots, s64 off, u64 next, u64 *ret_old) {
    *ret_old = ref_load(ref_word(slots, off));
    if ((ref_load((u64 *)*ret_old + 1) & MAG_WORD_STOPPED) != MAG_WORD_END) // NOLINT(performance-no-int-to-ptr)
        return RSEQ_REFUSED;
    ref_store(ref_word(slots, off), next);
    return RSEQ_DONE;
}

static inline enum rseq_status ref_swap_if_equal(u64 *slots, s64 off, u64 expected, u64 next, u64 *ret_old) {
    *ret_old = ref_load(ref_word(slots, off));
    if (*ret_old != expected)
        return RSEQ_REFUSED;
    ref_store(ref_word(slots, off), next);
    return RSEQ_DONE;
}

#endif
