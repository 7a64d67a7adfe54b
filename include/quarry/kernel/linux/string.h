/* SPDX-License-Identifier: MIT */
/* Copies of strings and memory. Stands in front of the system's <linux/string.h>, which has nothing C programs use. */
#ifndef QUARRY_KERNEL_LINUX_STRING_H
#define QUARRY_KERNEL_LINUX_STRING_H

#include <linux/gfp_types.h>
#include <string.h>

static inline char *kstrdup(const char *s, gfp_t flags) { return quarry_kstrdup(s, flags); }
static inline const char *kstrdup_const(const char *s, gfp_t flags) { return quarry_kstrdup_const(s, flags); }
static inline void kfree_const(const void *p) { quarry_kfree_const(p); }
static inline char *kstrndup(const char *s, size_t max, gfp_t flags) { return quarry_kstrndup(s, max, flags); }
static inline void *kmemdup(const void *src, size_t len, gfp_t flags) { return quarry_kmemdup(src, len, flags); }
static inline char *kmemdup_nul(const char *s, size_t len, gfp_t flags) { return quarry_kmemdup_nul(s, len, flags); }
static inline void *kvmemdup(const void *src, size_t len, gfp_t flags) { return quarry_kvmemdup(src, len, flags); }
static inline void *kmemdup_array(const void *src, size_t nr, size_t size, gfp_t flags) {
    return quarry_kmemdup_array(src, nr, size, flags);
}
/* Which no compiler leaves out, though nobody reads it: of what kfree_sensitive() is not for, such as the stack. */
static inline void memzero_explicit(void *p, size_t bytes) {
    memset(p, 0, bytes);
    __asm__ volatile("" : : "r"(p) : "memory");
}

#endif
