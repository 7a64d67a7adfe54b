/* SPDX-License-Identifier: MIT */
/*
 * Slabs of SLAB_TYPESAFE_BY_RCU go back: the heap says that some would (front/core.h, grace_wanted), a grace period is
 * asked for, and those that were not used meanwhile go. Owns what is under way: one grace period at a time, for all
 * such caches together. Called by cache.c, and by the heap in any slow call that may block.
 *
 *   [T1] `asked` names the thread that is in the heap's calls, from before grace_begin, or grace_end, until it names
 *        the callback, or nothing. So the heap's calls are one at a time.
 *   [T2] The child of a fork may not have the thread or the callback: then it begins anew, and a callback it has all
 *        the same is known by its generation and does nothing. But what a handler that forks is on top of goes on with
 *        it: the forking thread's own calls stay its own.
 *
 * A program linked statically has this where it links the functions of RCU: cache.c alone does not need liburcu.
 */
#include "kmem/cache.h"
#include "kmem/rcu.h"

#include "sys/sys.h"

/* One grace period. */
struct cycle {
    struct quarry_rcu_head head; /* first */
    u64 awaited;                 /* what asked is while the callback is awaited */
};

enum { AWAITED = 1, GENERATION_ONE = 2 }; /* no thread's name is odd */

/* 0 nobody; a thread; or that generation's callback. */
static _Atomic(u64) asked;
static _Atomic(bool) all_wanted; /* no cache is to keep a few */
static _Atomic(u64) generation;  /* of GENERATION_ONE each; changes in a child of fork alone */

/* From nobody, or from the callback. */
static bool asked_take(u64 from) {
    /* order: acquire                                                                           pairs: [grace.asked] */
    return atomic_compare_exchange_strong_explicit(&asked, &from, sys_thread_self(), memory_order_acquire,
                                                   memory_order_relaxed);
}

static void asked_leave(u64 to) {
    /* order: release: who takes it next sees what was done.                                    pairs: [grace.asked] */
    atomic_store_explicit(&asked, to, memory_order_release);
}

static void grace_over(struct quarry_rcu_head *head);

/* NULL: no memory, or nobody would wait. The thread is not started here, for this may be inside a malloc that
 * pthread_create made. */
static struct cycle *cycle_make(void) {
    return kmem_rcu_thread_runs() ? quarry_core1_alloc(sizeof(struct cycle)) : NULL;
}

/* [T1] False: nothing is to go back. */
static bool grace_begin(struct cycle *cycle) {
    /* order: acquire: what became free before it was wanted.                                     pairs: [grace.all] */
    bool all = atomic_exchange_explicit(&all_wanted, false, memory_order_acquire);
    if (quarry_core1_grace_begin(all) == 0) {
        quarry_core1_free(cycle);
        return false;
    }
    /* [T2] A fork on top of this that comes before it is the callback's leaves the generation alone. */
    cycle->awaited = atomic_load_explicit(&generation, memory_order_relaxed) | AWAITED;
    asked_leave(cycle->awaited);
    quarry_call_rcu(&cycle->head, grace_over);
    return true;
}

/* Until there is one to wait for, or none is wanted: of who asked meanwhile. What cannot begin stays wanted, all of it
 * if a shrink wants that, and begins with whoever asks next. */
static void grace_run(void) {
    bool can_begin;
    do {
        struct cycle *cycle = cycle_make();
        can_begin = cycle != NULL;
        if (can_begin && grace_begin(cycle))
            return;
        asked_leave(0);
        /* order: seq_cst fence: a shrink found this grace period asked for, or is seen here.  pairs: [grace.shrink] */
        atomic_thread_fence(memory_order_seq_cst);
    } while (can_begin && atomic_load_explicit(&all_wanted, memory_order_relaxed) && asked_take(0));
}

/* More may have become free meanwhile. */
static void grace_over(struct quarry_rcu_head *head) {
    u64 awaited = ((struct cycle *)head)->awaited;
    quarry_core1_free(head);
    if (!asked_take(awaited))
        return;
    quarry_core1_grace_end();
    grace_run();
}

static void grace_wanted(void) {
    if (asked_take(0))
        grace_run();
}

bool kmem_grace_prepare(void) {
    bool ready = kmem_rcu_prepare();
    if (ready)
        quarry_core1_grace_wanted(grace_wanted);
    return ready;
}

void kmem_grace_shrink(void) {
    (void)kmem_grace_prepare();
    /* order: release                                                                             pairs: [grace.all] */
    atomic_store_explicit(&all_wanted, true, memory_order_release);
    /* order: seq_cst fence                                                                    pairs: [grace.shrink] */
    atomic_thread_fence(memory_order_seq_cst);
    grace_wanted();
}

void kmem_grace_wait(void) { quarry_synchronize_rcu(); }

/* [T2] */
void kmem_grace_fork_child(void) {
    if (atomic_load_explicit(&asked, memory_order_relaxed) == sys_thread_self())
        return;
    atomic_fetch_add_explicit(&generation, GENERATION_ONE, memory_order_relaxed);
    atomic_store_explicit(&asked, 0, memory_order_relaxed);
}
