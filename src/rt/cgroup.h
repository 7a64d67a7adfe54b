/* SPDX-License-Identifier: MIT */
/*
 * What the control groups of this process leave for its heap (cgroup v2: Documentation/admin-guide/cgroup-v2.rst).
 * Reads files and keeps nothing; engine/pressure.c asks, and puts the answer into rt/usage.h.
 */
#ifndef QUARRY_RT_CGROUP_H
#define QUARRY_RT_CGROUP_H

#include "base/types.h"

#define RT_CGROUP_NONE UINT64_MAX

struct rt_cgroup {
    u64 soft_bytes, hard_bytes; /* from memory.high and memory.max; RT_CGROUP_NONE: unlimited; never 0 */
};

/*
 * The lowest of what the group and each of its ancestors leaves: its limit, less what it holds that reclaim does not
 * get (memory.stat: anon, shmem, kernel without slab_reclaimable), of which anon up to heap_bytes is taken for this
 * heap's, and less the page tables of what of the rest is not touched. So processes of one group share its limit, first
 * come first served. Where there is no such group, or /proc does not say, all is unlimited. Async-signal-safe; some ten
 * system calls.
 */
void rt_cgroup_read(u64 heap_bytes, struct rt_cgroup *ret_cgroup);

/* Put before every path: "" but in tests. */
extern HIDDEN const char *rt_cgroup_root;

#endif
