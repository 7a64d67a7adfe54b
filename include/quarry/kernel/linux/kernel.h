/* SPDX-License-Identifier: MIT */
/*
 * What code that allocates takes from <linux/kernel.h>, beside the system's own, which this file stands in front of.
 * libc's <sys/sysinfo.h> includes that one as well, in programs that never heard of the kernel's lists: for it, which
 * is the first time after its own guard is seen, this file is the system's alone.
 */
#pragma GCC system_header
#include_next <linux/kernel.h>
#if defined(_SYS_SYSINFO_H) && !defined(QUARRY_KERNEL_LINUX_KERNEL_H) && !defined(QUARRY_KERNEL_OF_SYSINFO)
#define QUARRY_KERNEL_OF_SYSINFO
#elif !defined(QUARRY_KERNEL_LINUX_KERNEL_H)
#define QUARRY_KERNEL_LINUX_KERNEL_H

#include <linux/align.h>
#include <linux/array_size.h>
#include <linux/compiler.h>
#include <linux/container_of.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/sprintf.h>
#include <linux/types.h>

#endif
