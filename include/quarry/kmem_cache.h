/* SPDX-License-Identifier: MIT */
/*
 * Slab caches, sheaves and buckets of the kernel's allocation API, with a prefix; a part of <quarry/kmem.h>, which
 * includes it and has what holds for all functions. docs/kmem.md says what differs from the kernel.
 *
 * A cache has slabs of its own, and a magazine for each CPU, like a size class of malloc's. Its objects may be given to
 * quarry_kfree(), quarry_ksize() and free(), too. Facts are those of Linux 6.12 (mm/slab_common.c, mm/slub.c), and of
 * 6.18 for sheaves.
 */
#ifndef QUARRY_KMEM_CACHE_H
#define QUARRY_KMEM_CACHE_H

#include <stdbool.h>
#include <stddef.h>

struct quarry_kmem_cache;

#include <quarry/kmem.h>

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

/* --- making --- */

/* What a cache is like. The values are the kernel's (6.9 and before). */
typedef unsigned int quarry_slab_flags_t;
#define QUARRY_SLAB_HWCACHE_ALIGN 0x2000u /* to a cache line, or the smallest part of one that holds an object */
/* For short-lived objects: merges with its like alone, its slabs lie in hugepages of their own kind, so that those
 * become free as a whole, and are SReclaimable in meminfo. */
#define QUARRY_SLAB_RECLAIM_ACCOUNT 0x20000u
#define QUARRY_SLAB_PANIC 0x40000u           /* a cache that can't be made ends the program */
#define QUARRY_SLAB_TYPESAFE_BY_RCU 0x80000u /* memory stays of this type through a grace period; never merges */
#define QUARRY_SLAB_NOLEAKTRACE 0x800000u    /* objects that remain at destroy are not listed; never merges */
#define QUARRY_SLAB_NO_MERGE 0x1000000u      /* slabs of its own, whatever other caches there are */
#define QUARRY_SLAB_ACCOUNT 0x4000000u       /* objects are charged to this thread's account; merges with its like */
/* Slabs are memory for devices, as quarry_alloc_pages() gives it with __GFP_DMA, __GFP_DMA32: each object is one
 * physical piece, whose address quarry_dma_map_single() tells. Without the rights for that, allocation gives NULL, and
 * one line on stderr. No magazines, no debugging; merges with its like. */
#define QUARRY_SLAB_CACHE_DMA 0x4000u
#define QUARRY_SLAB_CACHE_DMA32 0x8000u
#define QUARRY_SLAB_TEMPORARY QUARRY_SLAB_RECLAIM_ACCOUNT
/* Debugging, as the letters of the option slab_debug (docs/kmem.md): a cache with any of these has neither magazines
 * nor is it merged. */
#define QUARRY_SLAB_CONSISTENCY_CHECKS 0x100u /* F: frees are checked, and the word beside each object */
#define QUARRY_SLAB_RED_ZONE 0x400u           /* Z: bytes before and behind each object that nobody may change */
#define QUARRY_SLAB_POISON 0x800u             /* P: objects are filled, when they are freed and before they are given */
#define QUARRY_SLAB_STORE_USER 0x10000u       /* U: who allocated and freed each object last */
#define QUARRY_SLAB_TRACE 0x200000u           /* T: each allocation and free is printed */
#define QUARRY_SLAB_FAILSLAB 0x2000000u       /* A: allocations fail as the option failslab says */
#define QUARRY_SLAB_NO_USER_FLAGS 0x10000000u /* the option slab_debug is not for this cache */

/* The largest object of a cache, and the largest alignment: KMALLOC_MAX_SIZE. Slabs of objects above 1 MiB are pages,
 * one object each, and go back with it: such objects cost what alloc_pages does. */
#define QUARRY_KMEM_CACHE_MAX_SIZE ((size_t)1 << 22)

/* All zeros is the default. */
struct quarry_kmem_cache_args {
    unsigned int align;          /* bytes, in whole words a power of two; 0: 16 */
    unsigned int useroffset;     /* of each object, what may be copied to and from users: kept, shown, never merged */
    unsigned int usersize;       /* bytes from useroffset on */
    unsigned int freeptr_offset; /* bytes; checked, and else without effect: nothing is kept inside free objects */
    bool use_freeptr_offset;     /* for QUARRY_SLAB_TYPESAFE_BY_RCU, or with a constructor (Linux 7.0), alone */
    void (*ctor)(void *);        /* called once for each object when its slab is made, not at each allocation */
    unsigned int sheaf_capacity; /* objects of a CPU's magazine, at most 510; 0: by size. Never merges */
};

/*
 * A cache for objects of size bytes, 1 to QUARRY_KMEM_CACHE_MAX_SIZE. name is copied. NULL, after a line on stderr, for
 * no name, a wrong size, alignment or flag, no memory, or when more than about 900 caches have slabs of their own;
 * QUARRY_SLAB_PANIC ends the program instead. A cache without constructor, usercopy range and sheaf_capacity may be
 * merged with one of equal size: then both names mean one cache, which quarry_kmem_cache_destroy() takes leave of once
 * for each. Takes a lock and may sleep; not for signal handlers.
 */
struct quarry_kmem_cache *quarry_kmem_cache_create(const char *name, unsigned int size, unsigned int align,
                                                   quarry_slab_flags_t flags, void (*ctor)(void *)) QUARRY_NOTHROW;
/* args may be NULL. */
struct quarry_kmem_cache *quarry_kmem_cache_create_args(const char *name, unsigned int size,
                                                        const struct quarry_kmem_cache_args *args,
                                                        quarry_slab_flags_t flags) QUARRY_NOTHROW;
struct quarry_kmem_cache *quarry_kmem_cache_create_usercopy(const char *name, unsigned int size, unsigned int align,
                                                            quarry_slab_flags_t flags, unsigned int useroffset,
                                                            unsigned int usersize, void (*ctor)(void *)) QUARRY_NOTHROW;
/* A cache named after a struct, of its size and alignment; and one whose field may be copied to and from users. */
#define QUARRY_KMEM_CACHE(type, flags)                                                                                 \
    quarry_kmem_cache_create(#type, sizeof(struct type), __alignof__(struct type), (flags), NULL)
#define QUARRY_KMEM_CACHE_USERCOPY(type, flags, field)                                                                 \
    quarry_kmem_cache_create_usercopy(#type, sizeof(struct type), __alignof__(struct type), (flags),                   \
                                      offsetof(struct type, field), sizeof(((struct type *)0)->field), NULL)
/* NULL does nothing. Objects that are still out are listed on stderr, and they, their slabs and the cache then stay for
 * good. Nobody may use the cache during the call or after it. Not for signal handlers. */
void quarry_kmem_cache_destroy(struct quarry_kmem_cache *s) QUARRY_NOTHROW;
/* Gives back what is free, while others use the cache: 0 when it holds no slab any more, else 1. */
int quarry_kmem_cache_shrink(struct quarry_kmem_cache *s) QUARRY_NOTHROW;
/* Bytes of an object, as asked for. */
unsigned int quarry_kmem_cache_size(const struct quarry_kmem_cache *s) QUARRY_NOTHROW;

/* Looks at all slots of a cache that is debugged, handed out or not, and reports and puts right what is overwritten, as
 * writing 1 to /sys/kernel/slab/CACHE/validate does; s NULL: at those of all caches that are debugged, kmalloc's too.
 * Returns in how many slots, and ends of slabs, something was found; -EINVAL where none is debugged. Nobody may use the
 * caches during the call. Not for signal handlers. */
long quarry_kmem_cache_validate(struct quarry_kmem_cache *s) QUARRY_NOTHROW;

/* Counters of a cache: exact while nobody uses it. Walks the records of the whole heap. */
struct quarry_kmem_cache_info {
    const char *name;                      /* of the first of those that were merged; valid as long as the cache */
    unsigned int object_bytes, slot_bytes; /* asked for, and from one object to the next */
    unsigned int align_bytes, aliases;     /* aliases: caches merged into this one */
    unsigned int useroffset, usersize;
    quarry_slab_flags_t flags;
    unsigned int objs_per_slab, slab_bytes;
    bool percpu;                        /* has magazines; else allocation goes to the slabs */
    size_t slabs, full, partial, empty; /* of these: all, some, none of the objects handed out or in magazines */
    size_t active_objs, cached_objs;    /* handed out; free, but in magazines */
};
void quarry_kmem_cache_info_get(struct quarry_kmem_cache *s, struct quarry_kmem_cache_info *ret_info) QUARRY_NOTHROW;

/*
 * The figures of all caches and size classes, as in /proc/slabinfo, version 2.1: caches by their names, newest first
 * (of those that were merged the first's), and malloc's size classes, which kmalloc shares, as malloc-BYTES. What a
 * destroyed cache left behind is destroyed-N. active_objs: handed out; num_objs less these: in magazines, or free in a
 * slab. active_slabs: those with an object that is not free in them. The tunables are 0. Racy; walks the records of the
 * whole heap. Writes at most cap bytes with a NUL, cut where there is no room; returns the length without cut. Takes
 * the lock of quarry_kmem_cache_create(); not for signal handlers.
 */
size_t quarry_slabinfo(char *text, size_t cap) QUARRY_NOTHROW;
/* The rows of /proc/meminfo that a heap has, in the kernel's form: KReclaimable, Slab, SReclaimable, SUnreclaim,
 * VmallocUsed, in kB (1024 bytes). Slab is that of caches and of malloc's size classes, whole slabs, whether memory is
 * behind each of their pages or not; SReclaimable that of caches with SLAB_RECLAIM_ACCOUNT. Otherwise as above. */
size_t quarry_meminfo(char *text, size_t cap) QUARRY_NOTHROW;

/* --- objects --- */

/* An object, as its constructor or its last owner left it; with __GFP_ZERO zeroed. Without __GFP_DIRECT_RECLAIM as
 * quarry_kmalloc(): without system call or waiting, out of what there is or, with __GFP_HIGH, the reserve. */
void *quarry_kmem_cache_alloc(struct quarry_kmem_cache *s, quarry_gfp_t flags) QUARRY_NOTHROW;
/* The same of a NUMA node, by the kernel's number, or the nearest with memory; with __GFP_THISNODE all of it lies on
 * that node, or NULL. Where the wish is not heard says quarry_kmalloc_node(). */
void *quarry_kmem_cache_alloc_node(struct quarry_kmem_cache *s, quarry_gfp_t flags, int node) QUARRY_NOTHROW;
/* p is any cache's object, and goes to the cache it is of, or NULL; s must be a cache. */
void quarry_kmem_cache_free(struct quarry_kmem_cache *s, void *p) QUARRY_NOTHROW;
static inline void *quarry_kmem_cache_zalloc(struct quarry_kmem_cache *s, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kmem_cache_alloc(s, flags | QUARRY___GFP_ZERO);
}
/* nr objects and nr, or 0 and none. */
int quarry_kmem_cache_alloc_bulk(struct quarry_kmem_cache *s, quarry_gfp_t flags, size_t nr,
                                 void **objs) QUARRY_NOTHROW;
/* s may be NULL: objects of any cache or of kmalloc. */
void quarry_kmem_cache_free_bulk(struct quarry_kmem_cache *s, size_t nr, void **objs) QUARRY_NOTHROW;

/* p, an object of any cache, of kmalloc with __GFP_ACCOUNT, or with __GFP_DMA, that was allocated and charged to nobody
 * (the thread was in no account, or the flags did not ask for it), is charged to this thread's account, as if it had
 * been when it was allocated; frees give it back. False: the account's limit, after what flags allow. True also where
 * it is charged already, the thread is in no account, there is no memory to write down whose it is, or p is an object
 * of kmalloc with neither flag, which is never charged. Without __GFP_DIRECT_RECLAIM without system call or waiting,
 * and async-signal-safe. Objects that share a slab with p are freed by the slow path from then on. */
bool quarry_kmem_cache_charge(void *p, quarry_gfp_t flags) QUARRY_NOTHROW;

/* Says on stderr what p points to: the cache, where its object begins and how far in p is, and, where the cache is
 * debugged with U, who allocated and freed it. True: an object that is allocated; of one that was freed, either; false:
 * no object. Async-signal-safe with glibc 2.35 or later. */
bool quarry_kmem_dump_obj(const void *p) QUARRY_NOTHROW;

/* The heap's own functions, for the inline forms of <linux/slab.h> alone: a cache begins with its class. */
struct quarry_core1_class;
void *quarry_core1_class_alloc(const struct quarry_core1_class *c) QUARRY_NOTHROW;
void quarry_core1_class_free(const struct quarry_core1_class *c, void *p) QUARRY_NOTHROW;
/* Its second word is a number from here on where what is freed to the cache is looked at before: it is debugged, was
 * destroyed, or charges its objects. */
enum { QUARRY_CACHE_HANDLES = 1024 };
static inline bool quarry_kmem_cache_is_handled(const struct quarry_kmem_cache *s) QUARRY_NOTHROW {
    return __atomic_load_n((const unsigned int *)(const void *)s + 1, __ATOMIC_RELAXED) >= QUARRY_CACHE_HANDLES;
}
#define QUARRY_GFP_IS_PLAIN(flags)                                                                                     \
    (((flags)&QUARRY_CACHE_RULES) == (QUARRY___GFP_DIRECT_RECLAIM | QUARRY___GFP_IO | QUARRY___GFP_FS))
/* The flags that say what GFP_KERNEL does not: shrinkers of a request that goes to the heap itself see GFP_KERNEL. */
#define QUARRY_CACHE_RULES                                                                                             \
    (QUARRY___GFP_DIRECT_RECLAIM | QUARRY___GFP_IO | QUARRY___GFP_FS | QUARRY___GFP_ZERO | QUARRY___GFP_HIGH |         \
     QUARRY___GFP_NOFAIL | QUARRY___GFP_NORETRY | QUARRY___GFP_RETRY_MAYFAIL | QUARRY___GFP_MEMALLOC |                 \
     QUARRY___GFP_THISNODE | QUARRY___GFP_ACCOUNT | QUARRY___GFP_NOWARN)

/* --- sheaves: objects set aside for allocations that must not fail --- */

struct quarry_slab_sheaf;
/* A sheaf of size objects of s, 1 or more; NULL for 0, and without memory. A sheaf belongs to one thread at a time. */
struct quarry_slab_sheaf *quarry_kmem_cache_prefill_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags,
                                                          unsigned int size) QUARRY_NOTHROW;
/* So that there are size objects in it, at least. 0, or -ENOMEM with the sheaf as it was; *sheaf may become another. */
int quarry_kmem_cache_refill_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags, struct quarry_slab_sheaf **sheaf,
                                   unsigned int size) QUARRY_NOTHROW;
/* An object out of the sheaf, zeroed with __GFP_ZERO; NULL when it has none left, and for a sheaf of another cache.
 * With SLAB_ACCOUNT or __GFP_ACCOUNT it is charged to this thread's account now, beyond its limit if need be. No system
 * call, no lock: async-signal-safe where the sheaf is the handler's. */
void *quarry_kmem_cache_alloc_from_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags,
                                         struct quarry_slab_sheaf *sheaf) QUARRY_NOTHROW;
/* Objects left. */
unsigned int quarry_kmem_cache_sheaf_size(const struct quarry_slab_sheaf *sheaf) QUARRY_NOTHROW;
/* The sheaf and what is left in it go back. NULL does nothing. */
void quarry_kmem_cache_return_sheaf(struct quarry_kmem_cache *s, quarry_gfp_t flags,
                                    struct quarry_slab_sheaf *sheaf) QUARRY_NOTHROW;

/* --- buckets: kmalloc with slabs of one's own --- */

struct quarry_kmem_buckets;
/* Caches for sizes 16 to 8192 (powers of two, and 96 and 192), made here and now: each is one of those with magazines
 * while there are such to be had. flags, range and constructor are those of quarry_kmem_cache_create_usercopy(); the
 * range is cut to each bucket's size. NULL, and no cache, without memory or classes, or for a wrong flag. Cannot be
 * destroyed. */
struct quarry_kmem_buckets *quarry_kmem_buckets_create(const char *name, quarry_slab_flags_t flags,
                                                       unsigned int useroffset, unsigned int usersize,
                                                       void (*ctor)(void *)) QUARRY_NOTHROW;
/* As quarry_kmalloc(), of the buckets up to 8192 bytes; b NULL: quarry_kmalloc(). Given to quarry_kfree(). */
void *quarry_kmem_buckets_alloc(struct quarry_kmem_buckets *b, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW;
/* As quarry_kvmalloc(), of the buckets up to 8192 bytes; b NULL: quarry_kvmalloc(). Given to quarry_kvfree(). */
void *quarry_kmem_buckets_valloc(struct quarry_kmem_buckets *b, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW;

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
