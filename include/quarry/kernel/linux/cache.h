/* SPDX-License-Identifier: MIT */
/* Lines of the CPU's caches, as SLAB_HWCACHE_ALIGN and per-CPU variables have them. */
#ifndef QUARRY_KERNEL_LINUX_CACHE_H
#define QUARRY_KERNEL_LINUX_CACHE_H

#include <linux/align.h>

#define L1_CACHE_SHIFT 6
#define L1_CACHE_BYTES (1 << L1_CACHE_SHIFT)
#define SMP_CACHE_BYTES L1_CACHE_BYTES
#define L1_CACHE_ALIGN(x) ALIGN(x, L1_CACHE_BYTES)
#define cache_line_size() L1_CACHE_BYTES
#define ____cacheline_aligned __attribute__((__aligned__(SMP_CACHE_BYTES)))
#define ____cacheline_aligned_in_smp ____cacheline_aligned
/* Where a variable lies among others is the linker's affair. */
#define __read_mostly

#endif
