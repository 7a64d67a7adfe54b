/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU variables in user space, with a prefix; <linux/percpu.h> puts the kernel's names on these. Each variable has
 * a copy for each CPU the kernel may number, and one more for threads that it gives no number (those without a
 * restartable sequence area: what glibc could not register). Link with -lquarry-kmem -lquarry.
 *
 * quarry_this_cpu_add() and its kin change the copy of the CPU the thread runs on at that moment, indivisibly with
 * regard to preemption, migration and signal handlers: on x86-64 by a restartable sequence (rseq(2)) without lock
 * prefix, elsewhere and without rseq by an atomic operation with the copy locked. Nothing is lost and nothing is torn;
 * other CPUs are promised no order. Any function here may be called in a signal handler, but for what may wait: an
 * operation waits while another thread holds the copy (quarry_get_cpu).
 *
 * Preemption cannot be switched off in user space. Between quarry_get_cpu() and quarry_put_cpu() a thread holds the
 * copy of the CPU it was on: it may be preempted and moved, but "this CPU" stays that one for it, and all others who
 * come to that copy, by these functions, wait. So what a kernel section may rely on holds, with one duty as in the
 * kernel: such a section must not block, for others wait for it. It nests. A handler on top of it works on the copy it
 * interrupted, as an interrupt does.
 *
 * Not for children of vfork() or clone(CLONE_VM) beside the parent: the kernel keeps no CPU number for them. Valid as
 * C11 and C++17, with GNU's statement expressions and typeof.
 */
#ifndef QUARRY_KMEM_PERCPU_H
#define QUARRY_KMEM_PERCPU_H

#include "quarry/kmem.h"

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#define QUARRY_PERCPU_ASSERT(...) static_assert(__VA_ARGS__)
#else
#define QUARRY_NOTHROW
#define QUARRY_PERCPU_ASSERT(...) _Static_assert(__VA_ARGS__)
#endif

/* --- copies --- */

/* How many copies each variable has: CPUs the kernel may number, and one. They are numbered from 0. */
unsigned quarry_percpu_nr(void) QUARRY_NOTHROW;
#define quarry_nr_cpu_ids quarry_percpu_nr()
#define quarry_num_possible_cpus() quarry_percpu_nr()
/* Also over the copy of threads without a CPU number: who sums a variable up must. */
#define quarry_for_each_possible_cpu(cpu) for ((cpu) = 0; (unsigned)(cpu) < quarry_percpu_nr(); (cpu)++)
/* A CPU that is offline keeps what it counted. */
#define quarry_for_each_online_cpu(cpu) quarry_for_each_possible_cpu(cpu)
/* The copy of this CPU: the one held, else stale on return. */
unsigned quarry_smp_processor_id(void) QUARRY_NOTHROW;
#define quarry_raw_smp_processor_id() quarry_smp_processor_id()
/* Holds this CPU's copies until the put; returns their number. */
unsigned quarry_get_cpu(void) QUARRY_NOTHROW;
void quarry_put_cpu(void) QUARRY_NOTHROW;

/* Where copy number cpu of the variable p lies, and this CPU's. p is what alloc_percpu gave or the address of a
 * DEFINE_PER_CPU variable, or points into one; the program ends for any other. */
void *quarry_percpu_at(const void *p, unsigned cpu) QUARRY_NOTHROW;
void *quarry_percpu_here(const void *p) QUARRY_NOTHROW;

/* --- dynamic variables --- */

/* size: 1 to 32 KiB; align: a power of two up to 4096, or less than 4, which is taken for 4. All copies are zeroed.
 * NULL: memory is out, or size or align is not allowed (a line on stderr, once, without __GFP_NOWARN). Without
 * __GFP_DIRECT_RECLAIM it makes no system call and waits for nobody, and succeeds only where a chunk has room. With
 * __GFP_ACCOUNT all copies are charged to this thread's account (quarry/kmem_account.h). What it returns is no address:
 * see quarry_percpu_at. */
void *quarry_alloc_percpu(size_t size, size_t align, quarry_gfp_t flags) QUARRY_NOTHROW;
/* NULL is let pass. Never waits. */
void quarry_free_percpu(void *p) QUARRY_NOTHROW;
#define quarry___alloc_percpu_gfp(size, align, flags) quarry_alloc_percpu(size, align, flags)
#define quarry___alloc_percpu(size, align) quarry_alloc_percpu(size, align, QUARRY_GFP_KERNEL)
#define quarry_alloc_percpu_gfp(type, flags)                                                                           \
    ((__typeof__(type) *)quarry_alloc_percpu(sizeof(type), __alignof__(type), flags))

/* --- variables of a program or library --- */

/* The section the linker gathers them in; it holds the initial values. */
#define QUARRY_PERCPU_SECTION __attribute__((section("quarry_percpu")))
#define QUARRY_DECLARE_PER_CPU(type, name) extern __typeof__(type) name
#define QUARRY_DEFINE_PER_CPU(type, name) QUARRY_PERCPU_SECTION __typeof__(type) name
/* Each copy begins a cache line. */
#define QUARRY_DECLARE_PER_CPU_ALIGNED(type, name) QUARRY_DECLARE_PER_CPU(type, name) __attribute__((aligned(64)))
#define QUARRY_DEFINE_PER_CPU_ALIGNED(type, name) QUARRY_DEFINE_PER_CPU(type, name) __attribute__((aligned(64)))
#define QUARRY_DECLARE_PER_CPU_SHARED_ALIGNED(type, name) QUARRY_DECLARE_PER_CPU_ALIGNED(type, name)
#define QUARRY_DEFINE_PER_CPU_SHARED_ALIGNED(type, name) QUARRY_DEFINE_PER_CPU_ALIGNED(type, name)

/* A module, which is a program or a shared library, tells of its section before its own constructors run, once for
 * each file that includes this header; copies are made at the first. */
void quarry_percpu_load(char *start, char *end) QUARRY_NOTHROW;
void quarry_percpu_unload(char *start) QUARRY_NOTHROW;
#ifndef QUARRY_PERCPU_NO_MODULE
extern char quarry_percpu_section_start[] __asm__("__start_quarry_percpu") __attribute__((visibility("hidden")));
extern char quarry_percpu_section_end[] __asm__("__stop_quarry_percpu") __attribute__((visibility("hidden")));
/* So that there is a section. */
static QUARRY_PERCPU_SECTION __attribute__((used, aligned(8))) char quarry_percpu_anchor[8];
static __attribute__((constructor(101), used)) void quarry_percpu_module_load(void) {
    quarry_percpu_load(quarry_percpu_section_start, quarry_percpu_section_end);
}
static __attribute__((destructor(101), used)) void quarry_percpu_module_unload(void) {
    quarry_percpu_unload(quarry_percpu_section_start);
}
#endif

/* --- operations on a word of 1, 2, 4 or 8 bytes of this CPU's copy --- */

#define QUARRY_PERCPU_OPERATIONS(bytes)                                                                                \
    uint64_t quarry_this_cpu_read_##bytes(const void *p) QUARRY_NOTHROW;                                               \
    void quarry_this_cpu_write_##bytes(void *p, uint64_t value) QUARRY_NOTHROW;                                        \
    uint64_t quarry_this_cpu_add_##bytes(void *p, uint64_t value) QUARRY_NOTHROW; /* returns the sum */                \
    void quarry_this_cpu_and_##bytes(void *p, uint64_t value) QUARRY_NOTHROW;                                          \
    void quarry_this_cpu_or_##bytes(void *p, uint64_t value) QUARRY_NOTHROW;                                           \
    uint64_t quarry_this_cpu_xchg_##bytes(void *p, uint64_t value) QUARRY_NOTHROW; /* returns the old word */          \
    uint64_t quarry_this_cpu_cmpxchg_##bytes(void *p, uint64_t expected, uint64_t value)                               \
        QUARRY_NOTHROW; /* returns the old word; it was exchanged if that is expected */
QUARRY_PERCPU_OPERATIONS(1)
QUARRY_PERCPU_OPERATIONS(2)
QUARRY_PERCPU_OPERATIONS(4)
QUARRY_PERCPU_OPERATIONS(8)
#undef QUARRY_PERCPU_OPERATIONS

/* The function of the variable's size. */
#define QUARRY_PERCPU_SIZED(pcp, op, ...)                                                                              \
    __extension__({                                                                                                    \
        QUARRY_PERCPU_ASSERT(sizeof(pcp) == 1 || sizeof(pcp) == 2 || sizeof(pcp) == 4 || sizeof(pcp) == 8,             \
                             "1, 2, 4 or 8 bytes");                                                                    \
        sizeof(pcp) == 1   ? op##_1(__VA_ARGS__)                                                                       \
        : sizeof(pcp) == 2 ? op##_2(__VA_ARGS__)                                                                       \
        : sizeof(pcp) == 4 ? op##_4(__VA_ARGS__)                                                                       \
                           : op##_8(__VA_ARGS__);                                                                      \
    })
#define QUARRY_PERCPU_WORD(value) ((uint64_t)(value))

/* pcp is the variable itself, as in quarry_this_cpu_add(counter, 1), or what a per-CPU pointer points to. */
#define quarry_this_cpu_read(pcp) ((__typeof__(pcp))QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_read, &(pcp)))
#define quarry_this_cpu_write(pcp, value)                                                                              \
    QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_write, &(pcp), QUARRY_PERCPU_WORD(value))
#define quarry_this_cpu_add_return(pcp, value)                                                                         \
    ((__typeof__(pcp))QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_add, &(pcp), QUARRY_PERCPU_WORD(value)))
#define quarry_this_cpu_sub_return(pcp, value)                                                                         \
    ((__typeof__(pcp))QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_add, &(pcp), 0 - QUARRY_PERCPU_WORD(value)))
#define quarry_this_cpu_inc_return(pcp) quarry_this_cpu_add_return(pcp, 1)
#define quarry_this_cpu_dec_return(pcp) quarry_this_cpu_sub_return(pcp, 1)
#define quarry_this_cpu_add(pcp, value) ((void)quarry_this_cpu_add_return(pcp, value))
#define quarry_this_cpu_sub(pcp, value) ((void)quarry_this_cpu_sub_return(pcp, value))
#define quarry_this_cpu_inc(pcp) quarry_this_cpu_add(pcp, 1)
#define quarry_this_cpu_dec(pcp) quarry_this_cpu_sub(pcp, 1)
#define quarry_this_cpu_and(pcp, value) QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_and, &(pcp), QUARRY_PERCPU_WORD(value))
#define quarry_this_cpu_or(pcp, value) QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_or, &(pcp), QUARRY_PERCPU_WORD(value))
#define quarry_this_cpu_xchg(pcp, value)                                                                               \
    ((__typeof__(pcp))QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_xchg, &(pcp), QUARRY_PERCPU_WORD(value)))
#define quarry_this_cpu_cmpxchg(pcp, expected, value)                                                                  \
    ((__typeof__(pcp))QUARRY_PERCPU_SIZED(pcp, quarry_this_cpu_cmpxchg, &(pcp), QUARRY_PERCPU_WORD(expected),          \
                                          QUARRY_PERCPU_WORD(value)))

/* True and *expected as it was, or false and in it what is there. */
#define quarry_this_cpu_try_cmpxchg(pcp, expected, value)                                                              \
    __extension__({                                                                                                    \
        __typeof__(pcp) *quarry_expected = (expected), quarry_seen = *quarry_expected;                                 \
        quarry_seen = quarry_this_cpu_cmpxchg(pcp, quarry_seen, value);                                                \
        bool quarry_done = quarry_seen == *quarry_expected;                                                            \
        *quarry_expected = quarry_seen;                                                                                \
        quarry_done;                                                                                                   \
    })

/* The forms for callers that have preemption off, or do not care: no cheaper here. */
#define quarry___this_cpu_read(pcp) quarry_this_cpu_read(pcp)
#define quarry___this_cpu_write(pcp, value) quarry_this_cpu_write(pcp, value)
#define quarry___this_cpu_add(pcp, value) quarry_this_cpu_add(pcp, value)
#define quarry___this_cpu_sub(pcp, value) quarry_this_cpu_sub(pcp, value)
#define quarry___this_cpu_inc(pcp) quarry_this_cpu_inc(pcp)
#define quarry___this_cpu_dec(pcp) quarry_this_cpu_dec(pcp)
#define quarry___this_cpu_and(pcp, value) quarry_this_cpu_and(pcp, value)
#define quarry___this_cpu_or(pcp, value) quarry_this_cpu_or(pcp, value)
#define quarry___this_cpu_add_return(pcp, value) quarry_this_cpu_add_return(pcp, value)
#define quarry___this_cpu_sub_return(pcp, value) quarry_this_cpu_sub_return(pcp, value)
#define quarry___this_cpu_inc_return(pcp) quarry_this_cpu_inc_return(pcp)
#define quarry___this_cpu_dec_return(pcp) quarry_this_cpu_dec_return(pcp)
#define quarry___this_cpu_xchg(pcp, value) quarry_this_cpu_xchg(pcp, value)
#define quarry___this_cpu_cmpxchg(pcp, expected, value) quarry_this_cpu_cmpxchg(pcp, expected, value)
#define quarry___this_cpu_try_cmpxchg(pcp, expected, value) quarry_this_cpu_try_cmpxchg(pcp, expected, value)
#define quarry_raw_cpu_read(pcp) quarry_this_cpu_read(pcp)
#define quarry_raw_cpu_write(pcp, value) quarry_this_cpu_write(pcp, value)
#define quarry_raw_cpu_add(pcp, value) quarry_this_cpu_add(pcp, value)
#define quarry_raw_cpu_sub(pcp, value) quarry_this_cpu_sub(pcp, value)
#define quarry_raw_cpu_inc(pcp) quarry_this_cpu_inc(pcp)
#define quarry_raw_cpu_dec(pcp) quarry_this_cpu_dec(pcp)
#define quarry_raw_cpu_and(pcp, value) quarry_this_cpu_and(pcp, value)
#define quarry_raw_cpu_or(pcp, value) quarry_this_cpu_or(pcp, value)
#define quarry_raw_cpu_add_return(pcp, value) quarry_this_cpu_add_return(pcp, value)
#define quarry_raw_cpu_xchg(pcp, value) quarry_this_cpu_xchg(pcp, value)
#define quarry_raw_cpu_cmpxchg(pcp, expected, value) quarry_this_cpu_cmpxchg(pcp, expected, value)
#define quarry_raw_cpu_try_cmpxchg(pcp, expected, value) quarry_this_cpu_try_cmpxchg(pcp, expected, value)

/* --- copies by address --- */

#define quarry_per_cpu_ptr(p, cpu) ((__typeof__(p))quarry_percpu_at((p), (unsigned)(cpu)))
#define quarry_this_cpu_ptr(p) ((__typeof__(p))quarry_percpu_here(p))
#define quarry_raw_cpu_ptr(p) quarry_this_cpu_ptr(p)
#define quarry_per_cpu(name, cpu) (*quarry_per_cpu_ptr(&(name), cpu))
/* This CPU's copy, held until the put. */
#define quarry_get_cpu_ptr(p)                                                                                          \
    __extension__({                                                                                                    \
        (void)quarry_get_cpu();                                                                                        \
        quarry_this_cpu_ptr(p);                                                                                        \
    })
#define quarry_put_cpu_ptr(p) ((void)(p), quarry_put_cpu())
#define quarry_get_cpu_var(name) (*quarry_get_cpu_ptr(&(name)))
#define quarry_put_cpu_var(name) quarry_put_cpu_ptr(&(name))

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
