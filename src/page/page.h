/* SPDX-License-Identifier: MIT */
/*
 * The page tier: runs of granules (16 KiB) inside 2 MiB hugepages, and the page map that tells what any address is.
 * Callers are slab/ (runs) and big/ (address space of its regions, the chunk table). Owns the tiers' locks;
 * every function is thread-safe.
 *
 * A run lies inside one hugepage, so it has at most 128 granules. Memory given back to the system stays part of the
 * tier and reads as zeros when it is used again.
 */
#ifndef QUARRY_PAGE_PAGE_H
#define QUARRY_PAGE_PAGE_H

#include "base/types.h"
#include "rt/fork_locks.h"
#include "rt/meta.h"
#include "sys/sys.h"

/*
 * --- page map: for each granule its size class in the low 9 bits, NUMA bank above; times PAGE_SLOT_BYTES, so that free
 * has the place of a slot in bytes (mag/) ---
 * Classes below PAGE_MAP_FURTHER are known when this is compiled, or have been in every slot table from the start;
 * those from there on are ids of slab classes for which there is room when they are made.
 */

enum {
    PAGE_SLOT_BYTES = 8,
    PAGE_MAP_CLASS_BITS = 9,
    PAGE_MAP_CLASSES = 1 << PAGE_MAP_CLASS_BITS,
    PAGE_MAP_FURTHER = 128,
    PAGE_MAP_NOT_OURS = 0,
    PAGE_MAP_BIG = PAGE_MAP_FURTHER - 1, /* first granule of a big region */
    PAGE_MAP_PAGES = PAGE_MAP_BIG - 1,   /* a block of the page allocator */
    PAGE_MAP_VMALLOC = PAGE_MAP_BIG - 2, /* any granule of a vmalloc area */
};

static ALWAYS_INLINE s64 page_map_index(const void *p) { return rt_meta_map_index(&rt_meta, (uintptr_t)p); }

/* Entry of any address whatever, NULL and wild pointers included. */
static ALWAYS_INLINE unsigned page_map_get(const void *p) {
    return rt_meta.map_end[page_map_index(p)] / PAGE_SLOT_BYTES;
}
/* Whether it is this one, which takes no part of it out. */
static ALWAYS_INLINE bool page_map_is(const void *p, unsigned value) {
    return rt_meta.map_end[page_map_index(p)] == value * PAGE_SLOT_BYTES;
}
/* How many of nr addresses, from the first on, have this one. Four are one turn, since the loop costs as much as one.
 */
static ALWAYS_INLINE size_t page_map_run(unsigned value, size_t nr, void *const *addrs) {
    size_t run = 0;
    while (nr - run >= 4 && page_map_is(addrs[run], value) && page_map_is(addrs[run + 1], value) &&
           page_map_is(addrs[run + 2], value) && page_map_is(addrs[run + 3], value))
        run += 4;
    while (run < nr && page_map_is(addrs[run], value))
        run++;
    return run;
}
void page_map_set(const void *addr, size_t granules_nr, unsigned value);

/* --- chunks: 256 MiB of address space each, with the records of what of it is ours --- */

/* 32 bytes for each granule, owned by whoever owns the run; slab/ keeps its descriptor there. Type-stable. */
struct page_desc {
    _Alignas(32) u64 words[4];
};

enum hpage_state {
    HPAGE_FOREIGN = 0, /* not ours, or given back to the system whole */
    HPAGE_RUNS,        /* part of the filler */
    HPAGE_BIG,         /* first hugepage of a big region */
    HPAGE_WAS_BIG,     /* the same, freed */
};

/* What it came as, and still is. */
enum hpage_huge {
    HPAGE_SMALL = 0,
    HPAGE_THP,     /* a real hugepage, as far as was asked */
    HPAGE_HUGETLB, /* of the administrator's pool (hugetlb.h); a big region says so in its first record, for all of it
                    */
    HPAGE_ASKED    /* to be a real one: the kernel is being asked */
};

/* What is known of one 2 MiB of address space. Under the page lock, but for state and the big fields (see big/). */
struct hpage {
    u64 used[2];    /* granules handed out */
    u64 backed[2];  /* granules that may hold memory: handed out since the last purge, or come with a real hugepage */
    u64 written[2]; /* of those, the ones handed out: the others read as zeros */
    struct hpage *next, *prev;
    char *addr;
    u64 freed_ms; /* when a granule last became free */
    u16 used_nr;
    u8 longest; /* longest free run, granules; also the list it is on */
    u8 tier;    /* tier_at() */
    u8 huge;    /* hpage_huge() */
    bool listed;
    _Atomic(bool) awaited; /* a real hugepage whose first touch, which brings it, is still to come */
    _Atomic(u8) state;
    _Atomic(u16) inside_pages; /* pages inside its runs that were given back */
    u16 taken_s;               /* when a run was last taken, seconds, of which these are the low bits */
    u32 purged_s;              /* when it last lost memory, seconds + 1; 0 never */
    /* HPAGE_BIG */
    size_t big_bytes;         /* usable, page multiple */
    size_t big_reserve_bytes; /* address space, guard included */
    u32 big_flags;
    u32 big_seq; /* of a lot's free extent, see big/lot.h */
    union {
        const void *big_caller;    /* of an area, see big/area.h */
        size_t big_writable_bytes; /* of any other region outside lots: big_bytes, or more once it grew */
    };
};

/* Written under the page lock, or by a big region's owner; who has a run of it may look without, and then knows of
 * HPAGE_HUGETLB alone, which does not change while anything of it is handed out. Who has all of it: hpage_is_there().
 */
static inline enum hpage_huge hpage_huge(const struct hpage *h) {
    return (enum hpage_huge)__atomic_load_n(&h->huge, __ATOMIC_RELAXED);
}
static inline void hpage_huge_set(struct hpage *h, enum hpage_huge huge) {
    __atomic_store_n(&h->huge, (u8)huge, __ATOMIC_RELAXED);
}

/* For who has just got all of h, which he may be asking for as a real hugepage (page/asked.c): whether its memory came
 * with it. What was refused is awaited still, or small pages again. */
static inline bool hpage_is_there(const struct hpage *h) {
    /* order: acquire: a refusal that was settled shows what h is now.                          pairs: [page.awaited] */
    bool awaited = atomic_load_explicit(&h->awaited, memory_order_acquire);
    return !awaited && hpage_huge(h) != HPAGE_SMALL;
}

/* Bytes from a region's start to where the memory ends that may have come with it: the rest of the hugepage that its
 * usable bytes end in. */
static inline size_t hpage_big_end_bytes(const struct hpage *h, size_t bytes) {
    return MAX(bytes, MIN(round_up(bytes, HPAGE_BYTES), h->big_reserve_bytes));
}

#define CHUNK_BYTES ((size_t)1 << CHUNK_SHIFT)
enum { CHUNK_HPAGES = 1 << (CHUNK_SHIFT - HPAGE_SHIFT), CHUNK_GRANULES = 1 << (CHUNK_SHIFT - GRANULE_SHIFT) };

struct chunk {
    struct hpage hpages[CHUNK_HPAGES];
    struct page_desc descs[CHUNK_GRANULES];
};

/* Chunk of an address, or NULL when nothing of ours was ever in it. Lock-free. */
static ALWAYS_INLINE struct chunk *chunk_of(const void *p) {
    /* order: acquire: the chunk was zeroed and its map made writable before it was published.       pairs:
     * [chunk.publish] */
    meta_ref_t ref = atomic_load_explicit(&rt_meta.chunks[((uintptr_t)p >> CHUNK_SHIFT) & rt_meta.chunks_mask],
                                          memory_order_acquire);
    return ref == 0 ? NULL : (struct chunk *)rt_meta_at(ref);
}
static ALWAYS_INLINE struct hpage *chunk_hpage(struct chunk *c, const void *p) {
    return &c->hpages[((uintptr_t)p >> HPAGE_SHIFT) % CHUNK_HPAGES];
}
static ALWAYS_INLINE struct page_desc *chunk_desc(struct chunk *c, const void *p) {
    return &c->descs[((uintptr_t)p >> GRANULE_SHIFT) % CHUNK_GRANULES];
}
/* Chunks for [addr, addr + bytes), made where missing. 0 or -ENOMEM. Thread-safe. */
int chunk_cover(const void *addr, size_t bytes);
/* The same of address space that is placed on a node, by index: its records, and its entries of the page map, lie near.
 */
int chunk_cover_near(const void *addr, size_t bytes, unsigned node);
/* Calls fn for each chunk there is, by address; one that is made meanwhile may be missed. Reads no more of the table
 * than what was written. */
void chunks_each(void (*fn)(void *arg, struct chunk *c), void *arg);

/* Before any call below; once. 0 or -ENOMEM. */
int page_init(void);

/* Applies the numa option to new address space; the default leaves placement to first touch. */
void page_place(void *p, size_t bytes);
/* From how many bytes on memory may be hugepages, which is usual_bytes but where it is interleaved: there it is as much
 * as makes one hugepage more on one node a twentieth of what that node has. */
size_t page_huge_min_bytes(size_t usual_bytes);
/* Whether what is not to be hugepages must say so: else the system may make it some. */
bool page_huge_unwanted(void);
/* What of the range is touched from now on comes from a node, by the kernel's number, or the nearest with room. */
void page_place_near(void *p, size_t bytes, int id);

/* --- runs --- */

enum page_content { PAGE_DIRTY = 0, PAGE_ZERO };

/* A run of granules_nr (1..128) granules, aligned to align_nr granules (a power of two, <= 128), its page map entries
 * still "not ours". NULL when memory is out, or in a signal handler on top of the page lock's holder. node: an index of
 * page/node.h, whose memory it is where that node has any. */
void *page_run_alloc(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content);
/* The same of memory that is there already, without waiting. NULL: there is none, or nobody knows because the lock is
 * held (PAGE_WARM_BUSY). */
enum page_warm { PAGE_WARM_NONE, PAGE_WARM_BUSY };
void *page_run_alloc_warm(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content,
                          enum page_warm *ret_why);
/* As page_run_alloc, of a run whose owner says that it is short-lived: from hugepages that other runs are kept out of,
 * as long as that needs no waiting and while there is address space. */
void *page_run_alloc_reclaimable(unsigned node, unsigned granules_nr, unsigned align_nr,
                                 enum page_content *ret_content);
/* This very thread has a lock that a fork waits for, of a tier or of rt/fork_locks.h: the caller runs in a signal
 * handler on top of it, and waits for no other; a run is refused unless a tier is free at once. */
bool page_is_busy_here(void);
/* A fork has the tiers, at this moment: who was refused a run may have waited for it in vain. */
bool page_is_forked(void);
/* The page map entries are cleared here. Never waits: where the lock is held the run is queued and the holder frees it.
 */
void page_run_free(void *run, unsigned granules_nr);

/* Purges of parts of runs, done by their owner (slab/ does this for free pages inside slabs), all of one node; keeps
 * the accounts. Returns a bit for each range that was given back. */
u64 page_purge_inside(const struct sys_range *ranges, unsigned nr);
/* Memory inside a run that page_purge_inside gave back is about to be used again. False: limit_hard forbids. */
bool page_refill_inside_try(void *addr, size_t bytes);
/* Memory of a run that holds none yet, and will be used in parts: from now on as if page_purge_inside gave it back. */
void page_leave_inside(void *addr, size_t bytes);
/* Memory of a run that reads as zeros, and of which each page is about to be written: brings it, where that is cheaper
 * than the faults. */
void page_bring(char *p, size_t bytes);
/* The run is about to be freed: it counts as backed again although it is not, as all of a free run does. */
void page_forget_inside(void *addr, size_t bytes);

/* Whether runs that their owner keeps, though nothing in them is in use, may be more than so many bytes: they count as
 * free ones, of which only so much may hold memory. Racy. */
bool page_may_keep(u64 kept_bytes);

/* Purge what has been free for longer than the purge delay, and what exceeds the allowance. now_ms from sys_clock_ms().
 */
void page_tick(u64 now_ms);
/* Purge free runs until at most keep_bytes of them are backed. Returns bytes given back. */
size_t page_purge(size_t keep_bytes);

/* Gives wholly free hugepages and unused reservations back with their address space, for those who need that rather
 * than memory (a big region under RLIMIT_AS, the commit limit). Returns bytes of address space. */
size_t page_release(void);

/* --- the reserve (reserve.c): runs in memory already, for atomic contexts (rt/context.h) --- */

/* As page_run_alloc, of up to 32 granules, without system call or lock; NULL when the node's reserve has none. Such a
 * run is one as any other from then on. */
void *page_reserve_take(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content);
/* Fills it up to what the reserve option says, which may enter the system; the first call makes it. Nothing where
 * another thread fills, or on top of the page lock's holder. */
void page_reserve_fill(void);
/* Who fills this reserve or that of pages (buddy/) does so alone. False: another thread does, or this one is on top of
 * the page lock's holder; nothing is to be filled then, nor ended. */
bool page_reserve_begin(void);
void page_reserve_end(void);
size_t page_reserve_bytes_racy(void);
/* Brings whole pages into memory, their content as it was. */
void page_touch(char *p, size_t bytes);
void page_reserve_fork_child(void);
/* For obs/view.h: by node a pointer to blocks, so many, so many bytes from one to the next; the low half of the first
 * word of each has a bit for each free granule. */
struct page_reserve_view {
    const void *blocks_at;
    const unsigned *blocks_nr;
    size_t stride_bytes;
};
extern HIDDEN const struct page_reserve_view page_reserve_view;

struct page_stats {
    u64 committed_bytes, run_used_bytes, run_free_bytes, huge_bytes, purged_bytes_total, purges, inside_purged_bytes;
    u64 lock_waits, lock_wait_ms, collapses, hugetlb_bytes;
};
void page_stats_get(struct page_stats *ret_stats);
/* Given back to the system since the start: free runs, and pages inside runs. What it refuses is taken back. Racy. */
u64 page_given_bytes_racy(void);
/* Bytes of the tier that may be backed by memory: used and free runs less what was purged. Racy. */
size_t page_backed_bytes_racy(void);

/* For fork: see docs/locking.md. */
void page_fork_mark(void); /* with big_fork_mark() before the next, in a handler on top of a holder */
void page_fork_prepare(enum rt_fork_from from);
void page_fork_lose(void);   /* in the child, with big_fork_lose() before all that follows */
void page_fork_child(void);  /* before the next */
void page_fork_let_go(void); /* in the parent, with big_fork_let_go() before any of what is released */
void page_fork_done(enum rt_fork_side side);
/* Memory is shared with the child, or was with the parent, and stays small pages. */
void page_collapse_forked(enum rt_fork_side side);
/* Bytes of the administrator's pool that slabs, runs and big regions are in. Racy. */
u64 page_hugetlb_bytes_racy(void);
extern HIDDEN _Atomic(u64) page_hugetlb_regions_bytes; /* of that, big regions */
/* With the locks of page/ and big/ held, as far as they are this thread's: see hugetlb.c. */
void page_hugetlb_fork_prepare(void);
void page_hugetlb_forked(enum rt_fork_side side);

#endif
