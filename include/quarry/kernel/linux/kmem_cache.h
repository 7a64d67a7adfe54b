/* SPDX-License-Identifier: MIT */
/* Slab caches, sheaves and buckets under the kernel's names; a part of <linux/slab.h>, which programs include. The
 * contracts are in <quarry/kmem_cache.h>. */
#ifndef QUARRY_KERNEL_LINUX_KMEM_CACHE_H
#define QUARRY_KERNEL_LINUX_KMEM_CACHE_H

#include <linux/gfp.h>
#include <linux/types.h>

#define SLAB_HWCACHE_ALIGN QUARRY_SLAB_HWCACHE_ALIGN
#define SLAB_RECLAIM_ACCOUNT QUARRY_SLAB_RECLAIM_ACCOUNT
#define SLAB_CONSISTENCY_CHECKS QUARRY_SLAB_CONSISTENCY_CHECKS
#define SLAB_RED_ZONE QUARRY_SLAB_RED_ZONE
#define SLAB_POISON QUARRY_SLAB_POISON
#define SLAB_STORE_USER QUARRY_SLAB_STORE_USER
#define SLAB_TRACE QUARRY_SLAB_TRACE
#define SLAB_FAILSLAB QUARRY_SLAB_FAILSLAB
#define SLAB_NO_USER_FLAGS QUARRY_SLAB_NO_USER_FLAGS
#define SLAB_TEMPORARY QUARRY_SLAB_TEMPORARY
#define SLAB_PANIC QUARRY_SLAB_PANIC
#define SLAB_TYPESAFE_BY_RCU QUARRY_SLAB_TYPESAFE_BY_RCU
#define SLAB_NOLEAKTRACE QUARRY_SLAB_NOLEAKTRACE
#define SLAB_NO_MERGE QUARRY_SLAB_NO_MERGE
#define SLAB_ACCOUNT QUARRY_SLAB_ACCOUNT
#define SLAB_CACHE_DMA QUARRY_SLAB_CACHE_DMA
#define SLAB_CACHE_DMA32 QUARRY_SLAB_CACHE_DMA32
/* As in a kernel without what they are for. */
#define SLAB_SKIP_KFENCE 0u
#define SLAB_KASAN 0u
#define SLAB_DEBUG_OBJECTS 0u

typedef quarry_slab_flags_t slab_flags_t;

/* Tags cannot be typedef'ed. */
#define kmem_cache quarry_kmem_cache
#define kmem_cache_args quarry_kmem_cache_args
#define slab_sheaf quarry_slab_sheaf
typedef struct quarry_kmem_buckets kmem_buckets;
struct list_lru;

/* --- making: by five arguments, or by struct kmem_cache_args --- */

#ifdef __cplusplus
static inline struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align,
                                                   slab_flags_t flags, void (*ctor)(void *)) {
    return quarry_kmem_cache_create(name, size, align, flags, ctor);
}
static inline struct kmem_cache *kmem_cache_create(const char *name, unsigned int size,
                                                   const struct kmem_cache_args *args, slab_flags_t flags) {
    return quarry_kmem_cache_create_args(name, size, args, flags);
}
#else
/* NULL for the arguments is a void pointer. */
#define kmem_cache_create(name, size, third, ...)                                                                      \
    _Generic((third), struct kmem_cache_args *                                                                         \
             : quarry_kmem_cache_create_args, const struct kmem_cache_args *                                           \
             : quarry_kmem_cache_create_args, void *                                                                   \
             : quarry_kmem_cache_create_args, default                                                                  \
             : quarry_kmem_cache_create)((name), (size), (third), __VA_ARGS__)
#endif

static inline struct kmem_cache *kmem_cache_create_usercopy(const char *name, unsigned int size, unsigned int align,
                                                            slab_flags_t flags, unsigned int useroffset,
                                                            unsigned int usersize, void (*ctor)(void *)) {
    return quarry_kmem_cache_create_usercopy(name, size, align, flags, useroffset, usersize, ctor);
}

/* A cache named after a struct, of its size and alignment. */
#define KMEM_CACHE(type, flags)                                                                                        \
    quarry_kmem_cache_create(#type, sizeof(struct type), __alignof__(struct type), (flags), NULL)
/* The same, whose field may be copied to and from users. */
#define KMEM_CACHE_USERCOPY(type, flags, field)                                                                        \
    quarry_kmem_cache_create_usercopy(#type, sizeof(struct type), __alignof__(struct type), (flags),                   \
                                      offsetof(struct type, field), sizeof(((struct type *)0)->field), NULL)

static inline void kmem_cache_destroy(struct kmem_cache *s) { quarry_kmem_cache_destroy(s); }
static inline int kmem_cache_shrink(struct kmem_cache *s) { return quarry_kmem_cache_shrink(s); }
static inline unsigned int kmem_cache_size(const struct kmem_cache *s) { return quarry_kmem_cache_size(s); }

/* --- objects --- */

/* With flags that the compiler knows, the rules are applied at compile time. */
static inline void *kmem_cache_alloc(struct kmem_cache *s, gfp_t flags) {
    if (__builtin_constant_p(flags) && QUARRY_GFP_IS_PLAIN(flags))
        return quarry_core1_class_alloc((const struct quarry_core1_class *)s);
    return quarry_kmem_cache_alloc(s, flags);
}
static inline void *kmem_cache_zalloc(struct kmem_cache *s, gfp_t flags) { return quarry_kmem_cache_zalloc(s, flags); }
static inline void *kmem_cache_alloc_node(struct kmem_cache *s, gfp_t flags, int node) {
    return __builtin_constant_p(node) && node < 0 ? kmem_cache_alloc(s, flags)
                                                  : quarry_kmem_cache_alloc_node(s, flags, node);
}
/* Objects are on no list of the heap's, whether they are on one of the program's or not. */
static inline void *kmem_cache_alloc_lru(struct kmem_cache *s, struct list_lru *lru, gfp_t flags) {
    (void)lru;
    return kmem_cache_alloc(s, flags);
}
static inline void kmem_cache_free(struct kmem_cache *s, void *p) {
    if (__builtin_expect(quarry_kmem_cache_is_handled(s), 0))
        quarry_kmem_cache_free(s, p);
    else
        quarry_core1_class_free((const struct quarry_core1_class *)s, p);
}
static inline int kmem_cache_alloc_bulk(struct kmem_cache *s, gfp_t flags, size_t nr, void **objs) {
    return quarry_kmem_cache_alloc_bulk(s, flags, nr, objs);
}
static inline void kmem_cache_free_bulk(struct kmem_cache *s, size_t nr, void **objs) {
    quarry_kmem_cache_free_bulk(s, nr, objs);
}

static inline bool kmem_cache_charge(void *p, gfp_t flags) { return quarry_kmem_cache_charge(p, flags); }
static inline bool kmem_dump_obj(void *p) { return quarry_kmem_dump_obj(p); }

/* --- sheaves --- */

static inline struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *s, gfp_t flags, unsigned int size) {
    return quarry_kmem_cache_prefill_sheaf(s, flags, size);
}
static inline int kmem_cache_refill_sheaf(struct kmem_cache *s, gfp_t flags, struct slab_sheaf **sheaf,
                                          unsigned int size) {
    return quarry_kmem_cache_refill_sheaf(s, flags, sheaf, size);
}
static inline void *kmem_cache_alloc_from_sheaf(struct kmem_cache *s, gfp_t flags, struct slab_sheaf *sheaf) {
    return quarry_kmem_cache_alloc_from_sheaf(s, flags, sheaf);
}
static inline unsigned int kmem_cache_sheaf_size(struct slab_sheaf *sheaf) {
    return quarry_kmem_cache_sheaf_size(sheaf);
}
static inline void kmem_cache_return_sheaf(struct kmem_cache *s, gfp_t flags, struct slab_sheaf *sheaf) {
    quarry_kmem_cache_return_sheaf(s, flags, sheaf);
}

/* --- buckets --- */

static inline kmem_buckets *kmem_buckets_create(const char *name, slab_flags_t flags, unsigned int useroffset,
                                                unsigned int usersize, void (*ctor)(void *)) {
    return quarry_kmem_buckets_create(name, flags, useroffset, usersize, ctor);
}
static inline void *kmem_buckets_alloc(kmem_buckets *b, size_t size, gfp_t flags) {
    return quarry_kmem_buckets_alloc(b, size, flags);
}
static inline void *kmem_buckets_valloc(kmem_buckets *b, size_t size, gfp_t flags) {
    return quarry_kmem_buckets_valloc(b, size, flags);
}

#endif
