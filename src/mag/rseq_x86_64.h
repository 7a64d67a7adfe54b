/* SPDX-License-Identifier: MIT */
/*
 * The per-CPU primitives on x86-64, as restartable sequences (rseq(2)): the kernel restarts a section that was
 * interrupted by preemption, migration or a signal before its last instruction. Each ends with one committing store.
 * Pseudo-code beside each line; the model in C is mag/ref.h.
 *
 * The commit is a plain store of what was loaded, not an instruction that reads the slot once more: on recent Intel
 * cores (Golden Cove and its successors) that second load, of what the first has just got out of the store buffer,
 * takes a pair of malloc and free from 3.8 to 7.7 ns, for milliseconds at a time.
 *
 * rseq area:  +4 cpu_id (negative: not registered)   +8 rseq_cs (address of the section's descriptor)   +4 or +24 the
 * id Nothing but rseq_cs is written. An abort jumps back to the arming store: the kernel cleared rseq_cs.
 */
#ifndef QUARRY_MAG_RSEQ_X86_64_H
#define QUARRY_MAG_RSEQ_X86_64_H

#include "mag/tabs.h"
#include "sys/section_x86_64.h"

/* rseq_cs = &descriptor; from here on the section restarts. Leaves slots of this id in tmp. exit: where an unregistered
 * thread goes. */
#define RSEQ_SECTION_ARM(tmp, tmp32, exit)                                                                             \
    "leaq 3b(%%rip), " tmp "\n\t"                                                                                      \
    "movq " tmp ", %%fs:8(%[rseq])\n\t"                                                                                \
    "1: cmpl $0, %%fs:4(%[rseq])\n\t" /* if (cpu_id < 0) exit */                                                       \
    "js " exit "\n\t"                                                                                                  \
    "movl %%fs:(%[id]), " tmp32 "\n\t"     /* id */                                                                    \
    "movq (%[views],%q[t],8), " tmp "\n\t" /* slots = view[id] */
#define RSEQ_SECTION_BEGIN(tmp, tmp32, exit) "5: " RSEQ_SECTION_ARM(tmp, tmp32, exit)

#define RSEQ_INPUTS(views_) [rseq] "r"(mag_rseq_offset), [id] "r"(mag_id_offset), [views] "r"(views_)

/* The section of rseq_pop. none: where an empty magazine and an unregistered thread go. */
#define RSEQ_POP(none)                                                                                                 \
    RSEQ_SECTION_DESCRIPTOR RSEQ_SECTION_BEGIN(                                                                        \
        "%[t]", "%k[t]", none) "movq (%[t],%[slot],8), %[top]\n\t" /* top = slots[slot] */                             \
                               "movq (%[top]), %[obj]\n\t"         /* obj = *top */                                    \
                               "testb $1, %b[obj]\n\t"             /* if (obj & 1) exit: that is the header */         \
                               "jnz " none "\n\t"                                                                      \
                               "subq $8, %[top]\n\t"               /* never 0 */                                       \
                               "movq %[top], (%[t],%[slot],8)\n\t" /* commit: slots[slot] = top - 1 */                 \
                               "2:\n\t"

/* An object's word, of which the compiler is to know that it is none that is absent. */
static ALWAYS_INLINE void *rseq_object(u64 obj) {
    if (obj == 0)
        __builtin_unreachable();
    return (void *)obj; // NOLINT(performance-no-int-to-ptr)
}

/* Top object of slot, or NULL when the magazine is empty or the thread is not registered. views: slot arrays by id. */
static ALWAYS_INLINE void *rseq_pop(u64 *const *views, u64 slot) {
    u64 tmp, top, obj;
#if !defined(__clang__) && __GNUC__ >= 11
    __asm__ goto volatile(RSEQ_POP("%l[none]")
                          : [t] "=&r"(tmp), [top] "=&r"(top), [obj] "=&a"(obj)
                          : RSEQ_INPUTS(views), [slot] "r"(slot)
                          : "memory", "cc"
                          : none);
    return rseq_object(obj);
none:
    return NULL;
#else /* these cannot leave a section that has outputs, or make five instructions of it */
    bool none;
    __asm__ volatile(RSEQ_POP("6f") "7:\n\t"
                                    ".pushsection .text.unlikely, \"ax\"\n\t"
                                    "6: xorl %k[obj], %k[obj]\n\t" /* leaves zero set, as the commit does not */
                                    "jmp 7b\n\t"
                                    ".popsection"
                     : [t] "=&r"(tmp), [top] "=&r"(top), [obj] "=&a"(obj), "=@ccz"(none)
                     : RSEQ_INPUTS(views), [slot] "r"(slot)
                     : "memory");
    return none ? NULL : rseq_object(obj);
#endif
}

#undef RSEQ_POP

/* Pushes p; false when the magazine is full or the thread is not registered. */
static ALWAYS_INLINE bool rseq_push(u64 *const *views, u64 slot, void *p) {
    __asm__ goto(RSEQ_SECTION_DESCRIPTOR
                 "5: leaq 3b(%%rip), %%rax\n\t"
                 "movq %%rax, %%fs:8(%[rseq])\n\t"
                 "1: cmpl $0, %%fs:4(%[rseq])\n\t" /* if (cpu_id < 0) exit */
                 "js %l[full]\n\t"
                 "movl %%fs:(%[id]), %%eax\n\t"
                 "movq (%[views],%%rax,8), %%rax\n\t" /* slots = view[id] */
                 "movq (%%rax,%[slot],8), %%rcx\n\t"  /* top = slots[slot] */
                 "testb $1, 8(%%rcx)\n\t"             /* if (top[1] & 1) exit: that is the trailer */
                 "jnz %l[full]\n\t"
                 "movq %[p], 8(%%rcx)\n\t" /* top[1] = p: above the top, so not yet part of the magazine */
                 "addq $8, %%rcx\n\t"
                 "movq %%rcx, (%%rax,%[slot],8)\n\t" /* commit: slots[slot] = top + 1 */
                 "2:\n\t"
                 :
                 : RSEQ_INPUTS(views), [slot] "r"(slot), [p] "r"(p)
                 : "memory", "cc", "rax", "rcx"
                 : full);
    return true;
full:
    return false;
}

/* The section of rseq_pop_run and rseq_push_run, around one step of theirs that leaves by 9 or moves top by one. */
#define RSEQ_RUN(obj_constraint, step)                                                                                 \
    u64 tmp, top, obj, done;                                                                                           \
    __asm__ volatile(RSEQ_SECTION_DESCRIPTOR "5: xorl %k[done], %k[done]\n\t" RSEQ_SECTION_ARM(                        \
                         "%[t]", "%k[t]", "6f") "movq (%[t],%[slot],8), %[top]\n\t" /* top = slots[slot] */            \
                                                "8:\n\t" step "addq $1, %[done]\n\t"                                   \
                                                "cmpq %[nr], %[done]\n\t" /* while (done < nr) */                      \
                                                "jb 8b\n\t"                                                            \
                                                "9: movq %[top], (%[t],%[slot],8)\n\t" /* commit: slots[slot] = top */ \
                                                "2: 6:"                                                                \
                     : [t] "=&r"(tmp), [top] "=&r"(top), [obj] obj_constraint(obj), [done] "=&r"(done)                 \
                     : RSEQ_INPUTS(views), [slot] "r"(slot), [nr] "r"(nr), [objs] "r"(objs)                            \
                     : "memory", "cc");                                                                                \
    return done

/* Up to nr objects off the top of slot, topmost first; returns how many. What was copied when the section is restarted
 * is copied again. nr is small: the section should end before the thread is interrupted. */
static inline u64 rseq_pop_run(u64 *const *views, u64 slot, u64 nr, void **objs) {
    RSEQ_RUN("=&q", "movq (%[top]), %[obj]\n\t" /* obj = *top */
                    "testb $1, %b[obj]\n\t"     /* if (obj & 1) break: that is the header */
                    "jnz 9f\n\t"
                    "movq %[obj], (%[objs],%[done],8)\n\t" /* objs[done++] = obj */
                    "subq $8, %[top]\n\t");                /* top-- */
}

/* Pushes up to nr objects, the first of them lowest; returns how many. */
static inline u64 rseq_push_run(u64 *const *views, u64 slot, u64 nr, void *const *objs) {
    RSEQ_RUN("=&r", "testb $1, 8(%[top])\n\t" /* if (top[1] & 1) break: that is the trailer */
                    "jnz 9f\n\t"
                    "movq (%[objs],%[done],8), %[obj]\n\t"
                    "movq %[obj], 8(%[top])\n\t" /* *++top = objs[done++]: above the slot's top, so not */
                    "addq $8, %[top]\n\t");      /* yet part of the magazine */
}

#undef RSEQ_RUN

enum rseq_status { RSEQ_DONE, RSEQ_REFUSED, RSEQ_ABSENT };

/*
 * Replaces the word at byte offset off from the slots of this id, if its condition holds; *ret_old is its old value
 * then. The conditions: the magazine in it is empty (may be replaced), it is full (may be replaced), or the word equals
 * expected.
 */
#define RSEQ_SWAP(condition, ...)                                                                                      \
    u64 tmp, top, status;                                                                                              \
    __asm__ volatile(RSEQ_SECTION_DESCRIPTOR RSEQ_SECTION_BEGIN(                                                       \
                         "%[t]", "%k[t]", "6f") "movq (%[t],%[off]), %[top]\n\t" /* old = word */                      \
                     condition                                                   /* if (!condition) exit */            \
                                                "movl $0, %k[status]\n\t"                                              \
                                                "movq %[next], (%[t],%[off])\n\t" /* commit: word = next */            \
                                                "2: 8:\n\t"                                                            \
                                                ".pushsection .text.unlikely, \"ax\"\n\t"                              \
                                                "6: movl $2, %k[status]\n\t"                                           \
                                                "jmp 8b\n\t"                                                           \
                                                "7: movl $1, %k[status]\n\t"                                           \
                                                "jmp 8b\n\t"                                                           \
                                                ".popsection"                                                          \
                     : [t] "=&r"(tmp), [top] "=&r"(top), [status] "=&r"(status)                                        \
                     : RSEQ_INPUTS(views), [off] "r"(off), [next] "r"(next)__VA_ARGS__                                 \
                     : "memory", "cc");                                                                                \
    *ret_old = top;                                                                                                    \
    return (enum rseq_status)status

static inline enum rseq_status rseq_swap_if_empty(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    RSEQ_SWAP("movl (%[top]), %k[status]\n\t" /* (*top & 3) == 1 */
              "andl $3, %k[status]\n\t"
              "cmpl $1, %k[status]\n\t"
              "jne 7f\n\t");
}

static inline enum rseq_status rseq_swap_if_full(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    RSEQ_SWAP("movl 8(%[top]), %k[status]\n\t" /* (top[1] & 3) == 1 */
              "andl $3, %k[status]\n\t"
              "cmpl $1, %k[status]\n\t"
              "jne 7f\n\t");
}

static inline enum rseq_status rseq_swap_if_equal(u64 *const *views, s64 off, u64 expected, u64 next, u64 *ret_old) {
    RSEQ_SWAP("cmpq %[expected], %[top]\n\t"
              "jne 7f\n\t",
              , [expected] "r"(expected));
}

#undef RSEQ_SWAP

/* The id the thread would use now; stale on return. Negative when it is not registered. */
static inline int rseq_id_racy(void) {
    int cpu, id;
    __asm__ volatile("movl %%fs:4(%1), %0" : "=r"(cpu) : "r"(mag_rseq_offset));
    __asm__ volatile("movl %%fs:(%1), %0" : "=r"(id) : "r"(mag_id_offset));
    return cpu < 0 ? -1 : id;
}

#endif
