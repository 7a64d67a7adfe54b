/* SPDX-License-Identifier: MIT */
/* Private to big/: freed mappings kept for reuse. */
#ifndef QUARRY_BIG_CACHE_H
#define QUARRY_BIG_CACHE_H

#include "base/types.h"

struct big_entry {
    char *addr; /* NULL: the slot is free */
    size_t bytes;
    size_t reserve_bytes;
    size_t writable_bytes; /* of what lies outside lots */
    u64 freed_ms;
};

/* Regions and areas that came, or went (negative), and their bytes. */
void big_count(s64 regions_nr, s64 bytes);

/* The mapping nearest to bytes of those whose reserve holds them, aligned to align. False: none, or the cache is busy.
 */
bool big_cache_take(size_t bytes, size_t align, struct big_entry *ret_entry);
/* False: the cache does not want it (too large, or busy); the caller releases it. */
bool big_cache_put(const struct big_entry *e);
size_t big_cache_bytes_racy(void);
/* Gives a region that has no record any more back to its lot, or to the system. */
void big_region_release(const struct big_entry *e);

#endif
