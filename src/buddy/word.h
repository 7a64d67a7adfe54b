/* SPDX-License-Identifier: MIT */
/*
 * Buddies in a word: which naturally aligned blocks of 2^order pages are free among the 64 pages whose free bits are
 * one word. Pure functions on values; block.c applies them to the words of a block, and to a word made of whole words.
 *
 *   A block of 2^k pages starts at a multiple of 2^k. Its buddy is the other half of the block of 2^(k+1) around both.
 *   Two free buddies are that larger block: nothing merges them, the bits are the merger. Splitting likewise is taking
 *   some of the bits.
 *
 * A request is served out of the smallest free block that holds it, so that large ones stay whole.
 */
#ifndef QUARRY_BUDDY_WORD_H
#define QUARRY_BUDDY_WORD_H

#include "base/bits.h"

enum { BUDDY_WORD_ORDER = 6, BUDDY_WORD_BITS = 1 << BUDDY_WORD_ORDER };

/* The 2^order bits at pos; order <= BUDDY_WORD_ORDER. */
static inline u64 buddy_mask(unsigned pos, unsigned order) { return bits_mask(1u << order) << pos; }

/* Bits at the multiples of 2^order. */
static inline u64 buddy_starts(unsigned order) { return ~(u64)0 / bits_mask(1u << order); }

/* From the starts of all free blocks of 2^k those of all free blocks of 2^(k + 1), both counting blocks inside larger
 * ones. */
static inline u64 buddy_pairs(u64 halves, unsigned k) {
    return k >= BUDDY_WORD_ORDER ? 0 : halves & halves >> (1u << k) & buddy_starts(k + 1);
}

static inline u64 buddy_free_starts(u64 free, unsigned order) {
    for (unsigned k = 0; k < order; k++)
        free = buddy_pairs(free, k);
    return free;
}

struct buddy_fit {
    int pos;        /* of 2^order free pages; -1: there are none */
    unsigned order; /* of the free block they are taken from */
};

/* The first of the smallest free blocks of at least 2^order. */
static inline struct buddy_fit buddy_find(u64 free, unsigned order) {
    u64 halves = buddy_free_starts(free, order);
    for (unsigned k = order; halves != 0; k++) {
        u64 pairs = buddy_pairs(halves, k);
        u64 alone = pairs == 0 ? halves : halves & ~(pairs | pairs << (1u << k));
        if (alone != 0)
            return (struct buddy_fit){(int)bits_lowest(alone), k};
        halves = pairs;
    }
    return (struct buddy_fit){-1, 0};
}

/* Order of the largest free block, or -1. */
static inline int buddy_largest(u64 free) {
    int order = -1;
    for (u64 starts = free; starts != 0; starts = buddy_pairs(starts, (unsigned)order))
        order++;
    return order;
}

/* Order of the free block around the free 2^order pages at pos. */
static inline unsigned buddy_merged(u64 free, unsigned pos, unsigned order) {
    for (; order < BUDDY_WORD_ORDER; order++) {
        pos &= ~(1u << order);
        u64 both = buddy_mask(pos, order + 1);
        if ((free & both) != both)
            break;
    }
    return order;
}

#endif
