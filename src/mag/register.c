/* SPDX-License-Identifier: MIT */
/*
 * Threads' rseq areas where libc registers none (glibc before 2.35): each thread registers its own with its first slow
 * call. The area is the one that the fast path looks at before the start, and it says "not registered" until then; so a
 * thread that has none yet, or gets none, misses and is served by the locked regions, beside others that are
 * registered. docs/adr/0103-areas-of-our-own.md.
 *
 *            thread_register(): the kernel fills it
 *     OPEN ------------------------------------------> registered, for as long as the thread runs
 *      | ^ <--------------------------------------------- somebody gave it up: registered again
 *      | | thread_area_open(): the child is gone
 *      v |
 *    CLOSED  refused, another area is registered, or a child of vfork uses it
 */
#include "mag/region.h"
#include "sys/sys.h"

__thread struct mag_rseq_area mag_rseq_own = {.cpu_id = AREA_OPEN};

_Atomic(int) mag_registers; /* enum registers */

static bool cpu_id_change(s32 from, s32 to) {
    return atomic_compare_exchange_strong_explicit(&mag_rseq_own.cpu_id, &from, to, memory_order_relaxed,
                                                   memory_order_relaxed);
}

bool thread_area_close(void) { return cpu_id_change(AREA_OPEN, AREA_CLOSED); }
void thread_area_open(void) { (void)cpu_id_change(AREA_CLOSED, AREA_OPEN); }

/* Refused once is refused for good: a system call with each slow call would cost more than the locks do. A handler on
 * top may be first; the kernel then says so. */
COLD bool thread_register(void) {
    bool registered = sys_rseq_register(&mag_rseq_own) == 0;
    if (!registered)
        (void)thread_area_close();
    return registered;
}

/* Whoever made the thread: libc does not know all who are. */
static _Atomic(bool) joined;

COLD bool thread_join(void) {
    atomic_store_explicit(&joined, true, memory_order_relaxed);
    /* order: seq_cst fence: said before the area is registered, and so before this thread's first section.
     * pairs: [mag.joined] */
    atomic_thread_fence(memory_order_seq_cst);
    return thread_register();
}

bool threads_joined(void) {
    /* order: seq_cst fence: whoever is still to say so finds what was published before.         pairs: [mag.joined] */
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&joined, memory_order_relaxed);
}

/* In a child of vfork, where the area is closed, the start finds none: the parent then goes on without. Nor where a
 * handler on top of the start, or who could not start for lack of memory, ended it already: for good. */
bool threads_register(void) {
    bool open = atomic_load_explicit(&mag_rseq_own.cpu_id, memory_order_relaxed) == AREA_OPEN;
    int undecided = REGISTERS_UNDECIDED;
    return open && thread_register() &&
           atomic_compare_exchange_strong_explicit(&mag_registers, &undecided, REGISTERS_EACH, memory_order_relaxed,
                                                   memory_order_relaxed);
}

void threads_register_no_more(void) { atomic_store_explicit(&mag_registers, REGISTERS_NONE, memory_order_relaxed); }
