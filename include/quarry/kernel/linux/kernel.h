/* SPDX-License-Identifier: MIT */
/* What code that allocates takes from <linux/kernel.h>, beside the system's own, which this file stands in front of. */
#ifndef QUARRY_KERNEL_LINUX_KERNEL_H
#define QUARRY_KERNEL_LINUX_KERNEL_H
#pragma GCC system_header
#include_next <linux/kernel.h>

#include <linux/list.h> /* container_of() */
#include <linux/sprintf.h>
#include <linux/types.h>

#endif
