/* SPDX-License-Identifier: MIT */
/*
 * The word of a page's record: who has the page, in one value that is only replaced whole. Pure functions; pages.c
 * applies them by compare-and-swap.
 *
 *                 alloc               split, or the rest after a free with references left
 *   FREE/REST ------------> HEAD k ------------------------> HEAD 0 each
 *      ^                      | last reference
 *      +----------------------+
 *
 *   [B1] An allocation of 2^k pages has one HEAD, its first page, with k and the references; its other pages are TAIL
 *        if it is compound, else REST. A page that is free is REST.
 *   [B2] The thread whose swap takes a HEAD's last reference frees the pages, and no other does.
 *   [B3] A HEAD's owner is that of all its pages, and goes with the word: what a swap took away says whose the pages
 *        were that it freed. Splitting leaves it to each part.
 */
#ifndef QUARRY_BUDDY_STATES_H
#define QUARRY_BUDDY_STATES_H

#include "base/types.h"

enum buddy_kind { BUDDY_REST = 0, BUDDY_HEAD, BUDDY_HEAD_COMPOUND, BUDDY_TAIL };

/* references | order << 32 | kind << 40 | owner << 48. A TAIL's order is its head's. */
typedef struct {
    u64 bits;
} buddy_state_t;

enum {
    BUDDY_STATE_ORDER_SHIFT = 32,
    BUDDY_STATE_KIND_SHIFT = 40,
    BUDDY_STATE_OWNER_SHIFT = 48,
    BUDDY_STATE_BYTE_MASK = 0xff
};

static inline buddy_state_t buddy_state(enum buddy_kind kind, unsigned order, u32 refs) {
    return (buddy_state_t){refs | (u64)order << BUDDY_STATE_ORDER_SHIFT | (u64)kind << BUDDY_STATE_KIND_SHIFT};
}
static inline enum buddy_kind buddy_state_kind(buddy_state_t s) {
    return (enum buddy_kind)((unsigned)(s.bits >> BUDDY_STATE_KIND_SHIFT) & BUDDY_STATE_BYTE_MASK);
}
static inline unsigned buddy_state_order(buddy_state_t s) {
    return (unsigned)(s.bits >> BUDDY_STATE_ORDER_SHIFT) & BUDDY_STATE_BYTE_MASK;
}
static inline u32 buddy_state_refs(buddy_state_t s) { return (u32)s.bits; }
/* 0: nobody's. */
static inline u16 buddy_state_owner(buddy_state_t s) { return (u16)(s.bits >> BUDDY_STATE_OWNER_SHIFT); }
static inline buddy_state_t buddy_state_owned(buddy_state_t s, u16 owner) {
    return (buddy_state_t){(s.bits & (((u64)1 << BUDDY_STATE_OWNER_SHIFT) - 1)) | (u64)owner
                                                                                      << BUDDY_STATE_OWNER_SHIFT};
}
static inline bool buddy_state_is_head(buddy_state_t s) {
    return buddy_state_kind(s) == BUDDY_HEAD || buddy_state_kind(s) == BUDDY_HEAD_COMPOUND;
}

/* One reference less; a HEAD that loses its last is REST. */
static inline buddy_state_t buddy_state_put(buddy_state_t s) {
    return buddy_state_refs(s) == 1 ? (buddy_state_t){0} : (buddy_state_t){s.bits - 1};
}
/* The same by a free that names the whole: of what is not compound only the first page is left. */
static inline buddy_state_t buddy_state_free(buddy_state_t s) {
    s = buddy_state_put(s);
    return buddy_state_kind(s) != BUDDY_HEAD
               ? s
               : buddy_state_owned(buddy_state(BUDDY_HEAD, 0, buddy_state_refs(s)), buddy_state_owner(s));
}

#endif
