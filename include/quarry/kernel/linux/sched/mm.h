/* SPDX-License-Identifier: MIT */
/* Scopes in which this thread's allocations are bound without flags of their own. The contracts are in <quarry/kmem.h>.
 */
#ifndef QUARRY_KERNEL_LINUX_SCHED_MM_H
#define QUARRY_KERNEL_LINUX_SCHED_MM_H

#include <linux/gfp.h>
#include <linux/memcontrol.h> /* set_active_memcg() */

/* By the flags of current that they are in the kernel. */
#define PF_MEMALLOC QUARRY_MEMALLOC_NORECLAIM
#define PF_MEMALLOC_NOIO QUARRY_MEMALLOC_NOIO
#define PF_MEMALLOC_NOFS QUARRY_MEMALLOC_NOFS
#define PF_MEMALLOC_PIN QUARRY_MEMALLOC_PIN

/* Those that were not set before, which whichever restore clears, as in the kernel; so not what the saves of
 * <quarry/kmem.h> return, whose restores these are not. */
static inline unsigned int memalloc_flags_save(unsigned int flags) { return flags & ~quarry_memalloc_save(flags); }
static inline void memalloc_flags_restore(unsigned int flags) { quarry_memalloc_restore(flags, 0); }
static inline unsigned int memalloc_noio_save(void) { return memalloc_flags_save(PF_MEMALLOC_NOIO); }
static inline void memalloc_noio_restore(unsigned int flags) { memalloc_flags_restore(flags); }
static inline unsigned int memalloc_nofs_save(void) { return memalloc_flags_save(PF_MEMALLOC_NOFS); }
static inline void memalloc_nofs_restore(unsigned int flags) { memalloc_flags_restore(flags); }
static inline unsigned int memalloc_noreclaim_save(void) { return memalloc_flags_save(PF_MEMALLOC); }
static inline void memalloc_noreclaim_restore(unsigned int flags) { memalloc_flags_restore(flags); }
static inline unsigned int memalloc_pin_save(void) { return memalloc_flags_save(PF_MEMALLOC_PIN); }
static inline void memalloc_pin_restore(unsigned int flags) { memalloc_flags_restore(flags); }
/* What an allocation by these flags may do, may be done here: said for checkers, of which there are none. */
static inline void might_alloc(gfp_t flags) { (void)flags; }
static inline gfp_t current_gfp_context(gfp_t flags) { return quarry_current_gfp_context(flags); }

#endif
