/* SPDX-License-Identifier: MIT */
/* Shrinkers under the kernel's names. The contracts are in <quarry/kmem_shrinker.h>. Names given to them are not kept.
 */
#ifndef QUARRY_KERNEL_LINUX_SHRINKER_H
#define QUARRY_KERNEL_LINUX_SHRINKER_H

#include <linux/gfp.h>
#include <quarry/kmem_shrinker.h>

#define shrinker quarry_shrinker
#define shrink_control quarry_shrink_control

#define SHRINK_STOP QUARRY_SHRINK_STOP
#define SHRINK_EMPTY QUARRY_SHRINK_EMPTY
#define DEFAULT_SEEKS QUARRY_DEFAULT_SEEKS
#define SHRINKER_NUMA_AWARE (1u << 2)
#define SHRINKER_MEMCG_AWARE (1u << 3)
#define SHRINKER_NONSLAB (1u << 4)

#define shrinker_alloc(flags, ...) quarry_shrinker_alloc(flags)
static inline void shrinker_register(struct shrinker *s) { (void)quarry_shrinker_register(s); }
static inline void shrinker_free(struct shrinker *s) { quarry_shrinker_free(s); }
/* The form of Linux 6.6 and earlier, with or without a name. */
#define register_shrinker(s, ...) quarry_shrinker_register(s)
static inline void unregister_shrinker(struct shrinker *s) { quarry_shrinker_unregister(s); }

#endif
