/* SPDX-License-Identifier: MIT */
/* No node in particular. */
#ifndef QUARRY_KERNEL_LINUX_NUMA_H
#define QUARRY_KERNEL_LINUX_NUMA_H

#define NUMA_NO_NODE (-1)

#endif
