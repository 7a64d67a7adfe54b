/* SPDX-License-Identifier: MIT */
/*
 * The administrator's pool: mapping, populating, and what a fork makes of it. Giving back is purge.c's, where such a
 * record is kept until it is wholly free.
 *
 *   [H1] What is handed out is in memory already: a touch can not meet an empty pool, which would end the process. The
 *        kernel sets pages aside for a mapping, but a control group or a memory policy may refuse them afterwards.
 *   [H2] A page is given back by unmapping it, never by MADV_DONTNEED, after which nothing may be set aside for it.
 *   [H3] No child of a fork goes on with pages it shares: writing to one takes a second page of the pool, or ends the
 *        child. It copies them into ordinary memory before fork() returns there.
 *   [H4] The parent's fork() does not return before that, as far as the parent's threads let it: where the pool is
 *        empty, a parent that writes to a shared page takes it away from the child.
 *
 * Where a handler forks, not all tiers are the fork's: of one below it, and of one that is lost (rt/fork_locks.h), the
 * pages are copied as well, but records and sums stay, for nobody knows what the interrupted operation has done of
 * them. They say "of the pool" of ordinary memory then: it is never purged in part, and the next fork copies it again.
 * What such an operation is just bringing in is not marked yet, and stays shared.
 *
 * Called by run.c and grow.c under the tier's lock, by big/, and by engine/ around fork.
 */
#include "page/hugetlb.h"

#include "page/tier.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"

#include <string.h>

/* A mapping of the pool merges with no other. Each tier asks for an eighth of what it has, so that 100 GiB are some 300
 * mappings, and what lies set aside unused is little. */
enum { STEP_PART = 8 };
#define STEP_MAX_BYTES (512 * MIB)

/* A child copies some GiB a second; after this time it is taken for dead. */
#define WAIT_MIN_MS ((u64)1000)
#define WAIT_BYTES_PER_MS (256 * KIB)

_Atomic(u64) page_hugetlb_regions_bytes;
/* There was a fork while pages of the pool were held: to hold more would make the next one dearer. Never reset in the
 * parent; the child holds none, and begins anew. */
static _Atomic(bool) forked;
/* From the child that is being made to its parent, which waits for a byte or the child's end; else below 0. */
static int report[2] = {-1, -1};

/* A seal knows of little slack alone; and the nodes' turns are in small pages. */
static bool is_wanted(void) {
    return rt_opt.hugetlb && !rt_opt.harden && rt_opt.numa != OPT_NUMA_INTERLEAVE &&
           !atomic_load_explicit(&forked, memory_order_relaxed);
}

/* Set aside and placed; not in memory yet. */
static NOINLINE char *pool_map(size_t bytes) {
    char *p = sys_vm_hugetlb(bytes);
    if (p == NULL)
        return NULL;
    if (chunk_cover(p, bytes) != 0) {
        rt_release(p, bytes, 0);
        return NULL;
    }
    page_place(p, bytes);
    return p;
}

/* A child reads the record as its parent left it at any instruction.
 *
 * order: release: after the record's address and sizes.                                        pairs: [hugetlb.mark] */
static void pool_mark(struct hpage *h) { __atomic_store_n(&h->huge, (u8)HPAGE_HUGETLB, __ATOMIC_RELEASE); }
/* order: acquire: before them.                                                                 pairs: [hugetlb.mark] */
static bool is_of_pool(const struct hpage *h) { return __atomic_load_n(&h->huge, __ATOMIC_ACQUIRE) == HPAGE_HUGETLB; }

/* --- records of a tier --- */

void tier_hugetlb_rest_locked(struct page_tier *t) {
    if (t->hugetlb_fresh != t->hugetlb_end)
        rt_release(t->hugetlb_fresh, (size_t)(t->hugetlb_end - t->hugetlb_fresh), 0);
    t->hugetlb_fresh = t->hugetlb_end = NULL;
}

/* What is set aside for the tier, by halves where the pool has less. */
static bool fresh_map(struct page_tier *t) {
    size_t bytes = CLAMP(round_down(t->hugetlb_bytes / STEP_PART, HPAGE_BYTES), HPAGE_BYTES, STEP_MAX_BYTES);
    char *p = NULL;
    while (bytes >= HPAGE_BYTES && (p = pool_map(bytes)) == NULL)
        bytes = round_down(bytes / 2, HPAGE_BYTES);
    if (p == NULL)
        return false;
    page_place_near(p, bytes, page_node_id(tier_node(t)));
    t->hugetlb_fresh = p;
    t->hugetlb_end = p + bytes;
    return true;
}

/* From what is set aside, into memory [H1]: some 0.2 ms under the lock, in which the node's next tier steps in. */
static NOINLINE struct hpage *fresh_take(struct page_tier *t) {
    char *p = t->hugetlb_fresh;
    if (sys_vm_populate(p, HPAGE_BYTES) != 0) {
        tier_hugetlb_rest_locked(t);
        return NULL;
    }
    t->hugetlb_fresh += HPAGE_BYTES;
    struct hpage *h = tier_record_locked(t, p);
    pool_mark(h);
    h->backed[0] = h->backed[1] = ~(u64)0;
    t->hugetlb_free_granules += HPAGE_GRANULES;
    t->hugetlb_bytes += HPAGE_BYTES;
    t->committed_bytes += HPAGE_BYTES;
    return h;
}

struct hpage *tier_hugetlb_fresh_locked(struct page_tier *t) {
    if (LIKELY(!rt_opt.hugetlb) || !is_wanted() || t->used_granules * GRANULE_BYTES < rt_opt.thp_after)
        return NULL;
    if ((t->hugetlb_fresh == t->hugetlb_end && !fresh_map(t)) || !tier_hugepage_admit(t))
        return NULL;
    struct hpage *h = fresh_take(t);
    if (h == NULL)
        tier_hugepage_unadmit(t);
    return h;
}

/* --- regions --- */

char *hugetlb_region_map(size_t bytes) {
    char *p = is_wanted() ? pool_map(bytes) : NULL;
    if (p == NULL)
        return NULL;
    if (sys_vm_populate(p, bytes) != 0) {
        rt_release(p, bytes, 0);
        return NULL;
    }
    atomic_fetch_add_explicit(&page_hugetlb_regions_bytes, bytes, memory_order_relaxed);
    struct hpage *h = chunk_hpage(chunk_of(p), p);
    h->addr = p;
    h->big_reserve_bytes = bytes;
    pool_mark(h);
    return p;
}

void hugetlb_region_leave(struct hpage *h, size_t bytes) {
    /* A child that was made at this moment has left the pool already. */
    if (__atomic_exchange_n(&h->huge, (u8)HPAGE_SMALL, __ATOMIC_RELAXED) == HPAGE_HUGETLB)
        atomic_fetch_sub_explicit(&page_hugetlb_regions_bytes, bytes, memory_order_relaxed);
}

void hugetlb_region_cut(size_t bytes) {
    atomic_fetch_sub_explicit(&page_hugetlb_regions_bytes, bytes, memory_order_relaxed);
}

u64 page_hugetlb_bytes_racy(void) {
    u64 bytes = atomic_load_explicit(&page_hugetlb_regions_bytes, memory_order_relaxed);
    for (unsigned i = 0; i < tiers_nr(); i++)
        bytes += tier_at(i)->hugetlb_bytes;
    return bytes;
}

/* --- fork --- */

/* What is held is asked for once: another thread may give the last of it back, or take the first, before the fork. */
void page_hugetlb_fork_prepare(void) {
    if (LIKELY(!rt_opt.hugetlb) || page_hugetlb_bytes_racy() == 0)
        return;
    atomic_store_explicit(&forked, true, memory_order_relaxed);
    if (sys_pipe(report) != 0)
        report[0] = report[1] = -1;
}

static void report_end_close(unsigned i) {
    if (report[i] >= 0)
        sys_close(report[i]);
    report[i] = -1;
}

/* [H4] Without a child, or with one that is dead, nobody can write, and that ends it too. */
static void parent_wait(void) {
    u64 now_ms = sys_clock_ms(), deadline_ms = now_ms + WAIT_MIN_MS + page_hugetlb_bytes_racy() / WAIT_BYTES_PER_MS;
    report_end_close(1);
    while (report[0] >= 0 && now_ms < deadline_ms && !sys_pipe_wait(report[0], (unsigned)(deadline_ms - now_ms)))
        now_ms = sys_clock_ms();
    report_end_close(0);
}

/* The move of copy to p failed, and may have unmapped p: but nobody else is in this process who could be there now.
 * False: p is as it was; or the kernel has not memory for a mapping either, and the child ends when it touches p. */
static bool place_copy(char *p, const char *copy, size_t bytes) {
    if (sys_vm_reserve_at(p, bytes) != 0 || sys_vm_commit(p, bytes) != 0)
        return false;
    memcpy(p, copy, bytes);
    return true;
}

/* An ordinary mapping takes the place of bytes at p, with what was there. Where memory is out the pages stay what they
 * are, shared. */
static bool range_copy(char *p, size_t bytes) {
    char *copy = sys_vm_reserve(bytes, HPAGE_BYTES);
    bool copied = false;
    if (copy == NULL)
        return false;
    if (sys_vm_commit(copy, bytes) == 0) {
        if (rt_opt.thp != OPT_THP_NEVER)
            (void)sys_vm_huge(copy, bytes); /* somebody waits */
        memcpy(copy, p, bytes);
        (void)sys_vm_nohuge(copy, bytes);
        int err = sys_vm_move(copy, bytes, p);
        if (err == 0)
            return true;
        copied = err == SYS_VM_LOST_PLACE && place_copy(p, copy, bytes);
    }
    rt_release(copy, bytes, 0);
    return copied;
}

static void record_is_ordinary(struct hpage *h) {
    struct page_tier *t = tier_at(h->tier);
    if (!rt_fork_has(&t->held_by_fork))
        return;
    u64 free = HPAGE_GRANULES - h->used_nr;
    t->hugetlb_free_granules -= free;
    t->free_backed_granules += free;
    t->hugetlb_bytes -= HPAGE_BYTES;
    hpage_huge_set(h, HPAGE_SMALL);
}

/* Records that follow each other, together: each range is a mapping. */
static void records_copy(struct hpage *first, unsigned nr) {
    if (nr == 0 || !range_copy(first->addr, nr * HPAGE_BYTES))
        return;
    for (unsigned i = 0; i < nr; i++)
        record_is_ordinary(&first[i]);
}

static void region_copy(struct hpage *h) {
    if (range_copy(h->addr, h->big_reserve_bytes))
        hugetlb_region_leave(h, h->big_reserve_bytes);
}

static void chunk_copy(void *unused, struct chunk *c) {
    (void)unused;
    unsigned run = 0;
    for (unsigned i = 0; i <= CHUNK_HPAGES; i++) {
        struct hpage *h = &c->hpages[i];
        bool of_pool = i < CHUNK_HPAGES && is_of_pool(h);
        if (of_pool && atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_RUNS) {
            run++;
            continue;
        }
        records_copy(h - run, run);
        run = 0;
        if (of_pool)
            region_copy(h);
    }
}

/* [H3] What is set aside stays the parent's: here it is address space that nothing stands behind. */
static void child_copy(void) {
    for (unsigned i = 0; i < tiers_nr(); i++) {
        if (rt_fork_has(&tier_at(i)->held_by_fork))
            tier_hugetlb_rest_locked(tier_at(i));
    }
    chunks_each(chunk_copy, NULL);
    atomic_store_explicit(&forked, false, memory_order_relaxed);
}

void page_hugetlb_forked(enum rt_fork_side side) {
    if (LIKELY(!rt_opt.hugetlb))
        return;
    if (side == RT_FORK_PARENT) {
        parent_wait();
        return;
    }
    if (page_hugetlb_bytes_racy() != 0)
        child_copy();
    if (report[1] >= 0)
        sys_pipe_write(report[1]); /* no SIGPIPE where the parent is gone: this process reads it, too */
    report_end_close(1);
    report_end_close(0);
}
