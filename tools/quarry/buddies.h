/* SPDX-License-Identifier: MIT */
/* The blocks of another process's page allocator. */
#ifndef QUARRY_TOOLS_BUDDIES_H
#define QUARRY_TOOLS_BUDDIES_H

#include "target.h"

/* As buddy_stats_get() of its own process: blocks for devices and mappings are not in it. What cannot be read counts
 * as 0. */
void buddies_read(const struct target *t, struct buddy_stats *ret_stats);

#endif
