/* SPDX-License-Identifier: MIT */
/*
 * Slabs of SLAB_TYPESAFE_BY_RCU go back: the heap says that some would (front/core.h, grace_wanted), a grace period is
 * asked for, and those that were not used meanwhile go. Owns what is under way: one grace period at a time, for all
 * such caches together. Called by cache.c, and by the heap in any slow call that may block.
 *
 *   [T1] `asked` is true from before grace_begin until after grace_end, and belongs to the thread that made it true,
 *        then to the callback. So the heap's calls are one at a time.
 *   [T2] The child of a fork may not have the callback, which the parent's thread had in hand: it begins anew, and a
 *        callback it has all the same is known by its generation and does nothing.
 *
 * A program linked statically has this where it links the functions of RCU: cache.c alone does not need liburcu.
 */
#include "kmem/cache.h"
#include "kmem/rcu.h"

/* One grace period. */
struct cycle {
    struct quarry_rcu_head head; /* first */
    u32 generation;
};

static _Atomic(bool) asked;
static _Atomic(bool) all_wanted; /* no cache is to keep a few */
static _Atomic(u32) generation;  /* changes in a child of fork alone */

static void grace_over(struct quarry_rcu_head *head);

/* [T1] False: nothing is to go back, or nobody would wait for it. The thread is not started here, for this may be
 * inside a malloc that pthread_create made. */
static bool grace_begin(void) {
    if (!kmem_rcu_thread_runs())
        return false;
    struct cycle *cycle = quarry_core1_alloc(sizeof(*cycle));
    bool all = atomic_exchange_explicit(&all_wanted, false, memory_order_relaxed);
    if (cycle == NULL || quarry_core1_grace_begin(all) == 0) {
        quarry_core1_free(cycle);
        return false;
    }
    cycle->generation = atomic_load_explicit(&generation, memory_order_relaxed);
    quarry_call_rcu(&cycle->head, grace_over);
    return true;
}

static void asked_no_more(void) {
    /* order: release: who asks next sees what was done.                                        pairs: [grace.asked] */
    atomic_store_explicit(&asked, false, memory_order_release);
}

static void grace_wanted(void);

/* More may have become free meanwhile. */
static void grace_over(struct quarry_rcu_head *head) {
    struct cycle *cycle = (struct cycle *)head;
    bool current = cycle->generation == atomic_load_explicit(&generation, memory_order_relaxed);
    quarry_core1_free(cycle);
    if (!current)
        return;
    quarry_core1_grace_end();
    if (grace_begin())
        return;
    asked_no_more();
    /* order: seq_cst fence: a shrink found this grace period asked for, or is seen here.      pairs: [grace.shrink] */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&all_wanted, memory_order_relaxed))
        grace_wanted();
}

static void grace_wanted(void) {
    /* order: acquire                                                                           pairs: [grace.asked] */
    if (!atomic_exchange_explicit(&asked, true, memory_order_acquire) && !grace_begin())
        asked_no_more();
}

bool kmem_grace_prepare(void) {
    bool ready = kmem_rcu_prepare();
    if (ready)
        quarry_core1_grace_wanted(grace_wanted);
    return ready;
}

void kmem_grace_shrink(void) {
    (void)kmem_grace_prepare();
    atomic_store_explicit(&all_wanted, true, memory_order_relaxed);
    /* order: seq_cst fence                                                                    pairs: [grace.shrink] */
    atomic_thread_fence(memory_order_seq_cst);
    grace_wanted();
}

void kmem_grace_wait(void) { quarry_synchronize_rcu(); }

void kmem_grace_fork_child(void) {
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
    atomic_store_explicit(&asked, false, memory_order_relaxed);
}
