/* SPDX-License-Identifier: MIT */
/* Private to buddy/: blocks of pages. */
#ifndef QUARRY_BUDDY_BLOCK_H
#define QUARRY_BUDDY_BLOCK_H

#include "buddy/buddy.h"
#include "buddy/word.h"

enum { BLOCK_WORDS_MAX = HPAGE_BYTES / (4 * 1024) / BUDDY_WORD_BITS };

/* A 2 MiB hugepage of the page tier, or (outside the table, its words unused) a mapping of one larger allocation. Type-
 * stable: block and page records are used again for another hugepage, never given up. */
struct buddy_block {
    u64 link; /* on the stack of unused ones, rt/pool.h */
    char *addr;
    struct buddy_page *pages; /* for ever */
    u32 index;                /* in the table of blocks */
    u32 pages_nr;
    _Atomic(u32) left_nr; /* of a mapping: pages not freed yet */
    _Atomic(u64) freed_ms;
    int pin;                                                   /* of DMA memory (dma.c) the pin */
    u64 frame;                                                 /* and its first physical page */
    _Alignas(CACHE_LINE) _Atomic(u64) free[BLOCK_WORDS_MAX];   /* a bit for each page nobody has */
    _Alignas(CACHE_LINE) _Atomic(u64) backed[BLOCK_WORDS_MAX]; /* for each that may hold memory */
};

/* Of a block's word in levels. */
enum {
    LEVEL_MASK = 0xf,
    LEVEL_KEPT = 0x10,
    LEVEL_DMA = 0x20,
    LEVEL_NODE_SHIFT = 6, /* index of the node */
    LEVEL_NODE = (SYS_NODES_MAX - 1) << LEVEL_NODE_SHIFT,
    LEVEL_RECLAIMABLE = LEVEL_NODE + (1 << LEVEL_NODE_SHIFT), /* what its pages are asked for, or neither */
    LEVEL_MOVABLE = 2 * LEVEL_RECLAIMABLE,
    LEVEL_RESERVE = 2 * LEVEL_MOVABLE, /* its free pages are the reserve's: in memory, and not purged */
    LEVEL_STEP = 2 * LEVEL_RESERVE,
};

/* Order of a block: 9 with 4 KiB pages. */
unsigned block_order(void);
unsigned block_page_shift(void);

/* Block of an address in pages of ours, or NULL. */
struct buddy_block *block_of(const void *p);

/* 2^order pages of some block; order <= block_order(). *ret_zero: they read as zeros. */
struct buddy_page *block_take(unsigned order, unsigned flags, bool *ret_zero);
/* And back, pages that have no owner any more. */
void block_give(struct buddy_block *b, unsigned idx, unsigned order);

bool block_is_dma(const struct buddy_block *b);
/* A hugepage that is physically contiguous and pinned, or NULL; and back. The others' pages never come from one. */
char *dma_hugepage_make(int *ret_pin, u64 *ret_frame);
void dma_hugepage_release(char *addr, int pin);

/* Where blocks lie, for obs/view.h: by index, blocks and their levels. */
struct buddy_view {
    const _Atomic(meta_ref_t) *table;
    const _Atomic(u32) *levels;
    const _Atomic(u32) *blocks_nr;
};
extern HIDDEN const struct buddy_view buddy_view;

/* Records for a mapping of 2^order pages at addr, and their end. */
struct buddy_block *block_describe(char *addr, unsigned order);
void block_forget(struct buddy_block *b, unsigned order);

#endif
