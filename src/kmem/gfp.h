/* SPDX-License-Identifier: MIT */
/* Private to kmem/: what allocation flags mean besides size and zeroing. Contract towards programs: <quarry/kmem.h> and
 * <quarry/kmem_shrinker.h>. */
#ifndef QUARRY_KMEM_GFP_H
#define QUARRY_KMEM_GFP_H

#include "kmem/kmem.h"

#pragma GCC visibility push(default)
#include "quarry/kmem_shrinker.h"
#pragma GCC visibility pop

/* --- gfp.c --- */

/* The flags, less what the scopes of this thread forbid. */
quarry_gfp_t kmem_gfp_in_scope(quarry_gfp_t flags);
/* Whether an allocation that may not block may draw on the reserve. */
bool kmem_gfp_has_reserve(quarry_gfp_t flags);
/* Whether an account is charged for it beyond its limit. */
bool kmem_gfp_passes_limit(quarry_gfp_t flags);
/* One attempt at what is wanted. */
typedef void *kmem_try_fn(const void *what, quarry_gfp_t flags);
/* An allocation that may block: try(what, flags), and, while it gives NULL, as much effort to make room as the flags
 * ask for. */
void *kmem_gfp_try(kmem_try_fn *try, const void *what, quarry_gfp_t flags);
/* The same where flags may block, else one try. */
static inline void *kmem_gfp_try_if_blocking(kmem_try_fn *try, const void *what, quarry_gfp_t flags) {
    return kmem_may_block(flags) ? kmem_gfp_try(try, what, flags) : try(what, flags);
}
/* kmem_gfp_try with the flags of the allocation this thread is inside, which tries again by itself; else of GFP_KERNEL.
 */
void *kmem_gfp_try_inside(kmem_try_fn *try, const void *what);
/* Flags of the allocation this thread is inside, or GFP_KERNEL. */
quarry_gfp_t kmem_gfp_inside(void);
/* From now on this thread is inside one of these flags; 0: none. Returns what to set afterwards. Async-signal-safe. */
quarry_gfp_t kmem_gfp_inside_set(quarry_gfp_t flags);
/* kmem_gfp_try of size bytes, which what points to; then the reserve for those who may. With __GFP_THISNODE only memory
 * of this thread's node. */
void *kmem_gfp_alloc(kmem_try_fn *try, size_t size, quarry_gfp_t flags);
/* Says so, once, of flags that do not allow to block. */
void kmem_gfp_nofail_ignored(quarry_gfp_t flags);
/* Flags of the allocation this thread is inside, or GFP_KERNEL; less what its scopes forbid. */
quarry_gfp_t kmem_gfp_current(void);
/* Whether that allocation may ask the shrinkers. */
bool kmem_gfp_may_shrink(void);
/* What must not fail may lie anywhere: with __GFP_NOFAIL a node that __GFP_THISNODE asks for is preferred. */
quarry_gfp_t kmem_gfp_node_flags(quarry_gfp_t flags);
/* Whether what the flags ask of NUMA nodes holds of p, or of any memory if p is NULL. */
bool kmem_gfp_node_holds(void *p, size_t size, quarry_gfp_t flags);

/* --- shrinker.c --- */

/* Asks the shrinkers for memory. effort: each is asked for what it has, divided by 2^effort. Returns objects freed; 0
 * also where none may be called: another thread asks them just now, the caller is one, or may be a signal handler, or
 * is a thread of the library's. */
unsigned long kmem_shrink(quarry_gfp_t flags, unsigned effort);

#endif
