/* SPDX-License-Identifier: MIT */
/*
 * Hugepages out of small pages: a record that was taken before hugepages were earned, or while they were slow to come,
 * or was broken and has filled up again, is made whole by the kernel (MADV_COLLAPSE, Linux 6.1), one at most with each
 * tick. It copies 2 MiB and takes as long as the system needs to find a hugepage, so the same stall back-off holds as
 * for those that are taken whole (grow.c).
 *
 *   [C1] Only a record of whose granules all but a few were handed out, and of which no part inside a slab was given
 * back, is chosen, and left as it is where the system says that less than most of it is there, since large objects may
 * never be touched: a collapse fills holes, and nobody would have asked for that memory. The few are what slabs of 3, 5
 * or 7 granules leave of 128; they are admitted, and counted as backed from then on, whatever becomes of it. [C2] While
 * it lasts the record is awaited, so nothing of it is given back. What was in that very moment is found afterwards by
 * [C1], and the record does not count as a hugepage. [C3] Not after a fork: pages are shared with the child, and a
 * collapse would copy them. In the child never, in the parent for a minute.
 */
#include "page/huge.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"

enum {
    HEAP_FACTOR = 4, /* from so many times thp_after in use on: of a smaller heap most is in the near caches */
    REST_S = 2,
    DENSE_PART = 8,  /* of its granules at most one part is free */
    HOLES_PART = 32, /* and one without memory: slabs of n granules leave up to n - 1 */
    STEPS_MAX = 256, /* records, or chunks without any, looked at with each tick */
    FORK_PAUSE_MS = 60000,
    SKIP_TICKS_FIRST = 8, /* ticks without a collapse after a slow one */
    SKIP_TICKS_MAX = 512,
};

/* What was filled or emptied a moment ago may be gone in another. */
static bool record_rests(const struct page_tier *t, const struct hpage *h) {
    return h->freed_ms + rt_opt.purge_delay <= t->now_ms && (u16)(t->now_ms / 1000 - h->taken_s) >= REST_S;
}

static unsigned record_holes(const struct hpage *h) {
    return (unsigned)HPAGE_GRANULES - bits_count(h->backed[0]) - bits_count(h->backed[1]);
}

static bool record_is_dense(struct page_tier *t, struct hpage *h) {
    /* order: acquire                                                                           pairs: [page.awaited] */
    bool awaited = atomic_load_explicit(&h->awaited, memory_order_acquire);
    return atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_RUNS && hpage_huge(h) == HPAGE_SMALL &&
           !awaited && h->used_nr >= HPAGE_GRANULES - HPAGE_GRANULES / DENSE_PART &&
           record_holes(h) <= HPAGE_GRANULES / HOLES_PART &&
           atomic_load_explicit(&h->inside_pages, memory_order_relaxed) == 0 && record_rests(t, h);
}

/* Goes on where the last search ended; records of the tier lie between low and high, with those of others in between.
 */
static struct hpage *dense_find_locked(struct page_tier *t) {
    for (int steps = 0; steps < STEPS_MAX; steps++) {
        if (t->collapse_at < t->low || t->collapse_at >= t->high)
            t->collapse_at = t->low;
        char *at = t->collapse_at;
        struct chunk *c = chunk_of(at);
        t->collapse_at = c != NULL ? at + HPAGE_BYTES : (char *)round_up((uintptr_t)at + 1, CHUNK_BYTES);
        if (c != NULL && tier_of(at) == t && record_is_dense(t, chunk_hpage(c, at)))
            return chunk_hpage(c, at);
    }
    return NULL;
}

/* What is interleaved would be gathered on one node, and always on the same. */
static bool collapse_is_due(struct page_tier *t) {
    if (rt_opt.thp != OPT_THP_EARNED || rt_opt.numa == OPT_NUMA_INTERLEAVE || t->collapse_refused ||
        t->now_ms < t->collapse_after_ms || t->used_granules * GRANULE_BYTES < HEAP_FACTOR * rt_opt.thp_after)
        return false;
    t->collapse_skip -= t->collapse_skip != 0;
    return t->collapse_skip == 0;
}

/* Where the collapse fails they count as backed all the same, until what is free there is given back: another may have
 * had them meanwhile. False: limit_hard forbids, or the next purge would break what was made, and the next tick make it
 * again, without end. */
static bool holes_admit(struct page_tier *t, struct hpage *h) {
    unsigned holes = record_holes(h);
    if (holes != 0 && t->free_backed_granules + holes > tier_allowance(t))
        return false;
    if (rt_opt.limit_hard != 0 && holes != 0) {
        if (!rt_usage_reserve(holes * GRANULE_BYTES))
            return false;
        t->admitted_bytes += holes * GRANULE_BYTES;
    }
    t->free_backed_granules += holes;
    h->backed[0] = h->backed[1] = ~(u64)0;
    return true;
}

struct hpage *tier_collapse_choose_locked(struct page_tier *t) {
    struct hpage *h = collapse_is_due(t) ? dense_find_locked(t) : NULL;
    if (h == NULL || !holes_admit(t, h))
        return NULL;
    atomic_store_explicit(&h->awaited, true, memory_order_relaxed);
    return h;
}

/* A kernel that does not know the call is not asked again; one that has no hugepage, later. */
static void back_off(struct page_tier *t, int err, u64 took_ns) {
    t->collapse_refused = err == SYS_VM_COLLAPSE_UNKNOWN;
    bool bad = err != 0 || took_ns >= HUGE_SLOW_NS;
    t->collapse_skip = bad ? huge_skip_next(t->collapse_skip_last, SKIP_TICKS_FIRST, SKIP_TICKS_MAX) : 0;
    t->collapse_skip_last = t->collapse_skip;
}

static bool record_is_there(const struct hpage *h) {
    return sys_vm_resident_pages(h->addr, HPAGE_BYTES) * sys_page_bytes() >= HPAGE_BYTES - HPAGE_BYTES / DENSE_PART;
}

void tier_collapse(struct page_tier *t, struct hpage *h) {
    struct sys_watch watch;
    bool tries = record_is_there(h);
    sys_watch_begin(&watch);
    int err = tries ? sys_vm_collapse(h->addr, HPAGE_BYTES) : 0;
    u64 took = sys_watch_ns(&watch);
    /* Whoever took or freed runs of it meanwhile is no harm: all of it counts as backed, and what was free stayed. */
    if (!rt_fork_enter(&t->lock, &t->held_by_fork, sys_clock_ns()))
        return; /* a fork does not end: the record stays awaited, and is never purged */
    if (tries)
        back_off(t, err, took);
    if (tries && err == 0 && atomic_load_explicit(&h->inside_pages, memory_order_relaxed) == 0) {
        hpage_huge_set(h, HPAGE_THP);
        t->huge_bytes += HPAGE_BYTES;
        t->collapses++;
    }
    /* order: release: what purges from here on does so after the collapse.                     pairs: [page.awaited] */
    atomic_store_explicit(&h->awaited, false, memory_order_release);
    tier_unlock(t);
}

void page_collapse_forked(enum rt_fork_side side) {
    u64 after = side == RT_FORK_CHILD ? UINT64_MAX : sys_clock_ms() + FORK_PAUSE_MS;
    for (unsigned i = 0; i < tiers_nr(); i++)
        tier_at(i)->collapse_after_ms = MAX(tier_at(i)->collapse_after_ms, after);
}
