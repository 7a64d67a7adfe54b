/* SPDX-License-Identifier: MIT */
/*
 * Frees of runs that meet a held lock (src/page/run.c), explored (weave.h): whoever pushes a run finds the lock free,
 * or the holder finds the run; so at the end, and at no cost of waiting, every run is free and counted, and the lock
 * is. And hugepages that are asked for without that lock (src/page/asked.c): nobody takes of one before the kernel was
 * asked, unless there is nothing else. And steps that are made writable without it: nobody makes writable what was
 * released. What the holder does besides (purging) is left out.
 */
#include "base/bits.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "weave.h"
#include "weave_heap.h"

#include <stdlib.h>

enum { RUNS_MAX = 3, HPAGES_NR = 3 };
#define HPAGE_AT ((char *)((uintptr_t)1 << 32)) // NOLINT(performance-no-int-to-ptr)

static const char *scripts[WEAVE_THREADS_MAX]; /* 0, 1, 2: free that run; a allocate one, b and free it again; h it
                                                  is there, m and of a hugepage that was asked for; r release */
static char *had[WEAVE_THREADS_MAX];
static unsigned runs_nr;  /* there are in the beginning, all handed out */
static unsigned fresh_nr; /* hugepages that were not used yet */
static unsigned asks_nr;  /* of those, the kernel is asked for the first so many */
static enum { AGREES, REFUSES } kernel;
static u64 made[HPAGES_NR];               /* writable, or about to be */
static _Atomic(bool) released[HPAGES_NR]; /* given back to the system */
static _Atomic(bool) in_the_system;
static bool told[HPAGES_NR]; /* it was asked; plain, and read by who takes of that one */

_Atomic(s64) rt_usage_out_bytes;
_Atomic(s64) rt_usage_bytes;
_Atomic(u64) rt_usage_group_soft, rt_usage_group_hard;

/* --- what run.c calls --- */

u64 sys_clock_ns(void) { return 0; }
void sys_yield(void) { weave_wait(); }
bool rt_fork_locks_mine(void) { return false; }
void sys_sleep_ms(unsigned ms) { (void)ms; }
bool rt_fork_enter(struct sys_lock *lock, _Atomic(u32) *forks, u64 start_ns) {
    (void)forks, (void)start_ns;
    return sys_lock_acquire(lock);
}

void page_map_set(const void *addr, size_t granules_nr, unsigned value) { (void)addr, (void)granules_nr, (void)value; }
u64 tier_allowance(const struct page_tier *t) {
    (void)t;
    return UINT64_MAX;
}
void tier_allowance_publish(struct page_tier *t) { (void)t; }
u64 tier_in_use(const struct page_tier *t) { return t->used_granules; }
void tier_purge_locked(struct page_tier *t, u64 keep_granules) { (void)t, (void)keep_granules; }
size_t tier_hugetlb_release_locked(struct page_tier *t, u64 before_ms) {
    (void)t, (void)before_ms;
    return 0;
}
void tiers_look(void) {}
void tier_holed_break_locked(struct page_tier *t) { (void)t; }
void tier_hugetlb_rest_locked(struct page_tier *t) { (void)t; }
u64 page_hugetlb_bytes_racy(void) { return 0; }
static char *hpage_at(unsigned i) { return HPAGE_AT + i * HPAGE_BYTES; }
static struct hpage *hpage(unsigned i) { return chunk_hpage(rt_meta_at(1), hpage_at(i)); }
static unsigned hpage_idx(const char *p) { return (unsigned)((uintptr_t)p / HPAGE_BYTES % CHUNK_HPAGES); }
struct hpage *tier_record_locked(struct page_tier *t, char *p) {
    weave_must(t == page_tiers && made[hpage_idx(p)]);
    hpage(hpage_idx(p))->longest = LONGEST_MAX;
    return hpage(hpage_idx(p));
}
struct hpage *tier_fresh_locked(struct page_tier *t) {
    char *p = t == page_tiers ? tier_step_take_locked(t) : NULL;
    if (p != NULL)
        return tier_record_locked(t, p);
    if (t != page_tiers || fresh_nr == 0)
        return NULL;
    fresh_nr--;
    struct hpage *h = hpage(hpage(1)->longest == 0 ? 1 : 2);
    h->longest = LONGEST_MAX;
    return h;
}
struct tier_step *tier_step_begin_locked(struct page_tier *t, struct tier_step *own) {
    struct tier_step *s = t == page_tiers ? tier_step_left_locked(t) : NULL;
    if (s != NULL || t != page_tiers || t->fresh == t->reserved_end)
        return s;
    s = tier_step_claim_locked(t, t->fresh, HPAGE_BYTES, own);
    t->fresh = s->end;
    return s;
}
static bool is_released(unsigned i) { return atomic_load_explicit(&released[i], memory_order_relaxed); }
size_t tier_step_commit(const struct tier_step *s) {
    unsigned i = hpage_idx(s->at);
    weave_must(!sys_lock_is_mine(&page_tiers->lock));
    weave_must(!made[i] && !is_released(i));
    made[i] = true;
    atomic_store_explicit(&in_the_system, true, memory_order_relaxed); /* others run */
    weave_must(!is_released(i));
    made[i] = kernel == AGREES;
    return kernel == AGREES ? HPAGE_BYTES : 0;
}
bool tier_hugepage_wanted(struct page_tier *t, const char *p) {
    return t == page_tiers && p != HPAGE_AT && hpage_idx(p) <= asks_nr;
}
/* Memory is used; that it is not ends as a refusal does. */
void tier_sample_small_locked(struct page_tier *t, struct hpage *h) { (void)t, (void)h; }
bool tier_sample_admits_locked(struct page_tier *t, struct hugepage_due *ret_due) {
    (void)ret_due;
    return t == page_tiers;
}
bool tier_sample_is_used(struct page_tier *t, const struct hugepage_due *due) {
    (void)due;
    return t == page_tiers;
}
bool tier_hugepage_tell(char *p) {
    weave_must(!sys_lock_is_mine(&page_tiers->lock));
    told[hpage_idx(p)] = true;
    return kernel == AGREES;
}
void tier_hugepage_deny(char *p) { (void)p; }
void tier_hugepage_touch(char *p) {
    /* order: release                                                                           pairs: [page.awaited] */
    atomic_store_explicit(&hpage(hpage_idx(p))->awaited, false, memory_order_release);
}
void rt_usage_regretted(void) {}

/* --- threads --- */

static char *run_at(unsigned i) { return HPAGE_AT + i * GRANULE_BYTES; }

/* As tier_release_locked() does: records that are wholly free, steps that nobody makes, and what never was one. */
static void release(void) {
    struct page_tier *t = page_tiers;
    weave_must(sys_lock_acquire(&t->lock));
    for (unsigned i = 1; i < HPAGES_NR; i++) {
        bool is_free = hpage(i)->listed && hpage(i)->used_nr == 0;
        if (is_free)
            tier_list_del(t, hpage(i));
        if (is_free || (hpage_at(i) >= t->fresh && hpage_at(i) < t->reserved_end))
            atomic_store_explicit(&released[i], true, memory_order_relaxed);
    }
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++) {
        struct tier_step *s = &t->steps[i];
        if (s->at == s->end || s->by != 0)
            continue;
        atomic_store_explicit(&released[hpage_idx(s->at)], true, memory_order_relaxed);
        s->at = s->end;
    }
    t->reserved_end = t->fresh;
    tier_unlock(t);
}

static void thread(unsigned self) {
    enum page_content content;
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'a')
            had[self] = page_run_alloc(0, 1, 1, &content);
        else if (*at == 'b' && had[self] != NULL)
            page_run_free(had[self], 1);
        else if (*at == 'h')
            weave_must(had[self] != NULL);
        else if (*at == 'm')
            weave_must(hpage_idx(had[self]) > asks_nr || told[hpage_idx(had[self])]);
        else if (*at == 'r')
            release();
        else if (*at != 'b')
            page_run_free(run_at((unsigned)(*at - '0')), 1);
        weave_forget((u64)(at - scripts[self]) + (u64)had[self]);
    }
}

static void finish(void) {
    struct hpage *h = chunk_hpage(rt_meta_at(1), HPAGE_AT);
    weave_must(atomic_load_explicit(&page_tiers->deferred, memory_order_relaxed) == 0);
    weave_must(atomic_load_explicit(&page_tiers->lock.word, memory_order_relaxed) == 0);
    weave_must(atomic_load_explicit(&page_tiers->backed_granules_racy, memory_order_relaxed) ==
               page_tiers->free_backed_granules);
    weave_must(page_tiers->used_granules == 0 && h->used_nr == 0);
    weave_must(h->used[0] == 0 && h->used[1] == 0);
    weave_must(page_tiers->free_backed_granules == bits_count(h->backed[0]));
}

/* Each took one run, and gave it back or not; the first hugepage is somebody else's. */
static void finish_asked(void) {
    u64 taken = 0, backed = 0, huge = 0;
    for (unsigned i = 1; i < HPAGES_NR; i++) {
        const struct hpage *h = hpage(i);
        unsigned nr = bits_count(h->backed[0]) + bits_count(h->backed[1]);
        weave_must(h->listed == (nr != 0));
        weave_must(h->used_nr == bits_count(h->used[0]) && h->used[1] == 0);
        weave_must(!atomic_load_explicit(&h->awaited, memory_order_relaxed));
        weave_must(nr == HPAGE_GRANULES || hpage_huge(h) == HPAGE_SMALL);
        weave_must(hpage_huge(h) == (told[i] && kernel == AGREES ? HPAGE_THP : HPAGE_SMALL));
        huge += hpage_huge(h) == HPAGE_THP;
        taken += h->used_nr;
        backed += nr;
    }
    weave_must(atomic_load_explicit(&page_tiers->answers, memory_order_relaxed) == 0);
    for (unsigned i = 0; i < ASKED_MAX; i++)
        weave_must(page_tiers->asked[i].by == 0);
    weave_must(atomic_load_explicit(&page_tiers->lock.word, memory_order_relaxed) == 0);
    weave_must(atomic_load_explicit(&page_tiers->deferred, memory_order_relaxed) == 0);
    weave_must(page_tiers->used_granules == taken && page_tiers->free_backed_granules == backed - taken);
    weave_must(page_tiers->huge_bytes == huge * HPAGE_BYTES);
}

/* Each allocated one run, and gave it back or not. */
static void finish_grown(void) {
    u64 taken = 0;
    for (unsigned i = 1; i < HPAGES_NR; i++)
        taken += hpage(i)->used_nr;
    weave_must(!tier_step_is_under_way(page_tiers));
    weave_must(page_tiers->used_granules == taken);
    weave_must(atomic_load_explicit(&page_tiers->lock.word, memory_order_relaxed) == 0);
    weave_must(atomic_load_explicit(&page_tiers->deferred, memory_order_relaxed) == 0);
}

/* Chunk table and page map are constants here. */
static void chunk_make(void) {
    rt_meta.base = aligned_alloc(CACHE_LINE, round_up(META_UNIT + sizeof(struct chunk), CACHE_LINE));
    rt_meta.chunks = calloc(1, sizeof(*rt_meta.chunks));
    if (rt_meta.base == NULL || rt_meta.chunks == NULL)
        abort();
    atomic_store_explicit(rt_meta.chunks, 1, memory_order_relaxed);
    struct chunk *c = rt_meta_at(1);
    c->hpages[0] = (struct hpage){.addr = HPAGE_AT, .backed = {bits_mask(runs_nr)}};
    for (unsigned i = 0; i < RUNS_MAX; i++)
        c->descs[i] = (struct page_desc){0};
    for (unsigned i = 1; i < HPAGES_NR; i++)
        c->hpages[i] = (struct hpage){.addr = hpage_at(i)};
    weave_range(&c->hpages[0], HPAGES_NR * sizeof(c->hpages[0]));
    weave_range(c->descs, RUNS_MAX * sizeof(c->descs[0]));
}

static void setup(unsigned nr, const char *first, const char *second, const char *third) {
    runs_nr = nr;
    fresh_nr = 0;
    asks_nr = 0;
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    weave_heap_start(1);
    weave_must(page_init() == 0);
    chunk_make();
    struct hpage *h = chunk_hpage(rt_meta_at(1), HPAGE_AT);
    h->used[0] = h->backed[0];
    h->used_nr = (u16)runs_nr;
    page_tiers->used_granules = runs_nr;
    page_tiers->low = HPAGE_AT;
    tier_refile(page_tiers, h);
    weave_count(&rt_usage_bytes);
    weave_count(&page_tiers->lock_waits);
    weave_count(&page_tiers->lock_wait_ns);
}
/* So many hugepages are left, none of them used; the kernel is asked for some. */
static void setup_asked(const char *first, const char *second, unsigned left, unsigned asks) {
    setup(0, first, second, "");
    struct hpage *h = hpage(0);
    tier_list_del(page_tiers, h);
    h->used[0] = h->used[1] = ~(u64)0;
    h->longest = 0;
    fresh_nr = left;
    asks_nr = asks;
    for (unsigned i = 0; i < HPAGES_NR; i++) {
        told[i] = false;
        weave_count(&hpage(i)->awaited);
    }
    had[0] = had[1] = NULL;
    kernel = AGREES;
}
static void setup_one_asks(void) { setup_asked("ahmb", "", 2, 1); }
static void setup_one_is_refused(void) {
    setup_one_asks();
    kernel = REFUSES;
}
static void setup_both_take(void) { setup_asked("ahm", "ahm", 2, 1); }
static void setup_both_ask(void) { setup_asked("ah", "ah", 2, 2); }
/* The other finds nothing else, and takes of it whether it was asked for or not. */
static void setup_last(void) { setup_asked("ah", "ah", 1, 1); }
static void setup_last_refused(void) {
    setup_asked("ahb", "ahb", 1, 1);
    kernel = REFUSES;
}
/* All is in use, and so many steps are left. */
static void setup_grown(const char *first, const char *second, unsigned steps) {
    setup_asked(first, second, 0, 0);
    for (unsigned i = 0; i < HPAGES_NR; i++)
        made[i] = 0;
    for (unsigned i = 0; i < HPAGES_NR; i++)
        atomic_store_explicit(&released[i], false, memory_order_relaxed);
    page_tiers->fresh = hpage_at(1);
    page_tiers->reserved_end = hpage_at(1 + steps);
    weave_count(&in_the_system);
}
static void setup_two_grow(void) { setup_grown("ah", "ah", 2); }
static void setup_grown_released(void) { setup_grown("ab", "r", 2); }
static void setup_grown_refused(void) {
    setup_grown("a", "a", 2);
    kernel = REFUSES;
}
static void setup_two(void) { setup(3, "0", "12", ""); }
static void setup_alloc(void) { setup(1, "0", "ab", ""); }
static void setup_three(void) { setup(3, "0", "1", "2"); }

static const struct weave_model models[] = {
    {"two threads free", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"one frees, one allocates", 2, setup_alloc, thread, finish, WEAVE_BOTH},
    {"one asks for a hugepage", 1, setup_one_asks, thread, finish_asked, WEAVE_BOTH},
    {"one is refused a hugepage", 1, setup_one_is_refused, thread, finish_asked, WEAVE_BOTH},
    {"one asks for a hugepage, two take", 2, setup_both_take, thread, finish_asked, WEAVE_SC},
    {"two want the last", 2, setup_last, thread, finish_asked, WEAVE_SC},
    {"two ask for hugepages", 2, setup_both_ask, thread, finish_asked, WEAVE_SC},
    {"two grow", 2, setup_two_grow, thread, finish_grown, WEAVE_SC},
    {"one grows, one releases", 2, setup_grown_released, thread, finish_grown, WEAVE_SC},
    {"two are refused a step", 2, setup_grown_refused, thread, finish_grown, WEAVE_SOAK},
    {"two want the last, which is refused", 2, setup_last_refused, thread, finish_asked, WEAVE_SOAK},
    {"three threads free", 3, setup_three, thread, finish, WEAVE_SOAK},
};

static const struct weave_excuse excuses[] = {
    {"backed_publish", "&t->backed_granules_racy", WEAVE_LATE, "a figure, racy for its readers"},
    {"rt_usage_add", "&rt_usage_bytes", WEAVE_ANY, "another file's account"},
    {"wait_count", "&t->lock_wait", WEAVE_ANY, "figures"},
    {"defer_push", "&d->words[1]", WEAVE_LATE, "before the swap all the same"},
    {"hpage_huge_set", "&h->huge", WEAVE_LATE, "under the lock all the same"},
    {"tier_hugepage_begin_locked", "&h->awaited", WEAVE_ANY, "for who gives back, which is not explored"},
    {"asked_refuse_locked", "&h->awaited", WEAVE_NO_RELEASE, "for who has all of it, which is not explored"},
    {"asked_refuse_locked", "&h->awaited", WEAVE_LATE, "for who has all of it, which is not explored"},
    {"tier_asked_settle_locked", "&t->answers", WEAVE_NO_ACQUIRE,
     "the fence of tier_unlock() comes before any touch, too"},
    {"page_nodes_nr", "&page_nodes_opened", WEAVE_NO_ACQUIRE, "there is one node here"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"defer_push", "while (!atomic_compare", WEAVE_NEVER}, {"defer_drain_locked", "if (atomic_load", WEAVE_ALWAYS},
    {"defer_drain_locked", "while (at != 0", WEAVE_NEVER}, {"left_do_locked", "if (UNLIKELY(atomic_load", WEAVE_NEVER},
    {"tier_unlock", "while (left_any", WEAVE_NEVER},       {"tier_hand_over", "if (sys_lock_try", WEAVE_NEVER},
    {"tier_hand_over", "if (sys_lock_try", WEAVE_ALWAYS},  {"page_run_free", "if (sys_lock_try", WEAVE_ALWAYS},
};

WEAVE_MAIN("runs freed under a held lock")
