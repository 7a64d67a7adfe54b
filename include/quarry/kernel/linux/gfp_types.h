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
#define __GFP_COMP QUARRY___GFP_COMP
#define __GFP_ACCOUNT QUARRY___GFP_ACCOUNT
#define __GFP_HARDWALL QUARRY___GFP_HARDWALL
#define __GFP_THISNODE QUARRY___GFP_THISNODE

#define GFP_ATOMIC QUARRY_GFP_ATOMIC
#define GFP_NOWAIT QUARRY_GFP_NOWAIT
#define GFP_KERNEL QUARRY_GFP_KERNEL
#define GFP_NOIO QUARRY_GFP_NOIO
#define GFP_NOFS QUARRY_GFP_NOFS
#define GFP_DMA QUARRY_GFP_DMA
#define GFP_USER QUARRY_GFP_USER

#endif
