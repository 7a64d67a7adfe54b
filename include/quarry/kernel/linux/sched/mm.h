/* SPDX-License-Identifier: MIT */
/* Scopes in which this thread's allocations are bound without flags of their own. The contracts are in <quarry/kmem.h>.
 */
#ifndef QUARRY_KERNEL_LINUX_SCHED_MM_H
#define QUARRY_KERNEL_LINUX_SCHED_MM_H

#include <linux/gfp.h>
#include <linux/memcontrol.h> /* set_active_memcg() */

static inline unsigned int memalloc_noio_save(void) { return quarry_memalloc_noio_save(); }
static inline void memalloc_noio_restore(unsigned int flags) { quarry_memalloc_noio_restore(flags); }
static inline unsigned int memalloc_nofs_save(void) { return quarry_memalloc_nofs_save(); }
static inline void memalloc_nofs_restore(unsigned int flags) { quarry_memalloc_nofs_restore(flags); }
static inline unsigned int memalloc_noreclaim_save(void) { return quarry_memalloc_noreclaim_save(); }
static inline void memalloc_noreclaim_restore(unsigned int flags) { quarry_memalloc_noreclaim_restore(flags); }
/* What an allocation by these flags may do, may be done here: said for checkers, of which there are none. */
static inline void might_alloc(gfp_t flags) { (void)flags; }
static inline gfp_t current_gfp_context(gfp_t flags) { return quarry_current_gfp_context(flags); }

#endif
