/* SPDX-License-Identifier: MIT */
/* A count of references in an object, and who frees the object with the last. Lock-free and async-signal-safe. */
#ifndef QUARRY_KERNEL_LINUX_KREF_H
#define QUARRY_KERNEL_LINUX_KREF_H

#include <linux/types.h>

struct kref {
    int refs;
};

#define KREF_INIT(nr)                                                                                                  \
    { (nr) }

static inline void kref_init(struct kref *ref) { __atomic_store_n(&ref->refs, 1, __ATOMIC_RELAXED); }
static inline unsigned int kref_read(const struct kref *ref) {
    return (unsigned int)__atomic_load_n(&ref->refs, __ATOMIC_RELAXED);
}
/* For who has one already. */
static inline void kref_get(struct kref *ref) { (void)__atomic_fetch_add(&ref->refs, 1, __ATOMIC_RELAXED); }
/* For who found the object under a lock or rcu_read_lock(): 0, nothing was done, when it is about to be freed. */
static inline int kref_get_unless_zero(struct kref *ref) {
    int refs = __atomic_load_n(&ref->refs, __ATOMIC_RELAXED);
    while (refs != 0 &&
           !__atomic_compare_exchange_n(&ref->refs, &refs, refs + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
    return refs != 0;
}
/* 1: it was the last, and release was called. */
static inline int kref_put(struct kref *ref, void (*release)(struct kref *ref)) {
    /* All that was done with the object comes before its release. */
    if (__atomic_fetch_sub(&ref->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return 0;
    release(ref);
    return 1;
}

#endif
