/* SPDX-License-Identifier: MIT */
/*
 * Classes made while the program runs, for caches that want slabs of their own: ids, geometry, constructors, and
 * walks over a class's slabs. What a class does once it is there is what every class does (slab.c, give.c, sweep.c).
 * Called by mag/ (which adds magazines) and by slab/ itself.
 *
 * Whoever makes and unmakes classes does it one call at a time. Everything else may run meanwhile.
 */
#ifndef QUARRY_SLAB_MADE_H
#define QUARRY_SLAB_MADE_H

#include "slab/slab.h"

typedef void (*slab_ctor_fn)(void *object);

struct slab_make {
    size_t size_bytes;  /* of an object: a multiple of 16 and of align_bytes, up to SLAB_MADE_OBJECT_MAX */
    size_t align_bytes; /* a power of two, 16 .. SLAB_ALIGN_MAX */
    slab_ctor_fn ctor;  /* called for each object of a new slab, before any is handed out; may be NULL */
    bool pinned;        /* slabs are given back after grace periods alone, pages inside them never */
    bool debugged;      /* without slot and magazines, so that nothing of it is served by a fast path */
    bool reclaimable;   /* slabs are runs of that lifetime (page_run_alloc_reclaimable) */
};

/* A new class, with the lowest id that is free; 0 when there is none, or no memory for its record. */
unsigned slab_make(const struct slab_make *make);
/* Gives back the slabs that are wholly free, for who is about to unmake the class. Is no visit. */
void slab_made_retire(unsigned cls);
/* Of a pinned class nobody uses. Unpinned, when a grace period has passed since it was last used: its slabs go back as
 * any others. Or pinned again. */
enum slab_pin { SLAB_PINNED, SLAB_UNPINNED };
void slab_made_pin(unsigned cls, enum slab_pin pin);
/*
 * Slabs of pinned classes. begin: those that are wholly free, beyond the few each class may keep, wait for a grace
 * period from now on; returns how many. end, when one that began later is over: those that were not used meanwhile go
 * back. One call at a time, end once after each begin that returned any.
 */
u32 slab_grace_begin(enum slab_effort effort);
void slab_grace_end(void);
/* The id of a class that is closed, and has neither slab nor magazine, is free again. */
void slab_unmake(unsigned cls);

/* Whether a class was made to be debugged, or an object of it is, or was, watched. */
bool slab_made_debugged(unsigned cls);
/*
 * An object that is out, of a class with magazines, too: from now on the frees of its slab's objects, up to when the
 * slab goes back, find the slab as one of a class that is debugged, and go past the magazines. Those of its objects
 * that are in magazines now are allocated from there. False: of malloc's classes. Async-signal-safe.
 */
bool slab_made_watch(const void *p);
/* Whether free objects of the class keep what is in them. */
bool slab_keeps_contents(unsigned cls);
/* A row of made classes for a node beyond the first. 0 or -ENOMEM. */
int slab_made_node_make(unsigned node);
/* Runs the constructor over a slab the caller owns. */
void slab_made_construct(unsigned cls, char *base);

/*
 * Visits. Housekeeping, which comes to any class whatever its owner does, announces itself; a class that is about to be
 * unmade, or is unmade, admits no visitor. So whoever closed it is alone with it. malloc's own classes are always open.
 */
bool slab_visit_begin(unsigned cls);
void slab_visit_end(unsigned cls);
/* False: leave the class alone. */
static inline bool slab_made_enter(unsigned cls) { return LIKELY(cls < SLAB_CLASSES_NR) || slab_visit_begin(cls); }
static inline void slab_made_leave(unsigned cls) {
    if (UNLIKELY(cls >= SLAB_CLASSES_NR))
        slab_visit_end(cls);
}
/* No visitor is inside, and none comes in until the class is opened again. Waits. Not for signal handlers. */
void slab_made_close(unsigned cls);
void slab_made_open(unsigned cls);
/* The visitors at the moment of a fork are not in the child, but for the thread that forks in a handler. */
void slab_made_fork_child(void);

/* One slab as it was at some moment. */
struct slab_seen {
    char *base;
    unsigned state; /* enum slab_state */
    unsigned free_nr;
    unsigned cls;
};
enum { SLAB_ANY_CLASS = 0 };
/* Calls fn for each slab of a class, or of all. Takes no lock: exact when nobody uses the class, else a slab may be
 * missed or seen as it was a moment ago. Walks the page map of all of the heap, about a microsecond for each MiB. */
void slab_made_walk(unsigned cls, void (*fn)(void *arg, const struct slab_seen *slab), void *arg);
/* Where p lies, which lies in a slab of any class. */
struct slab_spot {
    unsigned cls;
    char *base;
    const struct slab_geometry *geometry;
    unsigned free_nr; /* of the slab; may be stale */
    unsigned index;   /* of the object; geometry->nobj or above: behind the last one */
};
struct slab_spot slab_made_spot(const void *p);
/* Whether the index-th object of a slab of a class nobody uses is handed out. */
bool slab_made_is_out(unsigned cls, char *base, unsigned index);

/* Where the records of made classes lie, for obs/view.h: a table behind a pointer, from id SLAB_CLASSES_NR on. */
struct slab_made_view {
    const void *table_at;
    u32 stride_bytes;
    u32 class_offset, geometry_offset; /* in a record: a struct slab_class, a pointer to its geometry */
    struct slab_class *const *nodes;   /* by node, but for the first: the same classes' structs, one behind the other */
};
extern HIDDEN const struct slab_made_view slab_made_view;

#endif
