/* SPDX-License-Identifier: MIT */
/* Errors in the place of pointers: the last page of the address space, where no object lies. */
#ifndef QUARRY_KERNEL_LINUX_ERR_H
#define QUARRY_KERNEL_LINUX_ERR_H

#include <errno.h>
#include <linux/types.h>

#define MAX_ERRNO 4095
#define IS_ERR_VALUE(value) ((uintptr_t)(value) >= (uintptr_t)-MAX_ERRNO)

static inline void *ERR_PTR(long error) { return (void *)(uintptr_t)error; }
static inline long PTR_ERR(const void *p) { return (long)(uintptr_t)p; }
static inline void *ERR_CAST(const void *p) { return (void *)(uintptr_t)p; } /* of another type */
static inline bool IS_ERR(const void *p) { return IS_ERR_VALUE(p); }
static inline bool IS_ERR_OR_NULL(const void *p) { return p == NULL || IS_ERR_VALUE(p); }
static inline int PTR_ERR_OR_ZERO(const void *p) { return IS_ERR(p) ? (int)PTR_ERR(p) : 0; }

#endif
