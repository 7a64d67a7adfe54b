/* SPDX-License-Identifier: MIT */
/* Whom allocations with __GFP_ACCOUNT are charged to, under the kernel's names. The contracts are in
 * <quarry/kmem_account.h>, which has what control groups have by their files. */
#ifndef QUARRY_KERNEL_LINUX_MEMCONTROL_H
#define QUARRY_KERNEL_LINUX_MEMCONTROL_H

#include <quarry/kmem_account.h>

#define mem_cgroup quarry_account

/* Returns the one before. */
static inline struct mem_cgroup *set_active_memcg(struct mem_cgroup *memcg) { return quarry_account_enter(memcg); }

#endif
