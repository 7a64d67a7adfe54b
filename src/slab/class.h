/* SPDX-License-Identifier: MIT */
/* Private to slab/: descriptor, per-class state, and the partial lists. */
#ifndef QUARRY_SLAB_CLASS_H
#define QUARRY_SLAB_CLASS_H

#include "slab/made.h"
#include "slab/slab.h"
#include "sys/sys.h"

enum {
    BUCKETS_NR = 4,
    BUCKET_UNBACKED = BUCKETS_NR, /* beside them: struct slab_class, unbacked */
    PARTIAL_LISTS_NR,
    /* So many passages of slabs to sparseness, at least, are worth a sweep that purges inside slabs. */
    SPARSE_MIN_SLABS = 64,
    SPARSE_FEW_SLABS = 4, /* the same where all classes together have much that is free */
    SPARSE_PART = 8,
    SPARSE_LEFT_PART = 8, /* from an eighth of its objects left on a slab is sparse */
    SLACK_PART = 8,
    /* What is freed so soon after the class grew is the end of a phase: the slabs will be free as a whole, or wanted.
     */
    PHASE_MS = 50,
};
#define SLACK_MIN_BYTES ((s64)(8 * MIB))

/* Lies in the page_desc of the slab's first granule; in those of its other granules only back is set. */
struct slab {
    _Atomic(u64) word; /* slab_word_t */
    _Atomic(u64) link; /* id of the next slab on the list; meaningful while LISTED */
    _Atomic(u64) bits; /* free objects, when there are at most 64; else meta_ref_t of the bitmap, and how many objects
                          were carved << 32 */
    u32 purged;        /* memory given back while in use, a bit for each slab_purge_unit(); owner of a BOUND slab only.
                          Of a pinned class SLAB_WAITS: it was wholly free when a grace period began, and is since */
    u8 back;           /* granules from the slab's first one to this one */
    _Atomic(u8) first; /* SLAB_FRESH, and how many objects were carved where there are at most 64 */
    u16 kind;          /* class, and node << SLAB_ID_BITS */
};
_Static_assert(sizeof(struct slab) == sizeof(struct page_desc), "a slab descriptor fills its granule's record");

enum { SLAB_ID_BITS = 10 };
_Static_assert(SLAB_IDS_NR <= 1 << SLAB_ID_BITS, "ids fit into a slab descriptor");
static inline u16 slab_kind(unsigned cls, unsigned node) { return (u16)(cls | node << SLAB_ID_BITS); }
static ALWAYS_INLINE unsigned slab_kind_cls(unsigned kind) { return kind & (((unsigned)1 << SLAB_ID_BITS) - 1); }
static ALWAYS_INLINE unsigned slab_kind_node(unsigned kind) { return kind >> SLAB_ID_BITS; }
static ALWAYS_INLINE unsigned slab_cls(const struct slab *s) { return slab_kind_cls(s->kind); }
static ALWAYS_INLINE unsigned slab_node(const struct slab *s) { return slab_kind_node(s->kind); }

/* One cache line for each class and node. */
struct slab_class {
    _Alignas(CACHE_LINE) _Atomic(u64) partial[BUCKETS_NR]; /* slab id: 34 | tag: 30; bucket 0 has the fullest slabs */
    _Atomic(s64) out_objs;
    _Atomic(s64) purged_bytes;
    _Atomic(s32) slabs;
    _Atomic(s32) empties;  /* listed and wholly free; approximate for moments */
    _Atomic(s32) sparse;   /* times a slab passed 7/8 free, 15/16 and so on since the last sweep */
    _Atomic(u32) grown_ms; /* when a slab was last made */
    _Atomic(u8) sweeping;
    u8 quiet_ticks;        /* ticks since objects were last taken; tick thread only */
    u64 out_objs_at_tick;  /* tick thread only */
    _Atomic(u64) unbacked; /* as partial: slabs whose free pages' memory was refused, used when no other has any */
    /* Of a made class all nodes have the same three, see slab_create(). */
    _Atomic(bool) keeps;    /* pages inside slabs are never given back: free objects are in a state of their own */
    _Atomic(bool) pinned;   /* slabs are given back after grace periods alone: slab_grace_begin() */
    _Atomic(bool) unpinned; /* no longer: nobody can look at them */
    /* kept.c */
    _Atomic(s32) retired;     /* slabs given back lately, and not made again since */
    _Atomic(s32) regretted;   /* wholly free slabs to keep beyond the few, because they were made again; not below 0 */
    _Atomic(s32) empties_min; /* fewest since the last tick */
};

extern HIDDEN struct slab_class *slab_classes[PAGE_NODES_MAX]; /* a row of SLAB_CLASSES_NR for each node */
struct slab_class *slab_made_class(unsigned node, unsigned cls);

static ALWAYS_INLINE struct slab_class *slab_class_at(unsigned node, unsigned cls) {
    return LIKELY(cls < SLAB_CLASSES_NR) ? &slab_classes[node][cls] : slab_made_class(node, cls);
}

static ALWAYS_INLINE bool slab_keeps(const struct slab_class *c) {
    return UNLIKELY(atomic_load_explicit(&c->keeps, memory_order_relaxed));
}

static ALWAYS_INLINE struct slab *slab_at(const void *granule) {
    return (struct slab *)chunk_desc(chunk_of(granule), granule);
}

/* The slab p lies in, and its first byte. p must lie in a slab. */
static ALWAYS_INLINE struct slab *slab_of(const void *p, char **ret_base) {
    struct slab *s = slab_at(p); /* of p's granule; that of the slab's first one is so many before it */
    *ret_base = (char *)(round_down((uintptr_t)p, GRANULE_BYTES) - ((uintptr_t)s->back << GRANULE_SHIFT));
    return s - s->back;
}

enum {
    SLAB_PURGE_BITS = 32,
    CARVED_SHIFT = 32,
    SLAB_FRESH = 0x80, /* objects that were never taken read as zeros */
};

/* Objects are carved by ascending address; those from here on were never taken, and have no bit set. Changed by the
 * owner of a BOUND slab; who holds an object reads a number above its index. */
static ALWAYS_INLINE unsigned slab_carved(const struct slab *s, const struct slab_geometry *g) {
    if (g->bitmap_shift == 3)
        return atomic_load_explicit(&s->first, memory_order_relaxed) & ~(unsigned)SLAB_FRESH;
    return (unsigned)(atomic_load_explicit(&s->bits, memory_order_relaxed) >> CARVED_SHIFT);
}

static ALWAYS_INLINE bool slab_fresh(const struct slab *s) {
    return (atomic_load_explicit(&s->first, memory_order_relaxed) & SLAB_FRESH) != 0;
}

static ALWAYS_INLINE _Atomic(u64) *slab_bitmap(struct slab *s, const struct slab_geometry *g) {
    if (g->bitmap_shift == 3)
        return &s->bits;
    return rt_meta_at((meta_ref_t)atomic_load_explicit(&s->bits, memory_order_relaxed));
}

static ALWAYS_INLINE slab_word_t slab_word_load(struct slab *s) {
    return (slab_word_t){atomic_load_explicit(&s->word, memory_order_relaxed)};
}

/* Where a batch's objects of a slab are sorted to, one of 256 slots (give.c): by the golden ratio, so that neighbours
 * get slots far apart. */
static ALWAYS_INLINE u8 slab_sort_slot(meta_ref_t slab) { return (u8)((slab * (u32)0x9e3779b1) >> (32 - 8)); }

/* What one bit of purged stands for, in bytes: a page, or as many as it takes for the bits to do for the slab. */
static inline size_t slab_purge_unit(const struct slab_geometry *g) {
    size_t pages = g->granules * GRANULE_BYTES / sys_page_bytes();
    return sys_page_bytes() * MAX((pages + SLAB_PURGE_BITS - 1) / SLAB_PURGE_BITS, (size_t)1);
}

/* Partial lists (partial.c). pop claims nothing by itself: the caller is the only one to know the slab and must make it
 * BOUND. */
void partial_push(struct slab_class *c, char *base, int free_nr, int nobj);
void partial_push_unbacked(struct slab_class *c, char *base);
/* list: below PARTIAL_LISTS_NR. NULL: it is empty. */
char *partial_pop(struct slab_class *c, unsigned list);
char *partial_take_all(struct slab_class *c, unsigned list); /* walk with partial_next */
char *partial_next(const char *base);

/* Applies a pure transition until it sticks; evaluates to the word before. Release: what this thread did to the slab
 * (bits, objects) is seen by whoever acts on the new word. Acquire: and the other way round. pairs: [slab.word] */
#define SLAB_TRANSITION(slab, call)                                                                                    \
    ({                                                                                                                 \
        u64 seen_ = slab_word_load(slab).bits; /* no member: a compiler keeps it in a register */                      \
        slab_word_t w, n_;                                                                                             \
        do {                                                                                                           \
            w = (slab_word_t){seen_};                                                                                  \
            n_ = (call);                                                                                               \
        } while (!atomic_compare_exchange_weak_explicit(&(slab)->word, &seen_, n_.bits, memory_order_acq_rel,          \
                                                        memory_order_relaxed));                                        \
        w;                                                                                                             \
    })

/* Memory inside slabs that was given back and soon wanted again; fades with every tick. */
extern _Atomic(s64) slab_regret_bytes;

enum { SLAB_WAITS = 1 };
/* Wholly free slabs are given back when a grace period has passed over them, and at no other time. */
static inline bool slab_was_pinned(const struct slab_class *c) {
    return UNLIKELY(atomic_load_explicit(&c->pinned, memory_order_relaxed));
}
static inline bool slab_is_pinned(const struct slab_class *c) {
    return slab_was_pinned(c) && !atomic_load_explicit(&c->unpinned, memory_order_relaxed);
}

/* Wholly free slabs a class may keep, and whether it has so many more that a sweep is worth its time (slab.c). */
s32 slab_empties_max(const struct slab_class *c, const struct slab_geometry *g);
/* Wholly free slabs beyond the few (kept.c): whether there may be more of them than so many bytes, and how many of one
 * class; how many there are now; gives all back where that is too much by now. */
bool slab_kept_admits(s64 bytes);
s32 slab_kept_more(const struct slab_class *c);
void slab_kept_note(struct slab_class *c, s32 empties);
void slab_kept_look(void);
/* A slab was given back, or made; whether other classes have any that they keep; and they give all up. */
void slab_kept_retired(struct slab_class *c, unsigned cls);
void slab_kept_fork_child(void);
void slab_kept_made(struct slab_class *c, unsigned cls);
bool slab_kept_elsewhere(const struct slab_class *c, unsigned cls);
void slab_kept_yield(unsigned asking);
/* Nothing more is regretted; and housekeeping. */
void slab_kept_forget(struct slab_class *c, const struct slab_geometry *g);
void slab_kept_tick(void);
/* Counts slabs that became wholly free (or, negative, no longer are), and whether one more may be kept. */
void slab_empties_add(struct slab_class *c, const struct slab_geometry *g, s32 slabs);
bool slab_empties_admit(const struct slab_class *c, const struct slab_geometry *g);
bool slab_empties_many(const struct slab_class *c, const struct slab_geometry *g);
/* An EMPTY slab goes back to the page tier. */
void slab_destroy(struct slab_class *c, struct slab *s, char *base);
/* Carries out what a transition asked for. free_nr: objects free in the word it made, not in a later one: who completes
 * a LISTED slab counts that as well. */
void slab_do_duty(enum slab_duty duty, struct slab_class *c, char *base, const struct slab_geometry *g, int free_nr);
/* The same, after an unbind, for one whose free pages' memory is refused: it goes behind those that have memory. */
void slab_do_duty_unbacked(enum slab_duty duty, struct slab_class *c, char *base, const struct slab_geometry *g,
                           int free_nr);

#endif
