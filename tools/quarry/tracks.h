/* SPDX-License-Identifier: MIT */
/* Who allocated, and who last freed, the objects of another process that are out: what slab_debug's U keeps beside
 * them. */
#ifndef QUARRY_TOOLS_TRACKS_H
#define QUARRY_TOOLS_TRACKS_H

#include "caches.h"
#include "kmem/debug.h"

/* One object. */
struct tracked {
    const struct cache *cache;
    const struct kmem_track *tracks; /* by kmem_track_kind; of pid 0 nobody is known */
    u64 waste_bytes;                 /* of kmalloc's: what was not asked for */
    unsigned node;                   /* index */
};

enum tracks_result { TRACKS_DONE, TRACKS_NONE, TRACKS_NO_MEMORY }; /* NONE: no cache keeps them */

/* Calls fn for each object that is out, of one cache, or of all (NULL), of those that keep tracks. */
typedef void tracks_fn(void *arg, const struct tracked *object);
enum tracks_result tracks_each(const struct target *t, const struct caches *caches, const struct cache *only,
                               tracks_fn *fn, void *arg);

/* For those who collect them: the array with room for twice as many elements, at least for so many. NULL: memory is
 * out, and the old one is as it was. */
void *tracks_array_grow(void *array, size_t *cap, size_t least, size_t element_bytes);

#endif
