/* SPDX-License-Identifier: MIT */
/*
 * Batches of objects that wait for a grace period. Contract in rcu_batch.h.
 *
 * States      A batch is a CPU's current one (rcu.c), handed over, in the hands of a round, ready, in the hands of who
 *             frees its objects, or empty.
 * Invariants  [R1] A batch is in one place. Between two it is in the hands of one thread, which has entered, or has
 *                  the round.
 *             [R2] Under a shut door nobody is inside: every object handed over before is in a list that a round sees.
 *             [R3] Lists change by one store, under the lock. Where a batch changes from taken to ready, or from ready
 *                  to freeing, it is in both for a moment, under the lock, and there first of the list: the child of a
 *                  fork sees that, and loses only what others had in their hands. So it is from handed over to taken,
 *                  by the round. A list that goes before another leads into it already while its first is not there
 *                  yet: the child cuts it off.
 *             [R4] Of a batch whose objects are being freed freed_nr moves on before a run is freed: a child of fork
 *                  that finds it goes on with it, and loses at most that run.
 * Ordering    Handing over releases what the batch has; the round takes by acquire. [batch.handed] Who enters counts
 *             itself, then looks at the door; who shuts the door shuts it, then looks at the count: with a fence
 *             between the two steps of each, at least one sees the other. [batch.door]
 * Progress    Handing over never waits: where the lock is held it does without ready and empty batches, and where the
 *             door is shut rcu.c links the object into a list. The thread waits for the lock.
 * Reclamation The round alone takes what was handed over, the lock is for the rest: no address comes back under a swap.
 */
#include "kmem/rcu_batch.h"

#include "kmem/presence.h"

#include "sys/sys.h"

enum {
    SURPLUS_PERIOD = 4, /* batches freed for as many handed over and one more: so what is ready becomes less */
    STOCK_GROWTH = 4,   /* for each time that there were too few: what waits has grown meanwhile */
    STOCK_MAX = 2048,
    SPINS = 1000,
};

static struct {
    _Alignas(CACHE_LINE) struct rcu_batch *_Atomic handed;
    _Atomic(u32) handed_nr; /* a hint */
    _Atomic(u32) got_nr;    /* batches that pushers asked for */
    _Atomic(bool) wanted;   /* somebody found no memory for a batch */
    _Alignas(CACHE_LINE) presence inside;
    presence shut;
    _Alignas(CACHE_LINE) struct sys_lock lock; /* of the rest */
    struct rcu_batch *_Atomic ready, *_Atomic empty;
    _Atomic(u32) empty_nr, stock_nr;
    struct rcu_batch *_Atomic taken;   /* that wait for the grace period under way */
    struct rcu_batch *_Atomic freeing; /* whose objects the thread is freeing; taken and freeing are the round's */
} batches;

static struct rcu_batch *batch_load(struct rcu_batch *_Atomic *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}
static void batch_store(struct rcu_batch *_Atomic *at, struct rcu_batch *b) {
    atomic_store_explicit(at, b, memory_order_relaxed);
}

/* --- the door --- */

static bool is_shut(void) { return presence_any(&batches.shut, memory_order_relaxed); }

bool rcu_batch_enter(u32 *ret_generation) {
    if (is_shut())
        return false;
    *ret_generation = presence_enter(&batches.inside);
    /* order: seq_cst fence: counted before the door is looked at.                               pairs: [batch.door] */
    atomic_thread_fence(memory_order_seq_cst);
    if (!is_shut())
        return true;
    rcu_batch_leave(*ret_generation);
    return false;
}

void rcu_batch_leave(u32 generation) { presence_leave(&batches.inside, generation); }

u32 rcu_batch_shut(void) {
    u32 generation = presence_enter(&batches.shut);
    /* order: seq_cst fence: shut before the count is looked at.                                 pairs: [batch.door] */
    atomic_thread_fence(memory_order_seq_cst);
    /* order: acquire                                                                            pairs: [batch.gone] */
    for (u32 i = 0; presence_any(&batches.inside, memory_order_acquire); i++) {
        if (i >= SPINS)
            sys_sleep_ms(1);
    }
    return generation;
}

void rcu_batch_open(u32 generation) { presence_leave(&batches.shut, generation); }

/* The thread that moved a batch may have counted it or not. */
static void empty_count(void) {
    u32 nr = 0;
    for (const struct rcu_batch *b = batch_load(&batches.empty); b != NULL; b = b->next)
        nr++;
    atomic_store_explicit(&batches.empty_nr, nr, memory_order_relaxed);
}

/* [R3]: a step of some stores, under the lock, was cut in two. */
static void lists_mend(void) {
    struct rcu_batch *ready = batch_load(&batches.ready);
    if (ready != NULL && ready == batch_load(&batches.taken))
        batch_store(&batches.taken, NULL);
    for (struct rcu_batch *b = batch_load(&batches.taken); b != NULL; b = b->next) {
        if (b->next == ready)
            b->next = NULL; /* was to go before what is ready */
    }
    if (ready != NULL && ready == batch_load(&batches.freeing))
        batch_store(&batches.ready, ready->next);
    empty_count();
}

void rcu_batch_fork_child(void) {
    if (!sys_lock_is_mine(&batches.lock)) {
        lists_mend();
        sys_lock_reset(&batches.lock);
    }
    presence_fork_child(&batches.inside);
    presence_fork_child(&batches.shut);
}

/* --- ready and empty ones --- */

/* [R3] Under the lock. */
static struct rcu_batch *list_pop(struct rcu_batch *_Atomic *list) {
    struct rcu_batch *b = batch_load(list);
    if (b != NULL)
        batch_store(list, b->next);
    return b;
}

static void list_push(struct rcu_batch *_Atomic *list, struct rcu_batch *first, struct rcu_batch *last) {
    last->next = batch_load(list);
    kmem_in_this_order();
    batch_store(list, first);
}

static struct rcu_batch *pop_try(struct rcu_batch *_Atomic *list) {
    if (batch_load(list) == NULL || !sys_lock_try(&batches.lock))
        return NULL;
    struct rcu_batch *b = list_pop(list);
    if (b != NULL && list == &batches.empty)
        atomic_fetch_sub_explicit(&batches.empty_nr, 1, memory_order_relaxed);
    sys_lock_release(&batches.lock);
    return b;
}

/* [R4] other: for areas, and what is larger than size classes. */
static void objects_free(struct rcu_batch *b, void (*other)(const void *p)) {
    while (b->freed_nr < b->objs_nr) {
        u32 from = b->freed_nr, nr = MIN(b->objs_nr - from, (u32)RCU_RUN_NR);
        b->freed_nr = from + nr;
        kmem_free_each(nr, (void *const *)(uintptr_t)(b->objs + from), other);
    }
}

void rcu_batch_put(struct rcu_batch *b) {
    bool kept = false;
    if (atomic_load_explicit(&batches.empty_nr, memory_order_relaxed) <
            atomic_load_explicit(&batches.stock_nr, memory_order_relaxed) &&
        sys_lock_try(&batches.lock)) {
        list_push(&batches.empty, b, b);
        atomic_fetch_add_explicit(&batches.empty_nr, 1, memory_order_relaxed);
        sys_lock_release(&batches.lock);
        kept = true;
    }
    if (!kept)
        quarry_core1_free(b);
}

struct rcu_batch *rcu_batch_get(void) {
    struct rcu_batch *found = NULL, *b;
    u32 surplus = atomic_fetch_add_explicit(&batches.got_nr, 1, memory_order_relaxed) % SURPLUS_PERIOD == 0;
    for (u32 i = 0; i < 1 + surplus && (b = pop_try(&batches.ready)) != NULL; i++) {
        objects_free(b, quarry_kvfree_atomic);
        if (found != NULL)
            rcu_batch_put(b);
        else
            found = b;
    }
    if (found == NULL)
        found = pop_try(&batches.empty);
    if (found == NULL)
        found = quarry_core1_alloc_atomic(RCU_BATCH_BYTES, false);
    if (found == NULL)
        atomic_store_explicit(&batches.wanted, true, memory_order_relaxed);
    return found;
}

static bool is_wanted(void) { return atomic_load_explicit(&batches.wanted, memory_order_relaxed); }

bool rcu_batch_is_lacking(void) {
    return is_wanted() && batch_load(&batches.ready) == NULL && batch_load(&batches.empty) == NULL;
}

/* So that nr batches are empty. */
static void stock_to(u32 nr) {
    atomic_store_explicit(&batches.stock_nr, nr, memory_order_relaxed);
    atomic_store_explicit(&batches.wanted, false, memory_order_relaxed);
    struct rcu_batch *b;
    while (atomic_load_explicit(&batches.empty_nr, memory_order_relaxed) > nr && (b = pop_try(&batches.empty)) != NULL)
        quarry_core1_free(b);
    while (atomic_load_explicit(&batches.empty_nr, memory_order_relaxed) < nr) {
        b = quarry_kmalloc(RCU_BATCH_BYTES, QUARRY_GFP_KERNEL | QUARRY___GFP_NORETRY);
        if (b == NULL)
            return;
        rcu_batch_put(b);
    }
}

void rcu_batch_stock(void) {
    u32 stock = atomic_load_explicit(&batches.stock_nr, memory_order_relaxed);
    if (is_wanted() && !is_shut())
        stock_to(stock < RCU_STOCK_LEAST ? RCU_STOCK_LEAST : MIN(STOCK_GROWTH * stock, (u32)STOCK_MAX));
}

void rcu_batch_trim(void) { stock_to(RCU_STOCK_LEAST); }

/* --- handing over --- */

/* objs_nr is 0 until it is handed over. */
u64 rcu_batch_begin(struct rcu_batch *b, const void *object) {
    b->objs_nr = 0;
    b->objs[0] = object;
    return (u64)&b->objs[1];
}

static struct rcu_batch *batch_by_end(u64 end) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return (struct rcu_batch *)round_down(end - 1, RCU_BATCH_BYTES);
}

u32 rcu_batch_hand_over(u64 end) {
    struct rcu_batch *b = batch_by_end(end);
    struct rcu_batch *first = atomic_load_explicit(&batches.handed, memory_order_relaxed);
    b->objs_nr = (u32)((end - (u64)b->objs) / sizeof(b->objs[0]));
    b->freed_nr = 0;
    do {
        b->next = first;
        /* order: release: the objects, and that readers cannot find them any more.            pairs: [batch.handed] */
    } while (
        !atomic_compare_exchange_weak_explicit(&batches.handed, &first, b, memory_order_release, memory_order_relaxed));
    return atomic_fetch_add_explicit(&batches.handed_nr, 1, memory_order_relaxed) + 1;
}

bool rcu_batch_is_handed_over(u64 end) {
    const struct rcu_batch *b = batch_by_end(end), *handed = batch_load(&batches.handed);
    if (b->objs_nr == 0)
        return false;
    while (handed != NULL && handed != b)
        handed = handed->next;
    return handed == b;
}

/* --- rounds --- */

bool rcu_batch_take(void) {
    if (batch_load(&batches.taken) == NULL) {
        struct rcu_batch *first = batch_load(&batches.handed);
        atomic_store_explicit(&batches.handed_nr, 0, memory_order_relaxed);
        do {
            batch_store(&batches.taken, first);
            kmem_in_this_order();
            /* order: acquire                                                                  pairs: [batch.handed] */
        } while (first != NULL && !atomic_compare_exchange_weak_explicit(&batches.handed, &first, NULL,
                                                                         memory_order_acquire, memory_order_relaxed));
    }
    return batch_load(&batches.taken) != NULL;
}

void rcu_batch_take_mend(void) {
    struct rcu_batch *handed = batch_load(&batches.handed), *taken = batch_load(&batches.taken);
    if (taken == NULL)
        return;
    if (handed == taken) {
        batch_store(&batches.handed, NULL);
        return;
    }
    while (handed != NULL && handed->next != taken)
        handed = handed->next;
    if (handed != NULL)
        handed->next = NULL;
}

size_t rcu_batch_ready(void) {
    struct rcu_batch *first = batch_load(&batches.taken), *last = first;
    if (last == NULL)
        return 0;
    size_t nr = last->objs_nr;
    for (; last->next != NULL; last = last->next)
        nr += last->next->objs_nr;
    bool locked = sys_lock_acquire(&batches.lock);
    list_push(&batches.ready, first, last);
    kmem_in_this_order();
    batch_store(&batches.taken, NULL);
    if (locked)
        sys_lock_release(&batches.lock);
    return nr;
}

/* The next whose objects are to be freed: also one that a child of fork found half freed. */
static struct rcu_batch *freeing_next(void) {
    bool locked = sys_lock_acquire(&batches.lock);
    if (batch_load(&batches.freeing) == NULL) {
        batch_store(&batches.freeing, batch_load(&batches.ready));
        kmem_in_this_order();
        (void)list_pop(&batches.ready);
    }
    if (locked)
        sys_lock_release(&batches.lock);
    return batch_load(&batches.freeing);
}

void rcu_batch_free_ready(void) {
    for (struct rcu_batch *b; (b = freeing_next()) != NULL;) {
        objects_free(b, quarry_kvfree);
        batch_store(&batches.freeing, NULL);
        rcu_batch_put(b);
    }
}

bool rcu_batch_none(void) {
    return batch_load(&batches.handed) == NULL && batch_load(&batches.taken) == NULL &&
           batch_load(&batches.ready) == NULL && batch_load(&batches.freeing) == NULL;
}
