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
#include "engine/harden.h"
#include "engine/pressure.h"
#include "engine/settle.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

enum { CALLS_PER_LOOK = 256, TICK_MS = 100, DRAIN_MS = 1000, BACKGROUND_MS = 200 };
/* What a free of so many bytes adds to the calls, so that a few frees of large objects are looked at as well. */
enum { BYTES_PER_CALL_SHIFT = 12 };
/* So many allocations are watched, at some 20 ns each (50 of the kernel API's, and where magazines are locked), and so
 * many more with each ms: a fifth of a percent of the time, and 1.3 ms at once. Then none is for some 20 ms. Use that
 * rises after a fall may fall at the next call, and each beginning and end takes as long as some ten of them: so the
 * watch goes on for a few. Within one ms every so many of an id are a look: nothing else has changed, and threads that
 * allocate at once would wait for each other's lines. */
enum { WATCHED_MAX = 65536, WATCHED_PER_MS = 100, WATCHED_PER_LOOK = 64, WATCH_AGAIN = 2048, WATCH_LINGERS = 64 };
enum { SETTLE_KEEP_PART = 32 };

bool engine_counting;
_Atomic(u64) engine_ticks_nr;

/* Figures of each id: calls by kind, and what was allocated there less what was freed there. That is added to all
 * others' when it is a step away from nothing, so that most calls write to their own CPU's line alone: 4 KiB, or less
 * in a program whose peak that would blur. Slow calls, and allocations that were watched since the id's last look. */
enum figure { FIGURE_LIVE = ENGINE_CALLS_NR, FIGURE_SLOW_CALLS, FIGURE_WATCHED, FIGURES_NR };
#define LIVE_STEP_BYTES ((s64)(4 * KIB))
enum { PEAK_PART = 16 };
_Static_assert((int)FIGURES_NR <= (int)MAG_FIGURES_NR, "figures of an id");
static _Atomic(s64) live_bytes, peak_bytes;

s64 engine_peak_get(void) { return atomic_load_explicit(&peak_bytes, memory_order_relaxed); }

static NOINLINE void live_step(void) {
    s64 more = mag_figure_take(FIGURE_LIVE);
    s64 live = atomic_fetch_add_explicit(&live_bytes, more, memory_order_relaxed) + more;
    s64 peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    while (live > peak &&
           !atomic_compare_exchange_weak_explicit(&peak_bytes, &peak, live, memory_order_relaxed, memory_order_relaxed))
        continue;
}

void engine_count(enum engine_call call, s64 bytes) {
    (void)mag_figure_add(call, 1);
    s64 here = mag_figure_add(FIGURE_LIVE, bytes);
    s64 step = MIN(LIVE_STEP_BYTES, engine_peak_get() / PEAK_PART);
    if (here > step || here < -step)
        live_step();
}

u64 engine_calls_get(enum engine_call call) { return (u64)mag_figure_sum_racy(call); }
s64 engine_live_get(void) {
    return atomic_load_explicit(&live_bytes, memory_order_relaxed) + mag_figure_sum_racy(FIGURE_LIVE);
}

/* By the clock, not by ticks: where few threads are left to tick, idle ids are many. Under the tick lock. */
static bool drain_is_due(u64 now_ms) {
    static u64 drained_ms;
    bool due = drained_ms != 0 && now_ms - drained_ms >= DRAIN_MS;
    if (due || drained_ms == 0) /* a process that just began has nothing idle */
        drained_ms = now_ms;
    return due;
}

static void tick_run(u64 now_ms) {
    atomic_fetch_add_explicit(&engine_ticks_nr, 1, memory_order_relaxed);
    mag_depot_trim(MAG_DRAIN_IDLE);
    mag_rest();
    mag_nodes_nudge();
    engine_chores_look();
    if (drain_is_due(now_ms)) {
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

/* Unless it is this thread's, whose handler forked: it goes on with its tick. */
void engine_tick_fork_child(void) {
    if (!sys_lock_is_mine(&tick_lock))
        sys_lock_reset(&tick_lock);
}

/* What others give back meanwhile counts, too: it went. What they take does not hide it. */
static size_t give_all(size_t keep_bytes) {
    u64 before = page_given_bytes_racy();
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
    for (unsigned cls = 1; cls < slab_ids_end_get(); cls++)
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_INSIDE);
    (void)page_purge(keep_bytes);
    u64 after = page_given_bytes_racy();
    return after > before ? after - before : 0; /* what the system refuses is taken back */
}

/*
 * A fall of use, and its end (settle.h). A program that allocates only a little from then on finds what it needs in its
 * magazines, and would never come here again: while a fall waits to be settled every allocation is watched, that is,
 * leaves the fast path, is served by the same magazines, and looks here. Frees, of which the fall itself is made, stay
 * as fast as they are. Where very many allocations follow, they are left alone for a while: each slow call of such a
 * program is a look. One that has none, for all it wants it frees, may never come by again: what rested until then is
 * settled at once.
 */
static _Atomic(bool) fallen;

/* Under the tick lock. */
static unsigned watched; /* allocations, less those that time allowed */
static bool watch_pauses;

/* more: watched since the last look. True: so many were that none is for a while. */
static bool watch_spends(u64 now, unsigned more) {
    static u64 last_ms;
    watched -= (unsigned)MIN((now - last_ms) * WATCHED_PER_MS, (u64)watched);
    last_ms = now;
    watched += more;
    bool spent = !watch_pauses && watched >= WATCHED_MAX;
    watch_pauses = spent || (watch_pauses && watched > WATCHED_MAX - WATCH_AGAIN);
    return spent;
}

static bool watch_wanted(enum settle now_is, unsigned more) {
    static unsigned lingers;
    if (now_is == SETTLE_FALLEN)
        lingers = WATCH_LINGERS;
    else
        lingers = now_is == SETTLE_NOW ? 0 : lingers - MIN(lingers, MAX(more, 1U));
    bool asked = now_is == SETTLE_FALLEN || (mag_is_watched() && lingers != 0);
    return asked && !watch_pauses && rt_opt.background == OPT_BACKGROUND_OFF;
}

/* Out of slabs and runs, magazines included: what they hold is not told from the program's own. */
static u64 out_bytes(void) { return (u64)MAX(rt_usage_out_get(), 0); }
static u64 use_bytes(void) { return out_bytes() + big_live_bytes_racy(); }

static struct settle_state settle; /* under the tick lock */

static void settle_look(u64 now, unsigned more) {
    static u64 shed_seen;
    u64 shed = mag_shed_bytes();
    settle_shed(&settle, shed - shed_seen);
    shed_seen = shed;
    u64 use = use_bytes();
    enum settle now_is = settle_step(&settle, now, use, out_bytes(), rt_opt.purge_delay);
    if (watch_spends(now, more) && now_is == SETTLE_FALLEN)
        now_is = settle_early(&settle, now, use, rt_opt.purge_delay);
    if (now_is == SETTLE_NOW)
        (void)give_all(use / SETTLE_KEEP_PART);
    bool is_fallen = now_is == SETTLE_FALLEN, watch = watch_wanted(now_is, more);
    if (is_fallen != atomic_load_explicit(&fallen, memory_order_relaxed))
        atomic_store_explicit(&fallen, is_fallen, memory_order_relaxed);
    if (watch != mag_is_watched())
        mag_watch(watch ? MAG_WATCH_ALL : MAG_WATCH_NONE);
}

enum look { LOOK_ALLOC, LOOK_OTHER };

static _Atomic(u64) looked_ms;

COLD static void look_at(u64 now, bool is_watched) {
    static u64 last_ms;
    if (!sys_lock_try(&tick_lock))
        return;
    /* Another, that looked at the clock later, may have been here first: time does not go back. */
    now = MAX(now, atomic_load_explicit(&looked_ms, memory_order_relaxed));
    bool first = last_ms == 0, due = now - last_ms >= TICK_MS;
    atomic_store_explicit(&looked_ms, now, memory_order_relaxed);
    last_ms = due ? now : last_ms;
    if (due && !first) {
        u64 before = out_bytes();
        tick_run(now);
        settle_rebase(&settle, before, out_bytes());
    }
    settle_look(now, is_watched ? (unsigned)mag_figure_take(FIGURE_WATCHED) : 0);
    sys_lock_release(&tick_lock);
}

static NOINLINE void tick_look(enum look look) {
    u64 now = sys_clock_ms();
    bool is_watched = mag_is_watched() && look == LOOK_ALLOC;
    s64 here = is_watched ? mag_figure_add(FIGURE_WATCHED, 1) : 0;
    bool again = now == atomic_load_explicit(&looked_ms, memory_order_relaxed) && here < WATCHED_PER_LOOK &&
                 (mag_is_watched() || atomic_load_explicit(&fallen, memory_order_relaxed));
    if (!again)
        look_at(now, is_watched);
}

static void calls_add(u32 more, enum look look) {
    u64 after = (u64)mag_figure_add(FIGURE_SLOW_CALLS, more), before = after - more;
    if (UNLIKELY(before / CALLS_PER_LOOK != after / CALLS_PER_LOOK ||
                 atomic_load_explicit(&fallen, memory_order_relaxed) || mag_is_watched()))
        tick_look(look);
}

void engine_tick_maybe(void) { calls_add(1, LOOK_ALLOC); }
void engine_tick_watched(void) { tick_look(LOOK_ALLOC); }
void engine_tick_freed(size_t bytes) {
    calls_add((u32)MIN(1 + (bytes >> BYTES_PER_CALL_SHIFT), CALLS_PER_LOOK), LOOK_OTHER);
}

/* Sleeps between looks; all signals are blocked in it, and it holds nothing while it sleeps. */
static void background_main(void) {
    for (;;) {
        sys_sleep_ms(BACKGROUND_MS);
        tick_look(LOOK_OTHER);
    }
}

void engine_background_start(void) {
    if (rt_opt.background == OPT_BACKGROUND_ON)
        (void)sys_thread_start(background_main);
}

size_t engine_trim(size_t pad_bytes) {
    if (!engine_ready())
        return 0;
    buddy_tick(0, BUDDY_EVERYTHING);
    size_t released = big_tick(0, BIG_EVERYTHING);
    rt_release_retry(RT_LEFTOVER_ALL);
    return released + give_all(pad_bytes);
}

/* Address space goes too: under RLIMIT_AS, or the commit limit, that is what is missing. */
bool engine_reclaim(void) {
    size_t given = engine_trim(0);
    return given + page_release() + big_release() > 0;
}

void engine_exit_audit(void) {
    if (!engine_started())
        return;
    harden_audit();
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
}
