/* SPDX-License-Identifier: MIT */
/*
 * Frees of runs that meet a held lock (src/page/run.c), explored (weave.h): whoever pushes a run finds the lock free,
 * or the holder finds the run; so at the end, and at no cost of waiting, every run is free and counted, and the lock
 * is. What the holder does besides (purging, growing) is left out.
 */
#include "base/bits.h"
#include "page/tier.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "weave.h"
#include "weave_heap.h"

#include <stdlib.h>

enum { RUNS_MAX = 3 };
#define HPAGE_AT ((char *)((uintptr_t)1 << 32)) // NOLINT(performance-no-int-to-ptr)

static const char *scripts[WEAVE_THREADS_MAX]; /* 0, 1, 2: free that run; a allocate one, b and free it again */
static void *had[WEAVE_THREADS_MAX];
static unsigned runs_nr; /* there are in the beginning, all handed out */

_Atomic(s64) rt_usage_out_bytes;
_Atomic(s64) rt_usage_bytes;
_Atomic(u64) rt_usage_group_soft, rt_usage_group_hard;

/* --- what run.c calls --- */

u64 sys_thread_self(void) { return (u64)(weave_self() + 1) << 4; }
u64 sys_clock_ns(void) { return 0; }
bool sys_lock_is_mine(struct sys_lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) == sys_thread_self();
}
bool sys_lock_try(struct sys_lock *lock) {
    u64 seen = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, &seen, sys_thread_self(), memory_order_acquire,
                                                   memory_order_relaxed);
}
bool sys_lock_try_spinning(struct sys_lock *lock) { return sys_lock_try(lock); }
void sys_yield(void) { weave_wait(); }
bool sys_lock_acquire(struct sys_lock *lock) {
    while (!sys_lock_try(lock))
        weave_wait();
    return true;
}
void sys_lock_release(struct sys_lock *lock) { atomic_store_explicit(&lock->word, 0, memory_order_release); }

void page_map_set(const void *addr, size_t granules_nr, unsigned value) { (void)addr, (void)granules_nr, (void)value; }
u64 tier_allowance(const struct page_tier *t) {
    (void)t;
    return UINT64_MAX;
}
void tier_purge_locked(struct page_tier *t, u64 keep_granules) { (void)t, (void)keep_granules; }
size_t tier_hugetlb_release_locked(struct page_tier *t, u64 before_ms) {
    (void)t, (void)before_ms;
    return 0;
}
void tiers_look(void) {}
void tier_hugetlb_rest_locked(struct page_tier *t) { (void)t; }
u64 page_hugetlb_bytes_racy(void) { return 0; }
struct hpage *tier_fresh_locked(struct page_tier *t) {
    (void)t;
    return NULL;
}
bool tier_hugepage_ask(struct page_tier *t, char *p) {
    (void)t, (void)p;
    return false;
}
void tier_hugepage_touch(char *p) { (void)p; }
void rt_usage_regretted(void) {}

/* --- threads --- */

static char *run_at(unsigned i) { return HPAGE_AT + i * GRANULE_BYTES; }

static void thread(unsigned self) {
    enum page_content content;
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'a')
            had[self] = page_run_alloc(0, 1, 1, &content);
        else if (*at == 'b' && had[self] != NULL)
            page_run_free(had[self], 1);
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
    weave_range(&c->hpages[0], sizeof(c->hpages[0]));
    weave_range(c->descs, RUNS_MAX * sizeof(c->descs[0]));
}

static void setup(unsigned nr, const char *first, const char *second, const char *third) {
    runs_nr = nr;
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
    page_tiers->committed_bytes = HPAGE_BYTES;
    tier_refile(page_tiers, h);
    weave_count(&rt_usage_bytes);
    weave_count(&page_tiers->lock_waits);
    weave_count(&page_tiers->lock_wait_ns);
}
static void setup_two(void) { setup(3, "0", "12", ""); }
static void setup_alloc(void) { setup(1, "0", "ab", ""); }
static void setup_three(void) { setup(3, "0", "1", "2"); }

static const struct weave_model models[] = {
    {"two threads free", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"one frees, one allocates", 2, setup_alloc, thread, finish, WEAVE_BOTH},
    {"three threads free", 3, setup_three, thread, finish, WEAVE_SOAK},
};

static const struct weave_excuse excuses[] = {
    {"backed_publish", "&t->backed_granules_racy", WEAVE_LATE, "a figure, racy for its readers"},
    {"rt_usage_add", "&rt_usage_bytes", WEAVE_ANY, "another file's account"},
    {"wait_count", "&t->lock_wait", WEAVE_ANY, "figures"},
    {"defer_push", "&d->words[1]", WEAVE_LATE, "before the swap all the same"},
    {"page_nodes_nr", "&page_nodes_opened", WEAVE_NO_ACQUIRE, "there is one node here"},
};

static const struct weave_suite suite = {
    "runs freed under a held lock", models, ARRAY_NR(models), excuses, ARRAY_NR(excuses), false};

int main(int argc, char **argv) { return weave_main(&suite, argc, argv); }
