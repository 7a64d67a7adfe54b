/* SPDX-License-Identifier: MIT */
/*
 * The per-CPU primitives on aarch64, as restartable sequences (rseq(2)): the kernel restarts a section that was
 * interrupted by preemption, migration or a signal before its last instruction. Each ends with one committing store, a
 * plain str: whoever uses the id next does so on this CPU, or after the scheduler's barriers. Pseudo-code beside each
 * line; the model in C is mag/ref.h. Included by mag/rseq.h alone.
 *
 * rseq area:  +4 cpu_id (negative: not registered)   +8 rseq_cs (address of the section's descriptor)   +4 or +24 the
 * id Nothing but rseq_cs is written. An abort jumps back to the arming store: the kernel cleared rseq_cs.
 *
 * Until start, and where there is no rseq, mag_rseq_offset is 0, which is never the offset of an area: the thread
 * pointer points at libc's own words. Each primitive tests it first, because no initial value of a variable can be an
 * offset in TLS here (on x86-64 one can).
 *
 * Exits leave the section for labels in the same piece of text: conditional branches reach less far here than the
 * linker may put another section.
 */
#ifndef QUARRY_MAG_RSEQ_AARCH64_H
#define QUARRY_MAG_RSEQ_AARCH64_H

#include "mag/tabs.h"

/* Descriptor of the section 1..2 with abort handler 4, which is preceded by the signature the kernel wants, a brk
 * instruction. It holds addresses of code that the kernel jumps to, so it lies where nobody writes once the loader is
 * done. */
#define RSEQ_SECTION_DESCRIPTOR                                                                                        \
    ".pushsection .data.rel.ro.rseq_cs, \"aw\"\n\t"                                                                    \
    ".balign 32\n\t"                                                                                                   \
    "3: .word 0, 0\n\t"                                                                                                \
    ".quad 1f, 2f - 1f, 4f\n\t"                                                                                        \
    ".popsection\n\t"                                                                                                  \
    ".pushsection .text.unlikely, \"ax\"\n\t"                                                                          \
    ".inst 0xd428bc00\n\t"                                                                                             \
    "4: b 5f\n\t"                                                                                                      \
    ".popsection\n\t"

/* rseq_cs = &descriptor; from here on the section restarts. Leaves slots of this id in t, and 1 in word. An
 * unregistered thread goes to 6. */
#define RSEQ_SECTION_BEGIN                                                                                             \
    "5: adrp %[t], 3b\n\t"                                                                                             \
    "add %[t], %[t], :lo12:3b\n\t"                                                                                     \
    "mov %[word], #1\n\t"                                                                                              \
    "str %[t], [%[area], #8]\n\t"                                                                                      \
    "1: ldr %w[t], [%[area], #4]\n\t"                                                                                  \
    "tbnz %w[t], #31, 6f\n\t"                /* if (cpu_id < 0) exit */                                                \
    "ldr %w[t], [%[id]]\n\t"                 /* id */                                                                  \
    "ldr %[t], [%[views], %[t], lsl #3]\n\t" /* slots = view[id] */

#define RSEQ_INPUTS(views_) [area] "r"(rseq_at(mag_rseq_offset)), [id] "r"(rseq_at(mag_id_offset)), [views] "r"(views_)

static ALWAYS_INLINE char *rseq_at(ptrdiff_t offset) { return (char *)__builtin_thread_pointer() + offset; }

/* Top object of slot, or NULL when the magazine is empty or the thread is not registered. views: slot arrays by id. */
static ALWAYS_INLINE void *rseq_pop(u64 *const *views, u64 slot) {
    u64 tmp, top, word;
    if (UNLIKELY(mag_rseq_offset == 0))
        return NULL;
    __asm__ volatile(RSEQ_SECTION_DESCRIPTOR RSEQ_SECTION_BEGIN
                     "ldr %[top], [%[t], %[slot], lsl #3]\n\t" /* top = slots[slot] */
                     "ldr %[word], [%[top]]\n\t"               /* word = *top */
                     "tbnz %w[word], #0, 6f\n\t"               /* if (word & 1) exit: that is the header */
                     "sub %[top], %[top], #8\n\t"
                     "str %[top], [%[t], %[slot], lsl #3]\n\t" /* commit: slots[slot] = top - 1 */
                     "2: 6:"
                     : [t] "=&r"(tmp), [top] "=&r"(top), [word] "=&r"(word)
                     : RSEQ_INPUTS(views), [slot] "r"(slot)
                     : "memory");
    if (UNLIKELY(word & MAG_WORD_END))
        return NULL;
    if (word == 0)
        __builtin_unreachable();
    return (void *)word; // NOLINT(performance-no-int-to-ptr)
}

/* Pushes p; false when the magazine is full or the thread is not registered. */
static ALWAYS_INLINE bool rseq_push(u64 *const *views, u64 slot, void *p) {
    u64 tmp, top, word;
    if (UNLIKELY(mag_rseq_offset == 0))
        return false;
    __asm__ volatile(RSEQ_SECTION_DESCRIPTOR RSEQ_SECTION_BEGIN
                     "ldr %[top], [%[t], %[slot], lsl #3]\n\t" /* top = slots[slot] */
                     "ldr %[word], [%[top], #8]!\n\t"          /* word = *++top */
                     "tbnz %w[word], #0, 6f\n\t"               /* if (word & 1) exit: that is the trailer */
                     "str %[p], [%[top]]\n\t" /* *top = p: above the slot's top, so not yet part of the magazine */
                     "str %[top], [%[t], %[slot], lsl #3]\n\t" /* commit: slots[slot] = top */
                     "2: 6:"
                     : [t] "=&r"(tmp), [top] "=&r"(top), [word] "=&r"(word)
                     : RSEQ_INPUTS(views), [slot] "r"(slot), [p] "r"(p)
                     : "memory");
    return LIKELY(!(word & MAG_WORD_END));
}

/* As RSEQ_SECTION_BEGIN, with what each turn begins with: done = 0. */
#define RSEQ_RUN_BEGIN                                                                                                 \
    "5: adrp %[t], 3b\n\t"                                                                                             \
    "add %[t], %[t], :lo12:3b\n\t"                                                                                     \
    "mov %[done], #0\n\t"                                                                                              \
    "str %[t], [%[area], #8]\n\t"                                                                                      \
    "1: ldr %w[t], [%[area], #4]\n\t"                                                                                  \
    "tbnz %w[t], #31, 6f\n\t"                 /* if (cpu_id < 0) exit */                                               \
    "ldr %w[t], [%[id]]\n\t"                  /* id */                                                                 \
    "ldr %[t], [%[views], %[t], lsl #3]\n\t"  /* slots = view[id] */                                                   \
    "ldr %[top], [%[t], %[slot], lsl #3]\n\t" /* top = slots[slot] */

/* Up to nr objects off the top of slot, topmost first; returns how many. What was copied when the section is restarted
 * is copied again. nr is small: the section should end before the thread is interrupted. */
static inline u64 rseq_pop_run(u64 *const *views, u64 slot, u64 nr, void **objs) {
    u64 tmp, top, word, done;
    if (UNLIKELY(mag_rseq_offset == 0))
        return 0;
    __asm__ volatile(RSEQ_SECTION_DESCRIPTOR RSEQ_RUN_BEGIN
                     "8: ldr %[word], [%[top]]\n\t"                /* word = *top */
                     "tbnz %w[word], #0, 9f\n\t"                   /* if (word & 1) break: that is the header */
                     "str %[word], [%[objs], %[done], lsl #3]\n\t" /* objs[done++] = word */
                     "sub %[top], %[top], #8\n\t"                  /* top-- */
                     "add %[done], %[done], #1\n\t"
                     "cmp %[done], %[nr]\n\t" /* while (done < nr) */
                     "b.lo 8b\n\t"
                     "9: str %[top], [%[t], %[slot], lsl #3]\n\t" /* commit: slots[slot] = top */
                     "2: 6:"
                     : [t] "=&r"(tmp), [top] "=&r"(top), [word] "=&r"(word), [done] "=&r"(done)
                     : RSEQ_INPUTS(views), [slot] "r"(slot), [nr] "r"(nr), [objs] "r"(objs)
                     : "memory", "cc");
    return done;
}

/* Pushes up to nr objects, the first of them lowest; returns how many. */
static inline u64 rseq_push_run(u64 *const *views, u64 slot, u64 nr, void *const *objs) {
    u64 tmp, top, word, done;
    if (UNLIKELY(mag_rseq_offset == 0))
        return 0;
    __asm__ volatile(RSEQ_SECTION_DESCRIPTOR RSEQ_RUN_BEGIN
                     "8: ldr %[word], [%[top], #8]\n\t" /* if (top[1] & 1) break: that is the trailer */
                     "tbnz %w[word], #0, 9f\n\t"
                     "ldr %[word], [%[objs], %[done], lsl #3]\n\t"
                     "str %[word], [%[top], #8]!\n\t" /* *++top = objs[done++]: above the slot's top, so not yet part */
                     "add %[done], %[done], #1\n\t"   /* of the magazine */
                     "cmp %[done], %[nr]\n\t"         /* while (done < nr) */
                     "b.lo 8b\n\t"
                     "9: str %[top], [%[t], %[slot], lsl #3]\n\t" /* commit: slots[slot] = top */
                     "2: 6:"
                     : [t] "=&r"(tmp), [top] "=&r"(top), [word] "=&r"(word), [done] "=&r"(done)
                     : RSEQ_INPUTS(views), [slot] "r"(slot), [nr] "r"(nr), [objs] "r"(objs)
                     : "memory", "cc");
    return done;
}

enum rseq_status { RSEQ_DONE, RSEQ_REFUSED, RSEQ_ABSENT };

/*
 * Replaces the word at byte offset off from the slots of this id, if its condition holds; *ret_old is its old value
 * then. The conditions: the magazine in it is empty (may be replaced), it is full (may be replaced), or the word equals
 * expected.
 */
#define RSEQ_SWAP(condition, ...)                                                                                      \
    u64 tmp, old = 0, word;                                                                                            \
    if (mag_rseq_offset == 0)                                                                                          \
        return RSEQ_ABSENT;                                                                                            \
    __asm__ volatile(RSEQ_SECTION_DESCRIPTOR RSEQ_SECTION_BEGIN                                                        \
                     "ldr %[old], [%[t], %[off]]\n\t" /* old = slots[off] */                                           \
                     condition                        /* if (!condition) exit */                                       \
                     "b.ne 7f\n\t"                                                                                     \
                     "str %[next], [%[t], %[off]]\n\t" /* commit: slots[off] = next */                                 \
                     "2: mov %[word], #0\n\t"          /* RSEQ_DONE */                                                 \
                     "b 8f\n\t"                                                                                        \
                     "7: mov %[word], #1\n\t" /* RSEQ_REFUSED */                                                       \
                     "b 8f\n\t"                                                                                        \
                     "6: mov %[word], #2\n\t" /* RSEQ_ABSENT */                                                        \
                     "8:"                                                                                              \
                     : [t] "=&r"(tmp), [old] "+&r"(old), [word] "=&r"(word)                                            \
                     : RSEQ_INPUTS(views), [off] "r"(off), [next] "r"(next)__VA_ARGS__                                 \
                     : "memory", "cc");                                                                                \
    *ret_old = old;                                                                                                    \
    return (enum rseq_status)word

static inline enum rseq_status rseq_swap_if_empty(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    RSEQ_SWAP("ldr %w[word], [%[old]]\n\t" /* (*old & 3) == 1 */
              "and %w[word], %w[word], #3\n\t"
              "cmp %w[word], #1\n\t");
}

static inline enum rseq_status rseq_swap_if_full(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    RSEQ_SWAP("ldr %w[word], [%[old], #8]\n\t" /* (old[1] & 3) == 1 */
              "and %w[word], %w[word], #3\n\t"
              "cmp %w[word], #1\n\t");
}

static inline enum rseq_status rseq_swap_if_equal(u64 *const *views, s64 off, u64 expected, u64 next, u64 *ret_old) {
    RSEQ_SWAP("cmp %[old], %[expected]\n\t", , [expected] "r"(expected));
}

#undef RSEQ_SWAP

/* The id the thread would use now; stale on return. Negative when it is not registered. */
static inline int rseq_id_racy(void) {
    int cpu, id;
    if (mag_rseq_offset == 0)
        return -1;
    __asm__ volatile("ldr %w0, [%1, #4]" : "=r"(cpu) : "r"(rseq_at(mag_rseq_offset)));
    __asm__ volatile("ldr %w0, [%1]" : "=r"(id) : "r"(rseq_at(mag_id_offset)));
    return cpu < 0 ? -1 : id;
}

#endif
