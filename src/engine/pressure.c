/* SPDX-License-Identifier: MIT */
/*
 * The limits: reclaiming when limit_soft is passed or limit_hard is met, and the callbacks through which the program
 * frees what it can spare. Counting is rt/usage.h's business. Called by the slow path of allocation, with nothing held.
 *
 * States of a slot: FREE -> FILLING -> LIVE -> LEAVING -> FREE, with a sequence above, so that a slot that was filled
 * again meanwhile is not taken for the one that was looked at.
 *
 *   [R1] At most one round of callbacks runs in the process; its thread is in `round_owner`. An allocation inside a
 *        round finds itself (or another) there and starts none: no recursion, and nobody waits for a round but who
 *        unregisters. What the callbacks of one round did those of the next see.
 *   [R2] quarry_reclaim_unregister returns to a thread other than the round's only when the callback is not running
 *        and will not be called again.
 *
 * Rate: a round because of limit_soft is due when use passes it, and again when use has grown by one part in 32 of the
 * limit since the last round, or a second has gone by. So a program that stays above pays for one round a second, and
 * one that grows for 32 rounds per doubling; one that swings around the limit pays no more than either.
 */
#include "engine/pressure.h"

#include "engine/engine.h"
#include "engine/most.h"
#include "engine/start.h"
#include "rt/cgroup.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

enum { STATE_BITS = 2, GROWTH_PART = 32, AGAIN_MS = 1000, SOME_PART = 8, NOBODY_RUNS = RECLAIM_SLOTS_NR };
enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_LIVE, SLOT_LEAVING, SLOT_STATES_NR };

static struct slot {
    _Atomic(u32) word; /* slot_state in the low bits, sequence above */
    engine_reclaim_fn fn;
    void *arg;
} slots[RECLAIM_SLOTS_NR];

static _Atomic(u64) round_owner; /* sys_thread_self() of the thread that runs callbacks; 0: none */
static _Atomic(u32) running = NOBODY_RUNS;
static _Atomic(u64) due_bytes; /* use at which the next soft round is due before its time; 0: there was none yet */
static _Atomic(u64) last_ms;

_Atomic(u64) engine_soft_hits;
_Atomic(u64) engine_hard_hits;

static enum slot_state state_of(u32 word) { return word % SLOT_STATES_NR; }
static u32 word_next(u32 word, enum slot_state state) { return ((word >> STATE_BITS) + 1) << STATE_BITS | (u32)state; }

/* order: acq_rel: who gets a slot sees what its last owner left, and the fields are published with LIVE.
 * pairs: [pressure.slot] */
static bool slot_move(struct slot *s, u32 from, enum slot_state to) {
    return atomic_compare_exchange_strong_explicit(&s->word, &from, word_next(from, to), memory_order_acq_rel,
                                                   memory_order_relaxed);
}
/* order: acquire: the fields are those of LIVE. pairs: [pressure.slot] */
static u32 slot_word(struct slot *s) { return atomic_load_explicit(&s->word, memory_order_acquire); }

int engine_reclaim_register(engine_reclaim_fn fn, void *arg) {
    for (struct slot *s = slots; s < slots + RECLAIM_SLOTS_NR; s++) {
        u32 word = slot_word(s);
        if (state_of(word) != SLOT_FREE || !slot_move(s, word, SLOT_FILLING))
            continue;
        __atomic_store_n(&s->fn, fn, __ATOMIC_RELAXED);
        __atomic_store_n(&s->arg, arg, __ATOMIC_RELAXED);
        (void)slot_move(s, word_next(word, SLOT_FILLING), SLOT_LIVE);
        return 0;
    }
    return -ENGINE_RECLAIM_FULL;
}

static bool round_is_mine(void) {
    return atomic_load_explicit(&round_owner, memory_order_relaxed) == sys_thread_self();
}

/* [R2]: the slot has left LIVE, so a round that has not announced it yet will see that. */
static void wait_until_out(u32 index) {
    if (round_is_mine())
        return;
    /* order: seq_cst fence: either the round sees LEAVING or this thread sees it running.   pairs: [pressure.leave] */
    atomic_thread_fence(memory_order_seq_cst);
    /* order: acquire: what the callback did comes before what the caller does next.           pairs: [pressure.out] */
    while (atomic_load_explicit(&running, memory_order_acquire) == index)
        sys_sleep_ms(1);
}

int engine_reclaim_unregister(engine_reclaim_fn fn, void *arg) {
    for (struct slot *s = slots; s < slots + RECLAIM_SLOTS_NR; s++) {
        u32 word = slot_word(s);
        if (state_of(word) != SLOT_LIVE || __atomic_load_n(&s->fn, __ATOMIC_RELAXED) != fn ||
            __atomic_load_n(&s->arg, __ATOMIC_RELAXED) != arg || !slot_move(s, word, SLOT_LEAVING))
            continue;
        wait_until_out((u32)(s - slots));
        (void)slot_move(s, word_next(word, SLOT_LEAVING), SLOT_FREE);
        return 0;
    }
    return -ENGINE_RECLAIM_UNKNOWN;
}

static void slot_call(u32 index) {
    struct slot *s = &slots[index];
    /* order: release: who unregisters the callback before this one may see this one run.       pairs: [pressure.out] */
    atomic_store_explicit(&running, index, memory_order_release);
    /* order: seq_cst fence: announced before the state is looked at.                         pairs: [pressure.leave] */
    atomic_thread_fence(memory_order_seq_cst);
    u32 word = slot_word(s);
    if (state_of(word) == SLOT_LIVE) {
        engine_reclaim_fn fn = __atomic_load_n(&s->fn, __ATOMIC_RELAXED);
        fn(__atomic_load_n(&s->arg, __ATOMIC_RELAXED));
    }
    /* order: release: the callback is over.                                                    pairs: [pressure.out] */
    atomic_store_explicit(&running, NOBODY_RUNS, memory_order_release);
}

/* [R1] A thread that may be in a signal handler, on top of anything, calls nobody; nor does one of the libraries'. */
static void callbacks_run(void) {
    u64 nobody = 0;
    /* order: acquire: what the callbacks of the round before did.                           pairs: [pressure.round] */
    if (round_is_mine() || sys_calls_nobody() ||
        !atomic_compare_exchange_strong_explicit(&round_owner, &nobody, sys_thread_self(), memory_order_acquire,
                                                 memory_order_relaxed))
        return;
    for (u32 i = 0; i < RECLAIM_SLOTS_NR; i++) {
        if (state_of(slot_word(&slots[i])) == SLOT_LIVE)
            slot_call(i);
    }
    /* order: release: the round is over.                                                    pairs: [pressure.round] */
    atomic_store_explicit(&round_owner, 0, memory_order_release);
}

static void groups_look(void) {
    struct rt_cgroup c;
    if (!rt_opt.cgroup)
        return;
    rt_cgroup_read(rt_usage_total(), &c);
    atomic_store_explicit(&rt_usage_group_soft, c.soft_bytes, memory_order_relaxed);
    atomic_store_explicit(&rt_usage_group_hard, c.hard_bytes, memory_order_relaxed);
}

bool engine_pressure_init(void) {
    groups_look();
    return true;
}

void engine_pressure_tick(void) { groups_look(); }

void engine_pressure_hard(void) {
    bool limited = rt_opt.limit_hard != 0;
    groups_look();
    (void)engine_reclaim();
    if (!limited || round_is_mine())
        return;
    atomic_fetch_add_explicit(&engine_hard_hits, 1, memory_order_relaxed);
    callbacks_run();
    (void)engine_reclaim();
}

void engine_pressure_soft(void) {
    u64 now = sys_clock_ms(), last = atomic_load_explicit(&last_ms, memory_order_relaxed);
    if (!rt_usage_pressed() || round_is_mine())
        return;
    if (rt_usage_total() < atomic_load_explicit(&due_bytes, memory_order_relaxed) && now < last + AGAIN_MS)
        return;
    /* One thread of those that pass at the same moment. */
    atomic_store_explicit(&due_bytes, UINT64_MAX, memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&last_ms, &last, now + (now == last), memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    atomic_fetch_add_explicit(&engine_soft_hits, 1, memory_order_relaxed);
    (void)engine_trim(0);
    if (rt_usage_pressed()) {
        callbacks_run();
        (void)engine_trim(0);
    }
    u64 from = MAX(rt_usage_total(), rt_limit_soft());
    atomic_store_explicit(&due_bytes, from + rt_limit_soft() / GROWTH_PART, memory_order_relaxed);
}

static u64 limit_shown(u64 limit) { return limit == RT_LIMIT_NONE ? 0 : limit; }
static bool within_part(u64 used, u64 limit) { return limit != 0 && used > limit - limit / SOME_PART; }

void engine_pressure_get(struct engine_pressure *ret_pressure) {
    struct engine_pressure p = {.used_bytes = rt_usage_total(),
                                .soft_bytes = limit_shown(rt_limit_soft()),
                                .hard_bytes = limit_shown(rt_limit_hard())};
    if (rt_usage_pressed() || within_part(p.used_bytes, p.hard_bytes))
        p.level = ENGINE_PRESSURE_HIGH;
    else if (within_part(p.used_bytes, p.soft_bytes))
        p.level = ENGINE_PRESSURE_SOME;
    *ret_pressure = p;
}

/* A thread that was inside a callback, other than the forking one, is not in the child. */
void engine_pressure_fork_child(void) {
    if (round_is_mine())
        return;
    atomic_store_explicit(&running, NOBODY_RUNS, memory_order_relaxed);
    atomic_store_explicit(&round_owner, 0, memory_order_relaxed);
    atomic_store_explicit(&due_bytes, 0, memory_order_relaxed);
}
