/* SPDX-License-Identifier: MIT */
/* Allocation flags under the kernel's names. Those that quarry cannot keep are not defined: code that relies on them
 * does not compile, instead of running without what it relies on. */
#ifndef QUARRY_KERNEL_LINUX_GFP_TYPES_H
#define QUARRY_KERNEL_LINUX_GFP_TYPES_H

#include <linux/types.h>
#include <quarry/kmem.h>

#define __GFP_HIGH QUARRY___GFP_HIGH
#define __GFP_IO QUARRY___GFP_IO
#define __GFP_FS QUARRY___GFP_FS
#define __GFP_ZERO QUARRY___GFP_ZERO
#define __GFP_DIRECT_RECLAIM QUARRY___GFP_DIRECT_RECLAIM
#define __GFP_KSWAPD_RECLAIM QUARRY___GFP_KSWAPD_RECLAIM
#define __GFP_RECLAIM QUARRY___GFP_RECLAIM
#define __GFP_NOWARN QUARRY___GFP_NOWARN
#define __GFP_RETRY_MAYFAIL QUARRY___GFP_RETRY_MAYFAIL
#define __GFP_NOFAIL QUARRY___GFP_NOFAIL
#define __GFP_NORETRY QUARRY___GFP_NORETRY
#define __GFP_MEMALLOC QUARRY___GFP_MEMALLOC
#define __GFP_NOMEMALLOC QUARRY___GFP_NOMEMALLOC
#define __GFP_DMA QUARRY___GFP_DMA
#define __GFP_DMA32 QUARRY___GFP_DMA32
#define __GFP_COMP QUARRY___GFP_COMP
#define __GFP_ACCOUNT QUARRY___GFP_ACCOUNT
#define __GFP_HARDWALL QUARRY___GFP_HARDWALL
#define __GFP_THISNODE QUARRY___GFP_THISNODE
#define __GFP_HIGHMEM QUARRY___GFP_HIGHMEM
#define __GFP_MOVABLE QUARRY___GFP_MOVABLE
#define __GFP_RECLAIMABLE QUARRY___GFP_RECLAIMABLE
#define __GFP_WRITE QUARRY___GFP_WRITE
/* As in a kernel without lockdep. */
#define __GFP_NOLOCKDEP 0u
/* As in one without memory tags and their checkers. */
#define __GFP_ZEROTAGS 0u
#define __GFP_SKIP_ZERO 0u
#define __GFP_SKIP_KASAN 0u
#define __GFP_NO_OBJ_EXT 0u

#define GFP_ATOMIC QUARRY_GFP_ATOMIC
#define GFP_NOWAIT QUARRY_GFP_NOWAIT
#define GFP_KERNEL QUARRY_GFP_KERNEL
#define GFP_NOIO QUARRY_GFP_NOIO
#define GFP_NOFS QUARRY_GFP_NOFS
#define GFP_DMA QUARRY_GFP_DMA
#define GFP_DMA32 QUARRY_GFP_DMA32
#define GFP_USER QUARRY_GFP_USER
#define GFP_HIGHUSER QUARRY_GFP_HIGHUSER
#define GFP_HIGHUSER_MOVABLE QUARRY_GFP_HIGHUSER_MOVABLE
#define GFP_KERNEL_ACCOUNT QUARRY_GFP_KERNEL_ACCOUNT
/* For order 9: 2 MiB at a multiple of that, which the system may back by a hugepage. */
#define GFP_TRANSHUGE_LIGHT ((GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN) & ~__GFP_RECLAIM)
#define GFP_TRANSHUGE (GFP_TRANSHUGE_LIGHT | __GFP_DIRECT_RECLAIM)

#endif
