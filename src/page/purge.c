/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back. Free memory that is still backed is bounded by an allowance in proportion to what is in use, at
 * every free, so that a process that frees everything and then sleeps has given back already; what stays within the
 * allowance is purged when it has not been used for a while. A program that wants back what was purged a moment ago
 * shows that it works in phases: the allowance grows by what was regretted, and shrinks again with time.
 */
#include "base/bits.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"

/*
 * Every process may keep `keep` bytes of free but backed memory. With less than its 8 MiB programs of a few MiB purge
 * in their loops; with more an idle process shows it. 8 MiB is about 3 ms of page faults. Free objects inside slabs
 * count towards it, down to this.
 */
#define ALLOWANCE_LEAST_GRANULES (2 * MIB / GRANULE_BYTES)
/* At least; in the tiers of a node that are used while the first one is not to be had. */
#define ALLOWANCE_OTHER_GRANULES (1 * MIB / GRANULE_BYTES)

/* Of limit_soft, what may be free and backed above it: none at all would make every free of a run a system call. */
enum { PRESSED_PART = 64 };
enum { ALLOWANCE_PART = 8, WORD_BITS = 64, BREAK_PART = 4 };

/* What an allowance is reckoned from, in granules. */
struct holding {
    u64 used, regret, churn, peak;
};

/* Of what was regretted as use grew, as much as another wave as high as the last could take; and what was regretted
 * while it did not. */
static u64 regretted_granules(const struct holding *of) {
    u64 below_peak = of->peak - MIN(of->peak, of->used);
    return rt_usage_in_waves() ? MIN(of->regret, below_peak) + of->churn : 0;
}

static u64 allowance_of(const struct holding *of, bool first) {
    if (rt_opt.purge_delay == 0)
        return 0;
    if (rt_usage_pressed())
        return MIN(rt_limit_soft() / PRESSED_PART, ALLOWANCE_LEAST_GRANULES * GRANULE_BYTES) / GRANULE_BYTES;
    u64 out_granules = (u64)MAX(rt_usage_out_get(), 0) / GRANULE_BYTES;
    u64 inside = of->used - MIN(of->used, out_granules); /* free objects, tails */
    if (!first)
        return MAX(ALLOWANCE_OTHER_GRANULES, of->used / ALLOWANCE_PART) + regretted_granules(of);
    /* The nodes share what a process may keep. */
    u64 most = MAX(rt_opt.keep / GRANULE_BYTES / page_nodes_nr(), ALLOWANCE_OTHER_GRANULES);
    u64 least = most - MIN(inside, most - MIN(most, ALLOWANCE_LEAST_GRANULES));
    return MAX(least, of->used / ALLOWANCE_PART) + regretted_granules(of);
}

/* Free slabs that are kept are not in use, but part of what is free. Nobody knows which tier's they are: they count as
 * those of the very first one. */
static u64 kept_granules(const struct page_tier *t) {
    s64 bytes = t == &page_tiers[0] ? atomic_load_explicit(&rt_usage_empty_bytes, memory_order_relaxed) : 0;
    return MIN((u64)MAX(bytes, 0) / GRANULE_BYTES, t->used_granules);
}

u64 tier_in_use(const struct page_tier *t) { return t->used_granules - kept_granules(t); }

u64 tier_allowance(const struct page_tier *t) {
    u64 kept = kept_granules(t);
    struct holding of = {t->used_granules - kept, t->regret_granules, t->churn_granules, t->peak_granules};
    u64 allowance = allowance_of(&of, tier_is_first(t));
    return allowance - MIN(allowance, kept);
}

static void figure_publish(_Atomic(u64) *figure, u64 value) {
    if (atomic_load_explicit(figure, memory_order_relaxed) != value)
        atomic_store_explicit(figure, value, memory_order_relaxed);
}

void tier_allowance_publish(struct page_tier *t) {
    figure_publish(&t->racy.used, t->used_granules);
    figure_publish(&t->racy.free_backed, t->free_backed_granules);
    figure_publish(&t->racy.regret, t->regret_granules);
    figure_publish(&t->racy.churn, t->churn_granules);
    figure_publish(&t->racy.peak, t->peak_granules);
}

bool page_may_keep(u64 kept_bytes) {
    const struct page_tier *t = &page_tiers[0];
    u64 kept = kept_bytes / GRANULE_BYTES, used = atomic_load_explicit(&t->racy.used, memory_order_relaxed);
    struct holding of = {.used = used - MIN(used, kept),
                         .regret = atomic_load_explicit(&t->racy.regret, memory_order_relaxed),
                         .churn = atomic_load_explicit(&t->racy.churn, memory_order_relaxed),
                         .peak = atomic_load_explicit(&t->racy.peak, memory_order_relaxed)};
    return kept + atomic_load_explicit(&t->racy.free_backed, memory_order_relaxed) < allowance_of(&of, true);
}

/* A part or all of it is given back: it is no real hugepage any more. */
static void hpage_break(struct page_tier *t, struct hpage *h) {
    t->huge_bytes -= hpage_huge(h) == HPAGE_THP ? HPAGE_BYTES : 0;
    t->hugetlb_bytes -= hpage_huge(h) == HPAGE_HUGETLB ? HPAGE_BYTES : 0;
    hpage_huge_set(h, HPAGE_SMALL);
}

/*
 * Runs to give back, for one call: each call interrupts every CPU the process runs on. A run counts as given back from
 * the moment it is here, so that who gathers knows how much is left; what the system refuses is taken back.
 */
enum { PURGE_RUNS_MAX = 32 };
struct purge {
    struct page_tier *tier;
    unsigned nr;
    struct sys_range ranges[PURGE_RUNS_MAX];
    u64 backed[PURGE_RUNS_MAX][2]; /* granules of the run's hugepage that counted as backed until now */
};
_Static_assert((int)PURGE_RUNS_MAX <= (int)SYS_RANGES_MAX, "one call takes them all");

static void run_given(struct page_tier *t, struct hpage *h) {
    hpage_break(t, h);
    t->purges++;
    h->purged_s = (u32)(t->now_ms / 1000) + 1;
}

/* Read without the lock: page_given_bytes_racy(). */
static void purged_count(struct page_tier *t, s64 bytes) {
    __atomic_store_n(&t->purged_bytes_total, t->purged_bytes_total + (u64)bytes, __ATOMIC_RELAXED);
}

/* It may hold memory after all, written or not. */
static void run_refused(struct page_tier *t, struct hpage *h, const u64 backed[2]) {
    for (unsigned w = 0; w < 2; w++) {
        t->free_backed_granules += bits_count(backed[w]);
        purged_count(t, -(s64)(bits_count(backed[w]) * GRANULE_BYTES));
        h->backed[w] |= backed[w];
        h->written[w] |= backed[w];
    }
}

static void purge_flush(struct purge *pu) {
    if (pu->nr == 0)
        return;
    u64 given = sys_vm_purge_ranges(pu->ranges, pu->nr);
    if (given != 0) {
        pu->tier->purged_at_granules = tier_in_use(pu->tier);
        rt_usage_purged();
    }
    for (unsigned i = 0; i < pu->nr; i++) {
        const char *addr = pu->ranges[i].addr;
        struct hpage *h = chunk_hpage(chunk_of(addr), addr);
        if ((given >> i) & 1)
            run_given(pu->tier, h);
        else
            run_refused(pu->tier, h, pu->backed[i]);
    }
    pu->nr = 0;
}

/* Where the kernel's pages are larger than a granule, only whole pages can go. */
static void purge_run(struct purge *pu, struct hpage *h, unsigned pos, unsigned nr) {
    unsigned page_granules = (unsigned)MAX(sys_page_bytes() / GRANULE_BYTES, 1);
    unsigned end = (unsigned)round_down(pos + nr, page_granules);
    pos = (unsigned)round_up(pos, page_granules);
    if (pos >= end)
        return;
    if (pu->nr == PURGE_RUNS_MAX)
        purge_flush(pu);
    pu->ranges[pu->nr] = (struct sys_range){h->addr + (size_t)pos * GRANULE_BYTES, (end - pos) * GRANULE_BYTES};
    for (unsigned w = 0; w < 2; w++) {
        u64 mask = tier_run_mask(pos, end - pos, w), backed = h->backed[w] & mask;
        pu->backed[pu->nr][w] = backed;
        h->backed[w] &= ~mask;
        h->written[w] &= ~mask;
        pu->tier->free_backed_granules -= bits_count(backed);
        purged_count(pu->tier, (s64)(bits_count(backed) * GRANULE_BYTES));
    }
    pu->nr++;
}

/* The free and backed runs of one hugepage, until no more than keep_granules are left of all; a real hugepage goes as a
 * whole. A run of unbacked granules between two of them goes along. */
static void hpage_purge(struct purge *pu, struct hpage *h, u64 keep_granules) {
    const struct page_tier *t = pu->tier;
    bool whole = hpage_huge(h) != HPAGE_SMALL;
    unsigned pos = 0;
    while (pos < HPAGE_GRANULES && (whole || t->free_backed_granules > keep_granules)) {
        bool used = (h->used[pos / WORD_BITS] >> (pos % WORD_BITS)) & 1;
        if (used || !((h->backed[pos / WORD_BITS] >> (pos % WORD_BITS)) & 1)) {
            pos++;
            continue;
        }
        unsigned end = pos;
        unsigned most = whole ? HPAGE_GRANULES : (unsigned)MIN(t->free_backed_granules - keep_granules, HPAGE_GRANULES);
        while (end < HPAGE_GRANULES && end - pos < most && !((h->used[end / WORD_BITS] >> (end % WORD_BITS)) & 1))
            end++;
        purge_run(pu, h, pos, end - pos);
        pos = end;
    }
}

/* What is given back before the touch that brings a hugepage comes back with it, and is counted nowhere. In a child of
 * a fork at that moment such a hugepage stays as it is. */
static bool hpage_has_waste(const struct hpage *h) {
    /* order: acquire                                                                           pairs: [page.awaited] */
    if (atomic_load_explicit(&h->awaited, memory_order_acquire) || hpage_huge(h) == HPAGE_HUGETLB)
        return false;
    return (h->backed[0] & ~h->used[0]) != 0 || (h->backed[1] & ~h->used[1]) != 0;
}

/* Wholly free hugepages first, then those with the longest free runs: the emptiest give most for each call. */
void tier_purge_locked(struct page_tier *t, u64 keep_granules) {
    struct purge pu;
    pu.tier = t;
    pu.nr = 0;
    for (int list = LONGEST_MAX; list > 0 && t->free_backed_granules > keep_granules; list--) {
        for (struct hpage *h = t->by_longest[list]; h != NULL && t->free_backed_granules > keep_granules; h = h->next) {
            if (hpage_has_waste(h))
                hpage_purge(&pu, h, keep_granules);
        }
    }
    purge_flush(&pu);
}

void tier_purge_old_locked(struct page_tier *t, u64 before_ms) {
    /* A hugepage in use is broken only where waste is a good part of what is used. */
    bool may_break = t->free_backed_granules > t->used_granules / BREAK_PART;
    struct purge pu;
    if (t->free_backed_granules == 0)
        return;
    pu.tier = t;
    pu.nr = 0;
    for (int list = LONGEST_MAX; list > 0; list--) {
        for (struct hpage *h = t->by_longest[list]; h != NULL; h = h->next) {
            if (h->freed_ms <= before_ms && hpage_has_waste(h) &&
                (h->used_nr == 0 || hpage_huge(h) == HPAGE_SMALL || may_break))
                hpage_purge(&pu, h, 0);
        }
    }
    purge_flush(&pu);
}

/* Purges inside runs are counted by node, for the ranges of one call may lie in several tiers. */
static struct page_tier *inside_tier(const void *p) {
    struct page_tier *t = tier_of(p);
    return tier_at(tier_node(t) * NODE_TIERS_NR);
}

/* Memory inside the runs of a hugepage was given back, or (negative) is there again. */
static void inside_count(const void *addr, s64 bytes) {
    struct hpage *h = chunk_hpage(chunk_of(addr), addr);
    u16 pages = (u16)(bytes / (s64)sys_page_bytes());
    if (pages == 0)
        return;
    atomic_fetch_add_explicit(&h->inside_pages, pages, memory_order_relaxed);
    atomic_fetch_add_explicit(&inside_tier(addr)->inside_purged_bytes, (u64)bytes, memory_order_relaxed);
}

static _Atomic(u64) inside_given_bytes; /* since the start */

static u64 inside_purge(const struct sys_range *ranges, unsigned nr) {
    size_t bytes = 0;
    /* Before it is done, so that a collapse that fills the holes again finds them counted. */
    for (unsigned i = 0; i < nr; i++)
        inside_count(ranges[i].addr, (s64)ranges[i].bytes);
    u64 given = sys_vm_purge_ranges(ranges, nr);
    for (unsigned i = 0; i < nr; i++) {
        if ((given >> i) & 1)
            bytes += ranges[i].bytes;
        else
            inside_count(ranges[i].addr, -(s64)ranges[i].bytes);
    }
    if (bytes != 0) {
        atomic_fetch_add_explicit(&inside_given_bytes, bytes, memory_order_relaxed);
        rt_usage_purged();
        rt_usage_add(-(s64)bytes);
    }
    return given;
}

u64 page_given_bytes_racy(void) {
    u64 bytes = atomic_load_explicit(&inside_given_bytes, memory_order_relaxed);
    for (unsigned i = 0; i < tiers_nr(); i++)
        bytes += __atomic_load_n(&tier_at(i)->purged_bytes_total, __ATOMIC_RELAXED);
    return bytes;
}

/* Where some may lie in hugepages of the pool, which stay, each is asked for by itself. */
u64 page_purge_inside(const struct sys_range *ranges, unsigned nr) {
    u64 given = 0;
    if (LIKELY(!rt_opt.hugetlb))
        return inside_purge(ranges, nr);
    for (unsigned i = 0; i < nr; i++) {
        const char *addr = ranges[i].addr;
        if (hpage_huge(chunk_hpage(chunk_of(addr), addr)) != HPAGE_HUGETLB)
            given |= inside_purge(&ranges[i], 1) << i;
    }
    return given;
}

bool page_refill_inside_try(void *addr, size_t bytes) {
    if (!rt_usage_reserve(bytes))
        return false;
    inside_count(addr, -(s64)bytes);
    return true;
}

void page_leave_inside(void *addr, size_t bytes) {
    inside_count(addr, (s64)bytes);
    rt_usage_add(-(s64)bytes);
}

void page_forget_inside(void *addr, size_t bytes) {
    inside_count(addr, -(s64)bytes);
    atomic_fetch_sub_explicit(&inside_given_bytes, bytes, memory_order_relaxed); /* it goes a second time */
    rt_usage_add((s64)bytes);
}

enum { HOLED_STEPS_MAX = 256 }; /* records, or chunks without any, looked at with each tick */

static bool is_holed(const struct hpage *h) {
    return atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_RUNS && hpage_huge(h) == HPAGE_THP &&
           atomic_load_explicit(&h->inside_pages, memory_order_relaxed) != 0 &&
           /* order: acquire: what comes with a touch fills the holes.                          pairs: [page.awaited] */
           !atomic_load_explicit(&h->awaited, memory_order_acquire);
}

/* Whoever gives back pages inside a run does not have the lock, so that a real hugepage which it broke counts as one
 * until here. */
void tier_holed_break_locked(struct page_tier *t) {
    const struct page_tier *counts = tier_at(tier_node(t) * NODE_TIERS_NR); /* as inside_tier() */
    if (t->huge_bytes == 0 || atomic_load_explicit(&counts->inside_purged_bytes, memory_order_relaxed) == 0)
        return;
    for (int steps = 0; steps < HOLED_STEPS_MAX; steps++) {
        if (t->holed_at < t->low || t->holed_at >= t->high)
            t->holed_at = t->low;
        char *at = t->holed_at;
        struct chunk *c = chunk_of(at);
        t->holed_at = c != NULL ? at + HPAGE_BYTES : (char *)round_up((uintptr_t)at + 1, CHUNK_BYTES);
        if (c != NULL && tier_of(at) == t && is_holed(chunk_hpage(c, at)))
            hpage_break(t, chunk_hpage(c, at));
        if (t->holed_at >= t->high)
            break;
    }
}

/* A hugepage leaves the tier as if it had never been in it; before its memory goes, because from then on the address,
 * and with it the record, may be another tier's. */
static bool hpage_release(struct page_tier *t, struct hpage *h) {
    tier_list_del(t, h);
    struct hpage was = *h;
    *h = (struct hpage){0};
    if (sys_vm_release(was.addr, HPAGE_BYTES) != 0) {
        *h = was;
        tier_list_add(t, h);
        return false;
    }
    if (t->sample == h)
        t->sample = NULL; /* its address may come to another tier */
    *tier_free_granules(t, &was) -= bits_count(was.backed[0]) + bits_count(was.backed[1]);
    t->committed_bytes -= HPAGE_BYTES;
    hpage_break(t, &was);
    return true;
}

/* What is free in one of the pool cannot go by itself: the kernel says it went, and does nothing. All of it goes with
 * its address space, for memory that comes to such a range a second time is not set aside on every kernel. */
size_t tier_hugetlb_release_locked(struct page_tier *t, u64 before_ms) {
    size_t released = 0;
    for (struct hpage *h = t->hugetlb_bytes == 0 ? NULL : t->by_longest[LONGEST_MAX], *next; h != NULL; h = next) {
        next = h->next;
        if (hpage_huge(h) == HPAGE_HUGETLB && h->freed_ms <= before_ms && hpage_release(t, h))
            released += HPAGE_BYTES;
    }
    t->purges += released != 0;
    purged_count(t, (s64)released);
    return released;
}

/* But where somebody makes it writable just now. */
static size_t step_release(struct page_tier *t, struct tier_step *s) {
    size_t bytes = (size_t)(s->end - s->at);
    if (bytes == 0 || s->by != 0 || sys_vm_release(s->at, bytes) != 0)
        return 0;
    t->committed_bytes -= s->made ? bytes : 0;
    s->at = s->end;
    return bytes;
}

size_t tier_release_locked(struct page_tier *t) {
    size_t released = 0;
    tier_hugetlb_rest_locked(t);
    for (struct hpage *h = t->by_longest[LONGEST_MAX], *next; h != NULL; h = next) {
        next = h->next;
        /* order: acquire: a touch or a collapse under way is of this address.                  pairs: [page.awaited] */
        if (atomic_load_explicit(&h->awaited, memory_order_acquire))
            continue;
        released += hpage_release(t, h) ? HPAGE_BYTES : 0;
    }
    /* Where limit_hard is what is missing this is what the tier has left: it would not get any again. */
    if (tier_reserve_forbidden())
        return released;
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++)
        released += step_release(t, &t->steps[i]);
    size_t rest = (size_t)(t->reserved_end - t->fresh);
    if (rest != 0 && sys_vm_release(t->fresh, rest) == 0) {
        t->reserved_end = t->fresh;
        released += rest;
    }
    return released;
}
