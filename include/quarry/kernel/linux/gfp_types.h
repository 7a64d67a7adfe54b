/* SPDX-License-Identifier: MIT */
/* Allocation flags under the kernel's names. Those that quarry cannot keep yet (GFP_ATOMIC among them) are not defined:
 * code that relies on them does not compile, instead of running without what it relies on. */
#ifndef QUARRY_KERNEL_LINUX_GFP_TYPES_H
#define QUARRY_KERNEL_LINUX_GFP_TYPES_H

#include <linux/types.h>
#include <quarry/kmem.h>

#define __GFP_IO QUARRY___GFP_IO
#define __GFP_FS QUARRY___GFP_FS
#define __GFP_ZERO QUARRY___GFP_ZERO
#define __GFP_DIRECT_RECLAIM QUARRY___GFP_DIRECT_RECLAIM
#define __GFP_KSWAPD_RECLAIM QUARRY___GFP_KSWAPD_RECLAIM
#define __GFP_RECLAIM QUARRY___GFP_RECLAIM
#define __GFP_NOWARN QUARRY___GFP_NOWARN
#define __GFP_HARDWALL QUARRY___GFP_HARDWALL

#define GFP_KERNEL QUARRY_GFP_KERNEL
#define GFP_NOIO QUARRY_GFP_NOIO
#define GFP_NOFS QUARRY_GFP_NOFS
#define GFP_USER QUARRY_GFP_USER

#endif
