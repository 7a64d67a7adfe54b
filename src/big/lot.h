/* SPDX-License-Identifier: MIT */
/*
 * Private to big/: lots, large pieces of writable address space from which regions are cut once there are many, so that
 * the kernel keeps few mappings however many regions there are. Whole hugepages, without guards. Any thread; a signal
 * handler on top of this layer is refused.
 */
#ifndef QUARRY_BIG_LOT_H
#define QUARRY_BIG_LOT_H

#include "page/page.h"

/* Hugepages are asked for a lot as a whole: neighbours that differ in that would be two mappings. */
enum lot_kind { LOT_PLAIN, LOT_HUGE, LOT_KINDS_NR };

/* In hpage.big_flags, with BIG_AREA of big/area.h. A free extent has its length in the first record (big_reserve_bytes)
 * and in the last (big_seq, in hugepages). */
enum { LOT_FREE_FIRST = 1, LOT_FREE_LAST = 2, LOT_REGION = 4, LOT_IS_HUGE = 8, BIG_IS_PLACED = 32, BIG_IS_NEW = 128 };

/* Whoever gives or takes an extent looks at the records on both sides, which may be a region's: its owner writes the
 * flags meanwhile, and never one of the two that say "free". */
static inline u32 lot_flags(const struct hpage *h) { return __atomic_load_n(&h->big_flags, __ATOMIC_RELAXED); }
static inline void lot_flags_set(struct hpage *h, u32 flags) {
    __atomic_store_n(&h->big_flags, flags, __ATOMIC_RELAXED);
}
static inline enum lot_kind lot_kind_of(const struct hpage *h) {
    return (lot_flags(h) & LOT_IS_HUGE) != 0 ? LOT_HUGE : LOT_PLAIN;
}

/* bytes (a multiple of 2 MiB), aligned to align (a power of two, 2 MiB at least), writable, reading as zeros; covered
 * by chunks. NULL: memory or address space is out. */
char *lot_take(size_t bytes, size_t align, enum lot_kind kind);
/* The same bytes right behind what the caller has, from end on; false: they are not free. */
bool lot_extend(char *end, size_t bytes, enum lot_kind kind);
/* Gives any part of a lot back, which must hold no memory. False: not now; the caller unmaps it. */
bool lot_give(char *p, size_t bytes, enum lot_kind kind);
/* Unmaps what is free. Returns bytes of address space. */
size_t lot_release(void);
size_t lot_free_bytes_racy(void);

void lot_fork_mark(void);
void lot_fork_lose(void);
void lot_fork_prepare(enum rt_fork_from from);
void lot_fork_let_go(void);
void lot_fork_done(enum rt_fork_side side);

#endif
