/* SPDX-License-Identifier: MIT */
/*
 * The filler: runs of granules, each placed in the hugepage whose longest free run is the shortest that fits, so that
 * full hugepages stay full and empty ones become wholly free. A free never waits for the lock: where it is held, the
 * run goes on a list that the holder empties before and after it lets go.
 */
#include "base/bits.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"

enum { WORD_BITS = 64, CANDIDATES_MAX = 8, PURGE_PART = 4, TURNS_MAX = 64 };

/* Use that grew by no more than this part since a purge did not grow; and how much of the peak is kept for that. */
enum { CHURN_PART = 16, CHURN_MOST_PART = 8 };

struct page_tier *page_node_tiers[PAGE_NODES_MAX];

/* Somebody tells lifetimes apart: the last tier of each node is for those who do. */
static _Atomic(bool) lifetimes_apart;

int tiers_make(unsigned node) {
    struct page_tier *made = page_node_tiers[node];
    if (made == NULL)
        made = rt_meta_alloc_near(node, NODE_TIERS_NR * sizeof(struct page_tier), CACHE_LINE);
    if (made == NULL)
        return -1;
    for (unsigned i = 0; i < NODE_TIERS_NR; i++)
        made[i].index = (u8)(node * NODE_TIERS_NR + i);
    page_node_tiers[node] = made;
    return 0;
}

int page_init(void) {
    tiers_look();
    return tiers_make(0);
}

/* --- 128-bit maps: all positions at once, since where runs are many a walk from one to the next guesses wrong --- */

static u128 map_used(const u64 map[2]) { return (u128)map[1] << WORD_BITS | map[0]; }
static u128 map_free(const u64 map[2]) { return ~map_used(map); }

static unsigned lowest(u128 bits) {
    u64 low = (u64)bits;
    return low != 0 ? bits_lowest(low) : WORD_BITS + bits_lowest((u64)(bits >> WORD_BITS));
}

static unsigned highest(u128 bits) {
    u64 high = (u64)(bits >> WORD_BITS);
    return high != 0 ? WORD_BITS + bits_highest(high) : bits_highest((u64)bits);
}

/* Of the run of clear bits that pos lies in. */
static unsigned map_run_at(const u64 map[2], unsigned pos) {
    u128 used = map_used(map), above = used >> pos, below = used & (((u128)1 << pos) - 1);
    unsigned start = below == 0 ? 0 : highest(below) + 1;
    return (above == 0 ? (unsigned)HPAGE_GRANULES : pos + lowest(above)) - start;
}

/* Where at least nr bits in a row are set: at i, and at i + step, both have what was found so far, step at most. */
static u128 runs_of(u128 bits, unsigned nr) {
    unsigned found = 1;
    for (; 2 * found <= nr; found *= 2)
        bits &= bits >> found;
    return bits & bits >> (nr - found);
}

static u128 multiples_of(unsigned align) {
    u128 bits = 1;
    for (; align < HPAGE_GRANULES; align *= 2)
        bits |= bits << align;
    return bits;
}

/* Start of the first run of nr clear bits at a multiple of align, not below pos, or -1. */
static int map_find_run(const u64 map[2], unsigned pos, unsigned nr, unsigned align) {
    u128 starts = runs_of(map_free(map), nr) & ~(u128)0 << pos;
    if (align != 1)
        starts &= multiples_of(align);
    return starts == 0 ? -1 : (int)lowest(starts);
}

/* Doubled as long as that finds any, then in smaller and smaller steps. */
static unsigned map_longest_run(const u64 map[2]) {
    u128 runs = map_free(map), more;
    unsigned found = 1, step;
    if (runs == 0)
        return 0;
    for (; found < HPAGE_GRANULES && (more = runs & runs >> found) != 0; found *= 2)
        runs = more;
    for (step = found / 2; step > 0 && found < HPAGE_GRANULES; step /= 2) {
        if ((more = runs & runs >> step) == 0)
            continue;
        runs = more;
        found += step;
    }
    return found;
}

/* --- lists --- */

void tier_list_add(struct page_tier *t, struct hpage *h) {
    struct hpage **head = &t->by_longest[h->longest];
    if (h->longest == 0 || h->listed)
        return;
    h->prev = NULL;
    h->next = *head;
    if (*head != NULL)
        (*head)->prev = h;
    *head = h;
    h->listed = true;
    t->listed[h->longest / WORD_BITS] |= (u64)1 << (h->longest % WORD_BITS);
}

void tier_list_del(struct page_tier *t, struct hpage *h) {
    if (!h->listed)
        return;
    if (h->prev != NULL)
        h->prev->next = h->next;
    else
        t->by_longest[h->longest] = h->next;
    if (h->next != NULL)
        h->next->prev = h->prev;
    if (t->by_longest[h->longest] == NULL)
        t->listed[h->longest / WORD_BITS] &= ~((u64)1 << (h->longest % WORD_BITS));
    h->listed = false;
}

static void refile_as(struct page_tier *t, struct hpage *h, unsigned longest) {
    bool closed = hpage_huge(h) == HPAGE_ASKED;
    if (longest == h->longest && h->listed && !closed)
        return;
    tier_list_del(t, h);
    h->longest = (u8)longest;
    if (!closed)
        tier_list_add(t, h);
}

void tier_refile(struct page_tier *t, struct hpage *h) { refile_as(t, h, map_longest_run(h->used)); }

/* Shortest non-empty list from length nr on, or LISTS_NR. */
static unsigned list_from(const struct page_tier *t, unsigned nr) {
    for (unsigned w = nr / WORD_BITS; w < ARRAY_NR(t->listed); w++) {
        u64 bits = t->listed[w];
        if (w == nr / WORD_BITS)
            bits &= ~bits_mask(nr % WORD_BITS);
        if (bits != 0)
            return w * WORD_BITS + bits_lowest(bits);
    }
    return LISTS_NR;
}

/* [P6] */
static int record_find_run(const struct page_tier *t, const struct hpage *h, unsigned nr, unsigned align) {
    int pos = -1;
    if (UNLIKELY(h->addr == t->first_record))
        pos = map_find_run(h->used, t->first_start, nr, align);
    return pos >= 0 ? pos : map_find_run(h->used, 0, nr, align);
}

/* Among the records there are. */
static struct hpage *tier_find_listed(struct page_tier *t, unsigned nr, unsigned align, int *ret_pos) {
    for (unsigned list = list_from(t, nr); list < LISTS_NR; list = list_from(t, list + 1)) {
        int tries = CANDIDATES_MAX;
        /* Only an aligned run may fail to fit in a list that is long enough. */
        for (struct hpage *h = t->by_longest[list]; h != NULL && tries-- > 0; h = h->next) {
            *ret_pos = record_find_run(t, h, nr, align);
            if (*ret_pos >= 0)
                return h;
        }
    }
    return NULL;
}

/* --- allocation --- */

static void backed_publish(struct page_tier *t) {
    u64 sum = t->used_granules + t->free_backed_granules + t->hugetlb_free_granules;
    u64 old = atomic_load_explicit(&t->backed_granules_racy, memory_order_relaxed);
    s64 more = (s64)(sum - old) * (s64)GRANULE_BYTES - (s64)t->admitted_bytes;
    t->admitted_bytes = 0;
    if (sum != old)
        atomic_store_explicit(&t->backed_granules_racy, sum, memory_order_relaxed);
    if (more != 0)
        rt_usage_add(more);
}

/* Nothing is counted in advance where no limit asks for it: the usual allocation pays no atomic operation. */
static bool run_admit(size_t bytes) { return LIKELY(rt_opt.limit_hard == 0) || rt_usage_reserve(bytes); }

/* A hugepage brings memory nobody asked for yet; that must be admitted as well. */
bool tier_hugepage_admit(struct page_tier *t) {
    if (LIKELY(rt_opt.limit_hard == 0))
        return true;
    if (!rt_usage_reserve(HPAGE_BYTES))
        return false;
    t->admitted_bytes += HPAGE_BYTES;
    return true;
}

void tier_hugepage_unadmit(struct page_tier *t) {
    if (rt_opt.limit_hard == 0)
        return;
    t->admitted_bytes -= HPAGE_BYTES;
    rt_usage_add(-(s64)HPAGE_BYTES);
}

/* Granules of h that hold no memory are wanted: had they been purged a moment ago, that was a mistake. Where use has
 * hardly grown since, what was free then did not fit what is wanted now, and that much more has to be free. */
void tier_regret_add(struct page_tier *t, const struct hpage *h, unsigned granules_nr) {
    if (granules_nr == 0 || h->purged_s == 0 || h->purged_s + 1 < t->now_ms / 1000)
        return;
    if (tier_in_use(t) <= t->purged_at_granules + t->purged_at_granules / CHURN_PART)
        t->churn_granules = MIN(t->churn_granules + granules_nr, t->peak_granules / CHURN_MOST_PART);
    else
        t->regret_granules = MIN(t->regret_granules + granules_nr, t->peak_granules);
    rt_usage_regretted();
}

static enum page_content hpage_take(struct page_tier *t, struct hpage *h, unsigned pos, unsigned nr,
                                    struct hugepage_due *due) {
    unsigned was_backed = 0, was_run = map_run_at(h->used, pos);
    u64 was_written = 0;
    if ((h->backed[0] | h->backed[1]) == 0)
        tier_hugepage_begin_locked(t, h, nr, due);
    for (unsigned w = 0; w < 2; w++) {
        u64 mask = tier_run_mask(pos, nr, w);
        was_backed += bits_count(h->backed[w] & mask);
        h->used[w] |= mask;
        h->backed[w] |= mask;
        was_written |= h->written[w] & mask;
        h->written[w] |= mask;
    }
    h->used_nr = (u16)(h->used_nr + nr);
    h->taken_s = (u16)(t->now_ms / 1000);
    t->used_granules += nr;
    *tier_free_granules(t, h) -= was_backed;
    t->peak_granules = MAX(t->peak_granules, t->used_granules);
    tier_regret_add(t, h, nr - was_backed);
    refile_as(t, h, was_run == h->longest ? map_longest_run(h->used) : h->longest);
    return was_written == 0 ? PAGE_ZERO : PAGE_DIRTY;
}

static void run_free_locked(struct page_tier *t, void *run, unsigned nr) {
    struct hpage *h = chunk_hpage(chunk_of(run), run);
    unsigned pos = (unsigned)(((uintptr_t)run >> GRANULE_SHIFT) % HPAGE_GRANULES);
    for (unsigned w = 0; w < 2; w++)
        h->used[w] &= ~tier_run_mask(pos, nr, w);
    h->used_nr = (u16)(h->used_nr - nr);
    h->freed_ms = t->now_ms;
    t->used_granules -= nr;
    *tier_free_granules(t, h) += nr;
    refile_as(t, h, MAX(h->longest, map_run_at(h->used, pos)));
}

/* --- frees that met a held lock --- */

/* Pushed by anyone, taken whole by the lock's holder, so no ABA. words[0] links, words[1] counts granules. */
static void defer_push(struct page_tier *t, void *run, unsigned nr) {
    struct page_desc *d = chunk_desc(chunk_of(run), run);
    uintptr_t head = atomic_load_explicit(&t->deferred, memory_order_relaxed);
    /* Atomic, because a thread may still read the descriptor that was here through an old head of a list
     * (slab/partial.c). */
    __atomic_store_n(&d->words[1], nr, __ATOMIC_RELAXED);
    do {
        __atomic_store_n(&d->words[0], head, __ATOMIC_RELAXED);
        /* order: release: publishes the two words.                                               pairs: [page.defer] */
    } while (!atomic_compare_exchange_weak_explicit(&t->deferred, &head, (uintptr_t)run, memory_order_release,
                                                    memory_order_relaxed));
}

static void defer_drain_locked(struct page_tier *t) {
    if (atomic_load_explicit(&t->deferred, memory_order_relaxed) == 0)
        return;
    /* order: acquire: consumes the words of every run on the list.                               pairs: [page.defer] */
    uintptr_t at = atomic_exchange_explicit(&t->deferred, 0, memory_order_acquire);
    while (at != 0) {
        struct page_desc *d = chunk_desc(chunk_of((void *)at), (void *)at);
        uintptr_t next = d->words[0];
        run_free_locked(t, (void *)at, (unsigned)d->words[1]);
        at = next;
    }
}

/* --- what others left to the holder --- */

static bool left_any(struct page_tier *t) {
    return atomic_load_explicit(&t->deferred, memory_order_relaxed) != 0 ||
           atomic_load_explicit(&t->answers, memory_order_relaxed) != 0;
}

static void left_do_locked(struct page_tier *t) {
    defer_drain_locked(t);
    if (UNLIKELY(atomic_load_explicit(&t->answers, memory_order_relaxed) != 0))
        tier_asked_settle_locked(t);
}

/* A little more is purged than must be, so that the next frees are quiet, and no more than a hugepage, so that none
 * takes long. */
static void purge_above(struct page_tier *t, u64 allowance) {
    if (t->free_backed_granules <= allowance)
        return;
    u64 closed = tier_asked_free_granules(t);
    if (t->free_backed_granules > allowance + closed)
        tier_purge_locked(t, closed + allowance - MIN(allowance / PURGE_PART, HPAGE_GRANULES));
}

/* Purging, the accounts for lock-free readers, and whatever was left meanwhile. */
void tier_unlock(struct page_tier *t) {
    do {
        left_do_locked(t);
        purge_above(t, tier_allowance(t));
        backed_publish(t);
        tier_allowance_publish(t);
        sys_lock_release(&t->lock);
        /* order: seq_cst fence                                                                     pairs:
         * [page.handoff] */
        atomic_thread_fence(memory_order_seq_cst);
    } while (left_any(t) && sys_lock_try(&t->lock));
}

void tier_hand_over(struct page_tier *t) {
    /* order: seq_cst fence: either this thread finds the lock free, or the holder finds what was left after letting go.
     * pairs: [page.handoff] */
    atomic_thread_fence(memory_order_seq_cst);
    if (sys_lock_try(&t->lock))
        tier_unlock(t);
}

/* Waiting is timed, so that it can be known whether there are too few locks. */
static void wait_count(struct page_tier *t, u64 start_ns) {
    atomic_fetch_add_explicit(&t->lock_waits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->lock_wait_ns, sys_clock_ns() - start_ns, memory_order_relaxed);
}

static bool is_held_here_but(const struct page_tier *t) {
    bool mine = rt_fork_locks_mine();
    for (unsigned i = 0; i < tiers_nr(); i++)
        mine = mine || (tier_at(i) != t && sys_lock_is_mine(&tier_at(i)->lock));
    return mine;
}

bool page_is_busy_here(void) { return is_held_here_but(NULL); }
bool page_is_forked(void) { return rt_fork_has(&tier_at(0)->held_by_fork); }

/* False: in a signal handler on top of the holder, or of another lock's, which a fork that has this one waits for; or
 * such a fork takes too long. */
static bool tier_wait(struct page_tier *t) {
    if (page_is_busy_here())
        return false;
    u64 start = sys_clock_ns();
    bool locked = rt_fork_enter(&t->lock, &t->held_by_fork, start);
    wait_count(t, start);
    return locked;
}

static bool tier_lock(struct page_tier *t) { return LIKELY(sys_lock_try(&t->lock)) || tier_wait(t); }

static unsigned mixed_tiers_nr(void) {
    return atomic_load_explicit(&lifetimes_apart, memory_order_relaxed) ? NODE_TIER_RECLAIMABLE : NODE_TIERS_NR;
}

static struct page_tier *node_try(struct page_tier *first) {
    for (unsigned i = 0; i < mixed_tiers_nr(); i++) {
        if (sys_lock_try(&first[i].lock))
            return &first[i];
    }
    return NULL;
}

/* All of the node's tiers are held: their holders do not run, or are inside the system. Who slept on one lock would be
 * woken for that one alone, behind all who try it; so the holders are let run for some turns, and any tier will do. */
COLD static struct page_tier *node_wait(struct page_tier *first) {
    struct page_tier *t = NULL;
    u64 start = sys_clock_ns();
    for (int turns = 0; turns < TURNS_MAX && t == NULL; turns++) {
        sys_yield();
        t = node_try(first);
    }
    for (unsigned i = 0; i < NODE_TIERS_NR && t == NULL; i++)
        t = rt_fork_enter(&first[i].lock, &first[i].held_by_fork, start) ? &first[i] : NULL; /* the first, mostly */
    wait_count(first, start);
    return t;
}

/* One of the node's tiers, locked: the first, unless it is not to be had for longer than its holder needs when nothing
 * comes between. NULL: in a signal handler on top of a holder, or a fork has had them all for too long. */
static struct page_tier *node_lock(struct page_tier *first) {
    if (LIKELY(sys_lock_try_spinning(&first->lock)))
        return first;
    if (page_is_busy_here())
        return NULL;
    struct page_tier *t = node_try(first);
    return t != NULL ? t : node_wait(first);
}

/* By who had it, and let it go: not on top of its holder, but a child in this memory may have it by this one's name. */
static void tier_lock_again(struct page_tier *t) {
    while (!tier_lock(t))
        sys_yield();
}

/*
 * A step of the reservation is made writable (page/step.c), without the lock, for the system has whoever asks wait for
 * all who fault: what was found before is to be looked for again. On top of another tier's holder the lock is kept, for
 * who has it next may be a fork that waits for that one. Where address space is out others' steps are waited for, for
 * some turns: one may be below this handler. False: address space or memory is out.
 */
static bool tier_grow(struct page_tier *t, int *turns) {
    struct tier_step own, *s = tier_step_begin_locked(t, &own);
    if (s == NULL && (!tier_step_is_under_way(t) || is_held_here_but(t) || (*turns)-- == 0))
        return false;
    if (s == NULL) {
        tier_unlock(t);
        sys_sleep_ms(1);
        tier_lock_again(t);
        return true;
    }
    if (is_held_here_but(t))
        return tier_step_end_locked(t, s, tier_step_commit(s));
    tier_unlock(t);
    size_t bytes = tier_step_commit(s);
    tier_lock_again(t);
    return tier_step_end_locked(t, s, bytes);
}

static struct hpage *tier_find(struct page_tier *t, unsigned nr, unsigned align, int *ret_pos) {
    int turns = TURNS_MAX;
    struct hpage *h = tier_find_listed(t, nr, align, ret_pos);
    for (bool more = true; h == NULL && more;) {
        h = tier_fresh_locked(t);
        if (h != NULL) {
            *ret_pos = record_find_run(t, h, nr, align);
            return h;
        }
        more = tier_grow(t, &turns);
        h = tier_find_listed(t, nr, align, ret_pos); /* others freed and grew meanwhile */
    }
    return h;
}

/* A run of the locked tier, which is unlocked then. */
static void *tier_take(struct page_tier *t, unsigned nr, unsigned align, enum page_content *ret_content) {
    int pos = -1;
    char *run = NULL;
    struct hugepage_due due = {.touch = false};
    left_do_locked(t);
    struct hpage *h = tier_find(t, nr, align, &pos);
    if (UNLIKELY(h == NULL) && tier_asked_open_locked(t, nr))
        h = tier_find(t, nr, align, &pos);
    if (h != NULL) {
        if (rt_opt.limit_hard != 0)
            t->admitted_bytes += nr * GRANULE_BYTES;
        *ret_content = hpage_take(t, h, (unsigned)pos, nr, &due);
        run = h->addr + (size_t)pos * GRANULE_BYTES;
    }
    tier_unlock(t);
    if (due.touch)
        tier_hugepage_bring(t, &due, run);
    return run;
}

/* lock: which of the node's tiers it is to come from, locked. */
static void *run_alloc(unsigned node, struct page_tier *(*lock)(struct page_tier *first), unsigned granules_nr,
                       unsigned align_nr, enum page_content *ret_content) {
    size_t bytes = granules_nr * GRANULE_BYTES;
    if (!run_admit(bytes) && (page_purge(0) == 0 || !run_admit(bytes)))
        return NULL;
    struct page_tier *first = page_node_tiers[node], *t = lock(first);
    void *run = t == NULL ? NULL : tier_take(t, granules_nr, align_nr, ret_content);
    /* Address space is out, but for what another tier has. */
    for (unsigned i = 0; i < NODE_TIERS_NR && run == NULL && t != NULL; i++) {
        if (&first[i] != t && tier_is_used(&first[i]) && tier_lock(&first[i]))
            run = tier_take(&first[i], granules_nr, align_nr, ret_content);
    }
    if (run == NULL && rt_opt.limit_hard != 0)
        rt_usage_add(-(s64)bytes);
    return run;
}

static bool run_is_backed(const struct hpage *h, unsigned pos, unsigned nr) {
    return (tier_run_mask(pos, nr, 0) & ~h->backed[0]) == 0 && (tier_run_mask(pos, nr, 1) & ~h->backed[1]) == 0;
}

void *page_run_alloc_warm(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content,
                          enum page_warm *ret_why) {
    struct page_tier *t = page_node_tiers[node]; /* the others have what they need while this one is not to be had */
    struct hugepage_due due = {.touch = false};  /* it is there, and stays so */
    char *run = NULL;
    int pos;
    *ret_why = PAGE_WARM_BUSY;
    if (!sys_lock_try_spinning(&t->lock))
        return NULL;
    *ret_why = PAGE_WARM_NONE;
    left_do_locked(t);
    struct hpage *h = tier_find_listed(t, granules_nr, align_nr, &pos);
    if (h != NULL && run_is_backed(h, (unsigned)pos, granules_nr)) {
        *ret_content = hpage_take(t, h, (unsigned)pos, granules_nr, &due);
        run = h->addr + (size_t)pos * GRANULE_BYTES;
    }
    tier_unlock(t);
    return run;
}

void *page_run_alloc(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    return run_alloc(node, node_lock, granules_nr, align_nr, ret_content);
}

/* Rather among others than waiting. */
static struct page_tier *reclaimable_lock(struct page_tier *first) {
    struct page_tier *t = &first[NODE_TIER_RECLAIMABLE];
    return sys_lock_try_spinning(&t->lock) ? t : node_lock(first);
}

void *page_run_alloc_reclaimable(unsigned node, unsigned granules_nr, unsigned align_nr,
                                 enum page_content *ret_content) {
    if (!atomic_load_explicit(&lifetimes_apart, memory_order_relaxed))
        atomic_store_explicit(&lifetimes_apart, true, memory_order_relaxed);
    return run_alloc(node, reclaimable_lock, granules_nr, align_nr, ret_content);
}

void page_run_free(void *run, unsigned granules_nr) {
    struct page_tier *t = tier_of(run);
    page_map_set(run, granules_nr, PAGE_MAP_NOT_OURS);
    if (sys_lock_try(&t->lock)) {
        run_free_locked(t, run, granules_nr);
        tier_unlock(t);
        return;
    }
    defer_push(t, run, granules_nr);
    tier_hand_over(t);
}

/* --- ticks and accounts --- */

void page_tick(u64 now_ms) {
    for (unsigned i = 0; i < tiers_nr(); i++) {
        struct page_tier *t = tier_at(i);
        if (!tier_is_used(t) || !sys_lock_try(&t->lock))
            continue;
        t->now_ms = now_ms;
        t->regret_granules -= (t->regret_granules + 15) / 16;
        t->churn_granules -= (t->churn_granules + 15) / 16;
        t->peak_granules = MAX(t->used_granules, t->peak_granules - t->peak_granules / 16);
        tier_holed_break_locked(t);
        if (now_ms >= rt_opt.purge_delay)
            tier_purge_old_locked(t, now_ms - rt_opt.purge_delay);
        if (t->hugetlb_bytes != 0 && now_ms >= rt_opt.purge_delay)
            (void)tier_hugetlb_release_locked(t, now_ms - rt_opt.purge_delay);
        /* The lock is waited for afterwards: not on top of another, which a fork may wait for with this one held. */
        struct hpage *dense = is_held_here_but(t) ? NULL : tier_collapse_choose_locked(t);
        tier_unlock(t);
        if (dense != NULL)
            tier_collapse(t, dense);
    }
}

size_t page_purge(size_t keep_bytes) {
    size_t given = 0;
    for (unsigned i = 0; i < tiers_nr(); i++) {
        struct page_tier *t = tier_at(i);
        if (!tier_is_used(t) || !tier_lock(t))
            continue;
        u64 before = t->purged_bytes_total;
        left_do_locked(t);
        tier_purge_locked(t, keep_bytes / GRANULE_BYTES);
        (void)tier_hugetlb_release_locked(t, UINT64_MAX);
        tier_hugetlb_rest_locked(t);
        given += t->purged_bytes_total - before;
        tier_unlock(t);
    }
    return given;
}

size_t page_release(void) {
    size_t released = 0;
    for (unsigned i = 0; i < tiers_nr(); i++) {
        struct page_tier *t = tier_at(i);
        if (!tier_lock(t))
            continue;
        left_do_locked(t);
        released += tier_release_locked(t);
        tier_unlock(t);
    }
    return released;
}

void page_stats_get(struct page_stats *ret_stats) {
    struct page_stats s = {0};
    for (unsigned i = 0; i < tiers_nr(); i++) {
        const struct page_tier *t = tier_at(i);
        s.committed_bytes += t->committed_bytes;
        s.run_used_bytes += t->used_granules * GRANULE_BYTES;
        s.run_free_bytes += (t->free_backed_granules + t->hugetlb_free_granules) * GRANULE_BYTES;
        s.huge_bytes += t->huge_bytes;
        s.purged_bytes_total += t->purged_bytes_total;
        s.purges += t->purges;
        s.lock_waits += atomic_load_explicit(&t->lock_waits, memory_order_relaxed);
        s.lock_wait_ms += atomic_load_explicit(&t->lock_wait_ns, memory_order_relaxed) / 1000000;
        s.collapses += t->collapses;
        s.inside_purged_bytes += atomic_load_explicit(&t->inside_purged_bytes, memory_order_relaxed);
    }
    s.hugetlb_bytes = page_hugetlb_bytes_racy();
    /* Whoever counts slabs and free runs has all that is in the tier. */
    s.run_free_bytes += page_reserve_bytes_racy();
    *ret_stats = s;
}

size_t page_backed_bytes_racy(void) {
    u64 granules = 0, inside = 0;
    for (unsigned i = 0; i < tiers_nr(); i++) {
        granules += atomic_load_explicit(&tier_at(i)->backed_granules_racy, memory_order_relaxed);
        inside += atomic_load_explicit(&tier_at(i)->inside_purged_bytes, memory_order_relaxed);
    }
    u64 bytes = granules * GRANULE_BYTES;
    return bytes > inside ? bytes - inside : 0;
}

/* A handler that forks on top of this thread's own hold leaves the lock alone: parent and child each finish the
 * holder's work. */
void page_fork_prepare(enum rt_fork_from from) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        rt_fork_lock(&tier_at(i)->lock, &tier_at(i)->held_by_fork, from);
}

void page_fork_mark(void) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        rt_fork_mark(&tier_at(i)->lock, &tier_at(i)->held_by_fork);
}

void page_fork_lose(void) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        rt_fork_lose(&tier_at(i)->lock, &tier_at(i)->held_by_fork);
}

void page_fork_let_go(void) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        rt_fork_let_go(&tier_at(i)->lock, &tier_at(i)->held_by_fork);
}

void page_fork_done(enum rt_fork_side side) {
    for (unsigned i = 0; i < tiers_nr(); i++) {
        struct page_tier *t = tier_at(i);
        if (rt_fork_may_unlock(&t->lock, &t->held_by_fork, side))
            tier_unlock(t);
    }
}
