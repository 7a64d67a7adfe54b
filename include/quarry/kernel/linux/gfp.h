/* SPDX-License-Identifier: MIT */
/* Allocation flags, and what they say; the page allocator under the kernel's names. The contracts are in
 * <quarry/kmem_pages.h>. */
#ifndef QUARRY_KERNEL_LINUX_GFP_H
#define QUARRY_KERNEL_LINUX_GFP_H

#include <linux/cleanup.h>
#include <linux/gfp_types.h>
#include <linux/mm_types.h>
#include <linux/numa.h>
#include <linux/page_frag_cache.h>

static inline bool gfpflags_allow_blocking(gfp_t flags) { return quarry_gfpflags_allow_blocking(flags); }

/* May locks be taken that a thread of low priority may hold? The heap takes none either way. */
static inline bool gfpflags_allow_spinning(gfp_t flags) { return (flags & __GFP_RECLAIM) != 0; }
static inline bool gfp_has_io_fs(gfp_t flags) { return (flags & (__GFP_IO | __GFP_FS)) == (__GFP_IO | __GFP_FS); }
/* Of what is allocated on behalf of an allocation by these flags: no effort, no word, not the reserve. */
static inline gfp_t gfp_nested_mask(gfp_t flags) {
    return (flags & (GFP_KERNEL | GFP_ATOMIC | __GFP_NOLOCKDEP)) | __GFP_NORETRY | __GFP_NOMEMALLOC | __GFP_NOWARN;
}

#define MAX_PAGE_ORDER QUARRY_MAX_PAGE_ORDER

static inline struct page *alloc_pages(gfp_t flags, unsigned int order) {
    return quarry_to_page(quarry_alloc_pages(flags, order));
}
static inline struct page *alloc_pages_node(int node, gfp_t flags, unsigned int order) {
    return quarry_to_page(quarry_alloc_pages_node(node, flags, order));
}
static inline struct page *alloc_pages_nolock(gfp_t flags, int node, unsigned int order) {
    return quarry_to_page(quarry_alloc_pages_nolock(flags, node, order));
}
static inline struct page *alloc_page(gfp_t flags) { return quarry_to_page(quarry_alloc_page(flags)); }
static inline unsigned long __get_free_pages(gfp_t flags, unsigned int order) {
    return quarry___get_free_pages(flags, order);
}
static inline unsigned long __get_free_page(gfp_t flags) { return quarry___get_free_page(flags); }
static inline unsigned long get_zeroed_page(gfp_t flags) { return quarry_get_zeroed_page(flags); }
static inline unsigned long alloc_pages_bulk(gfp_t flags, unsigned long nr, struct page **pages) {
    return quarry_alloc_pages_bulk(flags, nr, (struct quarry_page **)(void *)pages);
}
/* Its name before Linux 6.15. */
static inline unsigned long alloc_pages_bulk_array(gfp_t flags, unsigned long nr, struct page **pages) {
    return alloc_pages_bulk(flags, nr, pages);
}
static inline unsigned long alloc_pages_bulk_node(gfp_t flags, int node, unsigned long nr, struct page **pages) {
    return quarry_alloc_pages_bulk_node(flags, node, nr, (struct quarry_page **)(void *)pages);
}
static inline unsigned long alloc_pages_bulk_array_node(gfp_t flags, int node, unsigned long nr, struct page **pages) {
    return alloc_pages_bulk_node(flags, node, nr, pages);
}
static inline void *alloc_pages_exact(size_t bytes, gfp_t flags) { return quarry_alloc_pages_exact(bytes, flags); }
static inline void *alloc_pages_exact_nid(int node, size_t bytes, gfp_t flags) {
    return quarry_alloc_pages_exact_nid(node, bytes, flags);
}
static inline unsigned long __get_dma_pages(gfp_t flags, unsigned int order) {
    return quarry___get_dma_pages(flags, order);
}

static inline void __free_pages(struct page *page, unsigned int order) {
    quarry___free_pages(quarry_of_page(page), order);
}
static inline void free_pages_nolock(struct page *page, unsigned int order) { __free_pages(page, order); }
static inline void __free_page(struct page *page) { quarry___free_page(quarry_of_page(page)); }
static inline void free_pages(unsigned long addr, unsigned int order) { quarry_free_pages(addr, order); }
static inline void free_page(unsigned long addr) { quarry_free_page(addr); }
DEFINE_FREE(free_page, void *, free_page((unsigned long)(uintptr_t)_T))
static inline void free_pages_exact(void *addr, size_t bytes) { quarry_free_pages_exact(addr, bytes); }

#endif
