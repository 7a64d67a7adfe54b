/* SPDX-License-Identifier: MIT */
/*
 * Objects of classes made to be debugged: what the engine asks whoever debugs them (libquarry-kmem) to do in its place.
 * Their classes have no magazines, so that allocating and freeing them always comes to the slow path; that path knows
 * them by the class of their slab, or, where a cache is named, by a handle in the place of a class.
 */
#ifndef QUARRY_ENGINE_DEBUG_H
#define QUARRY_ENGINE_DEBUG_H

#include "rt/context.h"
#include "slab/made.h"

/* In the place of a class id: from here on it is a handle, which its owner gave to a cache. */
enum { ENGINE_DEBUG_HANDLES = SLAB_IDS_NR };

struct quarry_core1_class;
/* As docs/kmem.md and front/core.h say; all async-signal-safe. */
struct engine_debug {
    void *(*alloc)(unsigned handle, enum rt_context context);
    void (*free)(void *p, const struct quarry_core1_class *said); /* said: whose it was said to be, or NULL */
    size_t (*usable)(const void *p);
    void (*said)(const void *p, const struct quarry_core1_class *said); /* with harden: about to be freed as of this */
};

/* NULL until there is somebody. */
extern HIDDEN const struct engine_debug *_Atomic engine_debug;

static inline const struct engine_debug *engine_debug_get(void) {
    /* order: acquire: the table, and what its functions need.                                  pairs: [engine.debug] */
    return atomic_load_explicit(&engine_debug, memory_order_acquire);
}

/* Whether p, whose page map entry without node is given, lies in a slab that is debugged. */
static ALWAYS_INLINE bool engine_is_debugged(const void *p, unsigned entry) {
    return UNLIKELY(entry == SLAB_BARE) && engine_debug_get() != NULL && slab_made_debugged(slab_id_bare(p));
}
static ALWAYS_INLINE bool engine_is_debug_handle(unsigned cls) { return UNLIKELY(cls >= ENGINE_DEBUG_HANDLES); }

/* Several objects of a handle's cache: as many as there are. */
size_t engine_debug_alloc_bulk(unsigned handle, size_t nr, void **objs);
/* The slot of an object, by who debugs it, goes back to its slab. Without system call or waiting. */
void engine_debug_slot_free(void *slot);

#endif
