/* SPDX-License-Identifier: MIT */
/* The kernel's short type names, beside the system's own <linux/types.h>, which this file stands in front of. */
#ifndef QUARRY_KERNEL_LINUX_TYPES_H
#define QUARRY_KERNEL_LINUX_TYPES_H
#pragma GCC system_header
#include_next <linux/types.h>

#include <linux/stddef.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned int gfp_t;

#endif
