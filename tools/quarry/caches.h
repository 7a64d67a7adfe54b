/* SPDX-License-Identifier: MIT */
/* The classes of another process by name: caches of libquarry-kmem, what destroyed ones left, malloc's size classes. */
#ifndef QUARRY_TOOLS_CACHES_H
#define QUARRY_TOOLS_CACHES_H

#include "classes.h"
#include "kmem/cache.h"
#include "kmem/rows.h"

enum cache_kind { CACHE_KMEM, CACHE_LEFT, CACHE_MALLOC };

struct cache {
    char *name;
    enum cache_kind kind;
    unsigned id; /* of its class */
    unsigned object_bytes, slot_bytes, align_bytes, aliases, usersize;
    unsigned flags; /* quarry_slab_flags_t */
    const void *ctor;
    const struct kmem_debug *debug; /* there; NULL where the cache is not debugged */
    const struct class_figures *class;
    struct kmem_paged paged; /* objs_per_slab 0: its slabs are the heap's */
};

/* In the order in which /proc/slabinfo has them: caches, newest first; what destroyed ones left; malloc's, largest
 * first. */
struct caches {
    struct classes classes;
    struct cache *rows;
    size_t nr;
};

/* False, and a complaint, when the process cannot be read any more, or changes its caches all the while. Freed by
 * caches_free, in either case. */
bool caches_read(struct target *t, struct caches *ret_caches);
void caches_free(struct caches *c);

/* Handed out; no more than there are in the slabs that were seen. */
u64 cache_active_objs(const struct cache *c);
/* The row of a cache in slabinfo. */
struct kmem_slab_row cache_row(const struct cache *c, size_t page_bytes);

#endif
