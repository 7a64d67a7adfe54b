/* SPDX-License-Identifier: MIT */
/*
 * Memory pools of the kernel's allocation API, with a prefix; a part of <quarry/kmem.h>, which includes it and has what
 * holds for all functions. A pool keeps min_nr elements in reserve, so that an allocation that may wait never fails:
 * it waits until one comes back. Facts are those of Linux 6.12 (mm/mempool.c).
 */
#ifndef QUARRY_MEMPOOL_H
#define QUARRY_MEMPOOL_H

#include <quarry/kmem_cache.h>
#include <quarry/kmem_pages.h>
#include <quarry/kmem_vmalloc.h>

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

typedef void *quarry_mempool_alloc_t(quarry_gfp_t flags, void *pool_data);
typedef void quarry_mempool_free_t(void *element, void *pool_data);

struct quarry_mempool_reserve;

/* All zeros is a pool that quarry_mempool_exit() lets pass. The first five may be read. */
typedef struct quarry_mempool {
    int min_nr;  /* elements to keep */
    int curr_nr; /* elements kept */
    void *pool_data;
    quarry_mempool_alloc_t *alloc;
    quarry_mempool_free_t *free;
    struct quarry_mempool_reserve *reserve;
    unsigned int waiters, wakes;
} quarry_mempool_t;

/* A pool of min_nr elements (0 or more), all of them allocated now with GFP_KERNEL. NULL without memory. alloc is
 * called with flags that forbid to wait first, and must then rather fail. */
quarry_mempool_t *quarry_mempool_create(int min_nr, quarry_mempool_alloc_t *alloc, quarry_mempool_free_t *free_fn,
                                        void *pool_data) QUARRY_NOTHROW;
/* The same in memory of the caller's. 0, -ENOMEM, or -EINVAL for a negative number. */
int quarry_mempool_init(quarry_mempool_t *pool, int min_nr, quarry_mempool_alloc_t *alloc,
                        quarry_mempool_free_t *free_fn, void *pool_data) QUARRY_NOTHROW;
/* The same with flags for all that is allocated now, and a NUMA node, by the kernel's number or negative, which what
 * the pool itself takes is preferred to lie on: what it keeps its elements in, now and when it is resized. Elements are
 * of the node that alloc takes them from, as in the kernel. */
quarry_mempool_t *quarry_mempool_create_node(int min_nr, quarry_mempool_alloc_t *alloc, quarry_mempool_free_t *free_fn,
                                             void *pool_data, quarry_gfp_t flags, int node) QUARRY_NOTHROW;
int quarry_mempool_init_node(quarry_mempool_t *pool, int min_nr, quarry_mempool_alloc_t *alloc,
                             quarry_mempool_free_t *free_fn, void *pool_data, quarry_gfp_t flags,
                             int node) QUARRY_NOTHROW;
/* The reserve goes back. Nobody may use the pool any more; elements that are out are the caller's to free. */
void quarry_mempool_exit(quarry_mempool_t *pool) QUARRY_NOTHROW;
/* And the pool, which create made. NULL does nothing. */
void quarry_mempool_destroy(quarry_mempool_t *pool) QUARRY_NOTHROW;
/* Keeps new_min_nr (1 or more) elements from now on, while others use the pool, but one call at a time. What could not
 * be allocated is kept back when elements are freed. 0, -ENOMEM with the pool as it was, or -EINVAL. */
int quarry_mempool_resize(quarry_mempool_t *pool, int new_min_nr) QUARRY_NOTHROW;

/* An element: new, without waiting; else from the reserve; with __GFP_DIRECT_RECLAIM else by all means alloc has, and
 * at last by waiting for a free, so that it is never NULL then. Without that flag no lock is taken, and none is waited
 * for. alloc is asked with __GFP_NOWARN and __GFP_NOMEMALLOC added. __GFP_ZERO warns once and is dropped. */
void *quarry_mempool_alloc(quarry_mempool_t *pool, quarry_gfp_t flags) QUARRY_NOTHROW;
/* An element for each of nr entries that is NULL, by GFP_KERNEL in the same order, and all of those that lack at once
 * from the reserve, so that threads that do this with few elements left do not wait for each other. Never fails; nr is
 * at most what the pool keeps, more is warned about once and may wait for ever. Since Linux 6.19. */
void quarry_mempool_alloc_bulk(quarry_mempool_t *pool, void **entries, unsigned nr) QUARRY_NOTHROW;
/* Elements, from the first on, into the reserve, until that has enough; their entries become NULL. Returns how many;
 * the others are left to the caller. Async-signal-safe. */
unsigned quarry_mempool_free_bulk(quarry_mempool_t *pool, void **elements, unsigned nr) QUARRY_NOTHROW;
/* From the reserve or NULL. Async-signal-safe. */
void *quarry_mempool_alloc_preallocated(quarry_mempool_t *pool) QUARRY_NOTHROW;
/* To the reserve while that is short, and one who waits is woken; else to the pool's free function. NULL does nothing.
 * Async-signal-safe where the free function is. */
void quarry_mempool_free(void *element, quarry_mempool_t *pool) QUARRY_NOTHROW;

static inline bool quarry_mempool_initialized(const quarry_mempool_t *pool) QUARRY_NOTHROW {
    return pool->reserve != NULL;
}
/* Whether the next element freed would not be kept. */
static inline bool quarry_mempool_is_saturated(const quarry_mempool_t *pool) QUARRY_NOTHROW {
    return __atomic_load_n(&pool->curr_nr, __ATOMIC_RELAXED) >= __atomic_load_n(&pool->min_nr, __ATOMIC_RELAXED);
}

/* Elements are objects of a cache: pool_data is the cache. One with a constructor warns once, for who gets an element
 * of the reserve gets it as it was freed. Where the cache is debugged with P, or kmalloc is for the next two, an
 * element of the reserve is poison, and one that somebody wrote to is reported when it is taken out. */
void *quarry_mempool_alloc_slab(quarry_gfp_t flags, void *pool_data) QUARRY_NOTHROW;
void quarry_mempool_free_slab(void *element, void *pool_data) QUARRY_NOTHROW;
/* Elements are kmalloc'ed: pool_data is their size. */
void *quarry_mempool_kmalloc(quarry_gfp_t flags, void *pool_data) QUARRY_NOTHROW;
void quarry_mempool_kfree(void *element, void *pool_data) QUARRY_NOTHROW;

/* Elements are kvmalloc'ed, so they may be large: pool_data is their size. */
void *quarry_mempool_kvmalloc(quarry_gfp_t flags, void *pool_data) QUARRY_NOTHROW;
void quarry_mempool_kvfree(void *element, void *pool_data) QUARRY_NOTHROW;
/* Elements are struct quarry_page *, of pages whose order pool_data is. */
void *quarry_mempool_alloc_pages(quarry_gfp_t flags, void *pool_data) QUARRY_NOTHROW;
void quarry_mempool_free_pages(void *element, void *pool_data) QUARRY_NOTHROW;

static inline quarry_mempool_t *quarry_mempool_create_slab_pool(int min_nr,
                                                                struct quarry_kmem_cache *s) QUARRY_NOTHROW {
    return quarry_mempool_create(min_nr, quarry_mempool_alloc_slab, quarry_mempool_free_slab, (void *)s);
}
static inline int quarry_mempool_init_slab_pool(quarry_mempool_t *pool, int min_nr,
                                                struct quarry_kmem_cache *s) QUARRY_NOTHROW {
    return quarry_mempool_init(pool, min_nr, quarry_mempool_alloc_slab, quarry_mempool_free_slab, (void *)s);
}
static inline quarry_mempool_t *quarry_mempool_create_kmalloc_pool(int min_nr, size_t size) QUARRY_NOTHROW {
    return quarry_mempool_create(min_nr, quarry_mempool_kmalloc, quarry_mempool_kfree, (void *)(uintptr_t)size);
}
static inline int quarry_mempool_init_kmalloc_pool(quarry_mempool_t *pool, int min_nr, size_t size) QUARRY_NOTHROW {
    return quarry_mempool_init(pool, min_nr, quarry_mempool_kmalloc, quarry_mempool_kfree, (void *)(uintptr_t)size);
}
static inline quarry_mempool_t *quarry_mempool_create_kvmalloc_pool(int min_nr, size_t size) QUARRY_NOTHROW {
    return quarry_mempool_create(min_nr, quarry_mempool_kvmalloc, quarry_mempool_kvfree, (void *)(uintptr_t)size);
}
static inline int quarry_mempool_init_kvmalloc_pool(quarry_mempool_t *pool, int min_nr, size_t size) QUARRY_NOTHROW {
    return quarry_mempool_init(pool, min_nr, quarry_mempool_kvmalloc, quarry_mempool_kvfree, (void *)(uintptr_t)size);
}
static inline quarry_mempool_t *quarry_mempool_create_page_pool(int min_nr, unsigned order) QUARRY_NOTHROW {
    return quarry_mempool_create(min_nr, quarry_mempool_alloc_pages, quarry_mempool_free_pages,
                                 (void *)(uintptr_t)order);
}
static inline int quarry_mempool_init_page_pool(quarry_mempool_t *pool, int min_nr, unsigned order) QUARRY_NOTHROW {
    return quarry_mempool_init(pool, min_nr, quarry_mempool_alloc_pages, quarry_mempool_free_pages,
                               (void *)(uintptr_t)order);
}

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
