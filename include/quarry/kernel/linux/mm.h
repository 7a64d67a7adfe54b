/* SPDX-License-Identifier: MIT */
/* Pages and their records under the kernel's names. The contracts are in <quarry/kmem_pages.h>. */
#ifndef QUARRY_KERNEL_LINUX_MM_H
#define QUARRY_KERNEL_LINUX_MM_H

#include <linux/gfp.h>
#include <linux/mm_types.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#ifndef PAGE_SHIFT
#define PAGE_SHIFT QUARRY_PAGE_SHIFT
#endif
#ifndef PAGE_SIZE
#define PAGE_SIZE QUARRY_PAGE_SIZE
#endif
#ifndef PAGE_MASK
#define PAGE_MASK (~(PAGE_SIZE - 1))
#endif
#define PAGE_ALIGN(addr) (((addr) + PAGE_SIZE - 1) & PAGE_MASK)
#define PAGE_ALIGN_DOWN(addr) ((addr)&PAGE_MASK)
#define PAGE_ALIGNED(addr) (((uintptr_t)(addr) & (PAGE_SIZE - 1)) == 0)
#define offset_in_page(p) ((unsigned long)(uintptr_t)(p) & ~PAGE_MASK)

static inline int get_order(unsigned long bytes) { return (int)quarry_get_order(bytes); }

static inline void *page_address(const struct page *page) { return page->quarry_addr; }
static inline void *page_to_virt(const struct page *page) { return page->quarry_addr; }
static inline struct page *virt_to_page(const void *addr) { return quarry_to_page(quarry_virt_to_page(addr)); }
/* The page a compound one begins with, of any address in it. */
static inline struct page *virt_to_head_page(const void *addr) {
    return quarry_to_page(quarry_virt_to_head_page(addr));
}
static inline unsigned long page_to_pfn(const struct page *page) { return quarry_page_to_pfn(quarry_of_page(page)); }

static inline void get_page(struct page *page) { quarry_get_page(quarry_of_page(page)); }
static inline void put_page(struct page *page) { quarry_put_page(quarry_of_page(page)); }
static inline int page_count(const struct page *page) { return quarry_page_count(quarry_of_page(page)); }
static inline int page_ref_count(const struct page *page) { return quarry_page_count(quarry_of_page(page)); }
static inline struct page *compound_head(struct page *page) {
    return quarry_to_page(quarry_compound_head(quarry_of_page(page)));
}
static inline unsigned int compound_order(const struct page *page) {
    return quarry_compound_order(quarry_of_page(page));
}
static inline unsigned long compound_nr(const struct page *page) { return 1UL << compound_order(page); }
static inline unsigned long page_size(const struct page *page) { return PAGE_SIZE << compound_order(page); }
static inline void split_page(struct page *page, unsigned int order) { quarry_split_page(quarry_of_page(page), order); }

static inline unsigned long page_private(const struct page *page) {
    return ((const struct quarry_page *)(const void *)page)->private_data;
}
static inline void set_page_private(struct page *page, unsigned long value) {
    ((struct quarry_page *)(void *)page)->private_data = value;
}

#endif
