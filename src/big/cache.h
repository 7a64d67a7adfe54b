/* SPDX-License-Identifier: MIT */
/* Private to big/: how much of what is freed is kept for reuse, and for how long. */
#ifndef QUARRY_BIG_CACHE_H
#define QUARRY_BIG_CACHE_H

#include "page/page.h"

/* Regions and areas that came, or went (negative), and their bytes. */
void big_count(s64 regions_nr, s64 bytes);

/* A withdrawn region that is counted still, whose mapping is the nearest to bytes of those that hold them, aligned to
 * align; it is the caller's. NULL: none. */
struct hpage *big_cache_take(size_t bytes, size_t align);
/* False: the cache does not want it; the caller drops it. */
bool big_cache_put(const struct hpage *h);
/* Counts it no more, and gives it back. */
void big_region_drop(struct hpage *h);
/* Gives a withdrawn region back to its lot, or to the system, of whose memory so much is counted as used. */
void big_region_release(struct hpage *h, size_t counted_bytes);

struct hpage *big_record(const void *p);

#endif
