/* SPDX-License-Identifier: MIT */
/* Memory for devices: dma_alloc_coherent and its kin over pages with __GFP_DMA. Owns nothing. */
#include "kmem/dma_map.h"
#include "kmem/kmem.h"

static void refused_say(quarry_gfp_t flags, const char *why) {
    enum { LINE_BYTES = 200 };
    static _Atomic(bool) said;
    char line[LINE_BYTES];
    struct kmem_text out = {line, sizeof(line), 0};
    kmem_text_str(&out, "quarry: warning: no memory for DMA: ");
    kmem_text_str(&out, why);
    kmem_text_str(&out, "\n");
    kmem_warn_once(&said, flags, line);
}

void kmem_dma_refused(quarry_gfp_t flags) {
    const char *why = quarry_core1_dma_refusal();
    refused_say(flags, why != NULL ? why : "memory is out");
}

void *quarry_dma_alloc_coherent(void *dev, size_t size, quarry_dma_addr_t *ret_handle, quarry_gfp_t flags) {
    (void)dev;
    if (size == 0 || size > HPAGE_BYTES)
        return NULL;
    flags = (flags & ~QUARRY___GFP_COMP) | QUARRY___GFP_DMA | QUARRY___GFP_ZERO;
    const struct quarry_page *page = quarry_alloc_pages(flags, quarry_get_order(size));
    if (page == NULL)
        return NULL;
    *ret_handle = quarry_core1_dma_address(page->quarry_addr, size);
    return page->quarry_addr;
}

void quarry_dma_free_coherent(void *dev, size_t size, void *p, quarry_dma_addr_t handle) {
    (void)dev, (void)handle;
    if (p != NULL && size != 0)
        quarry_free_pages((unsigned long)p, quarry_get_order(size));
}

quarry_dma_addr_t quarry_dma_map_single(void *dev, const void *p, size_t size) {
    const char *why = NULL;
    (void)dev;
    if (size == 0)
        return QUARRY_DMA_MAPPING_ERROR;
    quarry_dma_addr_t handle = quarry_core1_dma_address(p, size);
    if (handle == QUARRY_DMA_MAPPING_ERROR)
        handle = kmem_dma_map(p, size, &why);
    if (why != NULL)
        refused_say(QUARRY_GFP_KERNEL, why);
    return handle;
}

void quarry_dma_unmap_single(void *dev, quarry_dma_addr_t handle, size_t size) {
    (void)dev, (void)size;
    kmem_dma_unmap(handle);
}
