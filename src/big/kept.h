/* SPDX-License-Identifier: MIT */
/* Private to big/: the places of freed regions that are kept for reuse. Lock-free; how much is kept, and for how long,
 * is cache.c's business. */
#ifndef QUARRY_BIG_KEPT_H
#define QUARRY_BIG_KEPT_H

#include "big/most.h"
#include "page/page.h"

/* h, withdrawn and the caller's, goes to a place. False: none is free. */
bool kept_put(const struct hpage *h, u64 now_ms);
/* The address of the region nearest to bytes of those that hold them, or have the addresses for them, aligned to align
 * (a power of two); it is the caller's from then on. NULL: none. */
char *kept_take(size_t bytes, size_t align);
/* The same of the one that was put first, if that was at until_ms or before. */
char *kept_take_oldest(u64 until_ms);

size_t kept_bytes_racy(void);
unsigned kept_regions_racy(void);
void kept_each(void (*fn)(void *arg, char *addr, size_t bytes), void *arg);

/*
 * What is in a place is one word: address, size, and how far the addresses go beyond that. 0: it is empty. What no word
 * has room for is not kept: 512 GiB, or an address above 48 bits.
 */
enum { KEPT_SIZE_SHIFT = 12, KEPT_SIZE_BITS = 27, KEPT_SLACK_BITS = 10 };

static inline size_t kept_word_bytes(u64 word) {
    return (size_t)(word % ((u64)1 << KEPT_SIZE_BITS)) << KEPT_SIZE_SHIFT;
}
static inline char *kept_word_addr(u64 word) {
    return (char *)(uintptr_t)(word >> (KEPT_SIZE_BITS + KEPT_SLACK_BITS)
                                           << HPAGE_SHIFT); // NOLINT(performance-no-int-to-ptr)
}

/* For obs/view.h. */
extern HIDDEN _Atomic(u64) kept_words[KEPT_NR];

#endif
