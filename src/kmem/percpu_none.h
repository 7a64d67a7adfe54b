/* SPDX-License-Identifier: MIT */
/* Where there are no sections for this architecture, or the build has none: nothing is done here, and the caller locks
 * the copy. Called as percpu_x86_64.h is. */
#ifndef QUARRY_KMEM_PERCPU_NONE_H
#define QUARRY_KMEM_PERCPU_NONE_H

#include "kmem/percpu.h"

static inline bool percpu_try_hold(u64 word, unsigned *ret_cpu) {
    (void)word, (void)ret_cpu;
    return false;
}
static inline bool percpu_push(const u64 *set, void *head, void **ret_first) {
    (void)set, (void)head, (void)ret_first;
    return false;
}
static inline bool percpu_put_word(const u64 *set, u32 slot_at, u32 block_bytes, const void *word) {
    (void)set, (void)slot_at, (void)block_bytes, (void)word;
    return false;
}
static inline bool percpu_put_place(const u64 *set, u32 slot_at, u32 block_bytes, u64 place, u64 *ret_before) {
    (void)set, (void)slot_at, (void)block_bytes, (void)place, (void)ret_before;
    return false;
}
static inline int percpu_cpu_racy(void) { return -1; }

#define PERCPU_OPERATIONS(bits)                                                                                        \
    static inline bool percpu_read_##bits(uintptr_t base, u64 *ret_value) {                                            \
        (void)base, (void)ret_value;                                                                                   \
        return false;                                                                                                  \
    }                                                                                                                  \
    static inline bool percpu_write_##bits(uintptr_t base, u64 value) {                                                \
        (void)base, (void)value;                                                                                       \
        return false;                                                                                                  \
    }                                                                                                                  \
    static inline bool percpu_add_##bits(uintptr_t base, u64 *value) {                                                 \
        (void)base, (void)value;                                                                                       \
        return false;                                                                                                  \
    }                                                                                                                  \
    static inline bool percpu_and_##bits(uintptr_t base, u64 value) {                                                  \
        (void)base, (void)value;                                                                                       \
        return false;                                                                                                  \
    }                                                                                                                  \
    static inline bool percpu_or_##bits(uintptr_t base, u64 value) {                                                   \
        (void)base, (void)value;                                                                                       \
        return false;                                                                                                  \
    }                                                                                                                  \
    static inline bool percpu_xchg_##bits(uintptr_t base, u64 value, u64 *ret_old) {                                   \
        (void)base, (void)value, (void)ret_old;                                                                        \
        return false;                                                                                                  \
    }                                                                                                                  \
    static inline bool percpu_cmpxchg_##bits(uintptr_t base, u64 *expected, u64 value) {                               \
        (void)base, (void)expected, (void)value;                                                                       \
        return false;                                                                                                  \
    }

PERCPU_OPERATIONS(8)
PERCPU_OPERATIONS(16)
PERCPU_OPERATIONS(32)
PERCPU_OPERATIONS(64)

#undef PERCPU_OPERATIONS

#endif
