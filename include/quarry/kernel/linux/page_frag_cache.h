/* SPDX-License-Identifier: MIT */
/* Fragments of pages under the kernel's names; a part of <linux/gfp.h> as well, where they were before Linux 6.14. The
 * contracts are in <quarry/kmem_pages.h>. */
#ifndef QUARRY_KERNEL_LINUX_PAGE_FRAG_CACHE_H
#define QUARRY_KERNEL_LINUX_PAGE_FRAG_CACHE_H

#include <linux/gfp_types.h>

#define page_frag_cache quarry_page_frag_cache

static inline void page_frag_cache_init(struct page_frag_cache *cache) { quarry_page_frag_cache_init(cache); }
static inline void page_frag_cache_drain(struct page_frag_cache *cache) { quarry_page_frag_cache_drain(cache); }
static inline void *page_frag_alloc_align(struct page_frag_cache *cache, unsigned int size, gfp_t flags,
                                          unsigned int align) {
    return quarry_page_frag_alloc_align(cache, size, flags, align);
}
static inline void *page_frag_alloc(struct page_frag_cache *cache, unsigned int size, gfp_t flags) {
    return quarry_page_frag_alloc(cache, size, flags);
}
static inline void page_frag_free(void *p) { quarry_page_frag_free(p); }

#endif
