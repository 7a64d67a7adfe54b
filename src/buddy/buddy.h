/* SPDX-License-Identifier: MIT */
/*
 * The page allocator: 2^order contiguous pages, naturally aligned, as the kernel's alloc_pages gives them. Blocks of
 * 2 MiB come from the page tier and are split and merged as buddies; larger requests are mappings. Each page has a
 * record, struct buddy_page, found from its address and leading back to it. Called by engine/ for libquarry-kmem.
 *
 * A page is what the kernel maps; with 4 KiB pages a block is of order 9, and order 10 a mapping.
 *
 * Every function is thread-safe and async-signal-safe. Allocation and free of pages of a block are lock-free; the page
 * tier's lock is taken, for a whole block at a time, where no block has room (buddy_alloc) and where one became free.
 * Misuse is reported and aborts.
 */
#ifndef QUARRY_BUDDY_BUDDY_H
#define QUARRY_BUDDY_BUDDY_H

#include "page/node.h"
#include "page/page.h"

enum { BUDDY_ORDER_MAX = 10, BUDDY_ORDERS_NR = BUDDY_ORDER_MAX + 1 };

/* One for each page of a block, consecutive in the order of the pages. 64 bytes, as the kernel's. */
struct buddy_page {
    u64 user[6];       /* the program's */
    _Atomic(u64) word; /* who has it: states.h */
    char *addr;
};
_Static_assert(sizeof(struct buddy_page) == CACHE_LINE, "a page's record is a cache line");

enum buddy_flags {
    BUDDY_ZERO = 1,     /* zeroed */
    BUDDY_COMPOUND = 2, /* get, put and count through any of the pages mean the whole */
    BUDDY_AT_HAND = 4,  /* from the blocks there are, or not at all: no system call, no lock */
    BUDDY_DMA = 8,      /* physically contiguous, and kept where they are; up to a block's order; of any node */
    BUDDY_STRICT = 16,  /* of the node, or not at all */
    /* How long they will be used: pages of one kind come from blocks of their own, so that blocks of short-lived ones
     * become free as a whole; from others' where there is no other room. Neither: for good. */
    BUDDY_RECLAIMABLE = 32,
    BUDDY_MOVABLE = 64,
    BUDDY_RESERVE = 128,  /* where there are none else at hand, of the reserve, if any; not with BUDDY_DMA */
    BUDDY_NODE_SHIFT = 8, /* from here on the index of the node whose memory is wanted */
};
static inline unsigned buddy_flags_node(unsigned flags) { return flags >> BUDDY_NODE_SHIFT; }
static inline unsigned buddy_flags_on(unsigned flags, unsigned node) {
    return (flags & (((unsigned)1 << BUDDY_NODE_SHIFT) - 1)) | node << BUDDY_NODE_SHIFT;
}

/* The first of 2^order pages, with one reference, its user words zero. NULL: order above BUDDY_ORDER_MAX, memory is
 * out, limit_hard, or in a signal handler on top of the page lock's holder when no block has room. */
struct buddy_page *buddy_alloc(unsigned order, unsigned flags);
/* The pages become somebody's, by a number that means nothing here, 0 for nobody's; and who frees is told. By who
 * allocated them, before anybody else has them. */
void buddy_own(struct buddy_page *page, u16 owner);
/* Pages a call freed, and whose they were. */
struct buddy_given {
    u32 owner, pages_nr;
};
/* Drops the reference of the first page; the last one frees 2^order pages, which must be those that were allocated.
 * Where another reference remains all but the first page are freed at once, unless they are compound. */
struct buddy_given buddy_free(struct buddy_page *page, unsigned order);
/* Makes 2^order pages that are not compound as many allocations of one page, each with a reference, and with the same
 * owner. */
void buddy_split(struct buddy_page *page, unsigned order);

/* References. Of a compound allocation any page stands for the first. */
void buddy_get(struct buddy_page *page);
/* The last one frees: the page, or all of a compound allocation. */
struct buddy_given buddy_put(struct buddy_page *page);
unsigned buddy_refs_racy(const struct buddy_page *page);
struct buddy_page *buddy_head(struct buddy_page *page);
/* Order it was allocated with, 0 for any but the first page. */
unsigned buddy_order(const struct buddy_page *page);
/* The same of compound allocations alone. */
unsigned buddy_compound_order(const struct buddy_page *page);

/* Record of the page an address lies in, allocated or free; NULL where there are no blocks. */
struct buddy_page *buddy_page_of(const void *p);

/* Gives the wholly free blocks back that frees in atomic contexts (rt/context.h) left where they are. */
void buddy_retire_due(void);
/* Fills the reserve of pages up to what the reserve option says, on each node in use; may enter the system. The first
 * call makes it; from then on what is taken of it is noted as RT_CHORE_RESERVE. Nothing where another thread fills, or
 * on top of the page lock's holder. */
void buddy_reserve_fill(void);
/* Gives wholly free blocks back, and the memory of free pages in others: of those quiet for the purge delay, or of all.
 */
enum buddy_effort { BUDDY_OLD, BUDDY_EVERYTHING };
void buddy_tick(u64 now_ms, enum buddy_effort effort);

/* Bus address of DMA memory, that is its physical one, when all of [p, p + bytes) is in one block of it; else
 * BUDDY_NO_DMA. */
#define BUDDY_NO_DMA (~(u64)0)
u64 buddy_dma_address(const void *p, size_t bytes);
/* Why a request for DMA memory was last refused by the system, for a message; NULL: none was. */
const char *buddy_dma_refusal(void);

/* Racy. DMA memory and pages of mappings (orders above a block's) are not in it: big/ counts them. */
struct buddy_stats {
    u64 blocks, live_bytes, free_bytes /* and backed */, unbacked_bytes /* and free */;
    u64 reserve_bytes;            /* free and backed, of the reserve; in none of the others, nor in free_nr */
    u64 free_nr[BUDDY_ORDERS_NR]; /* free blocks of each order that are no part of a larger one */
};
void buddy_stats_get(struct buddy_stats *ret_stats);

#endif
