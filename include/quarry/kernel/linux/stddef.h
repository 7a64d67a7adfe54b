/* SPDX-License-Identifier: MIT */
/* Members of structures, beside the system's own <linux/stddef.h>, which this file stands in front of. */
#ifndef QUARRY_KERNEL_LINUX_STDDEF_H
#define QUARRY_KERNEL_LINUX_STDDEF_H
#pragma GCC system_header
#include_next <linux/stddef.h>

#include <stddef.h>

#ifndef sizeof_field
#define sizeof_field(type, member) sizeof(((type *)0)->member)
#endif
#ifndef offsetofend
#define offsetofend(type, member) (offsetof(type, member) + sizeof_field(type, member))
#endif

/* Which member counts the elements of an array. The system's own name is empty, where there is one; of clang
 * before 20 bounds made of it are wrong. */
#undef __counted_by
#if !defined(__cplusplus) && (defined(__clang__) ? __clang_major__ >= 20 : __GNUC__ >= 15)
#if __has_attribute(__counted_by__)
#define __counted_by(member) __attribute__((__counted_by__(member)))
#endif
#endif
#ifndef __counted_by
#define __counted_by(member)
#endif

#endif
