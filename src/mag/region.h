/* SPDX-License-Identifier: MIT */
/* Private to mag/: what belongs to one id, the operations on "my region, whichever it is now", and the depot. */
#ifndef QUARRY_MAG_REGION_H
#define QUARRY_MAG_REGION_H

#include "mag/mag.h"
#include "mag/ref.h"
#include "rt/context.h"

/* Small and large objects have a budget each: one large object weighs as much as all small ones together. */
enum mag_kind { MAG_SMALL, MAG_LARGE, MAG_KINDS_NR };

enum { LEVELS_NR = 7, MAG_SHIFT_MIN = 6, LOCKED_REGIONS_MAX = 4096, REGION_AWAY_BYTES = 320 };

/* The slow path's own figures. Two threads on the slow path of one id may lose a count to each other: an atomic add for
 * each would cost the slow path more than the figures are worth. */
struct mag_counts {
    _Atomic(u64) slow_allocs, slow_frees, refills, flushes, depot_gets, depot_puts, fallback_ops;
    /* Of the slow calls, those whose magazine was empty or full: all of them, where there is a fast path. */
    _Atomic(u64) misses;
};

/* What an id knows of one class, beside its slots. */
struct mag_class {
    u64 spare;          /* a second magazine, full or empty; 0 none; SPARE_STOPPED */
    _Atomic(u16) since; /* this id's misses when the slot first stood at mark, or last missed, in 64 */
    _Atomic(u8) mark;   /* where the class's slot stood when a clock hand last passed */
    _Atomic(u8) level;  /* size of the next magazine: 64 bytes << level. A hint. */
    _Atomic(u8) direct; /* frees that went straight to their slab, then what insists() counts */
};

/*
 * Some two and a half KiB in the middle are used by every process: what is known of the classes below PAGE_MAP_FURTHER,
 * counts, and the slots of these classes. They lie in one page (REGION_LEAD_BYTES). What is of further classes lies
 * before and behind, and is not touched as long as there is none: regions_extend().
 */
struct mag_region {
    struct mag_class class[PAGE_MAP_CLASSES]; /* by region_class(): the further ones first */
    _Atomic(u16) hand;                        /* class the search for a resting one goes on from */
    _Atomic(u16) large_hand;                  /* and that for a large one that is not used any more */
    struct mag_counts counts;
    _Atomic(s64) capacity_bytes[MAG_KINDS_NR]; /* what the magazines this id asked for can hold. A hint. */
    _Atomic(s32) sharers_nr[MAG_KINDS_NR];     /* classes that have some of it. A hint. */
    _Atomic(u32) stops;                        /* why the views do not show this region: vfork children, a drain */
    union {
        _Atomic(u32) lock;      /* of a locked region: 0, or lock_word() of its holder */
        _Atomic(u32) nudged_at; /* of an id's: the low bits of its slow_allocs when it was nudged; nudger only */
    };
    bool locked_kind;
    _Atomic(u8) home;        /* node whose bank the view for allocations shows; of a locked region meaningless */
    _Atomic(bool) nudged;    /* its allocations take the slow path, until one of them has said where it runs */
    _Atomic(bool) settled;   /* its maker publishes it no more: from then on only who has the stop lock does */
    _Atomic(u8) wary;        /* it roams: slow allocations, slow frees and ticks until its allocations are fast again. A
                                hint, as is calm_at. */
    _Atomic(u16) calm_at;    /* the low bits of its slow_allocs from which on one more change of node is the first */
    _Atomic(u64) drained_at; /* sum of counts when last looked at; drainer only */
    /*
     * A load waits for a store to the same place of another page. Where programs have no thread-local data of their
     * own, the store to rseq_cs is 2464 bytes into its page, as far as the line before the slots; where they come by
     * there again are those of ids that have none (SLAB_SLOT_IDS_NR).
     */
    _Alignas(CACHE_LINE) u64 figure[MAG_FIGURES_NR]; /* FIGURE_STOPPED in the stopped region */
    char away[REGION_AWAY_BYTES - MAG_FIGURES_NR * sizeof(u64)];
    u64 slot[PAGE_MAP_CLASSES]; /* last: those of further nodes follow, at the place of their page map entries */
};

/* A region begins so far into a page. */
#define REGION_PAGE_BYTES ((size_t)4096)
#define REGION_LEAD_BYTES (PAGE_MAP_FURTHER * sizeof(struct mag_class))
_Static_assert((REGION_LEAD_BYTES + PAGE_MAP_CLASSES * sizeof(struct mag_class)) % REGION_PAGE_BYTES ==
                   PAGE_MAP_FURTHER * sizeof(struct mag_class),
               "what every process uses of a region begins a page");
_Static_assert((REGION_LEAD_BYTES + offsetof(struct mag_region, slot)) % REGION_PAGE_BYTES == 2496 &&
                   (PAGE_MAP_CLASSES - SLAB_SLOT_IDS_NR) * sizeof(u64) == CACHE_LINE,
               "slots are not where rseq_cs is stored to in another page");

static ALWAYS_INLINE unsigned region_class_index(unsigned cls) { return (cls - PAGE_MAP_FURTHER) % PAGE_MAP_CLASSES; }
static ALWAYS_INLINE struct mag_class *region_class(struct mag_region *r, unsigned cls) {
    return &r->class[region_class_index(cls)];
}

/* A page map entry, which is also a slot's index, and its two parts. */
static inline unsigned slot_class(unsigned slot) { return slot % PAGE_MAP_CLASSES; }
static inline unsigned slot_node(unsigned slot) { return slot >> PAGE_MAP_CLASS_BITS; }
static inline unsigned slot_at(unsigned cls, unsigned node) { return cls | node << PAGE_MAP_CLASS_BITS; }

#define SPARE_STOPPED ((u64)2)
#define SPARE_OFF(cls)                                                                                                 \
    ((s64)(region_class_index(cls) * sizeof(struct mag_class)) - (s64)offsetof(struct mag_region, slot))
#define FIGURE_STOPPED ((u64)INT64_MIN)
#define FIGURE_OFF(which)                                                                                              \
    ((s64)(offsetof(struct mag_region, figure) + (which) * sizeof(u64)) - (s64)offsetof(struct mag_region, slot))
#define SLOT_OFF(slot) ((s64)(slot) * (s64)sizeof(u64))

/* --- register.c: threads' rseq areas, where libc registers none --- */

/* cpu_id of an area that is not registered: it may be, or not. What the kernel and libcs mean by these values. */
enum { AREA_OPEN = -1, AREA_CLOSED = -2 };

/* Registers this thread's area, and from now on each thread's with its first slow call. False: it cannot be. At start.
 */
bool threads_register(void);
/* No further thread's, also where the start is still to come. */
void threads_register_no_more(void);
enum registers { REGISTERS_UNDECIDED, REGISTERS_EACH, REGISTERS_NONE };
extern HIDDEN _Atomic(int) mag_registers;
bool thread_register(void);
/* The same of a thread that was there before, or came after, the start. */
bool thread_join(void);
/* Some thread did. */
bool threads_joined(void);
/* This thread has no id, and may get one. */
static ALWAYS_INLINE bool thread_may_join(void) {
    return UNLIKELY(atomic_load_explicit(&mag_registers, memory_order_relaxed) == REGISTERS_EACH) &&
           UNLIKELY(atomic_load_explicit(&mag_rseq_own.cpu_id, memory_order_relaxed) == AREA_OPEN);
}
/* A slow call begins. True: with it this thread has got an id, by which the fast path has not tried yet. */
static ALWAYS_INLINE bool thread_joins(void) { return thread_may_join() && rt_may_block() && thread_join(); }
/* This thread's area is not to be registered until it is opened again. False: it was closed, or is registered. */
bool thread_area_close(void);
void thread_area_open(void);
static inline bool thread_area_is_closed(void) {
    return atomic_load_explicit(&mag_rseq_own.cpu_id, memory_order_relaxed) == AREA_CLOSED;
}

/* --- region.c: regions and the operations on them --- */

extern u64 *mag_stopped_slots; /* of the region that stands in for every id that must not be used */

int regions_init(void);
/* Slots of the id this thread would use now, made if they are not yet; of a locked region where there is no id. Hints
 * and counters only. */
struct mag_region *region_mine_racy(void);
/* Of a locked region; nobody waits. A handler, or the child of a fork by one, on top of the holder finds it its own. */
bool region_trylock(struct mag_region *r);
bool region_lock_is_mine(struct mag_region *r);
void region_unlock(struct mag_region *r);
/* Of an id, made if it is not yet; NULL where memory is out. */
struct mag_region *region_for_id(unsigned id);
struct mag_region *region_at(unsigned index); /* 0 .. regions_nr()-1; NULL where none was made */
unsigned regions_nr(void);
bool region_is_locked_kind(unsigned index);
/* All regions have banks for so many nodes from now on. */
void regions_open(unsigned nodes_nr);
/* All have slots for classes from PAGE_MAP_FURTHER on. One call at a time; nobody uses such a class before. */
void regions_extend(void);
/* In the child of a fork: what the maker of this region had still to do. */
void region_complete(struct mag_region *r);
/* Makes the views of an id show its region, or the stopped slots if there is a reason to. */
void regions_publish(struct mag_region *r, unsigned id);
/* Its allocations take the slow path until it is published again. */
void regions_stop_allocs(unsigned id);
/* From now on regions_publish publishes stopped slots only. */
void regions_close(void);
void regions_divert_allocs(void);

/* One restartable operation, on the caller's id, else on some locked region. REFUSED: its condition does not hold.
 * ABSENT: no region could be had without waiting. */
enum rseq_status region_pop(unsigned slot, void **ret_obj);
enum rseq_status region_push(unsigned slot, void *p);
/* Up to nr objects in one operation; returns how many. 0: empty or full, or no region could be had without waiting. */
u64 region_pop_run(unsigned slot, u64 nr, void **objs);
u64 region_push_run(unsigned slot, u64 nr, void *const *objs);
enum rseq_status region_swap_if_empty(s64 off, u64 next, u64 *ret_old);
enum rseq_status region_swap_if_full(s64 off, u64 next, u64 *ret_old);
/* Takes the spare magazine of a class; 0 when there is none. */
u64 region_take_spare(unsigned cls);
/* Makes m the spare if there is none. False: there is one. */
bool region_put_spare(unsigned cls, u64 m);
/* Takes the magazine out of the slot if it still stands where it was seen. */
bool region_take_slot(unsigned slot, u64 seen);

#define COUNT(region, name)                                                                                            \
    atomic_store_explicit(&(region)->counts.name,                                                                      \
                          atomic_load_explicit(&(region)->counts.name, memory_order_relaxed) + 1,                      \
                          memory_order_relaxed)

/* Where regions lie, for obs/view.h. */
struct mag_regions_view {
    struct mag_region ***by_id;
    const unsigned *ids_nr;
    struct mag_region *_Atomic **locked;
    const unsigned *locked_nr;
};
extern HIDDEN const struct mag_regions_view mag_regions_view;

/* Whether the fast path never tried this thread's magazine, so that the slow path must. */
bool region_untried(const struct mag_region *r);
/* The node whose objects this thread's fast path hands out by the region: of an id the one it was last seen on. */
unsigned region_home(const struct mag_region *r);
/* This thread's id hands out objects of a node from now on. A hint: does nothing where the id is being emptied. */
void region_follow(unsigned node);

/* --- magazine.c: one magazine in the hands of one owner; m is the address of its top object word --- */

static inline bool mag_is_empty(u64 m) { return (*(u64 *)m & MAG_WORD_END) != 0; } // NOLINT(performance-no-int-to-ptr)
static inline bool mag_is_full(u64 m) {
    return (((u64 *)m)[1] & MAG_WORD_END) != 0;
} // NOLINT(performance-no-int-to-ptr)
extern u64 mag_null[2];
static inline bool mag_is_null(u64 m) { return m == (u64)&mag_null[0]; }
/* The same of a slot of whatever region can be found: 0 in one whose maker has still to fill it, [F1]. */
static inline bool slot_is_bare(u64 m) { return m == 0 || mag_is_null(m); }

/* An empty magazine for cap objects, or 0. */
u64 mag_make(unsigned cap, unsigned node); /* its block near that node */
/* An empty one goes back to the pool. The null magazine is ignored. */
void mag_unmake(u64 m);
u64 *mag_header(u64 m); /* walks down */
unsigned mag_cap(u64 m_empty);
/* Objects of m to their slabs, m to the pool. */
void mag_flush(u64 m);
unsigned mag_count(u64 m);
unsigned mag_count_racy(u64 m); /* of a magazine that others use meanwhile */
/* The same by where its top stands, without a look into it; wrong for one that was made for another capacity. */
unsigned mag_count_guess(u64 m, unsigned cap);
/* The node of its objects: a magazine has those of one slot alone. It must not be empty. */
unsigned mag_node(u64 m);

/* For walks over the classes that may have magazines, from 1 on by slab_id_after(); grows only. */
extern HIDDEN _Atomic(unsigned) mag_ids_end;
static inline unsigned mag_ids_end_get(void) {
    /* order: acquire: the slots of all ids below are there.                                     pairs: [mag.further] */
    return atomic_load_explicit(&mag_ids_end, memory_order_acquire);
}

/* How many objects a magazine of each class may hold at most; 0: the class has none. Filled at start. */
extern _Atomic(u16) mag_class_cap[SLAB_SLOT_IDS_NR];
static inline unsigned mag_class_cap_get(unsigned cls) {
    return atomic_load_explicit(&mag_class_cap[cls], memory_order_relaxed);
}
/* Objects above this are large: their magazines have no spare, and a budget of their own. */
#define MAG_LARGE_BYTES (16 * KIB)
static inline enum mag_kind mag_kind_of(unsigned cls) {
    return slab_geometry_of(cls)->size_bytes > MAG_LARGE_BYTES ? MAG_LARGE : MAG_SMALL;
}
void magazines_init(void);
unsigned mag_cap_for(size_t size_bytes);

/* --- depot.c --- */

/* A full magazine, or 0. */
u64 depot_get(unsigned slot);
/* The slot is refilled from slabs: what the depot refused a while ago might have been kept. */
void depot_regret(unsigned slot);
/* False: the depot holds enough of this class. */
bool depot_put(unsigned slot, u64 m_full);
u64 depot_bytes_racy(void);
/* The objects in the depot of each class, so many bytes from one to the next, for obs/view.h. */
struct mag_depots_view {
    const _Atomic(s32) *objs;
    u64 stride_bytes;
    struct mag_depot *const *nodes; /* by node, but for the first: where its depots begin */
    u64 objs_offset_bytes;          /* in one of them */
};
/* Depots of further nodes; before page_nodes_open(). 0 or -ENOMEM, then to be tried again. */
int depots_make(unsigned nodes_nr);
extern HIDDEN const struct mag_depots_view mag_depots_view;
s64 depot_objs_racy(unsigned cls);
/* What all of them hold beyond what they may by now goes to the slabs. */
void depots_fit(void);
/* All magazines of one class to the slabs. */
void depot_empty(unsigned cls);
/* The class is gone: what was learned about it is forgotten. Its depot is empty. */
void depot_forget(unsigned cls);

/* --- mag.c, for drain.c --- */

/* The class has no magazine on this id any more. */
void mag_level_reset(struct mag_region *r, unsigned cls);

/* --- node.c --- */

/* nr objects of a node were freed by threads of another one; ignored where it is the same. */
void node_count_remote(unsigned from, unsigned node, unsigned nr);
/* nr objects were handed out that are of another node than was wanted, because that one had none. */
void node_count_astray(unsigned nr);
void node_count_move(void);
void nodes_fork_child(void);
void node_stats_get(struct mag_stats *s); /* its share of them */

/* --- drain.c --- */

/* The magazines of one class, of all ids, are emptied. Waits for whoever drains meanwhile. False: some were out of
 * reach, because the system has no barrier or this thread is a signal handler on top of a drain. */
bool mag_class_drain(unsigned cls);

#endif
