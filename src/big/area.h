/* SPDX-License-Identifier: MIT */
/*
 * Areas: the kernel's vmalloc. A mapping for each, exact in pages, with an inaccessible page behind it whatever their
 * number, known by every address in it and not by its first alone. Called by engine/ for libquarry-kmem; what malloc
 * gets for large requests is big.h. Thread-safe, lock-free and async-signal-safe.
 */
#ifndef QUARRY_BIG_AREA_H
#define QUARRY_BIG_AREA_H

#include "page/page.h"

enum area_flags {
    AREA_HUGE = 1, /* hugepages from 2 MiB on */
    AREA_LOW = 2,  /* at an address below 4 GiB */
    AREA_USER = 4, /* by a name that says it may be mapped for users: kept for views alone */
};
enum { AREA_ANY_NODE = -1 };
/* In hpage.big_flags, see big/lot.h: the record is an area's, and that of one of AREA_USER. */
enum { BIG_AREA = 16, BIG_AREA_USER = 64 };

/* size > 0 bytes, zeroed, at a multiple of align (a power of two; a page at least). node: where its memory should lie,
 * or AREA_ANY_NODE. caller: for big_areas_each. NULL: memory, address space or limit_hard. */
void *big_area_alloc(size_t size, size_t align, unsigned flags, int node, const void *caller);
/* False: no start of a live area. In an atomic context as big_free(). */
bool big_area_free(void *p);
/* Bytes of the area that starts at p; 0: none does. */
size_t big_area_bytes(const void *p);
/* Gives back, or adds zeroed, pages at the end; moves the area if it must. NULL: p is unchanged. */
void *big_area_resize(void *p, size_t size);

static ALWAYS_INLINE bool big_in_area(const void *p) { return page_map_get(p) % PAGE_MAP_CLASSES == PAGE_MAP_VMALLOC; }

/* Every area, by address; racy. fn must neither allocate nor free areas. */
struct area_info {
    const void *addr, *caller;
    size_t bytes;
    bool is_user; /* AREA_USER */
};
void big_areas_each(void (*fn)(void *arg, const struct area_info *info), void *arg);

#endif
