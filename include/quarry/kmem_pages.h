/* SPDX-License-Identifier: MIT */
/*
 * The kernel's page allocator in user space, with a prefix; part of <quarry/kmem.h>. <linux/gfp.h> and <linux/mm.h>
 * have it under the kernel's names.
 *
 * 2^order contiguous pages, order 0 to QUARRY_MAX_PAGE_ORDER, at a multiple of their size. They are virtually
 * contiguous alone. A page is the system's, 4 KiB on x86-64. Each page of an allocation has a record, struct
 * quarry_page; the records of one allocation lie one after the other, as its pages do.
 *
 * All functions are thread-safe, and async-signal-safe but where a callback is called. None touches errno. A free that
 * cannot be right (free already, another order, an address inside, memory of another function) ends the program with
 * one line on stderr.
 */
#ifndef QUARRY_KMEM_PAGES_H
#define QUARRY_KMEM_PAGES_H

#include <quarry/kmem.h>

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

#define QUARRY_MAX_PAGE_ORDER 10
#define QUARRY_NUMA_NO_NODE (-1)

/* Bytes of a page as a power of two. */
#if defined(__x86_64__)
#define QUARRY_PAGE_SHIFT 12
#else
#define QUARRY_PAGE_SHIFT quarry_page_shift()
#endif
#define QUARRY_PAGE_SIZE (1UL << QUARRY_PAGE_SHIFT)
unsigned quarry_page_shift(void) QUARRY_NOTHROW;

/* The members up to private_data are the program's, for whoever has the page; of an allocation's first page they are 0
 * to begin with. The others are read by functions alone. */
struct quarry_page {
    unsigned long flags;
    void *lru[2];
    void *mapping;
    unsigned long index;
    unsigned long private_data;
    unsigned long quarry_word;
    char *quarry_addr;
};

/* Least order whose pages hold bytes; bytes > 0. */
static inline unsigned quarry_get_order(size_t bytes) QUARRY_NOTHROW {
    size_t pages = (bytes - 1) >> QUARRY_PAGE_SHIFT;
    return pages == 0 ? 0 : (unsigned)(8 * sizeof(long)) - (unsigned)__builtin_clzl(pages);
}

/* --- allocation --- */

/* The record of the first of 2^order pages, with one reference. With __GFP_ZERO they are zeroed; with __GFP_COMP (of an
 * order above 0) any of them stands for the whole in quarry_get_page and its kin. Without __GFP_DIRECT_RECLAIM pages
 * come from blocks that are at hand: no system call, no lock, never above order 9; their first use may be a page fault.
 * With __GFP_HIGH or __GFP_MEMALLOC, as quarry_kmalloc(), else from the reserve, which is in memory: with the option
 * reserve as it is, 1 MiB and up to order 8.
 * With it __GFP_NORETRY, __GFP_RETRY_MAYFAIL and __GFP_NOFAIL as quarry_kmalloc; above order 1 the last one warns once.
 * With __GFP_ACCOUNT each page is charged to this thread's account (quarry/kmem_account.h) until it is freed.
 * An order above QUARRY_MAX_PAGE_ORDER: NULL, and one line on stderr without __GFP_NOWARN. */
struct quarry_page *quarry_alloc_pages(quarry_gfp_t flags, unsigned order) QUARRY_NOTHROW;
/* Of a NUMA node, by the kernel's number (negative: the one this thread runs on), or the nearest with memory. With
 * __GFP_THISNODE, here and above, all of the pages lie on that node, or NULL; and NULL without __GFP_DIRECT_RECLAIM,
 * unless there is one node. __GFP_DMA: of any node. */
struct quarry_page *quarry_alloc_pages_node(int node, quarry_gfp_t flags, unsigned order) QUARRY_NOTHROW;
/* Zeroed pages, compound above order 0, of what is at hand and not the reserve: no system call, no lock, in any
 * context. Of flags __GFP_ACCOUNT alone; any other is NULL with one line on stderr. Orders 0 to 3 and 9. Since
 * Linux 6.16. */
struct quarry_page *quarry_alloc_pages_nolock(quarry_gfp_t flags, int node, unsigned order) QUARRY_NOTHROW;
/* The address of the first page, or 0. */
unsigned long quarry___get_free_pages(quarry_gfp_t flags, unsigned order) QUARRY_NOTHROW;
/* Fills the entries of pages[0..nr-1] that are NULL with single pages, until none is left or memory is out. Returns how
 * many of them, from the first on, are not NULL then. */
unsigned long quarry_alloc_pages_bulk(quarry_gfp_t flags, unsigned long nr, struct quarry_page **pages) QUARRY_NOTHROW;
/* bytes, 1 to 4 MiB, in as many single pages as hold them, one after the other. NULL for 0. */
void *quarry_alloc_pages_exact(size_t bytes, quarry_gfp_t flags) QUARRY_NOTHROW;

/* Forms of these: one page, its address, zeroed, from memory for devices; each page from the node, or the nearest with
 * memory; and so the exact ones. */
static inline struct quarry_page *quarry_alloc_page(quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_alloc_pages(flags, 0);
}
static inline unsigned long quarry___get_free_page(quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry___get_free_pages(flags, 0);
}
static inline unsigned long quarry_get_zeroed_page(quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry___get_free_pages(flags | QUARRY___GFP_ZERO, 0);
}
static inline unsigned long quarry___get_dma_pages(quarry_gfp_t flags, unsigned order) QUARRY_NOTHROW {
    return quarry___get_free_pages(flags | QUARRY_GFP_DMA, order);
}
static inline unsigned long quarry_alloc_pages_bulk_node(quarry_gfp_t flags, int node, unsigned long nr,
                                                         struct quarry_page **pages) QUARRY_NOTHROW {
    for (unsigned long i = 0; i < nr; i++) {
        if (pages[i] == NULL && (pages[i] = quarry_alloc_pages_node(node, flags, 0)) == NULL)
            return i;
    }
    return nr;
}
void *quarry_alloc_pages_exact_nid(int node, size_t bytes, quarry_gfp_t flags) QUARRY_NOTHROW;

/* Drops a reference. The last one frees the pages; where another remains, all but the first page are freed, unless the
 * allocation is compound. order: as allocated, anything else is misuse. */
void quarry___free_pages(struct quarry_page *page, unsigned order) QUARRY_NOTHROW;
static inline void quarry___free_page(struct quarry_page *page) QUARRY_NOTHROW { quarry___free_pages(page, 0); }
static inline void quarry_free_pages_nolock(struct quarry_page *page, unsigned order) QUARRY_NOTHROW {
    quarry___free_pages(page, order);
}
/* 0 is let pass. */
void quarry_free_pages(unsigned long addr, unsigned order) QUARRY_NOTHROW;
static inline void quarry_free_page(unsigned long addr) QUARRY_NOTHROW { quarry_free_pages(addr, 0); }
/* bytes as allocated. */
void quarry_free_pages_exact(void *addr, size_t bytes) QUARRY_NOTHROW;
/* From 2^order pages that are not compound to as many allocations of one page, each with one reference more. */
void quarry_split_page(struct quarry_page *page, unsigned order) QUARRY_NOTHROW;

/* --- memory for devices --- */

/* With __GFP_DMA pages are physically contiguous and pinned where they are, up to order 9: out of hugepages of 2 MiB,
 * which are given back when all of one has been free for the purge delay. Needs CAP_SYS_ADMIN (to know physical
 * addresses), hugepages, and io_uring (to pin); what is missing is said on stderr once, without __GFP_NOWARN, and the
 * answer is NULL. A program that closes all its file descriptors ends the pins. The memory may lie anywhere: nobody
 * can ask for low physical addresses. With __GFP_DMA32 it is the same, and a line on stderr says once, without
 * __GFP_NOWARN, that what was given lies above 4 GiB; the bus address tells each time. quarry_kmalloc with either flag
 * gives such pages, as objects. After a fork the memory stays the parent's, where it is. */

typedef uint64_t quarry_dma_addr_t;
#define QUARRY_DMA_MAPPING_ERROR (~(quarry_dma_addr_t)0)

/* size bytes, 1 to 2 MiB, zeroed, at a multiple of the smallest order that holds them, physically too. *ret_handle is
 * the physical address, which is the bus address where no IOMMU translates. dev is not looked at. NULL as above. */
void *quarry_dma_alloc_coherent(void *dev, size_t size, quarry_dma_addr_t *ret_handle,
                                quarry_gfp_t flags) QUARRY_NOTHROW;
/* All but dev as at the allocation. */
void quarry_dma_free_coherent(void *dev, size_t size, void *p, quarry_dma_addr_t handle) QUARRY_NOTHROW;
/* Bus address of [p, p + size), 1 byte to 2 MiB. Other memory than the above, that this process may write, is pinned
 * until it is unmapped, each mapping by a descriptor of its own; it must be one physical piece, as what lies in one
 * page always is. QUARRY_DMA_MAPPING_ERROR for what is not, for what cannot be pinned, and without the rights that
 * memory for devices needs, which is said on stderr, once. Makes system calls; not for signal handlers. */
quarry_dma_addr_t quarry_dma_map_single(void *dev, const void *p, size_t size) QUARRY_NOTHROW;
static inline int quarry_dma_mapping_error(void *dev, quarry_dma_addr_t handle) QUARRY_NOTHROW {
    (void)dev;
    return handle == QUARRY_DMA_MAPPING_ERROR;
}
/* The mapping's pin ends; one of memory that is pinned anyway needs nothing undone. Each mapping is unmapped once, with
 * what quarry_dma_map_single() returned, before its memory is freed. Not for signal handlers. */
void quarry_dma_unmap_single(void *dev, quarry_dma_addr_t handle, size_t size) QUARRY_NOTHROW;

/* Pieces of size bytes, 1 to 2 MiB, of such memory, at multiples of align (a power of two up to 2 MiB, or 0), none of
 * which crosses a multiple of boundary (a power of two not below size rounded up to align, or 0). name: up to 31
 * characters are kept. NULL: one of them is not as it must be, or memory is out. dev is not looked at. */
struct quarry_dma_pool;
struct quarry_dma_pool *quarry_dma_pool_create(const char *name, void *dev, size_t size, size_t align,
                                               size_t boundary) QUARRY_NOTHROW;
/* NULL is let pass. Pieces still in use leak, with one line on stderr. Nobody else may use the pool. */
void quarry_dma_pool_destroy(struct quarry_dma_pool *pool) QUARRY_NOTHROW;
/* With __GFP_ZERO zeroed. */
void *quarry_dma_pool_alloc(struct quarry_dma_pool *pool, quarry_gfp_t flags,
                            quarry_dma_addr_t *ret_handle) QUARRY_NOTHROW;
static inline void *quarry_dma_pool_zalloc(struct quarry_dma_pool *pool, quarry_gfp_t flags,
                                           quarry_dma_addr_t *ret_handle) QUARRY_NOTHROW {
    return quarry_dma_pool_alloc(pool, flags | QUARRY___GFP_ZERO, ret_handle);
}
void quarry_dma_pool_free(struct quarry_dma_pool *pool, void *p, quarry_dma_addr_t handle) QUARRY_NOTHROW;

/* --- records --- */

static inline void *quarry_page_address(const struct quarry_page *page) QUARRY_NOTHROW { return page->quarry_addr; }
/* NULL for an address that is not in the page allocator's memory, such as one of malloc or kmalloc. */
struct quarry_page *quarry_virt_to_page(const void *addr) QUARRY_NOTHROW;
/* Number of the physical page frame, after the page was brought into memory. 0, which is no frame of a process, where
 * the system does not tell: without CAP_SYS_ADMIN, or without /proc. The kernel may move the page to another frame at
 * any time, unless it is locked (mlock(2) does not prevent that, only long-term pins do). */
unsigned long quarry_page_to_pfn(const struct quarry_page *page) QUARRY_NOTHROW;

/* References, for pages with several owners. put: the last one frees the whole allocation. */
void quarry_get_page(struct quarry_page *page) QUARRY_NOTHROW;
void quarry_put_page(struct quarry_page *page) QUARRY_NOTHROW;
int quarry_page_count(const struct quarry_page *page) QUARRY_NOTHROW;
/* First page of a compound allocation; page itself where it is none. */
struct quarry_page *quarry_compound_head(struct quarry_page *page) QUARRY_NOTHROW;
/* That of the page an address lies in; NULL as quarry_virt_to_page(). */
static inline struct quarry_page *quarry_virt_to_head_page(const void *addr) QUARRY_NOTHROW {
    struct quarry_page *page = quarry_virt_to_page(addr);
    return page == NULL ? NULL : quarry_compound_head(page);
}
/* Order of a compound allocation, by its first page; 0 else. */
unsigned quarry_compound_order(const struct quarry_page *page) QUARRY_NOTHROW;

/* --- fragments --- */

/* What fragments are cut from: zeros, or as quarry_page_frag_cache_init() leaves it. Who uses one keeps others out. */
struct quarry_page_frag_cache {
    char *addr;
    unsigned size, offset;
};
static inline void quarry_page_frag_cache_init(struct quarry_page_frag_cache *cache) QUARRY_NOTHROW {
    cache->addr = NULL;
    cache->size = cache->offset = 0;
}
/* size bytes, 1 to a page, at a multiple of align, a power of two up to that, behind the fragment before; else NULL.
 * They are a reference to the page they lie in, which is freed with the last fragment when the cache has gone on to
 * another, and which the cache begins anew when all were freed before. With __GFP_ZERO zeroed, if all of the cache's
 * were asked for with it. */
void *quarry_page_frag_alloc_align(struct quarry_page_frag_cache *cache, unsigned size, quarry_gfp_t flags,
                                   unsigned align) QUARRY_NOTHROW;
static inline void *quarry_page_frag_alloc(struct quarry_page_frag_cache *cache, unsigned size,
                                           quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_page_frag_alloc_align(cache, size, flags, 1);
}
/* Of any thread, as quarry_put_page(); p may be any address in the fragment. */
void quarry_page_frag_free(void *p) QUARRY_NOTHROW;
/* Gives back what was not cut yet; fragments stay. The cache is as at the beginning. */
void quarry_page_frag_cache_drain(struct quarry_page_frag_cache *cache) QUARRY_NOTHROW;

/* --- views --- */

/* One line as in /proc/buddyinfo: free blocks of order 0, 1 and so on. Racy. Writes at most cap bytes with a NUL, cut
 * where there is no room; returns the length without cut. */
size_t quarry_buddyinfo(char *text, size_t cap) QUARRY_NOTHROW;

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
