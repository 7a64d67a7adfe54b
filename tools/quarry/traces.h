/* SPDX-License-Identifier: MIT */
/* A cache's alloc_traces and free_traces, as the kernel has them in its debugfs. */
#ifndef QUARRY_TOOLS_TRACES_H
#define QUARRY_TOOLS_TRACES_H

#include "symbols.h"
#include "tracks.h"

/* False, and a complaint: the cache keeps no users' stacks, or memory is out. */
bool traces_print(const struct target *t, const struct caches *caches, const struct cache *c, enum kmem_track_kind kind,
                  struct symbols *symbols);

#endif
