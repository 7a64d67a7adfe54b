/* SPDX-License-Identifier: MIT */
/* Memory for devices under the kernel's names. The contracts are in <quarry/kmem_pages.h>. */
#ifndef QUARRY_KERNEL_LINUX_DMA_MAPPING_H
#define QUARRY_KERNEL_LINUX_DMA_MAPPING_H

#include <linux/mm.h>
#include <linux/types.h>

struct device;
typedef quarry_dma_addr_t dma_addr_t;
enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_NONE };
#define DMA_MAPPING_ERROR QUARRY_DMA_MAPPING_ERROR

static inline void *dma_alloc_coherent(struct device *dev, size_t size, dma_addr_t *ret_handle, gfp_t flags) {
    return quarry_dma_alloc_coherent(dev, size, ret_handle, flags);
}
static inline void dma_free_coherent(struct device *dev, size_t size, void *p, dma_addr_t handle) {
    quarry_dma_free_coherent(dev, size, p, handle);
}
/* The memory is the same for both sides, whichever way the data go. */
static inline dma_addr_t dma_map_single(struct device *dev, const void *p, size_t size, enum dma_data_direction dir) {
    (void)dir;
    return quarry_dma_map_single(dev, p, size);
}
static inline int dma_mapping_error(struct device *dev, dma_addr_t handle) {
    return quarry_dma_mapping_error(dev, handle);
}
static inline void dma_unmap_single(struct device *dev, dma_addr_t handle, size_t size, enum dma_data_direction dir) {
    (void)dir;
    quarry_dma_unmap_single(dev, handle, size);
}
/* All of a page, or a part; its record's frame is where the device looks. */
#define dma_map_page(dev, page, offset, size, dir) dma_map_single(dev, (char *)page_address(page) + (offset), size, dir)
#define dma_unmap_page(dev, handle, size, dir) dma_unmap_single(dev, handle, size, dir)

#endif
