/* SPDX-License-Identifier: MIT */
/*
 * Operations on this CPU's copy as restartable sequences (rseq(2)), on x86-64: the kernel restarts a section that
 * was interrupted by preemption, migration or a signal before its last instruction, the commit. So the commit needs no
 * lock prefix: no other thread runs on this CPU, and none on another touches this CPU's copy.
 *
 * A copy that a thread holds (percpu_get) is left alone: its lock is looked at inside the section. The lock is
 * taken on its own CPU, by such a section, too (percpu_try_hold), so whoever takes it has interrupted, and thereby
 * restarted, every section of that CPU that saw it free.
 *
 * Called by percpu.c, and by percpu_cpu.c for the lock. The fallback is in percpu.c.
 */
#ifndef QUARRY_KMEM_PERCPU_X86_64_H
#define QUARRY_KMEM_PERCPU_X86_64_H

#include "kmem/percpu.h"
#include "sys/section_x86_64.h"

/* The section's descriptor and its first half. Leaves the offset of this CPU's line in t; done, once the section has
 * ended: 0 when there was no CPU number. */
#define PERCPU_CPU                                                                                                     \
    RSEQ_SECTION_DESCRIPTOR                                                                                            \
    ".pushsection .text.unlikely, \"ax\"\n\t"                                                                          \
    "6: movl $0, %k[done]\n\t"                                                                                         \
    "jmp 7f\n\t"                                                                                                       \
    ".popsection\n\t"                                                                                                  \
    "5: leaq 3b(%%rip), %[t]\n\t"                                                                                      \
    "movq %[t], %%fs:8(%[rseq])\n\t"     /* rseq_cs = &descriptor */                                                   \
    "1: movl %%fs:4(%[rseq]), %k[t]\n\t" /* cpu = cpu_id */                                                            \
    "cmpl %[nr], %k[t]\n\t"              /* if ((u32)cpu >= cpus_nr) exit; negative: not registered */                 \
    "jae 6b\n\t"                                                                                                       \
    "shlq %[lock_shift], %[t]\n\t"

/* Leaves the offset of this CPU's lock in t; done: 0 also when its copy is held. */
#define PERCPU_BEGIN                                                                                                   \
    PERCPU_CPU                                                                                                         \
    "cmpq $0, (%[locks],%[t])\n\t" /* if (locks[cpu] != 0) exit */                                                     \
    "jne 6b\n\t"                                                                                                       \
    "movl $1, %k[done]\n\t"

/* Leaves the offset of this CPU's copy in t. The instruction that follows is the commit. */
#define PERCPU_COPY PERCPU_BEGIN "shlq %[copy_shift], %[t]\n\t"
#define PERCPU_END "2:\n\t7:\n\t"

#define PERCPU_IN                                                                                                      \
    [rseq] "r"(percpu.rseq_offset), [nr] "r"(percpu.cpus_nr), [locks] "r"(percpu.locks),                               \
        [lock_shift] "i"(PERCPU_LOCK_SHIFT), [copy_shift] "i"(PERCPU_COPY_SHIFT - PERCPU_LOCK_SHIFT)

/* Takes the lock of this CPU's copy, as word; *ret_cpu is its number then. */
static inline bool percpu_try_hold(u64 word, unsigned *ret_cpu) {
    u64 t, done;
    __asm__ volatile(PERCPU_BEGIN "movq %[word], (%[locks],%[t])\n\t" /* commit: locks[cpu] = word */
                     PERCPU_END
                     : [t] "=&r"(t), [done] "=&r"(done)
                     : PERCPU_IN, [word] "r"(word)
                     : "memory", "cc");
    *ret_cpu = (unsigned)(t >> PERCPU_LOCK_SHIFT);
    return (u32)done != 0;
}

/*
 * Pushes head, whose first word is its link, on this CPU's list of the set whose first list *set is the address of;
 * lists are as far apart as locks. *ret_first: what was first before. False: there is no CPU number. Held copies are no
 * matter here.
 */
static inline bool percpu_push(const u64 *set, void *head, void **ret_first) {
    u64 t, done;
    void *first;
    __asm__ volatile(PERCPU_CPU "addq %[set], %[t]\n\t" /* list = *set + cpu */
                                "movl $1, %k[done]\n\t"
                                "movq (%[t]), %[first]\n\t"    /* first = *list */
                                "movq %[first], (%[head])\n\t" /* head->next = first */
                                "movq %[head], (%[t])\n\t"     /* commit: *list = head */
                     PERCPU_END
                     : [t] "=&r"(t), [done] "=&r"(done), [first] "=&r"(first)
                     : [rseq] "r"(percpu.rseq_offset), [nr] "m"(percpu.cpus_nr), [set] "m"(*set), [head] "r"(head),
                       [lock_shift] "i"(PERCPU_LOCK_SHIFT)
                     : "memory", "cc");
    *ret_first = first;
    return (u32)done != 0;
}

/*
 * Writes word at the place that this CPU's slot says, slot_at bytes into its list of the set, and moves the slot behind
 * it. False: there is no CPU number, or no place: the slot is 0, or a multiple of block_bytes, which is where a block
 * ends. The slot is addressed by one register, for why see mag/rseq_x86_64.h.
 */
static ALWAYS_INLINE bool percpu_put_word(const u64 *set, u32 slot_at, u32 block_bytes, const void *word) {
    __asm__ goto(RSEQ_SECTION_DESCRIPTOR "5: leaq 3b(%%rip), %%rax\n\t"
                                         "movq %%rax, %%fs:8(%[rseq])\n\t"    /* rseq_cs = &descriptor */
                                         "1: movl %%fs:4(%[rseq]), %%eax\n\t" /* cpu = cpu_id */
                                         "cmpl %[nr], %%eax\n\t"              /* if ((u32)cpu >= cpus_nr) exit */
                                         "jae %l[none]\n\t"
                                         "shlq %[lock_shift], %%rax\n\t"
                                         "addq %[set], %%rax\n\t"        /* list = *set + cpu */
                                         "movq %c[at](%%rax), %%rdx\n\t" /* place = list->slot */
                                         "testl %[mask], %%edx\n\t"      /* if (place % block_bytes == 0) exit */
                                         "jz %l[none]\n\t"
                                         "movq %[word], (%%rdx)\n\t" /* *place = word */
                                         "addq $8, %%rdx\n\t"
                                         "movq %%rdx, %c[at](%%rax)\n\t" /* commit: list->slot = place + 1 */
                                         "2:\n\t"
                 :
                 : [rseq] "r"(percpu.rseq_offset), [nr] "m"(percpu.cpus_nr), [set] "m"(*set), [word] "r"(word),
                   [at] "i"(slot_at), [mask] "i"(block_bytes - 1), [lock_shift] "i"(PERCPU_LOCK_SHIFT)
                 : "memory", "cc", "rax", "rdx"
                 : none);
    return true;
none:
    return false;
}

/* Puts place into this CPU's slot where percpu_put_word would find none; *ret_before: what was there. False: there is
 * no CPU number, or a place. */
static ALWAYS_INLINE bool percpu_put_place(const u64 *set, u32 slot_at, u32 block_bytes, u64 place, u64 *ret_before) {
    u64 t, done, before;
    __asm__ volatile(PERCPU_CPU "addq %[set], %[t]\n\t"
                                "movq %c[at](%[t]), %[before]\n\t"
                                "testl %[mask], %k[before]\n\t" /* if (place % block_bytes != 0) exit */
                                "jnz 6b\n\t"
                                "movl $1, %k[done]\n\t"
                                "movq %[place], %c[at](%[t])\n\t" /* commit: list->slot = place */
                     PERCPU_END
                     : [t] "=&r"(t), [done] "=&r"(done), [before] "=&r"(before)
                     : [rseq] "r"(percpu.rseq_offset), [nr] "m"(percpu.cpus_nr), [set] "m"(*set), [place] "r"(place),
                       [at] "i"(slot_at), [mask] "i"(block_bytes - 1), [lock_shift] "i"(PERCPU_LOCK_SHIFT)
                     : "memory", "cc");
    *ret_before = before;
    return (u32)done != 0;
}

/* The CPU's number now, or -1. */
static inline int percpu_cpu_racy(void) {
    int cpu;
    __asm__ volatile("movl %%fs:4(%1), %0" : "=r"(cpu) : "r"(percpu.rseq_offset));
    return cpu;
}

/*
 * The operations on a word of one size: of base in the CPU's copy. False: none was done. sfx and reg are the size's
 * letters in an instruction and in an operand.
 */
#define PERCPU_OPERATIONS(bits, sfx, reg)                                                                              \
    static inline bool percpu_read_##bits(uintptr_t base, u64 *ret_value) {                                            \
        u64 t, done, value;                                                                                            \
        __asm__ volatile(PERCPU_COPY "mov" sfx " (%[base],%[t]), %" reg "[value]\n\t" PERCPU_END                       \
                         : [t] "=&r"(t), [done] "=&r"(done), [value] "=&r"(value)                                      \
                         : PERCPU_IN, [base] "r"(base)                                                                 \
                         : "memory", "cc");                                                                            \
        *ret_value = (u##bits)value;                                                                                   \
        return (u32)done != 0;                                                                                         \
    }                                                                                                                  \
    static inline bool percpu_write_##bits(uintptr_t base, u64 value) {                                                \
        u64 t, done;                                                                                                   \
        __asm__ volatile(PERCPU_COPY "mov" sfx " %" reg "[value], (%[base],%[t])\n\t" PERCPU_END                       \
                         : [t] "=&r"(t), [done] "=&r"(done)                                                            \
                         : PERCPU_IN, [base] "r"(base), [value] "r"(value)                                             \
                         : "memory", "cc");                                                                            \
        return (u32)done != 0;                                                                                         \
    }                                                                                                                  \
    static inline bool percpu_add_##bits(uintptr_t base, u64 *value) {                                                 \
        u64 t, done;                                                                                                   \
        __asm__ volatile(PERCPU_COPY "xadd" sfx " %" reg "[value], (%[base],%[t])\n\t" PERCPU_END                      \
                         : [t] "=&r"(t), [done] "=&r"(done), [value] "+&r"(*value)                                     \
                         : PERCPU_IN, [base] "r"(base)                                                                 \
                         : "memory", "cc");                                                                            \
        return (u32)done != 0;                                                                                         \
    }                                                                                                                  \
    static inline bool percpu_and_##bits(uintptr_t base, u64 value) {                                                  \
        u64 t, done;                                                                                                   \
        __asm__ volatile(PERCPU_COPY "and" sfx " %" reg "[value], (%[base],%[t])\n\t" PERCPU_END                       \
                         : [t] "=&r"(t), [done] "=&r"(done)                                                            \
                         : PERCPU_IN, [base] "r"(base), [value] "r"(value)                                             \
                         : "memory", "cc");                                                                            \
        return (u32)done != 0;                                                                                         \
    }                                                                                                                  \
    static inline bool percpu_or_##bits(uintptr_t base, u64 value) {                                                   \
        u64 t, done;                                                                                                   \
        __asm__ volatile(PERCPU_COPY "or" sfx " %" reg "[value], (%[base],%[t])\n\t" PERCPU_END                        \
                         : [t] "=&r"(t), [done] "=&r"(done)                                                            \
                         : PERCPU_IN, [base] "r"(base), [value] "r"(value)                                             \
                         : "memory", "cc");                                                                            \
        return (u32)done != 0;                                                                                         \
    }                                                                                                                  \
    /* The xchg instruction would lock the bus: read, and commit by a store. */                                        \
    static inline bool percpu_xchg_##bits(uintptr_t base, u64 value, u64 *ret_old) {                                   \
        u64 t, done, old;                                                                                              \
        __asm__ volatile(PERCPU_COPY "mov" sfx " (%[base],%[t]), %" reg "[old]\n\t"                                    \
                                     "mov" sfx " %" reg "[value], (%[base],%[t])\n\t" PERCPU_END                       \
                         : [t] "=&r"(t), [done] "=&r"(done), [old] "=&r"(old)                                          \
                         : PERCPU_IN, [base] "r"(base), [value] "r"(value)                                             \
                         : "memory", "cc");                                                                            \
        *ret_old = (u##bits)old;                                                                                       \
        return (u32)done != 0;                                                                                         \
    }                                                                                                                  \
    static inline bool percpu_cmpxchg_##bits(uintptr_t base, u64 *expected, u64 value) {                               \
        u64 t, done;                                                                                                   \
        __asm__ volatile(PERCPU_COPY "cmpxchg" sfx " %" reg "[value], (%[base],%[t])\n\t" PERCPU_END                   \
                         : [t] "=&r"(t), [done] "=&r"(done), "+&a"(*expected)                                          \
                         : PERCPU_IN, [base] "r"(base), [value] "r"(value)                                             \
                         : "memory", "cc");                                                                            \
        return (u32)done != 0;                                                                                         \
    }

PERCPU_OPERATIONS(8, "b", "b")
PERCPU_OPERATIONS(16, "w", "w")
PERCPU_OPERATIONS(32, "l", "k")
PERCPU_OPERATIONS(64, "q", "q")

#undef PERCPU_OPERATIONS

#endif
