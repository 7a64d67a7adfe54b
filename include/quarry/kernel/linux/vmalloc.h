/* SPDX-License-Identifier: MIT */
/* vmalloc under the kernel's names. The contracts are in <quarry/kmem_vmalloc.h>. */
#ifndef QUARRY_KERNEL_LINUX_VMALLOC_H
#define QUARRY_KERNEL_LINUX_VMALLOC_H

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/gfp_types.h>
#include <linux/numa.h>
#include <linux/types.h>

static inline void *vmalloc(unsigned long size) { return quarry_vmalloc(size); }
static inline void *vzalloc(unsigned long size) { return quarry_vzalloc(size); }
static inline void *vmalloc_user(unsigned long size) { return quarry_vmalloc_user(size); }
static inline void *vmalloc_node(unsigned long size, int node) { return quarry_vmalloc_node(size, node); }
static inline void *vzalloc_node(unsigned long size, int node) { return quarry_vzalloc_node(size, node); }
static inline void *vmalloc_32(unsigned long size) { return quarry_vmalloc_32(size); }
static inline void *vmalloc_32_user(unsigned long size) { return quarry_vmalloc_32_user(size); }
static inline void *vmalloc_huge(unsigned long size, gfp_t flags) { return quarry_vmalloc_huge(size, flags); }
static inline void *vmalloc_huge_node(unsigned long size, gfp_t flags, int node) {
    return quarry_vmalloc_huge_node(size, flags, node);
}
static inline void *__vmalloc(unsigned long size, gfp_t flags) { return quarry___vmalloc(size, flags); }
static inline void *__vmalloc_node(unsigned long size, unsigned long align, gfp_t flags, int node, const void *caller) {
    return quarry___vmalloc_node(size, align, flags, node, caller);
}
static inline void *vmalloc_array(size_t nr, size_t size) { return quarry_vmalloc_array(nr, size); }
static inline void *__vmalloc_array(size_t nr, size_t size, gfp_t flags) {
    return quarry___vmalloc_array(nr, size, flags);
}
static inline void *vcalloc(size_t nr, size_t size) { return quarry_vcalloc(nr, size); }
static inline void *__vcalloc(size_t nr, size_t size, gfp_t flags) { return quarry___vcalloc(nr, size, flags); }
static inline void *vrealloc(const void *p, size_t size, gfp_t flags) { return quarry_vrealloc(p, size, flags); }
static inline void *vrealloc_node_align(const void *p, size_t size, unsigned long align, gfp_t flags, int node) {
    return quarry_vrealloc_node_align(p, size, align, flags, node);
}
static inline void *vrealloc_node(const void *p, size_t size, gfp_t flags, int node) {
    return quarry_vrealloc_node_align(p, size, 1, flags, node);
}
static inline void vfree(const void *p) { quarry_vfree(p); }
DEFINE_FREE(vfree, void *, if (!IS_ERR_OR_NULL(_T)) vfree(_T))
static inline void vfree_atomic(const void *p) { quarry_vfree_atomic(p); }
static inline bool is_vmalloc_addr(const void *p) { return quarry_is_vmalloc_addr(p); }

#endif
