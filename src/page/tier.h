/* SPDX-License-Identifier: MIT */
/*
 * Private to page/: the tiers of a NUMA node, each with its hugepages under a lock of its own. All of a node is in its
 * first tier, as long as nobody finds that one's lock held for longer than a moment: its holder was interrupted, or is
 * inside a system call. Who does goes to the next tier, rather than to sleep.
 *
 * Invariants, with the lock held:
 *   [P1] a hugepage with a free run is on the list by_longest[longest], any other, or one that is closed [P4], is on
 *        none;
 *   [P2] used_nr is the number of bits in used; longest is the longest run of clear bits;
 *   [P3] used_granules and free_backed_granules are the sums over all hugepages of bits in used, and in backed & ~used;
 *        but what is free in hugepages of the administrator's pool is hugetlb_free_granules, for it cannot be purged.
 *   [P4] a record is HPAGE_ASKED, which is closed, while the thread asked[].by asks the kernel for a hugepage there,
 *        without the lock: nothing of it is handed out, and as it is awaited, nothing is given back.
 *   [P5] what is writable and was never handed out, or is claimed by who makes it writable, is in steps; what is behind
 *        them, [fresh, reserved_end), has no access.
 *   [P6] first_record is the first 2 MiB that came of a step, whatever they are now: what of them is free from granule
 *        first_start on is handed out before what is free below.
 */
#ifndef QUARRY_PAGE_TIER_H
#define QUARRY_PAGE_TIER_H

#include "base/bits.h"
#include "page/node.h"
#include "page/page.h"
#include "sys/sys.h"

_Static_assert((int)PAGE_NODES_MAX * 4 <= 256, "a tier's index is a byte of its records");

enum {
    LONGEST_MAX = (int)HPAGE_GRANULES,
    LISTS_NR = LONGEST_MAX + 1,
    NODE_TIERS_NR = 4,
    NODE_TIER_RECLAIMABLE = NODE_TIERS_NR - 1, /* once there are runs of that lifetime; until then one as the others */
};

/* How many hugepages are asked for at a time: who comes meanwhile has small pages. */
enum { ASKED_MAX = 4 };
struct hpage_asked {
    struct hpage *record;
    u64 by; /* sys_thread_self(); 0: of nobody */
};

/* A piece of a reservation, of whole hugepages (page/step.c). */
enum { TIER_STEPS_MAX = 8 };
struct tier_step {
    char *at, *end;
    u64 by;    /* sys_thread_self(): who makes it writable; 0: nobody */
    bool made; /* it is */
};

struct page_tier {
    struct sys_lock lock;
    _Atomic(u32) held_by_fork;
    bool placed;                      /* of the first node: what was reserved before there were others prefers it */
    u8 index;                         /* tier_at() */
    u64 listed[(LISTS_NR + 63) / 64]; /* bit per non-empty list */
    struct hpage *by_longest[LISTS_NR];
    char *fresh, *reserved_end; /* address space that no step has yet */
    const char *first_record;   /* [P6] */
    struct tier_step steps[TIER_STEPS_MAX];
    u8 first_start;    /* of chance */
    bool rest_small;   /* what follows fresh was told to have no hugepages */
    size_t step_bytes; /* how much the next step takes, between bounds */
    u64 used_granules, free_backed_granules, hugetlb_free_granules;
    u64 regret_granules;                   /* recently purged and wanted back soon: purging was a mistake */
    u64 churn_granules;                    /* the same, wanted while no more was in use than when it was purged */
    u64 peak_granules, purged_at_granules; /* in use: at the most lately, and at the last purge */
    u64 admitted_bytes; /* counted in rt/usage.h already, before the lock was taken; 0 without limit_hard */
    u64 now_ms;         /* the clock as of the last tick, at first as of the first hugepage */
    u64 committed_bytes, huge_bytes, purged_bytes_total, purges, collapses;
    char *low, *high;                      /* where records were ever made */
    char *collapse_at, *holed_at;          /* where the next searches begin */
    u64 collapse_after_ms;                 /* not before: there was a fork */
    u32 collapse_skip, collapse_skip_last; /* ticks to do without, in the way of huge.c; under the lock */
    bool collapse_refused;                 /* the kernel does not know how */
    char *hugetlb_fresh, *hugetlb_end;     /* of the pool, never handed out yet and without memory */
    size_t hugetlb_bytes;                  /* records of the pool */
    _Atomic(u64) inside_purged_bytes;
    _Atomic(u64) backed_granules_racy; /* used and both kinds of free, for readers without the lock */
    struct {
        _Atomic(u64) used, free_backed, regret, churn, peak;
    } racy;                                /* granules, as above, for page_may_keep() */
    _Atomic(u64) lock_waits, lock_wait_ns; /* by threads that found the lock held */
    struct hpage_asked asked[ASKED_MAX];   /* [P4] */
    struct hpage *sample;                  /* the next to tell whether memory is used; NULL: none (sample.c) */
    u32 sample_age;                        /* records begun since */
    bool sampled;                          /* there ever was one */
    _Atomic(bool) unused;                  /* the last one was not used */
    _Atomic(u32) trusted, trusted_last;    /* hugepages to be had without a look; and so many after the last one */
    _Atomic(u32) answers;        /* to asked[i], for the lock's next holder: bit i told, bit ASKED_MAX + i refused */
    _Atomic(uintptr_t) deferred; /* runs freed while the lock was held; linked through their first descriptor */
};

/* The part of a run of nr granules at pos that falls into word w of a hugepage's maps. */
static inline u64 tier_run_mask(unsigned pos, unsigned nr, unsigned w) {
    unsigned lo = MAX(pos, w * 64), hi = MIN(pos + nr, (w + 1) * 64);
    return lo >= hi ? 0 : bits_mask(hi - lo) << (lo - w * 64);
}

/* NODE_TIERS_NR for each node, one behind the other, in the metadata pool, where what a small process touches lies
 * close together; those of a node beyond the first from page_nodes_make() on. And those of the first node. */
extern HIDDEN struct page_tier *page_node_tiers[PAGE_NODES_MAX];
#define page_tiers (page_node_tiers[0])
static inline struct page_tier *tier_at(unsigned index) {
    return &page_node_tiers[index / NODE_TIERS_NR][index % NODE_TIERS_NR];
}
static inline unsigned tier_node(const struct page_tier *t) { return t->index / NODE_TIERS_NR; }
/* Those of one node. 0 or -ENOMEM. */
int tiers_make(unsigned node);
/* What the system gives unasked is looked at, once, with the options read. */
void tiers_look(void);
/* Memory of the first node's tiers that is still to come shall come from that node, step by step; false: some step is
 * left. One caller at a time. */
bool tiers_place_first(enum page_open how);
/* Without waiting, or waiting: then false in a signal handler on top of the holder, or where a fork does not end. */
static inline bool tier_lock_for(struct page_tier *t, enum page_open how) {
    return sys_lock_try(&t->lock) ||
           (how == PAGE_OPEN_WAIT && !page_is_busy_here() && rt_fork_enter(&t->lock, &t->held_by_fork, sys_clock_ns()));
}

/* Where free granules of a hugepage are counted. */
static inline u64 *tier_free_granules(struct page_tier *t, const struct hpage *h) {
    return hpage_huge(h) == HPAGE_HUGETLB ? &t->hugetlb_free_granules : &t->free_backed_granules;
}

/* A record made of 2 MiB that never were one, on no list. */
struct hpage *tier_record_locked(struct page_tier *t, char *p);
/* 2 MiB that nobody asked for yet are about to come. False: limit_hard forbids. */
bool tier_hugepage_admit(struct page_tier *t);
/* Takes that back. */
void tier_hugepage_unadmit(struct page_tier *t);
/* One of the administrator's pool, in memory and on no list; NULL: none is to be had, or not wanted. */
struct hpage *tier_hugetlb_fresh_locked(struct page_tier *t);
/* Gives those back that have been wholly free since before_ms. Returns bytes. */
size_t tier_hugetlb_release_locked(struct page_tier *t, u64 before_ms);
/* And what never was a record. */
void tier_hugetlb_rest_locked(struct page_tier *t);
/* A hugepage never used before, committed and on no list; NULL: none is committed, and address space may be out. */
struct hpage *tier_fresh_locked(struct page_tier *t);
/* Claims a step for who is to make it writable; where all are claimed, own. NULL: address space is out. */
struct tier_step *tier_step_begin_locked(struct page_tier *t, struct tier_step *own);
/* Makes it writable, without need of the lock; on failure less of it, down to a hugepage. Returns how much; 0: memory
 * is out. */
size_t tier_step_commit(const struct tier_step *s);
/* The first so many bytes of it are writable. False: nothing is. */
bool tier_step_end_locked(struct page_tier *t, struct tier_step *s, size_t bytes);
/* Parts of the first: one that was refused, or whose thread is gone; or a new one at an address. */
struct tier_step *tier_step_left_locked(struct page_tier *t);
struct tier_step *tier_step_claim_locked(struct page_tier *t, char *at, size_t bytes, struct tier_step *own);
bool tier_step_is_under_way(const struct page_tier *t);
/* 2 MiB that are writable and were never handed out; NULL: there are none. */
char *tier_step_take_locked(struct page_tier *t);
/* In the child of a fork: the threads of all steps but this one's are gone. */
void tier_steps_forget_locked(struct page_tier *t);
/* Whether there ever was a record of it; without the lock, too. */
static inline bool tier_is_used(const struct page_tier *t) {
    return __atomic_load_n(&t->low, __ATOMIC_RELAXED) != NULL;
}
static inline bool tier_is_first(const struct page_tier *t) { return t->index % NODE_TIERS_NR == 0; }
/* The tier an address of page/'s is in; it never changes. */
static inline struct page_tier *tier_of(const void *p) { return tier_at(chunk_hpage(chunk_of(p), p)->tier); }
/* All tiers of all nodes, those that were never used too. */
static inline unsigned tiers_nr(void) { return page_nodes_nr() * NODE_TIERS_NR; }
/* Whether the hugepage at p, which holds no memory, shall be a real one; then who gets its first run must ask for it,
 * but with OPT_THP_ALWAYS, and touch it. */
bool tier_hugepage_wanted(struct page_tier *t, const char *p);
/* Asks the kernel, which may have whoever asks wait for all who fault: without the lock. False: refused. p is anywhere
 * in the hugepage. */
bool tier_hugepage_tell(char *p);
/* Takes that back, as far as nothing was touched. */
void tier_hugepage_deny(char *p);
/*
 * What comes of that (asked.c). The first is called for a record that holds no memory and whose first run, of nr
 * granules, is being taken; whose run that is must bring it, without the lock. The third does what was left to the
 * lock's holder; the fourth, where nothing else is left, tells whether runs of nr granules may be had that could not
 * before.
 */
struct hugepage_due {
    bool touch;
    const char *sample;        /* small pages that tell whether it will be used; NULL: it is taken to be */
    size_t sample_bytes;       /* of those so many were handed out */
    struct hpage_asked *asked; /* the kernel is to be asked first; NULL: it was, for all that is reserved */
};
void tier_hugepage_begin_locked(struct page_tier *t, struct hpage *h, unsigned nr, struct hugepage_due *ret_due);
void tier_hugepage_bring(struct page_tier *t, const struct hugepage_due *due, char *p);
void tier_asked_settle_locked(struct page_tier *t);
bool tier_asked_open_locked(struct page_tier *t, unsigned nr);
/* Free in closed records, and counted as backed: none of it can be given back. */
u64 tier_asked_free_granules(const struct page_tier *t);
/*
 * Whether what is handed out is used (sample.c). A record gets small pages; one that was earned may be had, *ret_due
 * saying what is to be looked at before, or NULL; and the look, without the lock: false, a hugepage would bring what
 * nobody wants.
 */
void tier_sample_small_locked(struct page_tier *t, struct hpage *h);
bool tier_sample_admits_locked(struct page_tier *t, struct hugepage_due *ret_due);
bool tier_sample_is_used(struct page_tier *t, const struct hugepage_due *due);

/* The first touch, of the byte at p; timed, and without the lock, because it may take milliseconds. What came stays
 * whole, but once a part of it is given back the kernel's own scan must not fill it up again, and mappings with
 * differing flags would stay apart for good: the kernel is told so. */
void tier_hugepage_touch(char *p);

/* A record to collapse, which is awaited from then on, or NULL; and the collapse itself, without the lock. */
struct hpage *tier_collapse_choose_locked(struct page_tier *t);
void tier_collapse(struct page_tier *t, struct hpage *h);
/* Lets go of the lock, having done what others left to its holder. */
void tier_unlock(struct page_tier *t);
/* Something was left to the holder: does it where there is none. */
void tier_hand_over(struct page_tier *t);

/* Granules of h that hold no memory are wanted: had they been purged a moment ago, that was a mistake. */
void tier_regret_add(struct page_tier *t, const struct hpage *h, unsigned granules_nr);

void tier_list_add(struct page_tier *t, struct hpage *h);
void tier_list_del(struct page_tier *t, struct hpage *h);
/* The hugepage lost or got granules: bring longest and the lists up to date. */
void tier_refile(struct page_tier *t, struct hpage *h);
void tier_purge_locked(struct page_tier *t, u64 keep_granules);
/* Unmaps all that is free and whole. Returns bytes. */
size_t tier_release_locked(struct page_tier *t);
/* The records of another reservation of address space, some 2 MiB, would pass limit_hard. */
bool tier_reserve_forbidden(void);
u64 tier_allowance(const struct page_tier *t);
/* Granules handed out whose owner has something in them. */
u64 tier_in_use(const struct page_tier *t);
/* What that is reckoned from, for readers without the lock. */
void tier_allowance_publish(struct page_tier *t);
/* Real hugepages that were broken by who gave back pages inside their runs count as such no more. */
void tier_holed_break_locked(struct page_tier *t);
/* Purge what has been free since before_ms, in hugepages that are wholly free and, where worth breaking them, others.
 */
void tier_purge_old_locked(struct page_tier *t, u64 before_ms);

#endif
