/* SPDX-License-Identifier: MIT */
/*
 * Private to kmem/: objects of kmalloc that no slab has, because what is asked for is not to be had of slabs: charged
 * ones above 1 MiB are vmalloc areas, those for devices are pages. kfree, free, ksize and krealloc take them as any.
 */
#ifndef QUARRY_KMEM_LENT_H
#define QUARRY_KMEM_LENT_H

#include "kmem/kmem.h"

/* Before the first object that lies in pages or areas: the heap asks here about such from now on. */
void kmem_lent_start(void);

/* size above 0 and at most KMALLOC_MAX_SIZE; at a multiple of the largest power of two that divides it. Charged to this
 * thread's account. NULL without __GFP_DIRECT_RECLAIM. */
void *kmem_lent_area(size_t size, quarry_gfp_t flags);
/* As alloc_pages with __GFP_DMA or __GFP_DMA32, in whole pages, a power of two of them; charged with __GFP_ACCOUNT. */
void *kmem_lent_pages(size_t size, quarry_gfp_t flags);
/* Where the account of the object that begins at p stands, and its bytes; false: none begins there. */
bool kmem_lent_place(const void *p, struct quarry_core1_slab *ret_place);

#endif
