/* SPDX-License-Identifier: MIT */
/* The classes of another process, malloc's and those of caches, with what they hold. */
#ifndef QUARRY_TOOLS_CLASSES_H
#define QUARRY_TOOLS_CLASSES_H

#include "target.h"

/* Of one class; all zeros for an id that no class ever had. */
struct class_figures {
    const void *geometry_at; /* NULL: no class ever had the id */
    struct slab_geometry geometry;
    size_t slab_bytes;
    struct slab_class_stats stats; /* out_objs: handed out, or in magazines */
    u64 magazine_objs, depot_objs;
    u16 magazine_cap;   /* objects of a magazine at most; 0: it has none */
    u64 partial, empty; /* slabs by classes_walk: some, or none, of the objects out */
    u64 partial_objs;   /* out of those that are partial */
};

struct classes {
    unsigned nr; /* ids below it may be classes; 0 is none */
    unsigned nodes_nr;
    struct class_figures by_id[SLAB_IDS_NR];
};

/* The counters, in few calls; then sizes, which stay, and what is in magazines. False, without a complaint: the process
 * can't be read any more. */
bool classes_read(const struct target *t, struct classes *ret_classes);
bool classes_read_more(const struct target *t, struct classes *classes);
/* Calls fn for each slab that belongs to a class, with its record and the address of its first object there. */
typedef void class_slab_fn(const struct target *t, unsigned cls, const struct slab *s, const char *base, void *arg);
void classes_slabs_each(const struct target *t, const struct classes *classes, class_slab_fn *fn, void *arg);
/* Goes over all slabs, and adds what is known by that alone. */
void classes_walk(const struct target *t, struct classes *classes);

/* Handed out. */
static inline u64 class_active_objs(const struct class_figures *c) {
    u64 cached = c->magazine_objs + c->depot_objs;
    return c->stats.out_objs - MIN(c->stats.out_objs, cached);
}

#endif
