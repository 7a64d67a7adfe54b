/* SPDX-License-Identifier: MIT */
/*
 * vmalloc: requests above the largest size class get a mapping of their own, 2 MiB-aligned, with a guard behind it.
 * Freed mappings are kept for a while for reuse; growth moves page tables, not bytes. Called by engine/.
 *
 *   | usable bytes, writable | what is left of a hugepage it grew into | slack for growth and guard: no access |
 *   ^ 2 MiB boundary; its hugepage record holds the region's sizes
 *
 * With the option harden what is before has no access either.
 *
 * From some hundred on, regions have no guard and are cut from lots (big/lot.h), so that the kernel has few mappings.
 *
 * Thread-safe and async-signal-safe: the one lock here, of the lots, is held for a few list operations, and a signal
 * handler on top of its holder does without lots.
 */
#ifndef QUARRY_BIG_BIG_H
#define QUARRY_BIG_BIG_H

#include "page/page.h"

/* size > 0 bytes, aligned to align (a power of two; 2 MiB at least is given). What lies beyond *ret_dirty_bytes reads
 * as zeros. NULL when memory is out. */
enum big_use { BIG_ANY, BIG_SPARSE /* expected to stay mostly untouched: no hugepages */ };
void *big_alloc(size_t size, size_t align, enum big_use use, size_t *ret_dirty_bytes);

/* The same with a mapping of its own whose memory comes from a node, by the kernel's number, or the nearest with room;
 * freed, it is not used again. */
void *big_alloc_near(size_t size, size_t align, enum big_use use, int id);
/* Whether the kernel has few enough mappings of ours for that where it is no more than a wish. */
bool big_may_place(void);

/* p: as big_alloc returned it. False when it is no live region: not ours, inside one, or freed already. In an atomic
 * context it is without system call: the mapping waits for big_deferred_give(), big_alloc() or big_tick(), by somebody
 * who may block. */
bool big_free(void *p);
void big_deferred_give(void);
/* Usable bytes of a live region, 0 for anything else. */
size_t big_usable(const void *p);
/* Grows or shrinks, moving if it must; contents are kept. NULL when memory is out, p is then unchanged. */
void *big_resize(void *p, size_t size);

enum big_where { BIG_WHERE_NONE, BIG_WHERE_START, BIG_WHERE_INTERIOR, BIG_WHERE_FREED };
enum big_where big_locate(const void *p);

/* Releases cached mappings older than the purge delay; with everything, all of them. Returns bytes released. */
enum big_effort { BIG_OLD, BIG_EVERYTHING };
size_t big_tick(u64 now_ms, enum big_effort effort);
/* Gives address space back that holds no memory and lies between regions. Returns bytes of it. */
size_t big_release(void);

/* Usable bytes of live regions and areas. Racy. */
u64 big_live_bytes_racy(void);
/* Of those, and of freed regions that are kept: bytes, and how many. */
extern HIDDEN _Atomic(u64) big_held_bytes, big_held_nr;

struct big_stats {
    u64 live_bytes, regions, cached_bytes;
};
void big_stats_get(struct big_stats *ret_stats);

/* Option harden: frees p as big_free does, but takes the memory and the access from it and keeps its addresses from
 * others for a while. In an atomic context it is big_free. */
bool big_retire(void *p);
/* What a fault at p says: START, p is in a guard of the live region that is returned; FREED, in a retired one.
 * Async-signal-safe. */
enum big_where big_locate_guard(const void *p, char **ret_addr, size_t *ret_bytes);

/* Calls fn for each freed region that is kept; one that comes or goes meanwhile may be missed, or be gone. fn must not
 * allocate. */
void big_cached_each(void (*fn)(void *arg, char *addr, size_t bytes), void *arg);

void big_fork_mark(void);
void big_fork_lose(void);
void big_fork_prepare(enum rt_fork_from from);
void big_fork_let_go(void);
void big_fork_done(enum rt_fork_side side);

#endif
