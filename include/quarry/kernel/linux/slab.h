/* SPDX-License-Identifier: MIT */
/* The kmalloc family under the kernel's names. The contracts are in <quarry/kmem.h>. */
#ifndef QUARRY_KERNEL_LINUX_SLAB_H
#define QUARRY_KERNEL_LINUX_SLAB_H

#include <linux/gfp.h>
#include <linux/overflow.h>
#include <linux/types.h>

#define ZERO_SIZE_PTR QUARRY_ZERO_SIZE_PTR
#define ZERO_OR_NULL_PTR(p) QUARRY_ZERO_OR_NULL_PTR(p)
#define KMALLOC_MAX_SIZE QUARRY_KMALLOC_MAX_SIZE

/* With flags, and perhaps a size, that the compiler knows, the rules are applied at compile time. */
static inline void *kmalloc(size_t size, gfp_t flags) {
    if (__builtin_constant_p(flags) && QUARRY_KMALLOC_IS_PLAIN(size, flags))
        return quarry_core1_alloc(size);
    return quarry_kmalloc(size, flags);
}
static inline void *kzalloc(size_t size, gfp_t flags) { return quarry_kzalloc(size, flags); }
static inline void *kmalloc_array(size_t nr, size_t size, gfp_t flags) { return quarry_kmalloc_array(nr, size, flags); }
static inline void *kcalloc(size_t nr, size_t size, gfp_t flags) { return quarry_kcalloc(nr, size, flags); }
static inline void *krealloc(const void *p, size_t size, gfp_t flags) { return quarry_krealloc(p, size, flags); }
static inline void *krealloc_array(void *p, size_t nr, size_t size, gfp_t flags) {
    return quarry_krealloc_array(p, nr, size, flags);
}
static inline void kfree(const void *p) {
    if (!ZERO_OR_NULL_PTR(p))
        quarry_core1_free((void *)(uintptr_t)p);
}
static inline void kfree_sensitive(const void *p) { quarry_kfree_sensitive(p); }
static inline void kfree_bulk(size_t nr, void **p) { quarry_kfree_bulk(nr, p); }
static inline size_t ksize(const void *p) { return quarry_ksize(p); }
static inline size_t kmalloc_size_roundup(size_t size) { return quarry_kmalloc_size_roundup(size); }

#endif
