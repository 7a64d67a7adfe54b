/* SPDX-License-Identifier: MIT */
/* The record of a page. */
#ifndef QUARRY_KERNEL_LINUX_MM_TYPES_H
#define QUARRY_KERNEL_LINUX_MM_TYPES_H

#include <linux/list.h>
#include <linux/types.h>
#include <quarry/kmem.h>

/* struct quarry_page under the kernel's names. In C++ private is a keyword: page_private() and set_page_private(). */
struct page {
    unsigned long flags;
    struct list_head lru;
    void *mapping;
    unsigned long index;
#ifdef __cplusplus
    unsigned long private_data;
#else
    unsigned long private;
#endif
    unsigned long quarry_word;
    void *quarry_addr;
};

/* The library's pointer to the same record, and back. */
static inline struct quarry_page *quarry_of_page(const struct page *page) {
    return (struct quarry_page *)(uintptr_t)page;
}
static inline struct page *quarry_to_page(struct quarry_page *page) { return (struct page *)(void *)page; }

#endif
