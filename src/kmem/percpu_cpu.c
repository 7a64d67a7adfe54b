/* SPDX-License-Identifier: MIT */
/*
 * Whose copy is whose: the CPU a thread is on, and holding its copy. Preemption cannot be switched off in user space,
 * so get_cpu() takes the lock of the copy of the CPU it runs on: the thread may be preempted and moved, but the copy
 * stays its own. Every operation of percpu.c looks at the lock.
 *
 * States      A copy is free (word 0), or held by a thread (word: the thread, as in struct sys_lock).
 * Invariants  [C1] With rseq a copy is taken by a section that runs on its CPU; that restarts every section there.
 *             [C2] The copy of threads without a CPU number, and all copies where there is no rseq, are taken by
 *                  compare-and-swap, for single operations, too.
 *             [C3] A thread holds one copy (percpu_held_word), but in a signal handler that came between the taking
 *                  and the note of it, which may for its own time hold a second one.
 * Ordering    Release and acquire of the word. On x86-64 the section's plain load is an acquire.
 * Progress    A waiter sleeps until the holder puts, which must not block in between, as in the kernel. A handler on
 *             top of the holder finds the copy its own and goes on.
 * Reclamation None: locks live as long as the process.
 */
#include "kmem/percpu_ops.h"

#include <string.h>

struct percpu percpu;

/* What this thread holds, in one word, so that a signal handler sees it whole: the copy's number and one (0: nothing),
 * whether the get merely found it taken by the code it interrupted, and the depth of that get. */
enum { HELD_COPY_MASK = 0xffff, HELD_BORROWED = 0x10000, HELD_LEVEL_SHIFT = 17 };
__thread volatile u64 percpu_held_word;
static __thread volatile u64 depth;

static unsigned held_copy(u64 word) { return (unsigned)(word & HELD_COPY_MASK) - 1; }

/* --- start --- */

/* The last number of a list as "0-3,5-7", and one; 0 when there is none. */
static unsigned list_end(const char *text) {
    unsigned last = 0;
    bool any = false;
    for (; *text != '\0' && *text != '\n'; text++) {
        bool digit = *text >= '0' && *text <= '9';
        last = digit ? (any ? last * 10 : 0) + (unsigned)(*text - '0') : last;
        any = digit;
    }
    return any ? last + 1 : 0;
}

static unsigned cpus_possible(void) {
    char text[1024];
    unsigned nr = 0;
    if (sys_read_file("/sys/devices/system/cpu/possible", text, sizeof(text)) > 0)
        nr = list_end(text);
    return nr != 0 ? MIN(nr, sys_cpu_ids_nr()) : sys_cpu_ids_nr();
}

/* Who held a copy is not in the child, but for the thread that forked. */
static void fork_child(void) {
    for (unsigned i = 0; i < percpu_copies_nr(); i++) {
        if (!sys_lock_is_mine(&percpu.locks[i].lock))
            sys_lock_reset(&percpu.locks[i].lock);
    }
    percpu_area_fork_child();
}

static bool start_locked(void) {
    unsigned nr = cpus_possible();
    size_t bytes = (nr + 1) * sizeof(struct percpu_lock);
    struct percpu_lock *locks = quarry_core1_alloc_aligned(CACHE_LINE, bytes);
    if (locks == NULL)
        return false;
    memset(locks, 0, bytes);
    percpu.locks = locks;
    percpu.cpus_nr = nr;
    percpu.rseq = PERCPU_HAS_SECTIONS && sys_rseq_probe(&percpu.rseq_offset) != SYS_RSEQ_NONE;
    sys_atfork(NULL, NULL, fork_child);
    return true;
}

bool percpu_start(void) {
    static struct sys_lock start_lock;
    static _Atomic(bool) started;
    /* order: acquire: percpu is filled.                                                       pairs: [percpu.start] */
    if (LIKELY(atomic_load_explicit(&started, memory_order_acquire)))
        return true;
    if (!sys_lock_acquire(&start_lock))
        return false;
    bool done = atomic_load_explicit(&started, memory_order_relaxed) || start_locked();
    /* order: release                                                                          pairs: [percpu.start] */
    atomic_store_explicit(&started, done, memory_order_release);
    sys_lock_release(&start_lock);
    return done;
}

/* --- holding --- */

static unsigned number_now(void) {
    int cpu = percpu.rseq ? percpu_cpu_racy() : sys_cpu_racy();
    return (u32)cpu < percpu.cpus_nr ? (unsigned)cpu : percpu.cpus_nr;
}

unsigned percpu_number_racy(void) {
    u64 held = percpu_held_word;
    return held != 0 ? held_copy(held) : number_now();
}

/* [C1], [C2]. Any copy of the thread's own CPU, or of threads without one. */
static bool copy_take(u64 word, unsigned *ret_copy) {
    if (percpu.rseq && percpu_try_hold(word, ret_copy))
        return true;
    unsigned copy = number_now();
    *ret_copy = copy;
    return (!percpu.rseq || copy == percpu.cpus_nr) && sys_lock_try_as(&percpu.locks[copy].lock, word);
}

/* A copy, waited for if need be. Whoever slept once takes it as waited for, because others may sleep still. */
static u64 copy_acquire(void) {
    u64 word = sys_thread_self();
    unsigned copy;
    while (!copy_take(word, &copy)) {
        copy = number_now();
        struct sys_lock *lock = &percpu.locks[copy].lock;
        if (sys_lock_is_mine(lock))
            return (copy + 1) | HELD_BORROWED;
        sys_lock_wait(lock, SYS_LOCK_WAIT_MS);
        word = sys_thread_self() | SYS_LOCK_WAITED;
    }
    return copy + 1;
}

unsigned percpu_get(void) {
    u64 level = depth = depth + 1;
    if (percpu_held_word == 0)
        percpu_held_word = copy_acquire() | level << HELD_LEVEL_SHIFT;
    return held_copy(percpu_held_word);
}

void percpu_put(void) {
    u64 held = percpu_held_word;
    if (held != 0 && held >> HELD_LEVEL_SHIFT == depth) {
        percpu_held_word = 0;
        if ((held & HELD_BORROWED) == 0) /* who wakes may be on another CPU by now: all do */
            sys_lock_release_all(&percpu.locks[held_copy(held)].lock);
    }
    depth = depth - 1;
}

unsigned quarry_percpu_nr(void) { return percpu_start() ? percpu_copies_nr() : 1; }
unsigned quarry_get_cpu(void) { return percpu_start() ? percpu_get() : 0; }
void quarry_put_cpu(void) {
    if (percpu_start())
        percpu_put();
}
unsigned quarry_smp_processor_id(void) { return percpu_start() ? percpu_number_racy() : 0; }
