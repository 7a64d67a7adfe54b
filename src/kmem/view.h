/* SPDX-License-Identifier: MIT */
/*
 * Where the caches of a process lie, for another process that reads them out of its memory (`quarry slabinfo PID`): a
 * constant found and believed as obs/view.h says. The caches are a list under a lock of the process's own; changes is
 * odd while somebody changes it and another number afterwards, so that a reader who finds the same even number before
 * and after has seen the list as it was.
 */
#ifndef QUARRY_KMEM_VIEW_H
#define QUARRY_KMEM_VIEW_H

#include "kmem/debug.h"
#include "obs/view.h"

#define KMEM_VIEW_MAGIC ((u64)0x6d656d6b72617571) /* "quarkmem" */

/* Changes when the record of a cache does, or where the stacks of its objects lie, whatever the version says. */
#define KMEM_VIEW_LAYOUT                                                                                               \
    ((u32)(sizeof(struct quarry_kmem_cache) + offsetof(struct quarry_kmem_cache, object_bytes) * 3 +                   \
           offsetof(struct quarry_kmem_cache, flags) * 5 + offsetof(struct quarry_kmem_cache, users) * 7 +             \
           offsetof(struct quarry_kmem_cache, args) * 11 + offsetof(struct quarry_kmem_cache, name) * 13 +             \
           offsetof(struct quarry_kmem_cache, next) * 17 + sizeof(struct quarry_kmem_cache_args) * 19 +                \
           offsetof(struct quarry_kmem_cache, debug) * 23 + sizeof(struct kmem_debug_layout) * 29 +                    \
           offsetof(struct kmem_debug, at) * 31 + sizeof(struct kmem_track) * 37 +                                     \
           offsetof(struct quarry_kmem_cache, paged) * 41))

struct kmem_view {
    struct obs_view_head head;
    struct quarry_kmem_cache *const *caches;
    const _Atomic(u32) *changes;
};

#endif
