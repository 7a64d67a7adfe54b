/* SPDX-License-Identifier: MIT */
/*
 * Objects of kmalloc in areas and pages. Contract in lent.h. Owns nothing: that one begins at an address is written in
 * the entry of its owner (owner.c), whether it is charged to somebody or not, because free has nothing but the address.
 *
 * Whoever frees one takes the entry away first, so of two who free it one finds it; the other comes to what the memory
 * is by itself, an area that is no more or pages, and is reported for it.
 */
#include "kmem/lent.h"

#include "kmem/account.h"
#include "kmem/gfp.h"
#include "kmem/paged.h"

#include "engine/lent.h"
#include "page/page.h"

/* --- what stands for the place of one --- */

/* As account.c has areas: one slot, at its start. */
static struct quarry_core1_slab area_place(const void *p) {
    return (struct quarry_core1_slab){.base = (char *)(uintptr_t)p, .objs_nr = 1};
}

/* The slots of pages are those of their granule, so that each page has one. */
static struct quarry_core1_slab pages_place(const void *p, size_t bytes) {
    size_t unit = MIN(QUARRY_PAGE_SIZE, GRANULE_BYTES), offset = (uintptr_t)p % GRANULE_BYTES;
    return (struct quarry_core1_slab){.base = (char *)(uintptr_t)p - offset,
                                      .slot_bytes = bytes,
                                      .objs_nr = (unsigned)(GRANULE_BYTES / unit),
                                      .index = (unsigned)(offset / unit)};
}

static size_t pages_bytes(const void *p) {
    const struct quarry_page *page = quarry_virt_to_page(p);
    return page == NULL ? 0 : QUARRY_PAGE_SIZE << quarry_compound_order((struct quarry_page *)(uintptr_t)page);
}

static bool pages_are_lent(const void *p) {
    struct quarry_core1_slab place = pages_place(p, 0);
    return (uintptr_t)p % QUARRY_PAGE_SIZE == 0 && kmem_account_is_lent(&place);
}

static bool area_is_lent(const void *p) {
    struct quarry_core1_slab place = area_place(p);
    return (uintptr_t)p % GRANULE_BYTES == 0 && kmem_account_is_lent(&place);
}

bool kmem_lent_place(const void *p, struct quarry_core1_slab *ret_place) {
    bool in_area = quarry_core1_in_area(p), is_lent = in_area ? area_is_lent(p) : pages_are_lent(p);
    char *object;
    if (!is_lent)
        return !in_area && kmem_paged_of(p, &object, ret_place) != NULL;
    *ret_place = in_area ? area_place(p) : pages_place(p, pages_bytes(p));
    if (in_area)
        ret_place->slot_bytes = quarry_core1_area_bytes(p);
    return true;
}

/* --- what the heap asks --- */

static size_t lent_usable(const void *p) {
    if (quarry_core1_in_area(p))
        return area_is_lent(p) ? quarry_core1_area_bytes(p) : 0;
    return pages_are_lent(p) ? pages_bytes(p) : kmem_paged_usable(p);
}

static bool lent_free(void *p) {
    if (quarry_core1_in_area(p)) {
        bool is_lent = area_is_lent(p);
        if (is_lent)
            quarry_vfree_atomic(p);
        return is_lent;
    }
    if (kmem_paged_free(p))
        return true;
    size_t bytes = pages_are_lent(p) ? pages_bytes(p) : 0;
    struct quarry_core1_slab place = pages_place(p, bytes);
    if (bytes == 0 || !kmem_account_uncharge(&place))
        return false;
    quarry_free_pages((unsigned long)p, quarry_get_order(bytes));
    return true;
}

void kmem_lent_start(void) {
    static const struct engine_lent hooks = {.free = lent_free, .usable = lent_usable};
    quarry_core1_lent_start(&hooks);
}

/* --- allocating --- */

void *kmem_lent_area(size_t size, quarry_gfp_t flags) {
    if (!kmem_may_block(flags))
        return NULL;
    kmem_lent_start();
    char *p = quarry___vmalloc_node(size, size & -size, flags, QUARRY_NUMA_NO_NODE, __builtin_return_address(0));
    if (p == NULL)
        return NULL;
    struct quarry_core1_slab place = area_place(p);
    if (kmem_account_lend(&place, flags))
        return p;
    quarry_vfree(p);
    return NULL;
}

/* NULL: neither charged nor known for what it is. */
static void *pages_lend(const void *place, quarry_gfp_t flags) {
    const struct quarry_core1_slab *pages = place;
    if ((flags & QUARRY___GFP_ACCOUNT) != 0 && !kmem_account_slot_charge(pages, flags))
        return NULL;
    if (kmem_account_lend(pages, flags))
        return pages->base;
    (void)kmem_account_uncharge(pages);
    return NULL;
}

void *kmem_lent_pages(size_t size, quarry_gfp_t flags) {
    unsigned order = quarry_get_order(size);
    kmem_lent_start();
    const struct quarry_page *page = quarry_alloc_pages((flags & ~QUARRY___GFP_ACCOUNT) | QUARRY___GFP_COMP, order);
    if (page == NULL)
        return NULL;
    char *p = page->quarry_addr;
    struct quarry_core1_slab place = pages_place(p, QUARRY_PAGE_SIZE << order);
    /* More effort brings no more such pages, but room in the account. */
    if ((kmem_may_block(flags) ? kmem_gfp_try(pages_lend, &place, flags) : pages_lend(&place, flags)) != NULL)
        return p;
    quarry_free_pages((unsigned long)p, order);
    return NULL;
}
