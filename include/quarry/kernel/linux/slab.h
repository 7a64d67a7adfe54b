/* SPDX-License-Identifier: MIT */
/* The kmalloc family under the kernel's names; caches are in <linux/kmem_cache.h>. The contracts are in
 * <quarry/kmem.h>. */
#ifndef QUARRY_KERNEL_LINUX_SLAB_H
#define QUARRY_KERNEL_LINUX_SLAB_H

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/kmem_cache.h>
#include <linux/overflow.h>
#include <linux/types.h>

#define ZERO_SIZE_PTR QUARRY_ZERO_SIZE_PTR
#define ZERO_OR_NULL_PTR(p) QUARRY_ZERO_OR_NULL_PTR(p)
#define KMALLOC_MAX_SIZE QUARRY_KMALLOC_MAX_SIZE
#define KMALLOC_SHIFT_MAX 22
#define KMALLOC_MAX_ORDER MAX_PAGE_ORDER
/* Up to here kmalloc_nolock serves, and buckets; classes go on. */
#define KMALLOC_SHIFT_HIGH 13
#define KMALLOC_MAX_CACHE_SIZE QUARRY_KMALLOC_NOLOCK_MAX
#define KMALLOC_SHIFT_LOW 4
#define KMALLOC_MIN_SIZE (1 << KMALLOC_SHIFT_LOW)
#define ARCH_KMALLOC_MINALIGN KMALLOC_MIN_SIZE
#define ARCH_SLAB_MINALIGN KMALLOC_MIN_SIZE

/* Whatever the compiler thinks of its size: nearly all of it is decided when it is compiled. */
#define QUARRY_FOLDED static inline __attribute__((always_inline))

/* Of an object out of a magazine, which is as large as its class, all is zeroed, as krealloc wants it. Stores in place
 * are faster up to some lines; from there on libc's memset is, and not what compilers make of a size they know. */
QUARRY_FOLDED void *quarry_class_zero(void *p, size_t bytes) {
    if (bytes > 256)
        __asm__("" : "+r"(bytes));
    return __builtin_memset(p, 0, bytes);
}

/* With flags, and perhaps a size, that the compiler knows, the rules are applied at compile time. */
QUARRY_FOLDED void *kmalloc(size_t size, gfp_t flags) {
    if (__builtin_constant_p(flags) && QUARRY_KMALLOC_IS_PLAIN(size, flags & ~QUARRY___GFP_ZERO)) {
        bool is_class = __builtin_constant_p(size) && size <= QUARRY_CLASS_SIZE_MAX;
        void *p;
        if (is_class && (flags & QUARRY___GFP_ZERO) != 0 &&
            (p = QUARRY_CORE_CLASS_POP(quarry_class_of_size(size))) != NULL)
            return quarry_class_zero(p, quarry_class_bytes(size));
        if (is_class && (flags & QUARRY___GFP_ZERO) == 0)
            return QUARRY_CORE_CLASS_ALLOC(quarry_class_of_size(size), size);
        if ((flags & QUARRY___GFP_ZERO) == 0)
            return quarry_core1_alloc(size);
    }
    return quarry_kmalloc(size, flags);
}
QUARRY_FOLDED void *kzalloc(size_t size, gfp_t flags) { return kmalloc(size, flags | __GFP_ZERO); }
QUARRY_FOLDED void *kmalloc_array(size_t nr, size_t size, gfp_t flags) {
    size_t bytes;
    return __builtin_mul_overflow(nr, size, &bytes) ? NULL : kmalloc(bytes, flags);
}
QUARRY_FOLDED void *kcalloc(size_t nr, size_t size, gfp_t flags) { return kmalloc_array(nr, size, flags | __GFP_ZERO); }
QUARRY_FOLDED void *kmalloc_node(size_t size, gfp_t flags, int node) {
    return __builtin_constant_p(node) && node < 0 ? kmalloc(size, flags) : quarry_kmalloc_node(size, flags, node);
}
QUARRY_FOLDED void *kzalloc_node(size_t size, gfp_t flags, int node) {
    return kmalloc_node(size, flags | __GFP_ZERO, node);
}
QUARRY_FOLDED void *kmalloc_array_node(size_t nr, size_t size, gfp_t flags, int node) {
    size_t bytes;
    return __builtin_mul_overflow(nr, size, &bytes) ? NULL : kmalloc_node(bytes, flags, node);
}
QUARRY_FOLDED void *kcalloc_node(size_t nr, size_t size, gfp_t flags, int node) {
    return kmalloc_array_node(nr, size, flags | __GFP_ZERO, node);
}
/* Where slab_debug keeps stacks, each has its caller's. */
#define kmalloc_track_caller(size, flags) kmalloc(size, flags)
#define kmalloc_node_track_caller(size, flags, node) kmalloc_node(size, flags, node)
static inline void *kmalloc_nolock(size_t size, gfp_t flags, int node) {
    return quarry_kmalloc_nolock(size, flags, node);
}
static inline void kfree_nolock(const void *p) { quarry_kfree_nolock(p); }
static inline void *krealloc(const void *p, size_t size, gfp_t flags) { return quarry_krealloc(p, size, flags); }
static inline void *krealloc_node_align(const void *p, size_t size, unsigned long align, gfp_t flags, int node) {
    return quarry_krealloc_node_align(p, size, align, flags, node);
}
static inline void *krealloc_node(const void *p, size_t size, gfp_t flags, int node) {
    return quarry_krealloc_node(p, size, flags, node);
}
static inline void *krealloc_array(void *p, size_t nr, size_t size, gfp_t flags) {
    return quarry_krealloc_array(p, nr, size, flags);
}
static inline void kfree(const void *p) {
    if (!ZERO_OR_NULL_PTR(p))
        quarry_core1_free((void *)(uintptr_t)p);
}
DEFINE_FREE(kfree, void *, if (!IS_ERR_OR_NULL(_T)) kfree(_T))
#define auto_kfree __free(kfree) = NULL
static inline void kfree_sensitive(const void *p) { quarry_kfree_sensitive(p); }
DEFINE_FREE(kfree_sensitive, void *, if (!IS_ERR_OR_NULL(_T)) kfree_sensitive(_T))
static inline void kfree_bulk(size_t nr, void **p) { quarry_kfree_bulk(nr, p); }
static inline void *kvmalloc(size_t size, gfp_t flags) { return quarry_kvmalloc(size, flags); }
static inline void *kvmalloc_node(size_t size, gfp_t flags, int node) {
    return quarry_kvmalloc_node(size, flags, node);
}
static inline void *kvmalloc_node_align(size_t size, unsigned long align, gfp_t flags, int node) {
    return quarry_kvmalloc_node_align(size, align, flags, node);
}
static inline void *kvzalloc(size_t size, gfp_t flags) { return quarry_kvzalloc(size, flags); }
static inline void *kvzalloc_node(size_t size, gfp_t flags, int node) {
    return quarry_kvzalloc_node(size, flags, node);
}
static inline void *kvmalloc_array(size_t nr, size_t size, gfp_t flags) {
    return quarry_kvmalloc_array(nr, size, flags);
}
static inline void *kvmalloc_array_node(size_t nr, size_t size, gfp_t flags, int node) {
    return quarry_kvmalloc_array_node(nr, size, flags, node);
}
static inline void *kvcalloc(size_t nr, size_t size, gfp_t flags) { return quarry_kvcalloc(nr, size, flags); }
static inline void *kvcalloc_node(size_t nr, size_t size, gfp_t flags, int node) {
    return quarry_kvcalloc_node(nr, size, flags, node);
}
static inline void *kvrealloc(const void *p, size_t size, gfp_t flags) { return quarry_kvrealloc(p, size, flags); }
static inline void *kvrealloc_node_align(const void *p, size_t size, unsigned long align, gfp_t flags, int node) {
    return quarry_kvrealloc_node_align(p, size, align, flags, node);
}
static inline void *kvrealloc_node(const void *p, size_t size, gfp_t flags, int node) {
    return quarry_kvrealloc_node_align(p, size, 1, flags, node);
}
static inline void kvfree(const void *p) { quarry_kvfree(p); }
DEFINE_FREE(kvfree, void *, if (!IS_ERR_OR_NULL(_T)) kvfree(_T))
static inline void kvfree_atomic(const void *p) { quarry_kvfree_atomic(p); }
DEFINE_FREE(kvfree_atomic, void *, if (!IS_ERR_OR_NULL(_T)) kvfree_atomic(_T))
static inline void kvfree_sensitive(const void *p, size_t len) { quarry_kvfree_sensitive(p, len); }
static inline size_t ksize(const void *p) { return quarry_ksize(p); }
static inline size_t kmalloc_size_roundup(size_t size) { return quarry_kmalloc_size_roundup(size); }

/* By type, see <quarry/kmem_obj.h>. */
#define kmalloc_obj(...) QUARRY_OBJ(kmalloc, __VA_ARGS__)
#define kzalloc_obj(...) QUARRY_OBJ(kzalloc, __VA_ARGS__)
#define kvmalloc_obj(...) QUARRY_OBJ(kvmalloc, __VA_ARGS__)
#define kvzalloc_obj(...) QUARRY_OBJ(kvzalloc, __VA_ARGS__)
#define kmalloc_objs(...) QUARRY_OBJS(kmalloc, __VA_ARGS__)
#define kzalloc_objs(...) QUARRY_OBJS(kzalloc, __VA_ARGS__)
#define kvmalloc_objs(...) QUARRY_OBJS(kvmalloc, __VA_ARGS__)
#define kvzalloc_objs(...) QUARRY_OBJS(kvzalloc, __VA_ARGS__)
#define kmalloc_flex(...) QUARRY_FLEX(kmalloc, __VA_ARGS__)
#define kzalloc_flex(...) QUARRY_FLEX(kzalloc, __VA_ARGS__)
#define kvmalloc_flex(...) QUARRY_FLEX(kvmalloc, __VA_ARGS__)
#define kvzalloc_flex(...) QUARRY_FLEX(kvzalloc, __VA_ARGS__)

#endif
