/* SPDX-License-Identifier: MIT */
/* Allocation flags, and what they say. */
#ifndef QUARRY_KERNEL_LINUX_GFP_H
#define QUARRY_KERNEL_LINUX_GFP_H

#include <linux/gfp_types.h>

static inline bool gfpflags_allow_blocking(gfp_t flags) { return (flags & __GFP_DIRECT_RECLAIM) != 0; }

#endif
