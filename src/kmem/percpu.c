/* SPDX-License-Identifier: MIT */
/*
 * The operations on this CPU's copy of a variable: a restartable sequence where there is one, else, and while some
 * thread holds the copy, an atomic operation with the copy held. Owns nothing.
 *
 * The atomic operation, though no other thread is near: a signal handler on top of it finds the copy its own thread's
 * and must not be lost.
 */
#include "kmem/percpu_ops.h"

void *quarry_percpu_at(const void *p, unsigned cpu) {
    return (void *)(percpu_base(p) + ((uintptr_t)cpu << PERCPU_COPY_SHIFT)); // NOLINT(performance-no-int-to-ptr)
}

void *quarry_percpu_here(const void *p) { return quarry_percpu_at(p, percpu_number_racy()); }

/* Address of base in the copy this thread holds from now on. */
static void *hold_at(uintptr_t base) {
    uintptr_t at = base + ((uintptr_t)percpu_get() << PERCPU_COPY_SHIFT);
    return (void *)at; // NOLINT(performance-no-int-to-ptr)
}

/* A thread that holds a copy works on that, wherever it runs by now. */
static ALWAYS_INLINE bool by_section(void) { return percpu.rseq && percpu_held_word == 0; }

/* Relaxed: other CPUs are promised nothing, as in the kernel; the lock orders what follows on this copy. */
#define PERCPU_ENTRIES(bytes, bits)                                                                                    \
    static COLD u64 read_held_##bits(uintptr_t base) {                                                                 \
        u64 value = __atomic_load_n((u##bits *)hold_at(base), __ATOMIC_RELAXED);                                       \
        percpu_put();                                                                                                  \
        return value;                                                                                                  \
    }                                                                                                                  \
    static COLD void write_held_##bits(uintptr_t base, u64 value) {                                                    \
        __atomic_store_n((u##bits *)hold_at(base), (u##bits)value, __ATOMIC_RELAXED);                                  \
        percpu_put();                                                                                                  \
    }                                                                                                                  \
    static COLD u64 add_held_##bits(uintptr_t base, u64 value) {                                                       \
        u64 old = __atomic_fetch_add((u##bits *)hold_at(base), (u##bits)value, __ATOMIC_RELAXED);                      \
        percpu_put();                                                                                                  \
        return old;                                                                                                    \
    }                                                                                                                  \
    static COLD void and_held_##bits(uintptr_t base, u64 value) {                                                      \
        (void)__atomic_fetch_and((u##bits *)hold_at(base), (u##bits)value, __ATOMIC_RELAXED);                          \
        percpu_put();                                                                                                  \
    }                                                                                                                  \
    static COLD void or_held_##bits(uintptr_t base, u64 value) {                                                       \
        (void)__atomic_fetch_or((u##bits *)hold_at(base), (u##bits)value, __ATOMIC_RELAXED);                           \
        percpu_put();                                                                                                  \
    }                                                                                                                  \
    static COLD u64 xchg_held_##bits(uintptr_t base, u64 value) {                                                      \
        u64 old = __atomic_exchange_n((u##bits *)hold_at(base), (u##bits)value, __ATOMIC_RELAXED);                     \
        percpu_put();                                                                                                  \
        return old;                                                                                                    \
    }                                                                                                                  \
    static COLD u64 cmpxchg_held_##bits(uintptr_t base, u64 expected, u64 value) {                                     \
        u##bits old = (u##bits)expected;                                                                               \
        (void)__atomic_compare_exchange_n((u##bits *)hold_at(base), &old, (u##bits)value, false, __ATOMIC_RELAXED,     \
                                          __ATOMIC_RELAXED);                                                           \
        percpu_put();                                                                                                  \
        return old;                                                                                                    \
    }                                                                                                                  \
    uint64_t quarry_this_cpu_read_##bytes(const void *p) {                                                             \
        uintptr_t base = percpu_base(p);                                                                               \
        u64 value;                                                                                                     \
        return by_section() && percpu_read_##bits(base, &value) ? value : read_held_##bits(base);                      \
    }                                                                                                                  \
    void quarry_this_cpu_write_##bytes(void *p, uint64_t value) {                                                      \
        uintptr_t base = percpu_base(p);                                                                               \
        if (!by_section() || !percpu_write_##bits(base, value))                                                        \
            write_held_##bits(base, value);                                                                            \
    }                                                                                                                  \
    uint64_t quarry_this_cpu_add_##bytes(void *p, uint64_t value) {                                                    \
        uintptr_t base = percpu_base(p);                                                                               \
        u64 old = value;                                                                                               \
        if (!by_section() || !percpu_add_##bits(base, &old))                                                           \
            old = add_held_##bits(base, value);                                                                        \
        return (u##bits)(old + value);                                                                                 \
    }                                                                                                                  \
    void quarry_this_cpu_and_##bytes(void *p, uint64_t value) {                                                        \
        uintptr_t base = percpu_base(p);                                                                               \
        if (!by_section() || !percpu_and_##bits(base, value))                                                          \
            and_held_##bits(base, value);                                                                              \
    }                                                                                                                  \
    void quarry_this_cpu_or_##bytes(void *p, uint64_t value) {                                                         \
        uintptr_t base = percpu_base(p);                                                                               \
        if (!by_section() || !percpu_or_##bits(base, value))                                                           \
            or_held_##bits(base, value);                                                                               \
    }                                                                                                                  \
    uint64_t quarry_this_cpu_xchg_##bytes(void *p, uint64_t value) {                                                   \
        uintptr_t base = percpu_base(p);                                                                               \
        u64 old;                                                                                                       \
        return by_section() && percpu_xchg_##bits(base, value, &old) ? old : xchg_held_##bits(base, value);            \
    }                                                                                                                  \
    uint64_t quarry_this_cpu_cmpxchg_##bytes(void *p, uint64_t expected, uint64_t value) {                             \
        uintptr_t base = percpu_base(p);                                                                               \
        u64 old = expected;                                                                                            \
        if (!by_section() || !percpu_cmpxchg_##bits(base, &old, value))                                                \
            old = cmpxchg_held_##bits(base, expected, value);                                                          \
        return (u##bits)old;                                                                                           \
    }

PERCPU_ENTRIES(1, 8)
PERCPU_ENTRIES(2, 16)
PERCPU_ENTRIES(4, 32)
PERCPU_ENTRIES(8, 64)
