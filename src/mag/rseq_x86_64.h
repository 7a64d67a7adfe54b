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

/* rseq_cs = &descriptor; from here on the section restarts. exit: where an unregistered thread goes. */
#define RSEQ_ARM(tmp, exit) RSEQ_ARM_WITH("3b", tmp, exit)
#define RSEQ_ARM_WITH(descriptor, tmp, exit)                                                                           \
    "leaq " descriptor "(%%rip), " tmp "\n\t"                                                                          \
    "movq " tmp ", %%fs:8(%[rseq])\n\t"                                                                                \
    "1: cmpl $0, %%fs:4(%[rseq])\n\t" /* if (cpu_id < 0) exit */                                                       \
    "js " exit "\n\t"
/* The same, and leaves slots of this id in tmp. */
#define RSEQ_SECTION_ARM(tmp, tmp32, exit)                                                                             \
    RSEQ_ARM(tmp, exit)                                                                                                \
    "movl %%fs:(%[id]), " tmp32 "\n\t"     /* id */                                                                    \
    "movq (%[views],%q[t],8), " tmp "\n\t" /* slots = view[id] */
#define RSEQ_SECTION_BEGIN(tmp, tmp32, exit) "5: " RSEQ_SECTION_ARM(tmp, tmp32, exit)

#define RSEQ_INPUTS(views_) [rseq] "r"(mag_rseq_offset), [id] "r"(mag_id_offset), [views] "r"(views_)

/*
 * How pop and push know how far their slot is from the first one, in bytes: by its number, or by a table's element,
 * which is read inside the section because a restart reads it once more. The slot is then addressed by one register:
 * Golden Cove and its successors forward at no cost what was stored so, and in five cycles what was stored by base and
 * index.
 */
#define RSEQ_BY_NUMBER(place, place32) "leaq (,%[slot],8), " place "\n\t"
#define RSEQ_BY_U16(place, place32) "movzwl (%[table],%[index],2), " place32 "\n\t"
#define RSEQ_BY_SIZE(place, place32) "movzwl %c[table](%q[t],%[index],2), " place32 "\n\t"
#define RSEQ_BY_U32(place, place32) "movl (%[table],%[index],4), " place32 "\n\t"
#define RSEQ_NUMBER(slot_) [slot] "r"(slot_)
#define RSEQ_ELEMENT(table_, index_) [table] "r"(table_), [index] "r"(index_)

/* The section of pop, behind its descriptor. To 6: an empty magazine, an unregistered thread. */
#define RSEQ_POP_SECTION(descriptor, by)                                                                               \
    "5: " RSEQ_ARM_WITH(descriptor, "%[t]", "6f")                                                                      \
        by("%[s]", "%k[s]") "movl %%fs:(%[id]), %k[t]\n\t"      /* id */                                               \
                            "addq (%[views],%q[t],8), %[s]\n\t" /* s = view[id] + place */                             \
                            "movq (%[s]), %[t]\n\t"             /* top = *s */                                         \
                            "movq (%[t]), %[obj]\n\t"           /* obj = *top */                                       \
                            "testb $1, %b[obj]\n\t"             /* if (obj & 1) exit: that is the header */            \
                            "jnz 6f\n\t"                                                                               \
                            "subq $8, %[t]\n\t"     /* never 0 */                                                      \
                            "movq %[t], (%[s])\n\t" /* commit: *s = top - 1 */                                         \
                            "2:\n\t"

/* The section leaves a flag, and not by a jump of its own: gcc 12.2 takes what comes out of one that jumps for what it
 * gives where it jumps to (its bug 113921, in 11 to 13). */
#define RSEQ_POP(by, ...) RSEQ_POP_WITH(RSEQ_SECTION_DESCRIPTOR, "3b", by, __VA_ARGS__)
#define RSEQ_POP_WITH(begin, descriptor, by, ...)                                                                      \
    u64 t, s, obj;                                                                                                     \
    bool none;                                                                                                         \
    __asm__ volatile(begin RSEQ_POP_SECTION(                                                                           \
                         descriptor, by) "7:\n\t"                                                                      \
                                         ".pushsection .text.unlikely, \"ax\"\n\t"                                     \
                                         "6: xorl %k[obj], %k[obj]\n\t" /* leaves zero set, as the commit does not */  \
                                         "jmp 7b\n\t"                                                                  \
                                         ".popsection"                                                                 \
                     : [t] "=&r"(t), [s] "=&r"(s), [obj] "=&a"(obj), "=@ccz"(none)                                     \
                     : RSEQ_INPUTS(views), __VA_ARGS__                                                                 \
                     : "memory");                                                                                      \
    return none ? NULL : rseq_object(obj)

/* An object's word, of which the compiler is to know that it is none that is absent. */
static ALWAYS_INLINE void *rseq_object(u64 obj) {
    if (obj == 0)
        __builtin_unreachable();
    return (void *)obj; // NOLINT(performance-no-int-to-ptr)
}

/* Top object of slot, or NULL when the magazine is empty or the thread is not registered. views: slot arrays by id. */
static ALWAYS_INLINE void *rseq_pop(u64 *const *views, u64 slot) { RSEQ_POP(RSEQ_BY_NUMBER, RSEQ_NUMBER(slot)); }

/* The same of the slot that is table[index] bytes behind the first. */
static ALWAYS_INLINE void *rseq_pop_at(u64 *const *views, const u16 *table, u64 index) {
    RSEQ_POP(RSEQ_BY_U16, RSEQ_ELEMENT(table, index));
}

/*
 * Defines entry_pop(views, size), which is rseq_pop_at(views, mag_tabs.classes.small, size) in an instruction less:
 * its descriptor is used where mag_init() copied it, at a fixed distance from the table, so that one register
 * addresses both. Once in a library for each member of struct mag_entries, to be inlined once.
 */
#define RSEQ_POP_ENTRY(entry)                                                                                          \
    static ALWAYS_INLINE void *entry##_pop(u64 *const *views, u64 size) {                                              \
        RSEQ_POP_WITH(                                                                                                 \
            RSEQ_NAMED_DESCRIPTOR("mag_section_" #entry), "mag_tabs+%c[section]",                                      \
            RSEQ_BY_SIZE, [section] "i"(offsetof(struct mag_tabs, entries.entry)),                                     \
            [table] "i"(offsetof(struct mag_tabs, classes.small) - offsetof(struct mag_tabs, entries.entry)),          \
            [index] "r"(size));                                                                                        \
    }

#define RSEQ_PUSH(by, ...)                                                                                             \
    __asm__ goto(                                                                                                      \
        RSEQ_SECTION_DESCRIPTOR "5: " RSEQ_ARM("%%rax", "%l[full]")                                                    \
            by("%%rdx",                                                                                                \
               "%%edx") "movl %%fs:(%[id]), %%eax\n\t"                                                                 \
                        "addq (%[views],%%rax,8), %%rdx\n\t" /* s = view[id] + place */                                \
                        "movq (%%rdx), %%rcx\n\t"            /* top = *s */                                            \
                        "testb $1, 8(%%rcx)\n\t"             /* if (top[1] & 1) exit: that is the trailer */           \
                        "jnz %l[full]\n\t"                                                                             \
                        "movq %[p], 8(%%rcx)\n\t" /* top[1] = p: above the top, so not yet part of the magazine */     \
                        "addq $8, %%rcx\n\t"                                                                           \
                        "movq %%rcx, (%%rdx)\n\t" /* commit: *s = top + 1 */                                           \
                        "2:\n\t"                                                                                       \
        :                                                                                                              \
        : RSEQ_INPUTS(views), [p] "r"(p), __VA_ARGS__                                                                  \
        : "memory", "cc", "rax", "rcx", "rdx"                                                                          \
        : full);                                                                                                       \
    return true;                                                                                                       \
    full:                                                                                                              \
    return false

/* Pushes p; false when the magazine is full or the thread is not registered. */
static ALWAYS_INLINE bool rseq_push(u64 *const *views, u64 slot, void *p) {
    RSEQ_PUSH(RSEQ_BY_NUMBER, RSEQ_NUMBER(slot));
}

/* The same to the slot that is table[index] bytes behind the first. */
static ALWAYS_INLINE bool rseq_push_at(u64 *const *views, const u32 *table, s64 index, void *p) {
    RSEQ_PUSH(RSEQ_BY_U32, RSEQ_ELEMENT(table, index));
}

#undef RSEQ_PUSH
#undef RSEQ_POP
#undef RSEQ_ELEMENT
#undef RSEQ_NUMBER
#undef RSEQ_BY_U32
#undef RSEQ_BY_U16
#undef RSEQ_BY_NUMBER

/*
 * The section of rseq_pop_run and rseq_push_run. step(at, exit) moves the at-th object from here on, or leaves: four
 * are one turn while so many are wanted, since the loop costs as much as an object. Where a turn finds an end its
 * objects are moved once more, one by one: what is copied counts for nothing before the commit.
 */
#define RSEQ_RUN(obj_constraint, step, direction)                                                                      \
    u64 tmp, top, obj, done;                                                                                           \
    __asm__ volatile(                                                                                                  \
        RSEQ_SECTION_DESCRIPTOR "5: xorl %k[done], %k[done]\n\t" RSEQ_SECTION_ARM(                                     \
            "%[t]", "%k[t]", "6f") "movq (%[t],%[slot],8), %[top]\n\t" /* top = slots[slot] */                         \
                                   "jmp 10f\n\t"                                                                       \
                                   "7:\n\t" step(0, "8f") step(1, "8f") step(2, "8f") step(3, "8f") direction          \
        "q $32, %[top]\n\t"                                                                                            \
        "addq $4, %[done]\n\t"                                                                                         \
        "10: leaq 4(%[done]), %[obj]\n\t" /* while (done + 4 <= nr) */                                                 \
        "cmpq %[nr], %[obj]\n\t"                                                                                       \
        "jbe 7b\n\t"                                                                                                   \
        "8: cmpq %[nr], %[done]\n\t" /* while (done < nr) */                                                           \
        "jae 9f\n\t" step(0, "9f") direction "q $8, %[top]\n\t"                                                        \
                                             "addq $1, %[done]\n\t"                                                    \
                                             "jmp 8b\n\t"                                                              \
                                             "9: movq %[top], (%[t],%[slot],8)\n\t" /* commit: slots[slot] = top */    \
                                             "2: 6:"                                                                   \
        : [t] "=&r"(tmp), [top] "=&r"(top), [obj] obj_constraint(obj), [done] "=&r"(done)                              \
        : RSEQ_INPUTS(views), [slot] "r"(slot), [nr] "r"(nr), [objs] "r"(objs)                                         \
        : "memory", "cc");                                                                                             \
    return done

#define RSEQ_POP_STEP(at, exit)                                                                                        \
    "movq -8*" #at "(%[top]), %[obj]\n\t" /* obj = *top */                                                             \
    "testb $1, %b[obj]\n\t"               /* if (obj & 1) break: that is the header */                                 \
    "jnz " exit "\n\t"                                                                                                 \
    "movq %[obj], 8*" #at "(%[objs],%[done],8)\n\t" /* objs[done++] = obj; top-- */

#define RSEQ_PUSH_STEP(at, exit)                                                                                       \
    "testb $1, 8+8*" #at "(%[top])\n\t" /* if (top[1] & 1) break: that is the trailer */                               \
    "jnz " exit "\n\t"                                                                                                 \
    "movq 8*" #at "(%[objs],%[done],8), %[obj]\n\t"                                                                    \
    "movq %[obj], 8+8*" #at "(%[top])\n\t" /* *++top = objs[done++]: above the slot's top, so not yet part of it */

/* Up to nr objects off the top of slot, topmost first; returns how many. nr is small: the section should end before the
 * thread is interrupted. */
static inline u64 rseq_pop_run(u64 *const *views, u64 slot, u64 nr, void **objs) {
    RSEQ_RUN("=&q", RSEQ_POP_STEP, "sub");
}

/* Pushes up to nr objects, the first of them lowest; returns how many. */
static inline u64 rseq_push_run(u64 *const *views, u64 slot, u64 nr, void *const *objs) {
    RSEQ_RUN("=&r", RSEQ_PUSH_STEP, "add");
}

#undef RSEQ_PUSH_STEP
#undef RSEQ_POP_STEP
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
