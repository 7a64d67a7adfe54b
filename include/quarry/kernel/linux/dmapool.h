/* SPDX-License-Identifier: MIT */
/* Pools of small memory for devices under the kernel's names. The contracts are in <quarry/kmem_pages.h>. */
#ifndef QUARRY_KERNEL_LINUX_DMAPOOL_H
#define QUARRY_KERNEL_LINUX_DMAPOOL_H

#include <linux/dma-mapping.h>

#define dma_pool quarry_dma_pool

static inline struct dma_pool *dma_pool_create(const char *name, struct device *dev, size_t size, size_t align,
                                               size_t boundary) {
    return quarry_dma_pool_create(name, dev, size, align, boundary);
}
static inline void dma_pool_destroy(struct dma_pool *pool) { quarry_dma_pool_destroy(pool); }
static inline void *dma_pool_alloc(struct dma_pool *pool, gfp_t flags, dma_addr_t *ret_handle) {
    return quarry_dma_pool_alloc(pool, flags, ret_handle);
}
static inline void *dma_pool_zalloc(struct dma_pool *pool, gfp_t flags, dma_addr_t *ret_handle) {
    return quarry_dma_pool_zalloc(pool, flags, ret_handle);
}
static inline void dma_pool_free(struct dma_pool *pool, void *p, dma_addr_t handle) {
    quarry_dma_pool_free(pool, p, handle);
}

#endif
