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
 * The lowest of what the group and each of its ancestors leaves: its limit, less what it holds that is neither of this
 * heap, which holds heap_bytes, nor to be had by reclaim (memory.stat: anon, shmem, kernel). So processes of one group
 * share its limit, first come first served. Where there is no such group, or /proc does not say, all is unlimited.
 * Async-signal-safe; some ten system calls.
 */
void rt_cgroup_read(u64 heap_bytes, struct rt_cgroup *ret_cgroup);

/* Put before every path: "" but in tests. */
extern HIDDEN const char *rt_cgroup_root;

#endif
