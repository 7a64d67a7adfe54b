/* SPDX-License-Identifier: MIT */
/*
 * quarry's own memory: one reservation holds the page map, the chunk table and a pool from which every record, bitmap
 * and magazine is cut. Nothing taken from the pool ever goes back to the system, so its blocks are type-stable: a
 * lock-free reader may look at one that was freed meanwhile, finds a stale value, and fails its compare-and-swap.
 * Called by page/, slab/ and mag/.
 *
 *   | fence | page map, 4 bytes a granule, read-only until used | pool ------> | chunk table, 4 bytes a chunk | fence |
 *
 * Fences have no access, nor has the pool where it is not used yet: what runs over from a mapping beside it ends there.
 * The pool begins with a word for each id of a CPU, which are mag/'s: free finds them and the map from one address.
 */
#ifndef QUARRY_RT_META_H
#define QUARRY_RT_META_H

#include "base/types.h"

/* A place in the pool, in units of META_UNIT bytes from its base; 0 is no place. Half a pointer, so that a tag fits
 * beside it. */
typedef u32 meta_ref_t;

#define META_UNIT_SHIFT 4
#define META_UNIT ((size_t)1 << META_UNIT_SHIFT)

struct rt_meta {
    u32 *map_end;                /* of the page map: what each granule of the address space is, see page/page.h */
    u64 map_ones;                /* index of an address, from there: (p >> GRANULE_SHIFT) | map_ones, a negative one */
    _Atomic(meta_ref_t) *chunks; /* chunk table, see page/page.h */
    u64 chunks_mask;             /* index of an address: (p >> CHUNK_SHIFT) & chunks_mask */
    char *base;                  /* of the pool; NULL: not started, and map_end is a stand-in's */
    size_t reserved_bytes;
    size_t limit_bytes;
    u32 ids_nr;   /* of CPUs, as many as the system may ever have */
    bool limited; /* RLIMIT_AS is finite: address space is scarce */
    /* What is above is read-only after start (engine/sealed.S). */
    _Atomic(u64) used_bytes;
    _Atomic(u64) committed_bytes;
};

extern HIDDEN struct rt_meta rt_meta;

/* Where an address, any value whatever, is in it, from its end. */
static ALWAYS_INLINE s64 rt_meta_map_index(const struct rt_meta *m, uintptr_t address) {
    return (s64)(address >> GRANULE_SHIFT | m->map_ones);
}
/* The page map from its beginning; how many entries it has, a power of two. */
static inline u32 *rt_meta_map(const struct rt_meta *m) { return m->map_end + (s64)m->map_ones; }
static inline u64 rt_meta_map_nr(const struct rt_meta *m) { return -m->map_ones; }

#define CHUNK_SHIFT 28

/* Whether p lies in any of it. */
bool rt_meta_has(const void *p);

/* Reserves everything. Called once, before any other thread can be here. 0 or -ENOMEM. */
int rt_meta_init(void);

/* Zeroed bytes, aligned to align (a power of two, <= page size), never freed. NULL when the pool is exhausted,
 * and where that would take a system call in an atomic context (rt/context.h). Lock-free. */
void *rt_meta_alloc(size_t bytes, size_t align);

/* Makes bytes more usable without a system call for records near a node, for atomic contexts to come. Those of the
 * first node, which stand in for the others', are left to them by who may block. */
bool rt_meta_headroom(unsigned node, size_t bytes);

/* --- records of a NUMA node, by its index (page/node.h) --- */

/* From now on records near the node are in memory that prefers it, by the kernel's number; for node 0 that is all of
 * the pool but for the pieces that others get. Before, they lie where they are first touched. */
void rt_meta_near(unsigned node, unsigned id);
/* As rt_meta_alloc, near a node: cut from a piece of the pool that was placed there. From anywhere where no new piece
 * is to be had, as in an atomic context. */
void *rt_meta_alloc_near(unsigned node, size_t bytes, size_t align);

static inline void *rt_meta_at(meta_ref_t ref) { return rt_meta.base + ((size_t)ref << META_UNIT_SHIFT); }
static inline meta_ref_t rt_meta_ref(const void *p) {
    return (meta_ref_t)((size_t)((const char *)p - rt_meta.base) >> META_UNIT_SHIFT);
}

/* Makes the page map entries of [addr, addr + bytes) writable. 0 or -ENOMEM. */
int rt_meta_map_commit(const void *addr, size_t bytes);

#endif
