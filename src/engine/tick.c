/* SPDX-License-Identifier: MIT */
/*
 * Housekeeping without a thread of our own: every so many slow calls one thread, by try-lock, looks at the clock and at
 * most ten times a second trims the depot, drains idle ids, sweeps quiet classes, and lets the page tier and the region
 * cache give back what is old.
 */
#include "big/big.h"
#include "buddy/buddy.h"
#include "engine/atomic.h"
#include "engine/engine.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

enum { CALLS_PER_LOOK = 256, TICK_MS = 100, DRAIN_TICKS = 10, BACKGROUND_MS = 200 };

bool engine_counting;
_Atomic(u64) engine_calls[ENGINE_CALLS_NR];
_Atomic(s64) engine_live_bytes;
_Atomic(s64) engine_peak_bytes;
_Atomic(u64) engine_ticks_nr;

void engine_count(enum engine_call call, s64 bytes) {
    atomic_fetch_add_explicit(&engine_calls[call], 1, memory_order_relaxed);
    s64 live = atomic_fetch_add_explicit(&engine_live_bytes, bytes, memory_order_relaxed) + bytes;
    s64 peak = atomic_load_explicit(&engine_peak_bytes, memory_order_relaxed);
    while (live > peak && !atomic_compare_exchange_weak_explicit(&engine_peak_bytes, &peak, live, memory_order_relaxed,
                                                                 memory_order_relaxed))
        continue;
}

static void tick_run(u64 now_ms) {
    u64 nr = atomic_fetch_add_explicit(&engine_ticks_nr, 1, memory_order_relaxed) + 1;
    mag_depot_trim(MAG_DRAIN_IDLE);
    mag_rest();
    engine_chores_look();
    if (nr % DRAIN_TICKS == 0) {
        mag_drain(MAG_DRAIN_IDLE);
        engine_pressure_tick();
    }
    slab_tick(now_ms);
    buddy_tick(now_ms, BUDDY_OLD);
    (void)big_tick(now_ms, BIG_OLD);
    rt_release_retry(RT_LEFTOVER_SOME);
    page_tick(now_ms);
}

static struct sys_lock tick_lock;

void engine_tick_fork_child(void) { sys_lock_reset(&tick_lock); }

COLD static void tick_look(void) {
    static u64 last_ms;
    if (!sys_lock_try(&tick_lock))
        return;
    u64 now = sys_clock_ms();
    if (now - last_ms >= TICK_MS) {
        bool first = last_ms == 0;
        last_ms = now;
        if (!first)
            tick_run(now);
    }
    sys_lock_release(&tick_lock);
}

void engine_tick_maybe(void) {
    /* Threads may lose a call to each other; an atomic add would cost more than that is worth. */
    static _Atomic(u32) calls;
    u32 nr = atomic_load_explicit(&calls, memory_order_relaxed) + 1;
    atomic_store_explicit(&calls, nr, memory_order_relaxed);
    if (UNLIKELY(nr % CALLS_PER_LOOK == 0))
        tick_look();
}

/* Sleeps between looks; all signals are blocked in it, and it holds nothing while it sleeps. */
static void background_main(void) {
    for (;;) {
        sys_sleep_ms(BACKGROUND_MS);
        tick_look();
    }
}

void engine_background_start(void) {
    if (rt_opt.background == OPT_BACKGROUND_ON)
        (void)sys_thread_start(background_main);
}

size_t engine_trim(size_t pad_bytes) {
    if (!engine_ready())
        return 0;
    size_t before = page_backed_bytes_racy();
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
    for (unsigned cls = 1; cls < slab_ids_end_get(); cls++)
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    buddy_tick(0, BUDDY_EVERYTHING);
    size_t released = big_tick(0, BIG_EVERYTHING);
    rt_release_retry(RT_LEFTOVER_ALL);
    (void)page_purge(pad_bytes);
    size_t after = page_backed_bytes_racy();
    return released + (before > after ? before - after : 0);
}

/* Address space goes too: under RLIMIT_AS, or the commit limit, that is what is missing. */
bool engine_reclaim(void) {
    size_t given = engine_trim(0);
    return given + page_release() + big_release() > 0;
}

void engine_exit_audit(void) {
    if (!engine_started())
        return;
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
}
