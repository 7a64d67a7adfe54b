/* SPDX-License-Identifier: MIT */
/* Pages that need no mapping to be used: all of them have an address, as in a kernel of 64 bits. */
#ifndef QUARRY_KERNEL_LINUX_HIGHMEM_H
#define QUARRY_KERNEL_LINUX_HIGHMEM_H

#include <linux/mm.h>
#include <string.h>

static inline void *kmap(struct page *page) { return page_address(page); }
static inline void kunmap(const struct page *page) { (void)page; }
static inline void *kmap_local_page(struct page *page) { return page_address(page); }
static inline void kunmap_local(const void *addr) { (void)addr; }
static inline void *kmap_atomic(struct page *page) { return page_address(page); }
static inline void kunmap_atomic(const void *addr) { (void)addr; }

static inline void clear_page(void *addr) { memset(addr, 0, PAGE_SIZE); }
static inline void copy_page(void *to, const void *from) { memcpy(to, from, PAGE_SIZE); }
static inline void clear_highpage(struct page *page) { clear_page(page_address(page)); }
static inline void copy_highpage(struct page *to, struct page *from) {
    copy_page(page_address(to), page_address(from));
}
static inline void memcpy_from_page(char *to, struct page *page, size_t offset, size_t len) {
    memcpy(to, (char *)page_address(page) + offset, len);
}
static inline void memcpy_to_page(struct page *page, size_t offset, const char *from, size_t len) {
    memcpy((char *)page_address(page) + offset, from, len);
}
static inline void memzero_page(struct page *page, size_t offset, size_t len) {
    memset((char *)page_address(page) + offset, 0, len);
}

#endif
