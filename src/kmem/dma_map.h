/* SPDX-License-Identifier: MIT */
/* Private to kmem/: mappings for devices of memory that was not made for them. */
#ifndef QUARRY_KMEM_DMA_MAP_H
#define QUARRY_KMEM_DMA_MAP_H

#include "kmem/kmem.h"

/* Pins the pages of [p, p + size), size not 0, and returns the bus address of p; QUARRY_DMA_MAPPING_ERROR if they
 * cannot be pinned, are not one physical piece, or span more than 2 MiB: *ret_why is then what right is missing, or
 * NULL. */
quarry_dma_addr_t kmem_dma_map(const void *p, size_t size, const char **ret_why);
/* Ends one such mapping; does nothing for an address of another kind. */
void kmem_dma_unmap(quarry_dma_addr_t handle);

#endif
