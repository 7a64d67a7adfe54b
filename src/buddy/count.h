/* SPDX-License-Identifier: MIT */
/* What the words of one block of pages add to the figures, for whoever has read them: block.c of its own process, the
 * quarry command of another. Pure. */
#ifndef QUARRY_BUDDY_COUNT_H
#define QUARRY_BUDDY_COUNT_H

#include "buddy/block.h"

/* Free blocks of orders 0 to last that are no part of a larger one; starts: of all of order 0. */
static inline void buddy_count_orders(u64 *free_nr, u64 starts, unsigned last) {
    for (unsigned k = 0; k <= last; k++) {
        u64 pairs = k == last ? 0 : buddy_pairs(starts, k);
        free_nr[k] += bits_count(starts & ~(pairs | pairs << (1u << k)));
        starts = pairs;
    }
}

/* free, backed: the words of a block of 2^order pages. */
static inline void buddy_count_add(struct buddy_stats *s, const u64 *free, const u64 *backed, unsigned order,
                                   unsigned page_shift) {
    unsigned word_order = MIN(order, (unsigned)BUDDY_WORD_ORDER), words_nr = 1u << (order - word_order);
    u64 full = bits_mask(1u << word_order), whole = 0;
    for (unsigned w = 0; w < words_nr; w++) {
        s->live_bytes += (u64)bits_count(~free[w] & full) << page_shift;
        s->free_bytes += (u64)bits_count(free[w] & backed[w]) << page_shift;
        s->unbacked_bytes += (u64)bits_count(full & ~backed[w]) << page_shift;
        if (free[w] == full)
            whole |= (u64)1 << w;
        else
            buddy_count_orders(s->free_nr, free[w], word_order - 1);
    }
    buddy_count_orders(s->free_nr + word_order, whole, order - word_order);
}

/* The same of a block of the reserve, whose pages without memory nobody is given. */
static inline void buddy_count_reserve(struct buddy_stats *s, const u64 *free, const u64 *backed, unsigned order,
                                       unsigned page_shift) {
    unsigned word_order = MIN(order, (unsigned)BUDDY_WORD_ORDER), words_nr = 1u << (order - word_order);
    u64 full = bits_mask(1u << word_order);
    for (unsigned w = 0; w < words_nr; w++) {
        s->live_bytes += (u64)bits_count(backed[w] & ~free[w]) << page_shift;
        s->reserve_bytes += (u64)bits_count(backed[w] & free[w]) << page_shift;
        s->unbacked_bytes += (u64)bits_count(full & ~backed[w]) << page_shift;
    }
}

#endif
