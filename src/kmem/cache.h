/* SPDX-License-Identifier: MIT */
/* Private to kmem/: what a slab cache is. */
#ifndef QUARRY_KMEM_CACHE_PRIVATE_H
#define QUARRY_KMEM_CACHE_PRIVATE_H

#include "kmem/kmem.h"

#pragma GCC visibility push(default)
#include "quarry/kmem_cache.h"
#pragma GCC visibility pop

/* Of a cache whose slabs are pages (paged.h). */
struct kmem_paged_slab;
struct kmem_paged {
    unsigned objs_per_slab, order; /* objs_per_slab 0: the cache is none of these */
    size_t slab_bytes;
    struct kmem_paged_slab *_Atomic slabs;
    _Atomic(u64) idle;             /* of those, records without pages: paged.c */
    _Atomic(u32) slabs_nr, out_nr; /* slabs with pages; objects */
};

struct quarry_kmem_cache {
    struct quarry_core1_class class;     /* first: what the inline forms of the headers pass to the heap */
    struct quarry_core1_class heap;      /* the class itself; in class is a handle where the cache is debugged */
    struct kmem_debug *debug;            /* NULL where it is not */
    struct quarry_kmem_cache *accounted; /* where its charged objects come from; NULL: it has none */
    unsigned object_bytes;               /* the largest of those merged */
    unsigned slot_bytes, align_bytes;
    quarry_slab_flags_t flags;
    unsigned users; /* names that were merged into it: it is destroyed as often */
    struct quarry_kmem_cache_args args;
    struct kmem_paged paged;
    char *name;
    struct quarry_kmem_cache *next; /* on the list of caches, or of those that wait to be used again */
};

/* Of SLAB_TYPESAFE_BY_RCU (grace.c). prepare: false where there are no grace periods; their slabs are never given back
 * then. shrink: all that are wholly free go back after one. wait: waits for one. */
bool kmem_grace_prepare(void) __attribute__((weak));
void kmem_grace_shrink(void) __attribute__((weak));
void kmem_grace_wait(void) __attribute__((weak));
void kmem_grace_fork_child(void) __attribute__((weak));

/* Of the caches that kmalloc has when it is debugged: kept in their flags, no program's. */
#define KMEM_SLAB_KMALLOC 0x1000u

/* Of the caches that charged objects come from (accounted.c), no program's either. */
#define KMEM_SLAB_ACCOUNTED 0x8000000u
/* Whose slabs are pages for devices. */
#define KMEM_SLAB_ZONES (QUARRY_SLAB_CACHE_DMA | QUARRY_SLAB_CACHE_DMA32)
static inline bool kmem_cache_is_paged(const struct quarry_kmem_cache *s) { return s->paged.objs_per_slab != 0; }
/* Gives all caches of SLAB_ACCOUNT, and those made from now on, one for charged objects. False: not all, for want of
 * memory or classes; it may be called again. */
bool kmem_caches_account(void);

/* A cache of arguments that are known to be good; NULL: no memory, or no class left. As much effort as of GFP_KERNEL.
 */
struct quarry_kmem_cache *kmem_cache_new(const char *name, unsigned size, struct quarry_kmem_cache_args *args,
                                         quarry_slab_flags_t flags);

/* Whether an object of s for these flags is to be charged to this thread's account. */
bool kmem_cache_charges(const struct quarry_kmem_cache *s, quarry_gfp_t flags);

/* Whether there is a cache of these flags and arguments. */
bool kmem_cache_args_valid(unsigned size, const struct quarry_kmem_cache_args *args, quarry_slab_flags_t flags);
/* The cache at *at, which is made by the first who asks, of several at once too. It is made without asking shrinkers;
 * what memory lacks is asked for by effort, with nothing held, and it is tried once more. With no effort there is one
 * try, and none while another cache is being made or destroyed, which may be this very thread's doing. NULL: as above.
 */
enum { KMEM_CACHE_NO_EFFORT = 0 };
struct quarry_kmem_cache *kmem_cache_new_once(struct quarry_kmem_cache *_Atomic *at, const char *name, unsigned size,
                                              struct quarry_kmem_cache_args *args, quarry_slab_flags_t flags,
                                              quarry_gfp_t effort);

/* An object for who has another place to ask: no retries, and no reserve. Not of a node. */
void *kmem_cache_alloc_once(struct quarry_kmem_cache *s, quarry_gfp_t flags);

/* p, an object of s or NULL, zeroed where the flags ask for it, about which there is a warning if s has a constructor.
 */
void *kmem_cache_zeroed(const struct quarry_kmem_cache *s, quarry_gfp_t flags, void *p);

/* An object of kmalloc's caches for __GFP_RECLAIMABLE (buckets.c), by kmem_cache_alloc_once(). NULL: it is to come from
 * where others do. */
void *kmem_reclaimable_kmalloc(size_t size, quarry_gfp_t flags);

/* Appends the name of the cache whose class it is; false: there is none, or the list of caches is being changed. */
bool kmem_cache_name_of(unsigned id, struct kmem_text *out);

/* The report of objects that are out when their cache is destroyed, in the kernel's form. caller: the address in the
 * program that destroys it. */
void kmem_leak_report(const struct quarry_kmem_cache *s, size_t objs, const void *caller);

/* Calls fn while no cache is made or destroyed; in it, each for those there are, newest first. */
void kmem_caches_locked(void (*fn)(void *arg), void *arg);
void kmem_caches_each(void (*fn)(void *arg, const struct quarry_kmem_cache *s), void *arg);

/* Counters of its class, or of its slabs where these are pages. */
void kmem_cache_look(const struct quarry_kmem_cache *s, struct quarry_core1_class_info *ret_info);

/* One line, printf's way, at most 256 bytes. */
void kmem_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
