/* SPDX-License-Identifier: MIT */
/*
 * The reuse cache of big regions: an array under a lock that nobody waits for long. Programs that allocate and free
 * large buffers in a loop get warm memory back; what lies unused for the purge delay, or exceeds the bound, goes to the
 * system. Nothing is kept until a region is wanted right after one was refused; then the bound grows by it.
 */
#include "big/cache.h"

#include "big/big.h"
#include "big/defer.h"
#include "big/lot.h"
#include "rt/fork_locks.h"
#include "rt/options.h"
#include "sys/sys.h"

enum {
    ENTRIES_NR = 16,
    FAR_PART = 8,     /* a region is not cut down to less than this part of it: it is worth more as it is */
    REGRET_MS = 1000, /* a region wanted so soon after one was refused should have been kept */
    REGRET_PART = 16, /* of it fades with each tick, and of the peak */
    CHURN_PART = 2,   /* of the peak is kept besides, because regions that come are of other sizes than those that went;
                         an eighth of it costs up to a half more page faults */
    TURNS_MAX = 4,    /* on the CPU, that others are offered */
};

static struct {
    _Atomic(u32) held_by_fork;
    struct big_entry entries[ENTRIES_NR];
    _Atomic(size_t) bytes;
    _Atomic(size_t) regret_bytes;
    _Atomic(size_t) peak_bytes; /* in use: at the most lately. A hint, as is all that follows. */
    _Atomic(u64) refused_ms;    /* when a region was last released for want of room; 0 never */
    _Atomic(size_t) refused_bytes;
} cache;

static struct sys_lock *const cache_lock = &rt_fork_locks[RT_FORK_LOCK_CACHE];

/* Held for the length of a search, but whoever holds it may have lost its CPU. To go on without the cache costs a
 * mapping and its page faults, so that it is worth to let others run a few times. False: still held, or by this very
 * thread below a signal handler. */
static bool cache_enter(void) {
    for (unsigned turn = 0; !sys_lock_try_spinning(cache_lock); turn++) {
        if (turn == TURNS_MAX || sys_lock_is_mine(cache_lock) || sys_lock_is_lost(cache_lock))
            return false;
        sys_yield();
    }
    return true;
}

size_t big_cache_bytes_racy(void) { return atomic_load_explicit(&cache.bytes, memory_order_relaxed); }

/* However much is regretted: what the option says, or as much as is in use. */
static size_t regret_max_bytes(void) {
    return MAX(rt_opt.vmalloc_cache, atomic_load_explicit(&big_live_bytes, memory_order_relaxed));
}

/* When a region is freed, what is in use and what is kept are together no more than another wave as high as the last
 * takes, and a part for sizes that do not fit. */
static size_t wave_max_bytes(void) {
    size_t live = atomic_load_explicit(&big_live_bytes, memory_order_relaxed);
    size_t peak = atomic_load_explicit(&cache.peak_bytes, memory_order_relaxed);
    return peak - MIN(peak, live) + peak / CHURN_PART;
}

/* A top of use ends by a free, as a rule; one that ends otherwise is not seen, and less is kept. */
static void peak_note(size_t freed_bytes) {
    size_t use = atomic_load_explicit(&big_live_bytes, memory_order_relaxed) + freed_bytes;
    if (use > atomic_load_explicit(&cache.peak_bytes, memory_order_relaxed))
        atomic_store_explicit(&cache.peak_bytes, use, memory_order_relaxed);
}

static size_t cache_max_bytes(void) {
    if (rt_opt.vmalloc_cache == 0)
        return 0;
    size_t regret = atomic_load_explicit(&cache.regret_bytes, memory_order_relaxed);
    return MIN(MIN(regret, regret_max_bytes()), wave_max_bytes());
}

static void refusal_note(size_t bytes) {
    atomic_store_explicit(&cache.refused_ms, sys_clock_ms(), memory_order_relaxed);
    atomic_store_explicit(&cache.refused_bytes, bytes, memory_order_relaxed);
}

static void regret_add(size_t bytes) {
    u64 refused_ms = atomic_load_explicit(&cache.refused_ms, memory_order_relaxed);
    /* An array that grows wants more than what it leaves, which nothing could serve. */
    if (refused_ms == 0 || sys_clock_ms() - refused_ms > REGRET_MS ||
        atomic_load_explicit(&cache.refused_bytes, memory_order_relaxed) < bytes)
        return;
    size_t regret = atomic_load_explicit(&cache.regret_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache.regret_bytes, MIN(regret + bytes, regret_max_bytes()), memory_order_relaxed);
}

static void entry_remove_locked(struct big_entry *e) {
    atomic_fetch_sub_explicit(&cache.bytes, e->bytes, memory_order_relaxed);
    e->addr = NULL;
}

/* How far an entry is from what is wanted: by how much its end must move. SIZE_MAX: it can't be used. */
static size_t entry_distance(const struct big_entry *e, size_t bytes, size_t align) {
    bool holds = e->bytes >= bytes ? e->bytes / FAR_PART <= bytes : e->reserve_bytes >= bytes + sys_page_bytes();
    if (e->addr == NULL || !holds || ((uintptr_t)e->addr & (align - 1)) != 0)
        return SIZE_MAX;
    return e->bytes >= bytes ? e->bytes - bytes : bytes - e->bytes;
}

static bool entry_take(size_t bytes, size_t align, struct big_entry *ret_entry) {
    struct big_entry *best = NULL;
    size_t least = SIZE_MAX;
    if (big_cache_bytes_racy() == 0 || !cache_enter())
        return false;
    for (struct big_entry *e = cache.entries; e < cache.entries + ENTRIES_NR; e++) {
        size_t distance = entry_distance(e, bytes, align);
        if (distance < least) {
            least = distance;
            best = e;
        }
    }
    if (best != NULL) {
        *ret_entry = *best;
        entry_remove_locked(best);
    }
    sys_lock_release(cache_lock);
    return best != NULL;
}

bool big_cache_take(size_t bytes, size_t align, struct big_entry *ret_entry) {
    if (entry_take(bytes, align, ret_entry))
        return true;
    regret_add(bytes);
    return false;
}

void big_cached_each(void (*fn)(void *arg, char *addr, size_t bytes), void *arg) {
    big_deferred_each(fn, arg);
    if (big_cache_bytes_racy() == 0 || !sys_lock_try(cache_lock))
        return;
    for (const struct big_entry *e = cache.entries; e < cache.entries + ENTRIES_NR; e++) {
        if (e->addr != NULL)
            fn(arg, e->addr, e->bytes);
    }
    sys_lock_release(cache_lock);
}

/* A free slot, or the oldest entry's after that one was copied out for release. */
static struct big_entry *slot_for_locked(size_t bytes, struct big_entry *ret_evicted) {
    struct big_entry *oldest = NULL, *empty = NULL;
    for (struct big_entry *e = cache.entries; e < cache.entries + ENTRIES_NR; e++) {
        if (e->addr == NULL)
            empty = e;
        else if (oldest == NULL || e->freed_ms < oldest->freed_ms)
            oldest = e;
    }
    if (empty != NULL && big_cache_bytes_racy() + bytes <= cache_max_bytes())
        return empty;
    if (oldest == NULL)
        return NULL;
    *ret_evicted = *oldest;
    entry_remove_locked(oldest);
    return big_cache_bytes_racy() + bytes <= cache_max_bytes() ? oldest : NULL;
}

bool big_cache_put(const struct big_entry *e) {
    struct big_entry evicted = {0};
    peak_note(e->bytes);
    if (e->bytes > cache_max_bytes()) {
        refusal_note(e->reserve_bytes);
        return false;
    }
    if (!cache_enter())
        return false;
    struct big_entry *slot = slot_for_locked(e->bytes, &evicted);
    if (slot != NULL) {
        *slot = *e;
        slot->freed_ms = sys_clock_ms();
        atomic_fetch_add_explicit(&cache.bytes, e->bytes, memory_order_relaxed);
    }
    sys_lock_release(cache_lock);
    if (slot == NULL || evicted.addr != NULL)
        refusal_note(MAX(evicted.reserve_bytes, slot == NULL ? e->reserve_bytes : 0));
    if (evicted.addr != NULL)
        big_region_release(&evicted);
    return slot != NULL;
}

size_t big_tick(u64 now_ms, enum big_effort effort) {
    struct big_entry old[ENTRIES_NR];
    unsigned nr = 0;
    size_t released = 0;
    big_deferred_give();
    size_t regret = atomic_load_explicit(&cache.regret_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache.regret_bytes, regret - (regret + REGRET_PART - 1) / REGRET_PART, memory_order_relaxed);
    size_t peak = atomic_load_explicit(&cache.peak_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache.peak_bytes, peak - peak / REGRET_PART, memory_order_relaxed);
    if (big_cache_bytes_racy() == 0 || !sys_lock_try(cache_lock))
        return 0;
    for (struct big_entry *e = cache.entries; e < cache.entries + ENTRIES_NR; e++) {
        if (e->addr != NULL && (effort == BIG_EVERYTHING || e->freed_ms + rt_opt.purge_delay <= now_ms)) {
            old[nr++] = *e;
            entry_remove_locked(e);
        }
    }
    sys_lock_release(cache_lock);
    for (unsigned i = 0; i < nr; i++) {
        released += old[i].bytes;
        big_region_release(&old[i]);
    }
    return released;
}

void big_fork_mark(void) {
    lot_fork_mark();
    rt_fork_mark(cache_lock, &cache.held_by_fork);
}

void big_fork_lose(void) {
    lot_fork_lose();
    rt_fork_lose(cache_lock, &cache.held_by_fork);
}

void big_fork_prepare(enum rt_fork_from from) {
    lot_fork_prepare(from);
    rt_fork_lock(cache_lock, &cache.held_by_fork, from);
}

void big_fork_let_go(void) {
    lot_fork_let_go();
    rt_fork_let_go(cache_lock, &cache.held_by_fork);
}

void big_fork_done(enum rt_fork_side side) {
    lot_fork_done(side);
    if (rt_fork_may_unlock(cache_lock, &cache.held_by_fork, side))
        sys_lock_release(cache_lock);
}
