/* SPDX-License-Identifier: MIT */
/*
 * Slabs: runs of granules cut into objects of one size. This layer moves objects by the batch; magazines (mag/) stand
 * between it and single calls. Free objects are bits outside the slab, so nothing here ever touches an object's memory.
 *
 * Every function is thread-safe, lock-free but for the page tier's lock underneath, and async-signal-safe.
 */
#ifndef QUARRY_SLAB_SLAB_H
#define QUARRY_SLAB_SLAB_H

#include "page/node.h"
#include "page/page.h"
#include "slab/word.h"

/* --- size classes --- */

enum {
#define CLASS(index, size, granules, nobj) +1
    SLAB_CLASSES_NR = 1
#include "slab/sizeclass.def"
    ,
#undef CLASS
    SLAB_CLASS_MAX = SLAB_CLASSES_NR - 1,
    SLAB_SMALL_MAX = 1024,       /* classes up to here are found by size */
    SLAB_MEDIUM_MAX = 64 * 1024, /* and up to here by 128 bytes, the finest step above SLAB_SMALL_MAX */
    SLAB_MEDIUM_SHIFT = 7,
};
/* A slab of the largest is a hugepage. Of classes that are made, which may have several objects a slab, smaller. */
#define SLAB_OBJECT_MAX (2 * MIB)
#define SLAB_MADE_OBJECT_MAX (1 * MIB)

/*
 * Ids of classes. Those below SLAB_CLASSES_NR are malloc's, with sizes known when this is compiled. Others are made and
 * unmade while the program runs (slab/made.h), for caches of their own. An id below SLAB_SLOT_IDS_NR is also the
 * class's page map entry and its slot in the magazines, unless the class was made to be debugged. Those and the classes
 * with ids above have no slot, hence no magazines, and share one entry: SLAB_BARE itself is no class, nor are the
 * entries from there up to PAGE_MAP_FURTHER.
 */
enum {
    SLAB_BARE = PAGE_MAP_VMALLOC - 1,
    /* Of the last few entries the slots would lie where a load waits for the store to rseq_cs: struct mag_region. */
    SLAB_SLOT_IDS_NR = PAGE_MAP_CLASSES - 8,
    SLAB_IDS_NR = 1024,
    SLAB_MADE_NR = SLAB_IDS_NR - SLAB_CLASSES_NR,
};
#define SLAB_ALIGN_MAX (1 * MIB)

struct slab_geometry {
    u64 recip; /* ceil(2^SLAB_RECIP_SHIFT / (size / 16)), see slab_index */
    u32 size_bytes;
    u16 nobj;
    u16 threshold; /* free objects that put a full slab back on a list */
    u8 granules;
    u8 align; /* granules a slab's start is aligned to, so that objects are aligned to the largest power of two dividing
                 their size */
    u8 bitmap_shift;  /* log2 bytes of the bitmap; 3 when it is the descriptor's own word */
    bool reclaimable; /* slabs lie in hugepages of short-lived runs */
};
extern HIDDEN const struct slab_geometry slab_geometry[SLAB_CLASSES_NR];
/* Geometry of an id below slab_ids_end; all zeros where there never was a class. */
const struct slab_geometry *slab_made_geometry(unsigned cls);
static ALWAYS_INLINE const struct slab_geometry *slab_geometry_of(unsigned cls) {
    return LIKELY(cls < SLAB_CLASSES_NR) ? &slab_geometry[cls] : slab_made_geometry(cls);
}

/* Whether a class has a slot, and no magazines without; and the page map entry of its granules, without the node. */
bool slab_made_has_slot(unsigned cls);
static ALWAYS_INLINE bool slab_has_slot(unsigned cls) { return LIKELY(cls < SLAB_BARE) || slab_made_has_slot(cls); }
static inline unsigned slab_slot_of(unsigned cls) { return slab_has_slot(cls) ? cls : (unsigned)SLAB_BARE; }
/* Whether an entry is that of a slab. */
static ALWAYS_INLINE bool slab_entry_is_slab(unsigned entry) {
    return entry - 1u < SLAB_BARE || entry >= PAGE_MAP_FURTHER;
}
/* Class of p, which lies in a slab whose page map entry is given. */
unsigned slab_id_bare(const void *p);
static ALWAYS_INLINE unsigned slab_id_of(const void *p, unsigned entry) {
    return LIKELY(entry != SLAB_BARE) ? entry : slab_id_bare(p);
}

/* No class has an id from here on; grows only. For walks over all classes. */
extern HIDDEN _Atomic(unsigned) slab_ids_end;
static inline unsigned slab_ids_end_get(void) {
    /* order: acquire: the records of all ids below are there.                                      pairs: [slab.ids] */
    return atomic_load_explicit(&slab_ids_end, memory_order_acquire);
}
/* The next id, past the entries that are none. */
static ALWAYS_INLINE unsigned slab_id_after(unsigned cls) {
    return LIKELY(cls + 1 != SLAB_BARE) ? cls + 1 : (unsigned)PAGE_MAP_FURTHER;
}

/* Index of the object an offset into a slab lies in, exact for every offset: with n = offset / 16 < 2^17, d = size / 16
 * <= 2^17 and s = SLAB_RECIP_SHIFT, recip = (2^s + e) / d with e < d, and n * e < 2^s. */
enum { SLAB_RECIP_SHIFT = 36 };
static ALWAYS_INLINE unsigned slab_index(const struct slab_geometry *g, size_t offset) {
    return (unsigned)(((u64)(offset >> 4) * g->recip) >> SLAB_RECIP_SHIFT);
}
#define SLAB_RECIP(size) ((((u64)1 << SLAB_RECIP_SHIFT) + (size) / 16 - 1) / ((size) / 16))

/* From size to class, times PAGE_SLOT_BYTES as in the page map, for the fast path; the steps option decides what is in
 * them. */
struct slab_class_tables {
    u16 small[SLAB_SMALL_MAX + 16];                   /* index: size */
    u16 medium[SLAB_MEDIUM_MAX >> SLAB_MEDIUM_SHIFT]; /* index: (size - 1) >> SLAB_MEDIUM_SHIFT */
};

/* What the slow path reads besides, and where it finds the above: written by slab_classes_init(). */
enum { SLAB_LARGE_SHIFT = 14 }; /* a granule is the finest step above SLAB_MEDIUM_MAX */
struct slab_tables_rest {
    const struct slab_class_tables *classes;
    u8 large[SLAB_OBJECT_MAX >> SLAB_LARGE_SHIFT]; /* index (size - 1) >> SLAB_LARGE_SHIFT */
};
extern HIDDEN struct slab_tables_rest slab_tables_rest; /* engine/sealed.S: read-only once the allocator is started */

/* Class for a size of 1..SLAB_OBJECT_MAX bytes. */
unsigned slab_class_for(size_t size);
/* Smallest class whose objects hold size bytes at multiples of align (a power of two <= SLAB_ALIGN_MAX); 0 when there
 * is none. */
unsigned slab_class_aligned(size_t size, size_t align);
/* Fills the tables the two above use from now on. */
void slab_classes_init(struct slab_class_tables *fill);
/* The above and the classes' lists, once, before any other call. 0 or -ENOMEM. */
int slab_init(struct slab_class_tables *tables);
/* The classes' lists for all nodes that were decided upon; before page_nodes_open(). 0 or -ENOMEM, then to be tried
 * again. */
int slab_nodes_make(void);

/* --- objects --- */

/* Takes up to want objects; stores them downwards from top[-1], lower addresses first, so that a stack of them hands
 * out ascending addresses, but for objects smaller than a cache line, of which each line gives one in turn. Returns how
 * many (0: memory is out). *ret_zero (may be NULL): the objects have never been used and read as zeros. */
unsigned slab_take(unsigned cls, unsigned node, unsigned want, void **top, bool *ret_zero);

/* Gives nr objects back, of any slabs of any class. Misuse (an object free already, an address inside an object) is
 * reported and aborts. Scribbles over nothing but its own data. */
void slab_give(void *const *objs, unsigned nr);

/* Object start and class of a pointer into a slab; what misuse reports and introspection ask. */
enum slab_where { SLAB_WHERE_NONE, SLAB_WHERE_LIVE_OR_CACHED, SLAB_WHERE_FREE, SLAB_WHERE_INTERIOR, SLAB_WHERE_TAIL };
struct slab_place {
    enum slab_where where;
    unsigned cls;
    void *object;
    const char *slab_state;
};
struct slab_place slab_locate(const void *p);

/* --- giving back --- */

enum slab_effort { SLAB_KEEP_SOME, SLAB_KEEP_NONE };
/* Retires the wholly free slabs of a class beyond the few it may keep; purges free pages inside the others when asked.
 * Returns quickly if another thread sweeps the class. */
enum slab_purge { SLAB_PURGE_NO, SLAB_PURGE_INSIDE };
void slab_sweep(unsigned cls, enum slab_effort effort, enum slab_purge purge);
/* Sweeps the classes that have many wholly free slabs: atomic contexts (rt/context.h) leave that to others. */
void slab_sweep_due(void);
/* Housekeeping of all classes: sweeps those that have been quiet and hold much. */
void slab_tick(u64 now_ms);

struct slab_class_stats {
    u64 slabs, out_objs, purged_bytes;
};
void slab_class_stats_get(unsigned cls, struct slab_class_stats *ret_stats); /* of all nodes together */
void slab_node_stats_get(unsigned node, unsigned cls, struct slab_class_stats *ret_stats);
void slab_fork_child(void);

#endif
