/* SPDX-License-Identifier: MIT */
/* Allocations of pages: their records, references, and what is wrong with a free. Where pages come from is block.c. */
#include "big/big.h"
#include "buddy/block.h"
#include "buddy/states.h"
#include "rt/misuse.h"
#include "sys/sys.h"

#include <string.h>

static buddy_state_t state_load(const struct buddy_page *page) {
    return (buddy_state_t){atomic_load_explicit(&page->word, memory_order_relaxed)};
}

/* By the owner of the page. relaxed: who else has its address got it from this thread. */
static void state_store(struct buddy_page *page, buddy_state_t s) {
    atomic_store_explicit(&page->word, s.bits, memory_order_relaxed);
}

/* order: release: what this thread did to the pages; acquire: and what those did that let go before, for the one who
 * frees. pairs: [buddy.refs] */
static bool state_swap(struct buddy_page *page, buddy_state_t *old, buddy_state_t next) {
    return atomic_compare_exchange_weak_explicit(&page->word, &old->bits, next.bits, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

static struct buddy_block *block_of_page(const struct buddy_page *page) { return block_of(page->addr); }
static unsigned idx_of(const struct buddy_block *b, const struct buddy_page *page) {
    return (unsigned)(page - b->pages);
}

struct buddy_page *buddy_page_of(const void *p) {
    struct buddy_block *b = block_of(p);
    return b == NULL ? NULL : &b->pages[(size_t)((const char *)p - b->addr) >> block_page_shift()];
}

/* --- records --- */

static void records_claim(struct buddy_page *page, unsigned order, unsigned flags) {
    bool compound = (flags & BUDDY_COMPOUND) != 0 && order > 0;
    memset(page->user, 0, sizeof(page->user));
    for (unsigned i = 1; compound && i < 1u << order; i++)
        state_store(page + i, buddy_state(BUDDY_TAIL, order, 0));
    state_store(page, buddy_state(compound ? BUDDY_HEAD_COMPOUND : BUDDY_HEAD, order, 1));
}

static void tails_clear(struct buddy_page *page, unsigned order) {
    for (unsigned i = 1; i < 1u << order; i++)
        state_store(page + i, buddy_state(BUDDY_REST, 0, 0));
}

struct buddy_page *buddy_head(struct buddy_page *page) {
    buddy_state_t s = state_load(page);
    if (buddy_state_kind(s) != BUDDY_TAIL)
        return page;
    struct buddy_block *b = block_of_page(page);
    return &b->pages[round_down(idx_of(b, page), (size_t)1 << buddy_state_order(s))];
}

unsigned buddy_order(const struct buddy_page *page) {
    buddy_state_t s = state_load(page);
    return buddy_state_is_head(s) ? buddy_state_order(s) : 0;
}

unsigned buddy_compound_order(const struct buddy_page *page) {
    buddy_state_t s = state_load(page);
    return buddy_state_kind(s) == BUDDY_HEAD_COMPOUND ? buddy_state_order(s) : 0;
}

unsigned buddy_refs_racy(const struct buddy_page *page) {
    return buddy_state_refs(state_load(buddy_head((struct buddy_page *)(uintptr_t)page)));
}

/* --- misuse --- */

/* A page whose record is not of a head: inside an allocation, or free. */
COLD static _Noreturn void report_page(const struct buddy_page *page) {
    const struct buddy_block *b = block_of_page(page);
    if (b == NULL)
        rt_misuse(MISUSE_DOUBLE_FREE, page->addr, 0, "released");
    for (unsigned order = 1; order <= BUDDY_ORDER_MAX; order++) {
        const struct buddy_page *head = &b->pages[round_down(idx_of(b, page), (size_t)1 << order)];
        buddy_state_t s = state_load(head);
        if (head != page && buddy_state_is_head(s) && buddy_state_order(s) >= order)
            rt_misuse(MISUSE_INTERIOR, page->addr, sys_page_bytes() << buddy_state_order(s), "pages");
    }
    rt_misuse(MISUSE_DOUBLE_FREE, page->addr, 0, "pages");
}

static buddy_state_t head_load(const struct buddy_page *page) {
    buddy_state_t s = state_load(page);
    if (UNLIKELY(!buddy_state_is_head(s)))
        report_page(page);
    return s;
}

COLD static _Noreturn void report_order(const struct buddy_page *page, buddy_state_t s) {
    rt_misuse(MISUSE_ORDER, page->addr, sys_page_bytes() << buddy_state_order(s), "pages");
}

/* --- mappings, for orders above a block's --- */

static struct buddy_page *mapping_alloc(unsigned order, unsigned flags, bool *ret_zero) {
    size_t bytes = sys_page_bytes() << order, dirty_bytes = 0;
    char *p = page_nodes_nr() == 1 ? big_alloc(bytes, bytes, BIG_ANY, &dirty_bytes)
                                   : big_alloc_near(bytes, bytes, BIG_ANY, page_node_id(buddy_flags_node(flags)));
    if (p == NULL)
        return NULL;
    struct buddy_block *b = block_describe(p, order);
    if (b == NULL) {
        (void)big_free(p);
        return NULL;
    }
    *ret_zero = dirty_bytes == 0;
    return b->pages;
}

/* Its pages may go one by one, after a split; the mapping goes with the last. */
static void mapping_give(struct buddy_block *b, unsigned order) {
    u32 nr = 1u << order;
    /* order: release and acquire: what the others did to their pages comes before the mapping goes. pairs: [buddy.left]
     */
    if (atomic_fetch_sub_explicit(&b->left_nr, nr, memory_order_acq_rel) != nr)
        return;
    char *addr = b->addr;
    block_forget(b, bits_log2_up(b->pages_nr));
    (void)big_free(addr);
}

/* --- allocation and free --- */

struct buddy_page *buddy_alloc(unsigned order, unsigned flags) {
    bool zero = false;
    struct buddy_page *page = NULL;
    if (LIKELY(order <= block_order()))
        page = block_take(order, flags, &zero);
    else if (order <= BUDDY_ORDER_MAX && (flags & (BUDDY_AT_HAND | BUDDY_DMA)) == 0)
        page = mapping_alloc(order, flags, &zero);
    if (page == NULL)
        return NULL;
    if ((flags & BUDDY_ZERO) != 0 && !zero)
        memset(page->addr, 0, sys_page_bytes() << order);
    records_claim(page, order, flags);
    return page;
}

/* 2^order pages without an owner. */
static void pages_give(struct buddy_page *page, unsigned order) {
    struct buddy_block *b = block_of_page(page);
    if (LIKELY(b->pages_nr == 1u << block_order()))
        block_give(b, idx_of(b, page), order);
    else
        mapping_give(b, order);
}

static void allocation_give(struct buddy_page *page, buddy_state_t was) {
    unsigned order = buddy_state_order(was);
    if (buddy_state_kind(was) == BUDDY_HEAD_COMPOUND)
        tails_clear(page, order);
    pages_give(page, order);
}

/* All of 2^order pages but the first. */
static void rest_give(struct buddy_page *page, unsigned order) {
    while (order-- > 0)
        pages_give(page + ((size_t)1 << order), order);
}

void buddy_own(struct buddy_page *page, u16 owner) { state_store(page, buddy_state_owned(state_load(page), owner)); }

/* [B3] */
static struct buddy_given given(buddy_state_t was, unsigned pages_nr) {
    return (struct buddy_given){buddy_state_owner(was), pages_nr};
}

struct buddy_given buddy_free(struct buddy_page *page, unsigned order) {
    buddy_state_t s = head_load(page);
    do {
        if (UNLIKELY(!buddy_state_is_head(s)))
            report_page(page);
        if (UNLIKELY(buddy_state_order(s) != order))
            report_order(page, s);
    } while (!state_swap(page, &s, buddy_state_free(s)));
    if (LIKELY(buddy_state_refs(s) == 1)) {
        allocation_give(page, s);
        return given(s, 1u << order);
    }
    if (buddy_state_kind(s) == BUDDY_HEAD_COMPOUND)
        return given(s, 0);
    rest_give(page, order);
    return given(s, (1u << order) - 1);
}

struct buddy_given buddy_put(struct buddy_page *page) {
    page = buddy_head(page);
    buddy_state_t s = head_load(page);
    do {
        if (UNLIKELY(!buddy_state_is_head(s)))
            report_page(page);
    } while (!state_swap(page, &s, buddy_state_put(s)));
    if (buddy_state_refs(s) != 1)
        return given(s, 0);
    allocation_give(page, s);
    return given(s, 1u << buddy_state_order(s));
}

void buddy_get(struct buddy_page *page) {
    page = buddy_head(page);
    (void)head_load(page);
    atomic_fetch_add_explicit(&page->word, 1, memory_order_relaxed);
}

void buddy_split(struct buddy_page *page, unsigned order) {
    buddy_state_t s = head_load(page);
    if (buddy_state_order(s) != order || buddy_state_kind(s) != BUDDY_HEAD)
        report_order(page, s);
    for (unsigned i = 1; i < 1u << order; i++) {
        memset(page[i].user, 0, sizeof(page[i].user));
        state_store(page + i, buddy_state_owned(buddy_state(BUDDY_HEAD, 0, 1), buddy_state_owner(s)));
    }
    while (
        !state_swap(page, &s, buddy_state_owned(buddy_state(BUDDY_HEAD, 0, buddy_state_refs(s)), buddy_state_owner(s))))
        continue;
}
