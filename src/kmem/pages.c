/* SPDX-License-Identifier: MIT */
/* The page allocator's names and edge rules. Pages and their records are the core's (front/core.h); owns nothing. Whose
 * account pages are charged to stands in their record, and who frees them is told (buddy/states.h, [B3]). */
#include "kmem/account.h"
#include "kmem/gfp.h"
#include "kmem/kmem.h"

#include "buddy/buddy.h"

_Static_assert(sizeof(struct quarry_page) == sizeof(struct buddy_page) &&
                   offsetof(struct quarry_page, quarry_word) == offsetof(struct buddy_page, word) &&
                   offsetof(struct quarry_page, quarry_addr) == offsetof(struct buddy_page, addr),
               "the public record is the core's");
_Static_assert(QUARRY_MAX_PAGE_ORDER == BUDDY_ORDER_MAX, "orders");

COLD static struct quarry_page *order_refused(quarry_gfp_t flags) {
    static _Atomic(bool) said;
    kmem_warn_once(&said, flags, "quarry: warning: alloc_pages of an order above MAX_PAGE_ORDER refused\n");
    return NULL;
}

/* What may not block is served from what is at hand, and may have the reserve. */
static unsigned effort_flags(quarry_gfp_t flags) {
    if (kmem_may_block(flags))
        return 0;
    return kmem_gfp_has_reserve(flags) ? BUDDY_AT_HAND | BUDDY_RESERVE : BUDDY_AT_HAND;
}

static unsigned movable_in_scope(quarry_gfp_t flags) {
    return (kmem_gfp_in_scope(flags) & QUARRY___GFP_MOVABLE) != 0 ? BUDDY_MOVABLE : 0;
}

static unsigned core_flags(quarry_gfp_t flags) {
    return effort_flags(flags) | ((flags & QUARRY___GFP_ZERO) != 0 ? BUDDY_ZERO : 0) |
           ((flags & QUARRY___GFP_COMP) != 0 ? BUDDY_COMPOUND : 0) | ((flags & QUARRY_GFP_ZONES) != 0 ? BUDDY_DMA : 0) |
           ((flags & QUARRY___GFP_THISNODE) != 0 ? BUDDY_STRICT : 0) |
           ((flags & QUARRY___GFP_MOVABLE) != 0 ? movable_in_scope(flags) : 0) |
           ((flags & QUARRY___GFP_RECLAIMABLE) != 0 ? BUDDY_RECLAIMABLE : 0);
}

#define DMA32_END ((u64)1 << 32)

struct wanted {
    unsigned order;
    int node;
};

/* Of this thread's node, but for what asks for more. */
static ALWAYS_INLINE struct quarry_page *pages_get(unsigned order, quarry_gfp_t flags, int node) {
    if (LIKELY(node < 0 && (flags & QUARRY___GFP_THISNODE) == 0))
        return quarry_core1_pages_alloc(order, core_flags(flags));
    return quarry_core1_pages_alloc_node(order, core_flags(flags), node);
}

static void *pages_try(const void *what, quarry_gfp_t flags) {
    const struct wanted *w = what;
    return pages_get(w->order, flags, w->node);
}

COLD static void nofail_large(quarry_gfp_t flags) {
    static _Atomic(bool) said;
    kmem_warn_once(&said, flags, "quarry: warning: alloc_pages of an order above 1 with __GFP_NOFAIL\n");
}

/* Nobody in user space can ask for memory below 4 GiB of physical address, but where it is can be told (adr/0088). */
COLD static void tell_where(const struct quarry_page *page, unsigned order, quarry_gfp_t flags) {
    static _Atomic(bool) said;
    size_t bytes = QUARRY_PAGE_SIZE << order;
    if (quarry_core1_dma_address(page->quarry_addr, bytes) + bytes > DMA32_END)
        kmem_warn_once(
            &said, flags,
            "quarry: warning: __GFP_DMA32: memory above 4 GiB of physical address, which cannot be chosen\n");
}

/* Not at the first attempt, or by rules that begin with it. What memory for devices lacks is rights, which no
 * effort brings. */
static NOINLINE struct quarry_page *pages_hard(quarry_gfp_t flags, unsigned order, int node) {
    flags = kmem_gfp_node_flags(flags);
    struct wanted w = {order, node};
    bool dma = (flags & QUARRY_GFP_ZONES) != 0;
    if (dma)
        flags = (flags & ~QUARRY___GFP_NOFAIL) | QUARRY___GFP_NORETRY;
    if (!kmem_may_block(flags))
        kmem_gfp_nofail_ignored(flags);
    else if ((flags & QUARRY___GFP_NOFAIL) != 0 && order > 1)
        nofail_large(flags);
    struct quarry_page *page = kmem_gfp_try_if_blocking(pages_try, &w, flags);
    if (page == NULL && kmem_may_block(flags) && kmem_gfp_has_reserve(flags)) /* as kmalloc does, after all effort */
        page = pages_get(order, flags & ~QUARRY___GFP_DIRECT_RECLAIM, node);
    if (page == NULL && dma)
        kmem_dma_refused(flags);
    if (page != NULL && (flags & QUARRY___GFP_DMA32) != 0)
        tell_where(page, order, flags);
    return page;
}

/* --- accounts --- */

/* Pages that nobody else knows yet. */
struct fresh {
    struct quarry_page *page;
    unsigned order;
};

static void *charge_try(const void *what, quarry_gfp_t flags) {
    const struct fresh *f = what;
    u16 number;
    if (!kmem_account_pages_charge(f->order, flags, &number))
        return NULL;
    quarry_core1_page_own(f->page, number);
    return f->page;
}

/* As in the kernel after the pages are there: what is lacking then is room in the account, for devices' memory too. */
static NOINLINE struct quarry_page *charged_or_none(struct quarry_page *page, unsigned order, quarry_gfp_t flags) {
    struct fresh f = {page, order};
    if (page == NULL || quarry_account_current() == NULL)
        return page;
    if (kmem_gfp_try_if_blocking(charge_try, &f, flags) != NULL)
        return page;
    (void)quarry_core1_pages_free(page, order);
    return NULL;
}

static void uncharge(struct quarry_core1_given given) {
    if (UNLIKELY(given.owner != 0))
        kmem_account_pages_uncharge((u16)given.owner, given.pages_nr);
}

/* --- allocation and free --- */

struct quarry_page *quarry_alloc_pages_node(int node, quarry_gfp_t flags, unsigned order) {
    if (UNLIKELY(order > QUARRY_MAX_PAGE_ORDER))
        return order_refused(flags);
    bool plain = (flags & (QUARRY___GFP_NORETRY | QUARRY___GFP_NOFAIL | QUARRY_GFP_ZONES)) == 0;
    struct quarry_page *page = LIKELY(plain) ? pages_get(order, flags, node) : NULL;
    page = LIKELY(page != NULL) ? page : pages_hard(flags, order, node);
    return LIKELY((flags & QUARRY___GFP_ACCOUNT) == 0) ? page : charged_or_none(page, order, flags);
}

struct quarry_page *quarry_alloc_pages(quarry_gfp_t flags, unsigned order) {
    return quarry_alloc_pages_node(QUARRY_NUMA_NO_NODE, flags, order);
}

/* As in the kernel what it gives is zeroed, and larger orders than it keeps for each CPU are not to be had. */
struct quarry_page *quarry_alloc_pages_nolock(quarry_gfp_t flags, int node, unsigned order) {
    enum { ORDER_COSTLY = 3, ORDER_HPAGE = 9 };
    static _Atomic(bool) said;
    if ((flags & ~QUARRY___GFP_ACCOUNT) != 0) {
        kmem_warn_once(&said, flags, "quarry: warning: alloc_pages_nolock with flags it does not know refused\n");
        return NULL;
    }
    if (order > ORDER_COSTLY && order != ORDER_HPAGE)
        return NULL;
    flags |= QUARRY___GFP_NOWARN | QUARRY___GFP_ZERO | QUARRY___GFP_NOMEMALLOC | QUARRY___GFP_COMP;
    return quarry_alloc_pages_node(node, flags, order);
}

unsigned long quarry___get_free_pages(quarry_gfp_t flags, unsigned order) {
    const struct quarry_page *page = quarry_alloc_pages(flags, order);
    return page == NULL ? 0 : (unsigned long)page->quarry_addr;
}

unsigned long quarry_alloc_pages_bulk(quarry_gfp_t flags, unsigned long nr, struct quarry_page **pages) {
    for (unsigned long i = 0; i < nr; i++) {
        if (pages[i] == NULL && (pages[i] = quarry_alloc_pages(flags, 0)) == NULL)
            return i;
    }
    return nr;
}

/* What the request rounded up to a power of two has too much goes back at once. */
void *quarry_alloc_pages_exact_nid(int node, size_t bytes, quarry_gfp_t flags) {
    if (bytes == 0)
        return NULL;
    unsigned order =
        bytes > (QUARRY_PAGE_SIZE << QUARRY_MAX_PAGE_ORDER) ? QUARRY_MAX_PAGE_ORDER + 1 : quarry_get_order(bytes);
    struct quarry_page *page = quarry_alloc_pages_node(node, flags & ~QUARRY___GFP_COMP, order);
    if (page == NULL)
        return NULL;
    size_t nr = (bytes + QUARRY_PAGE_SIZE - 1) >> QUARRY_PAGE_SHIFT;
    quarry_core1_pages_split(page, order);
    for (size_t i = (size_t)1 << order; i-- > nr;)
        uncharge(quarry_core1_pages_free(page + i, 0));
    return page->quarry_addr;
}

void *quarry_alloc_pages_exact(size_t bytes, quarry_gfp_t flags) {
    return quarry_alloc_pages_exact_nid(QUARRY_NUMA_NO_NODE, bytes, flags);
}

void quarry___free_pages(struct quarry_page *page, unsigned order) { uncharge(quarry_core1_pages_free(page, order)); }

void quarry_free_pages(unsigned long addr, unsigned order) {
    if (addr != 0)
        uncharge(quarry_core1_pages_free_at((void *)addr, order)); // NOLINT(performance-no-int-to-ptr)
}

void quarry_free_pages_exact(void *addr, size_t bytes) {
    for (size_t done = 0; done < bytes; done += QUARRY_PAGE_SIZE)
        uncharge(quarry_core1_pages_free_at((char *)addr + done, 0));
}

void quarry_split_page(struct quarry_page *page, unsigned order) { quarry_core1_pages_split(page, order); }

unsigned quarry_page_shift(void) { return (unsigned)__builtin_ctzl(quarry_core1_page_bytes()); }

struct quarry_page *quarry_virt_to_page(const void *addr) {
    return quarry_core1_page_of(addr);
}
unsigned long quarry_page_to_pfn(const struct quarry_page *page) { return quarry_core1_frame_of(page->quarry_addr); }
void quarry_get_page(struct quarry_page *page) { quarry_core1_page_get(page); }
void quarry_put_page(struct quarry_page *page) { uncharge(quarry_core1_page_put(page)); }
int quarry_page_count(const struct quarry_page *page) { return (int)quarry_core1_page_refs(page); }
struct quarry_page *quarry_compound_head(struct quarry_page *page) {
    return quarry_core1_page_head(page);
}
unsigned quarry_compound_order(const struct quarry_page *page) { return quarry_core1_page_compound_order(page); }

size_t quarry_buddyinfo(char *text, size_t cap) {
    u64 free_nr[BUDDY_ORDERS_NR];
    struct kmem_text out = {text, cap, 0};
    quarry_core1_pages_free_nr(free_nr);
    kmem_buddyinfo_row(&out, free_nr, BUDDY_ORDERS_NR);
    return out.len;
}
