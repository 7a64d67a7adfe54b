/* SPDX-License-Identifier: MIT */
/* Memory pools under the kernel's names. The contracts are in <quarry/mempool.h>. */
#ifndef QUARRY_KERNEL_LINUX_MEMPOOL_H
#define QUARRY_KERNEL_LINUX_MEMPOOL_H

#include <linux/gfp.h>
#include <linux/slab.h>

/* By its tag, which kernel code names in declarations: the one since Linux 6.19, the other before. */
#define mempool quarry_mempool
#define mempool_s quarry_mempool
typedef quarry_mempool_t mempool_t;
typedef quarry_mempool_alloc_t mempool_alloc_t;
typedef quarry_mempool_free_t mempool_free_t;

static inline mempool_t *mempool_create(int min_nr, mempool_alloc_t *alloc, mempool_free_t *free_fn, void *pool_data) {
    return quarry_mempool_create(min_nr, alloc, free_fn, pool_data);
}
static inline mempool_t *mempool_create_node(int min_nr, mempool_alloc_t *alloc, mempool_free_t *free_fn,
                                             void *pool_data, gfp_t flags, int node) {
    return quarry_mempool_create_node(min_nr, alloc, free_fn, pool_data, flags, node);
}
static inline int mempool_init(mempool_t *pool, int min_nr, mempool_alloc_t *alloc, mempool_free_t *free_fn,
                               void *pool_data) {
    return quarry_mempool_init(pool, min_nr, alloc, free_fn, pool_data);
}
static inline int mempool_init_node(mempool_t *pool, int min_nr, mempool_alloc_t *alloc, mempool_free_t *free_fn,
                                    void *pool_data, gfp_t flags, int node) {
    return quarry_mempool_init_node(pool, min_nr, alloc, free_fn, pool_data, flags, node);
}
static inline bool mempool_initialized(mempool_t *pool) { return quarry_mempool_initialized(pool); }
static inline bool mempool_is_saturated(mempool_t *pool) { return quarry_mempool_is_saturated(pool); }
static inline void mempool_exit(mempool_t *pool) { quarry_mempool_exit(pool); }
static inline void mempool_destroy(mempool_t *pool) { quarry_mempool_destroy(pool); }
static inline int mempool_resize(mempool_t *pool, int new_min_nr) { return quarry_mempool_resize(pool, new_min_nr); }
static inline void *mempool_alloc(mempool_t *pool, gfp_t flags) { return quarry_mempool_alloc(pool, flags); }
/* Which ones are there already, of which the kernel is told the number, too, the entries say. */
static inline int mempool_alloc_bulk(mempool_t *pool, void **elems, unsigned int count, unsigned int allocated) {
    (void)allocated;
    quarry_mempool_alloc_bulk(pool, elems, count);
    return 0;
}
static inline unsigned int mempool_free_bulk(mempool_t *pool, void **elems, unsigned int count) {
    return quarry_mempool_free_bulk(pool, elems, count);
}
static inline void *mempool_alloc_preallocated(mempool_t *pool) { return quarry_mempool_alloc_preallocated(pool); }
static inline void mempool_free(void *element, mempool_t *pool) { quarry_mempool_free(element, pool); }

/* What elements are made of. Names of the functions themselves, so that the library knows the pools made with them. */
#define mempool_alloc_slab quarry_mempool_alloc_slab
#define mempool_free_slab quarry_mempool_free_slab
#define mempool_kmalloc quarry_mempool_kmalloc
#define mempool_kfree quarry_mempool_kfree
#define mempool_kvmalloc quarry_mempool_kvmalloc
#define mempool_kvfree quarry_mempool_kvfree
/* Elements are struct page *, whose records are the core's. */
#define mempool_alloc_pages quarry_mempool_alloc_pages
#define mempool_free_pages quarry_mempool_free_pages

static inline mempool_t *mempool_create_slab_pool(int min_nr, struct kmem_cache *s) {
    return quarry_mempool_create_slab_pool(min_nr, s);
}
static inline int mempool_init_slab_pool(mempool_t *pool, int min_nr, struct kmem_cache *s) {
    return quarry_mempool_init_slab_pool(pool, min_nr, s);
}
static inline mempool_t *mempool_create_kmalloc_pool(int min_nr, size_t size) {
    return quarry_mempool_create_kmalloc_pool(min_nr, size);
}
static inline int mempool_init_kmalloc_pool(mempool_t *pool, int min_nr, size_t size) {
    return quarry_mempool_init_kmalloc_pool(pool, min_nr, size);
}

static inline mempool_t *mempool_create_kvmalloc_pool(int min_nr, size_t size) {
    return quarry_mempool_create_kvmalloc_pool(min_nr, size);
}
static inline int mempool_init_kvmalloc_pool(mempool_t *pool, int min_nr, size_t size) {
    return quarry_mempool_init_kvmalloc_pool(pool, min_nr, size);
}
static inline mempool_t *mempool_create_page_pool(int min_nr, int order) {
    return quarry_mempool_create_page_pool(min_nr, (unsigned int)order);
}
static inline int mempool_init_page_pool(mempool_t *pool, int min_nr, int order) {
    return quarry_mempool_init_page_pool(pool, min_nr, (unsigned int)order);
}

#endif
