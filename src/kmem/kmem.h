/* SPDX-License-Identifier: MIT */
/*
 * The kernel's allocation API on quarry's heap: libquarry-kmem. Its contract towards programs is <quarry/kmem.h>; here
 * is what its files share. A layer above front, in a library of its own: it reaches the heap through front/core.h and
 * <quarry/quarry.h> alone, so that a process has one heap whichever of the libraries it loads first. It owns no
 * memory but the copies of per-CPU variables (percpu_area.c), and a thread once kfree_rcu is used (rcu.c).
 */
#ifndef QUARRY_KMEM_KMEM_H
#define QUARRY_KMEM_KMEM_H

#include "base/types.h"
#include "front/core.h"
#include "kmem/rows.h"

#pragma GCC visibility push(default)
#include "quarry/kmem.h"
#include "quarry/quarry.h"
#pragma GCC visibility pop

/* Says line on stderr, the first time it is called with this flag, unless the caller asked for silence. */
void kmem_warn_once(_Atomic(bool) *said, quarry_gfp_t flags, const char *line);

/* Why there is no DMA memory, once. */
void kmem_dma_refused(quarry_gfp_t flags);

/* quarry_kvfree_rcu_barrier once RCU is used; NULL before, and in programs that link it in with nothing. */
extern HIDDEN void (*_Atomic kmem_rcu_barrier)(void);

/* Frees nr objects of the heap, classes by the run; what is none is other's. */
static inline void kmem_free_each(size_t nr, void *const *objs, void (*other)(const void *p)) {
    for (size_t i = quarry_core1_free_bulk(nr, objs); i < nr; i += quarry_core1_free_bulk(nr - i, objs + i))
        other(objs[i++]);
}

static ALWAYS_INLINE bool kmem_may_block(quarry_gfp_t flags) { return (flags & QUARRY___GFP_DIRECT_RECLAIM) != 0; }

/* The compiler leaves the stores before and behind it as they are. For the child of a fork that comes between; another
 * CPU's order does not matter, since a store that was not made before the fork waits for its end, and so do later ones.
 */
static ALWAYS_INLINE void kmem_in_this_order(void) { __asm__ volatile("" : : : "memory"); }

#endif
