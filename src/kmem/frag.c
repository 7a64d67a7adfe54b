/* SPDX-License-Identifier: MIT */
/*
 * Fragments of pages: buffers of a network driver, cut one behind the other out of compound pages, each of which is a
 * reference to its page. The last of a page's fragments frees it. Owns nothing: the place in the page is the caller's,
 * of whom there is one at a time.
 */
#include "kmem/kmem.h"

/* As much as the kernel cuts at a time. A single page will do where there is no more. */
enum { PIECE_ORDER = 3 };

/* What flags ask for effort, and for the reserve, is for the page that will do. */
static struct quarry_page *piece_get(quarry_gfp_t flags, unsigned *ret_order) {
    quarry_gfp_t modest = (flags & ~(QUARRY___GFP_HIGH | QUARRY___GFP_MEMALLOC | QUARRY___GFP_NOFAIL)) |
                          QUARRY___GFP_NORETRY | QUARRY___GFP_NOMEMALLOC | QUARRY___GFP_NOWARN | QUARRY___GFP_COMP;
    struct quarry_page *page = quarry_alloc_pages(modest, PIECE_ORDER);
    *ret_order = page == NULL ? 0 : PIECE_ORDER;
    return page == NULL ? quarry_alloc_page(flags) : page;
}

static bool refill(struct quarry_page_frag_cache *cache, quarry_gfp_t flags) {
    unsigned order;
    struct quarry_page *page = piece_get(flags, &order);
    if (page == NULL)
        return false;
    quarry_page_frag_cache_drain(cache);
    cache->addr = page->quarry_addr;
    cache->size = (unsigned)(QUARRY_PAGE_SIZE << order);
    cache->offset = 0;
    return true;
}

/* All its fragments were freed: it begins anew. What was asked for zeroed is that no more. */
static bool is_alone(const struct quarry_page_frag_cache *cache, quarry_gfp_t flags) {
    if (cache->addr == NULL || (flags & QUARRY___GFP_ZERO) != 0 ||
        quarry_page_count(quarry_virt_to_page(cache->addr)) != 1)
        return false;
    /* order: acquire fence: what was done with the fragments before each was freed.            pairs: [buddy.refs] */
    atomic_thread_fence(memory_order_acquire);
    return true;
}

static bool fits(const struct quarry_page_frag_cache *cache, unsigned size, unsigned align) {
    return round_up((size_t)cache->offset, align) + size <= cache->size;
}

void *quarry_page_frag_alloc_align(struct quarry_page_frag_cache *cache, unsigned size, quarry_gfp_t flags,
                                   unsigned align) {
    if (size == 0 || size > QUARRY_PAGE_SIZE || !is_pow2(align) || align > QUARRY_PAGE_SIZE)
        return NULL;
    if (UNLIKELY(!fits(cache, size, align))) {
        if (is_alone(cache, flags))
            cache->offset = 0;
        else if (!refill(cache, flags))
            return NULL;
    }
    char *p = cache->addr + round_up((size_t)cache->offset, align);
    cache->offset = (unsigned)(p - cache->addr) + size;
    quarry_get_page(quarry_virt_to_page(cache->addr));
    return p;
}

void quarry_page_frag_free(void *p) { quarry_put_page(quarry_virt_to_head_page(p)); }

void quarry_page_frag_cache_drain(struct quarry_page_frag_cache *cache) {
    if (cache->addr != NULL)
        quarry_put_page(quarry_virt_to_page(cache->addr));
    quarry_page_frag_cache_init(cache);
}
