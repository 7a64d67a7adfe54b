/* SPDX-License-Identifier: MIT */
/*
 * The reuse cache of big regions: how much of what is freed stays in the places of kept.c. Programs that allocate and
 * free large buffers in a loop get warm memory back; what lies unused for the purge delay, or exceeds the bound, goes
 * to the system. Nothing is kept until a region is wanted right after one was refused; then the bound grows by it.
 *
 * What is kept is counted with what is in use, so that a region that comes back at once changes no counter; who asks
 * for what is in use takes it off. The bound is looked at before a region is kept: threads that free at once may pass
 * it by what they free, until more is freed or the purge delay. A region that is lost in somebody's hands, by a jump
 * out of a handler or in the child of a fork, counts as in use for good.
 */
#include "big/cache.h"

#include "big/big.h"
#include "big/defer.h"
#include "big/kept.h"
#include "big/lot.h"
#include "rt/options.h"
#include "sys/sys.h"

enum {
    REGRET_MS = 1000, /* a region wanted so soon after one was refused should have been kept */
    REGRET_PART = 16, /* of it fades with each tick, and of the peak */
    CHURN_PART = 2,   /* of the peak is kept besides, because regions that come are of other sizes than those that went;
                         an eighth of it costs up to a half more page faults */
};

/* Hints, all of them. */
static struct {
    _Atomic(size_t) regret_bytes;
    _Atomic(size_t) peak_bytes; /* in use: at the most lately */
    _Atomic(u64) refused_ms;    /* when a region was last released for want of room; 0 never */
    _Atomic(size_t) refused_bytes;
} cache;

/* Of all that is counted, with so much of it kept. They are not read at once. */
static size_t live_bytes(size_t kept_bytes) {
    size_t held = atomic_load_explicit(&big_held_bytes, memory_order_relaxed);
    return held - MIN(held, kept_bytes);
}

u64 big_live_bytes_racy(void) { return live_bytes(kept_bytes_racy()); }

/* However much is regretted: what the option says, or as much as is in use. */
static size_t regret_max_bytes(size_t live) { return MAX(rt_opt.vmalloc_cache, live); }

/* When a region is freed, what is in use and what is kept are together no more than another wave as high as the last
 * takes, and a part for sizes that do not fit. */
static size_t wave_max_bytes(size_t live) {
    size_t peak = atomic_load_explicit(&cache.peak_bytes, memory_order_relaxed);
    return peak - MIN(peak, live) + peak / CHURN_PART;
}

/* A top of use ends by a free, as a rule; one that ends otherwise is not seen, and less is kept. */
static void peak_note(size_t live) {
    if (live > atomic_load_explicit(&cache.peak_bytes, memory_order_relaxed))
        atomic_store_explicit(&cache.peak_bytes, live, memory_order_relaxed);
}

/* live: what is in use besides. */
static size_t cache_max_bytes(size_t live) {
    if (rt_opt.vmalloc_cache == 0)
        return 0;
    size_t regret = atomic_load_explicit(&cache.regret_bytes, memory_order_relaxed);
    return MIN(MIN(regret, regret_max_bytes(live)), wave_max_bytes(live));
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
    size_t most = regret_max_bytes(big_live_bytes_racy());
    atomic_store_explicit(&cache.regret_bytes, MIN(regret + bytes, most), memory_order_relaxed);
}

struct hpage *big_cache_take(size_t bytes, size_t align) {
    char *p = kept_take(bytes, align);
    if (p != NULL)
        return big_record(p);
    regret_add(bytes);
    return NULL;
}

void big_cached_each(void (*fn)(void *arg, char *addr, size_t bytes), void *arg) {
    big_deferred_each(fn, arg);
    kept_each(fn, arg);
}

/* The one that was kept first makes way for h, which is refused where that is not enough. */
static bool put_instead(const struct hpage *h, size_t kept, size_t max) {
    char *p = kept_take_oldest(UINT64_MAX);
    struct hpage *oldest = p == NULL ? NULL : big_record(p);
    size_t gone = oldest == NULL ? 0 : oldest->big_bytes, reserve = oldest == NULL ? 0 : oldest->big_reserve_bytes;
    bool fits = oldest != NULL && kept + h->big_bytes <= max + gone;
    size_t own = h->big_reserve_bytes; /* once it is put it is another's */
    bool put = fits && kept_put(h, sys_clock_ms());
    refusal_note(MAX(reserve, put ? 0 : own));
    if (oldest != NULL)
        big_region_drop(oldest);
    return put;
}

bool big_cache_put(const struct hpage *h) {
    size_t bytes = h->big_bytes, kept = kept_bytes_racy(), live = live_bytes(kept); /* h is counted as live */
    peak_note(live);
    size_t max = cache_max_bytes(live - MIN(live, bytes));
    if (bytes > max) {
        refusal_note(h->big_reserve_bytes);
        return false;
    }
    return (kept + bytes <= max && kept_put(h, sys_clock_ms())) || put_instead(h, kept, max);
}

/* No more than there are places: others may go on freeing. */
static size_t release_until(u64 until_ms) {
    size_t released = 0;
    for (unsigned i = 0; i < KEPT_NR; i++) {
        char *p = kept_take_oldest(until_ms);
        if (p == NULL)
            break;
        released += big_record(p)->big_bytes;
        big_region_drop(big_record(p));
    }
    return released;
}

size_t big_tick(u64 now_ms, enum big_effort effort) {
    big_deferred_give();
    size_t regret = atomic_load_explicit(&cache.regret_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache.regret_bytes, regret - (regret + REGRET_PART - 1) / REGRET_PART, memory_order_relaxed);
    size_t peak = atomic_load_explicit(&cache.peak_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache.peak_bytes, peak - peak / REGRET_PART, memory_order_relaxed);
    if (effort == BIG_EVERYTHING)
        return release_until(UINT64_MAX);
    return now_ms < rt_opt.purge_delay ? 0 : release_until(now_ms - rt_opt.purge_delay);
}

void big_fork_mark(void) { lot_fork_mark(); }
void big_fork_lose(void) { lot_fork_lose(); }
void big_fork_prepare(enum rt_fork_from from) { lot_fork_prepare(from); }
void big_fork_let_go(void) { lot_fork_let_go(); }
void big_fork_done(enum rt_fork_side side) { lot_fork_done(side); }
