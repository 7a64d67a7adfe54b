/* SPDX-License-Identifier: MIT */
/*
 * The slots of guarded objects. Owns their address space, made with the first object, and their records; what is said
 * of a crime is guard_report.c's. Called by the slow paths.
 *
 * States: FREE -> OPENING -> LIVE -> CLOSING -> FREE, and LIVE -> WAITING -> CLOSING where a free may not enter the
 * system. Each step but the last of each pair is a compare-and-swap of the slot's state.
 *
 * Invariants
 *   [G1] Who took a slot to OPENING or CLOSING is alone with its record until it stores the next state.
 *   [G2] One free of an object succeeds: the one whose swap from LIVE does. Every other is reported.
 *   [G3] The page of a slot that is FREE cannot be touched, unless the system refused that.
 *
 * Ordering: [guard.slot]: the record and the page, as the last owner left them, are seen by the next.
 *
 * Progress: lock-free. A search for a slot looks at each once. A thread that ends, or is not in a fork's child, between
 * two states costs one slot.
 *
 * Reclamation: slots and records are never given back, pages with each free. Slots are taken in turn, so that one that
 * was freed stays closed until the search has come round, and uses long after the free are found.
 */
#include "engine/guard.h"

#include "base/fill.h"
#include "engine/engine.h"
#include "engine/guard_pool.h"
#include "engine/start.h"
#include "rt/context.h"
#include "rt/meta.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"
#include "sys/unwind.h"

#include <string.h>

enum { ALIGN_BYTES = 16 }; /* malloc's */

_Atomic(u32) guard_left;
struct guard_pool *_Atomic guard_pool;
_Atomic(u64) guard_objects_nr, guard_samples_nr;

/* --- when --- */

/* Numbers that a program, or who attacks it, does not know beforehand; two threads may get the same one. The first, for
 * which every process pays, is made of where the stack lies. */
static _Atomic(u64) random_state;

static u64 random_next(void) {
    u64 x = atomic_load_explicit(&random_state, memory_order_relaxed);
    if (x == 0)
        x = (u64)(uintptr_t)&x * 0x9e3779b97f4a7c15u | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    atomic_store_explicit(&random_state, x, memory_order_relaxed);
    return x >> 16;
}

/* So that on average one of so many is, and a program that repeats itself meets others each time; and none in a process
 * that does little. */
static void interval_start(void) {
    u32 left = rt_opt.guard <= 1 ? rt_opt.guard : (rt_opt.guard + 1) / 2 + (u32)(random_next() % rt_opt.guard);
    atomic_store_explicit(&guard_left, left, memory_order_relaxed);
}

/* Those who ask for reports have them from the start, in front of a handler that is there. Everybody else has a handler
 * of SIGSEGV with the first object only, when runtimes that look for one have long set their own, and only where there
 * is none. */
static bool watches_always(void) { return rt_opt.guard == 1 || rt_opt.harden; }

void guard_arm(void) {
    if (watches_always())
        (void)sys_fault_watch(guard_explain, SYS_FAULT_CHAIN);
    if (rt_opt.guard == 1) {
        (void)engine_ready(); /* where that fails now a later call starts, with allocations diverted */
        engine_divert_allocs();
    }
    interval_start();
}

/* --- where --- */

bool guard_pool_has(const struct guard_pool *pool, const void *p) {
    return (uintptr_t)p - (uintptr_t)pool->base < pool->bytes;
}

static struct guard_pool *pool_make(void) {
    size_t page_bytes = sys_page_bytes();
    unsigned nr = rt_opt.guard_slots;
    /* A cut-down page map does not tell these addresses from others. */
    if (rt_meta.limited)
        return NULL;
    struct guard_pool *pool = rt_meta_alloc(sizeof(*pool) + nr * sizeof(pool->slots[0]), CACHE_LINE);
    size_t bytes = round_up((2 * (size_t)nr + 1) * page_bytes, GRANULE_BYTES);
    char *base = pool == NULL ? NULL : sys_vm_reserve(bytes, GRANULE_BYTES);
    if (base == NULL)
        return NULL;
    pool->base = base;
    pool->bytes = bytes;
    pool->page_bytes = page_bytes;
    pool->slots_nr = nr;
    atomic_fetch_xor_explicit(&random_state, sys_clock_ns(), memory_order_relaxed);
    pool->fill_seed = (u8)random_next();
    if (!watches_always())
        (void)sys_fault_watch(guard_explain, SYS_FAULT_ALONE);
    return pool;
}

/* Tried once: what is refused now would be refused again, and each attempt would cost address space. */
static struct guard_pool *pool_get(void) {
    static _Atomic(bool) tried;
    /* order: acquire, as in guard_has().                                                        pairs: [guard.pool] */
    struct guard_pool *pool = atomic_load_explicit(&guard_pool, memory_order_acquire);
    if (pool != NULL || atomic_exchange_explicit(&tried, true, memory_order_relaxed))
        return pool;
    pool = pool_make();
    /* order: release: what the pool points to.                                                  pairs: [guard.pool] */
    atomic_store_explicit(&guard_pool, pool, memory_order_release);
    return pool;
}

/* --- slots --- */

static bool slot_pass(struct guard_slot *slot, enum guard_state from, enum guard_state to) {
    u32 seen = from;
    /* order: acquire, relaxed on failure: the record and the page are ours as they were left.   pairs: [guard.slot] */
    return atomic_compare_exchange_strong_explicit(&slot->state, &seen, to, memory_order_acquire, memory_order_relaxed);
}

static void slot_leave(struct guard_slot *slot, enum guard_state to) {
    /* order: release: the record and the page are as we leave them.                             pairs: [guard.slot] */
    atomic_store_explicit(&slot->state, to, memory_order_release);
}

/* The slot whose guard or page p lies in, that of the guard before it. */
static struct guard_slot *slot_of(struct guard_pool *pool, const void *p) {
    size_t i = (size_t)((const char *)p - pool->base) / (2 * pool->page_bytes);
    return &pool->slots[MIN(i, (size_t)pool->slots_nr - 1)];
}

/* The next in turn that is free. NULL: none is. */
static struct guard_slot *slot_take(struct guard_pool *pool) {
    for (unsigned tries = 0; tries < pool->slots_nr; tries++) {
        u32 i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed) % pool->slots_nr;
        if (slot_pass(&pool->slots[i], GUARD_FREE, GUARD_OPENING))
            return &pool->slots[i];
    }
    return NULL;
}

static void stack_record(struct guard_stack *stack) {
    stack->thread = sys_thread_self();
    stack->nr = sys_stack_take(stack->addrs, GUARD_STACK_NR);
}

/* --- what is not the object's on its page is filled, and was written to when it is not so any more --- */

static void page_fill(const struct guard_pool *pool, char *page, const struct guard_slot *slot) {
    fill_write(pool->fill_seed, page, slot->object);
    fill_write(pool->fill_seed, slot->object + slot->size_bytes, page + pool->page_bytes);
}

static void page_check(const struct guard_pool *pool, const char *page, const struct guard_slot *slot) {
    const char *damage = fill_damage(pool->fill_seed, slot->object + slot->size_bytes, page + pool->page_bytes);
    if (damage == NULL)
        damage = fill_damage(pool->fill_seed, page, slot->object);
    if (UNLIKELY(damage != NULL))
        guard_report(MISUSE_OVERFLOW, damage, slot, NULL);
}

/* --- allocating and freeing --- */

/* At the end of its page or at the start, so that either side is next to a guard. */
static void slot_place(const struct guard_pool *pool, struct guard_slot *slot, char *page, size_t size) {
    bool at_end = (random_next() & 1) != 0;
    slot->object = at_end ? page + round_down(pool->page_bytes - size, ALIGN_BYTES) : page;
    slot->size_bytes = (u32)size;
    slot->freed.nr = 0;
    stack_record(&slot->allocated);
    page_fill(pool, page, slot);
}

static bool slot_open(struct guard_pool *pool, struct guard_slot *slot, char *page) {
    if (!rt_usage_reserve(pool->page_bytes))
        return false;
    if (sys_vm_commit(page, pool->page_bytes) == 0) {
        if (slot->dirty)
            memset(page, 0, pool->page_bytes);
        return true;
    }
    rt_usage_add(-(s64)pool->page_bytes);
    return false;
}

COLD void *guard_alloc(size_t size) {
    if (size > sys_page_bytes() || !rt_may_block())
        return NULL; /* it is the next call's turn */
    interval_start();
    struct guard_pool *pool = engine_ready() ? pool_get() : NULL;
    if (pool == NULL || atomic_load_explicit(&guard_objects_nr, memory_order_relaxed) >= pool->slots_nr)
        return NULL;
    struct guard_slot *slot = slot_take(pool);
    if (slot == NULL)
        return NULL;
    char *page = guard_page(pool, (unsigned)(slot - pool->slots));
    if (!slot_open(pool, slot, page)) {
        slot_leave(slot, GUARD_FREE);
        return NULL;
    }
    slot_place(pool, slot, page, MAX(size, (size_t)1));
    char *object = slot->object;
    atomic_fetch_add_explicit(&guard_objects_nr, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&guard_samples_nr, 1, memory_order_relaxed);
    slot_leave(slot, GUARD_LIVE);
    return object;
}

/* In the state CLOSING. */
static void slot_close(struct guard_pool *pool, struct guard_slot *slot) {
    slot->dirty = sys_vm_guard(guard_page(pool, (unsigned)(slot - pool->slots)), pool->page_bytes) != 0;
    rt_usage_add(-(s64)pool->page_bytes);
    atomic_fetch_sub_explicit(&guard_objects_nr, 1, memory_order_relaxed);
    slot_leave(slot, GUARD_FREE);
}

static struct guard_pool *pool_there(void) {
    /* order: acquire, as in guard_has().                                                        pairs: [guard.pool] */
    return atomic_load_explicit(&guard_pool, memory_order_acquire);
}

/* Who holds the object reads a record that nobody changes. */
static bool is_object(struct guard_slot *slot, const void *p) {
    /* order: acquire: the record, as its maker left it.                                         pairs: [guard.slot] */
    return atomic_load_explicit(&slot->state, memory_order_acquire) == GUARD_LIVE && slot->object == p;
}

size_t guard_usable(const void *p) {
    if (!guard_has(p))
        return 0;
    struct guard_slot *slot = slot_of(pool_there(), p);
    return is_object(slot, p) ? slot->size_bytes : 0;
}

COLD void guard_free(void *p) {
    struct guard_pool *pool = pool_there();
    struct guard_slot *slot = slot_of(pool, p);
    if (!is_object(slot, p) || !slot_pass(slot, GUARD_LIVE, GUARD_CLOSING))
        guard_report_pointer(p);
    stack_record(&slot->freed);
    page_check(pool, guard_page(pool, (unsigned)(slot - pool->slots)), slot);
    if (rt_may_block()) {
        slot_close(pool, slot);
        return;
    }
    slot_leave(slot, GUARD_WAITING);
    rt_chore_note(RT_CHORE_GUARDS);
}

void guard_close_due(void) {
    struct guard_pool *pool = pool_there();
    for (unsigned i = 0; pool != NULL && i < pool->slots_nr; i++) {
        if (slot_pass(&pool->slots[i], GUARD_WAITING, GUARD_CLOSING))
            slot_close(pool, &pool->slots[i]);
    }
}

_Noreturn void guard_report_pointer(const void *p) {
    struct guard_slot *slot = slot_of(pool_there(), p);
    guard_settle(slot);
    const char *at = p;
    enum misuse_kind kind = MISUSE_WILD;
    if (slot->size_bytes != 0 && at == slot->object)
        kind = MISUSE_DOUBLE_FREE;
    else if (slot->size_bytes != 0 && at > slot->object && at < slot->object + slot->size_bytes)
        kind = MISUSE_INTERIOR;
    guard_report(kind, p, slot, NULL);
}
