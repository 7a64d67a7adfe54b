/* SPDX-License-Identifier: MIT */
/*
 * The Linux kernel's allocation API in user space, with a prefix: quarry_kmalloc() is kmalloc(). Kernel-style code
 * includes <linux/slab.h> and its kin from <prefix>/include/quarry/kernel instead, which put the kernel's own names on
 * these. Link with -lquarry-kmem -lquarry. docs/kmem.md says what is there and what differs from the kernel.
 *
 * The heap is malloc's: quarry_kfree(malloc(n)) and free(quarry_kmalloc(n)) work, where malloc is quarry's.
 *
 * Sizes are bytes. All functions are thread-safe, none touches errno. Failure is NULL. A pointer that was never
 * allocated, or was freed, is reported and ends the program, as with free(). Valid as C11 and C++17.
 */
#ifndef QUARRY_KMEM_H
#define QUARRY_KMEM_H

#include <quarry/kmem_class.h>

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

/* What an allocation may do, and what is wanted. The values are the kernel's. */
typedef unsigned int quarry_gfp_t;
#define QUARRY___GFP_HIGH 0x20u            /* may draw on the reserve (option reserve), which is in memory already */
#define QUARRY___GFP_IO 0x40u              /* shrinkers may do input and output */
#define QUARRY___GFP_FS 0x80u              /* shrinkers may enter what the caller may be inside of */
#define QUARRY___GFP_ZERO 0x100u           /* zeroed, the whole of ksize() */
#define QUARRY___GFP_DIRECT_RECLAIM 0x400u /* may make system calls and wait; without it see quarry_kmalloc */
#define QUARRY___GFP_KSWAPD_RECLAIM 0x800u /* no effect: whoever may block refills the reserve without being told */
#define QUARRY___GFP_RECLAIM (QUARRY___GFP_DIRECT_RECLAIM | QUARRY___GFP_KSWAPD_RECLAIM)
#define QUARRY___GFP_DMA 0x1u   /* physically contiguous and pinned, see <quarry/kmem_pages.h> */
#define QUARRY___GFP_DMA32 0x4u /* the same; where it lies above 4 GiB of physical address, a line says so */
#define QUARRY_GFP_ZONES (QUARRY___GFP_DMA | QUARRY___GFP_DMA32)
#define QUARRY___GFP_NOWARN 0x2000u /* no line on stderr when it fails */
#define QUARRY___GFP_RETRY_MAYFAIL                                                                                     \
    0x4000u                            /* asks the shrinkers a dozen times, and waits for others to free, before NULL */
#define QUARRY___GFP_NOFAIL 0x8000u    /* asks and waits until it succeeds; with __GFP_DIRECT_RECLAIM only */
#define QUARRY___GFP_NORETRY 0x10000u  /* does not ask the shrinkers */
#define QUARRY___GFP_MEMALLOC 0x20000u /* may draw on the reserve: for who is about to free more than it takes */
#define QUARRY___GFP_COMP 0x40000u     /* pages whose references are those of the first, see <quarry/kmem_pages.h> */
#define QUARRY___GFP_NOMEMALLOC 0x80000u /* not on the reserve, whatever else says so but __GFP_HIGH */
#define QUARRY___GFP_HARDWALL 0x100000u  /* no effect, as those down to WRITE */
#define QUARRY___GFP_HIGHMEM 0x2u        /* all memory has an address */
#define QUARRY___GFP_WRITE 0x1000u
/* How long memory will be used: each kind has hugepages of its own, so that those of short-lived memory become free as
 * a whole. MOVABLE: of pages, on all else no effect. RECLAIMABLE: of pages, and of kmalloc up to 8192 bytes, whose
 * objects are then those of caches with SLAB_RECLAIM_ACCOUNT, of 96, 192 or a power of two of bytes: ksize() may be
 * more than kmalloc_size_roundup(). */
#define QUARRY___GFP_MOVABLE 0x8u
#define QUARRY___GFP_RECLAIMABLE 0x10u
#define QUARRY___GFP_ACCOUNT 0x400000u /* charged to this thread's account: <quarry/kmem_account.h> */
#define QUARRY___GFP_THISNODE                                                                                          \
    0x200000u /* memory of this thread's node or NULL. With several nodes the kernel is asked                          \
                 where the memory is, so without __GFP_DIRECT_RECLAIM it is NULL */

#define QUARRY_GFP_KERNEL (QUARRY___GFP_RECLAIM | QUARRY___GFP_IO | QUARRY___GFP_FS)
/* For who must not wait: no system call, no lock that interrupted code may hold, so also in a signal handler, on top of
 * any code of quarry's. GFP_ATOMIC has the reserve behind it; the memory it gives is in memory already, unless it comes
 * from a slab's page that nobody used before. */
#define QUARRY_GFP_ATOMIC (QUARRY___GFP_HIGH | QUARRY___GFP_KSWAPD_RECLAIM)
#define QUARRY_GFP_NOWAIT (QUARRY___GFP_KSWAPD_RECLAIM | QUARRY___GFP_NOWARN)
#define QUARRY_GFP_NOIO QUARRY___GFP_RECLAIM
#define QUARRY_GFP_NOFS (QUARRY___GFP_RECLAIM | QUARRY___GFP_IO)
#define QUARRY_GFP_DMA QUARRY___GFP_DMA /* to be combined with one of the others */
#define QUARRY_GFP_DMA32 QUARRY___GFP_DMA32
#define QUARRY_GFP_USER (QUARRY_GFP_KERNEL | QUARRY___GFP_HARDWALL)
#define QUARRY_GFP_HIGHUSER (QUARRY_GFP_USER | QUARRY___GFP_HIGHMEM)
#define QUARRY_GFP_HIGHUSER_MOVABLE (QUARRY_GFP_HIGHUSER | QUARRY___GFP_MOVABLE)
#define QUARRY_GFP_KERNEL_ACCOUNT (QUARRY_GFP_KERNEL | QUARRY___GFP_ACCOUNT)
/* For order 9: 2 MiB at a multiple of that, which the system may back by a hugepage. */
#define QUARRY_GFP_TRANSHUGE_LIGHT                                                                                     \
    ((QUARRY_GFP_HIGHUSER_MOVABLE | QUARRY___GFP_COMP | QUARRY___GFP_NOMEMALLOC | QUARRY___GFP_NOWARN) &               \
     ~QUARRY___GFP_RECLAIM)
#define QUARRY_GFP_TRANSHUGE (QUARRY_GFP_TRANSHUGE_LIGHT | QUARRY___GFP_DIRECT_RECLAIM)

static inline bool quarry_gfpflags_allow_blocking(quarry_gfp_t flags) QUARRY_NOTHROW {
    return (flags & QUARRY___GFP_DIRECT_RECLAIM) != 0;
}

/* What kmalloc(0) gives: no NULL, no memory, and kfree takes it. */
#define QUARRY_ZERO_SIZE_PTR ((void *)16)
#define QUARRY_ZERO_OR_NULL_PTR(p) ((uintptr_t)(p) <= 16)

/* The largest kmalloc: the kernel's with 4 KiB pages, order 10. */
#define QUARRY_KMALLOC_MAX_SIZE ((size_t)1 << 22)

/* nr * bytes, and the sum, or SIZE_MAX, which no function here serves. */
static inline size_t quarry_size_mul(size_t nr, size_t bytes) QUARRY_NOTHROW {
    size_t product;
    return __builtin_mul_overflow(nr, bytes, &product) ? SIZE_MAX : product;
}
static inline size_t quarry_size_add(size_t a, size_t b) QUARRY_NOTHROW {
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

/* --- kmalloc --- */

/* At a multiple of the largest power of two that divides size, 16 at least. size 0: QUARRY_ZERO_SIZE_PTR. Above
 * QUARRY_KMALLOC_MAX_SIZE: NULL, and one line on stderr without __GFP_NOWARN. Without __GFP_DIRECT_RECLAIM it makes
 * no system call and waits for nobody, and is async-signal-safe: the object comes out of a magazine, the depot, a slab
 * that has room, or with __GFP_HIGH the reserve (up to 512 KiB), else NULL; always NULL above the option
 * vmalloc_threshold. With __GFP_DMA or __GFP_DMA32 it is whole pages, as quarry_alloc_pages() gives them. */
void *quarry_kmalloc(size_t size, quarry_gfp_t flags) QUARRY_NOTHROW;
/* NULL and QUARRY_ZERO_SIZE_PTR are let pass. p may come from malloc, too. Never waits, makes no system call, and is
 * async-signal-safe: what could go back to the system goes with the next allocation of anybody that may block. */
void quarry_kfree(const void *p) QUARRY_NOTHROW;
/* Overwrites all of ksize() first. */
void quarry_kfree_sensitive(const void *p) QUARRY_NOTHROW;
void quarry_kfree_bulk(size_t nr, void **p) QUARRY_NOTHROW;
/* Bytes of the object, at least those asked for; 0 for NULL and QUARRY_ZERO_SIZE_PTR. */
size_t quarry_ksize(const void *p) QUARRY_NOTHROW;
/* What ksize() says of kmalloc(size), or less: above 2 MiB, where a mapping that is used again may be larger, and of
 * objects that flags keep apart (__GFP_DMA, __GFP_DMA32, __GFP_RECLAIMABLE, and __GFP_ACCOUNT in an account), which are
 * powers of two. So kmalloc of it has that many bytes by any flags. size itself for 0 and above
 * QUARRY_KMALLOC_MAX_SIZE. */
size_t quarry_kmalloc_size_roundup(size_t size) QUARRY_NOTHROW;
/* p NULL or QUARRY_ZERO_SIZE_PTR: kmalloc. size 0: kfree, QUARRY_ZERO_SIZE_PTR. What fits into ksize() stays where it
 * is. With __GFP_ZERO everything beyond what was asked for before is zero, if every call for this object had it. NULL
 * leaves p as it was. */
void *quarry_krealloc(const void *p, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW;

/* The heap's own functions, for the inline forms of <linux/slab.h> alone: a request that needs none of kmalloc's rules
 * goes there without passing through libquarry-kmem. */
void *quarry_core1_alloc(size_t size) QUARRY_NOTHROW;
void quarry_core1_free(void *p) QUARRY_NOTHROW;
/* The same with the class of the size (quarry_class_of_size), for sizes the compiler knows. */
void *QUARRY_CORE_CLASS_ALLOC(unsigned long cls, size_t size) QUARRY_NOTHROW;
/* The same out of a magazine, or NULL. */
void *QUARRY_CORE_CLASS_POP(unsigned long cls) QUARRY_NOTHROW;
/* The largest size the heap aligns as kmalloc must. */
#define QUARRY_KMALLOC_PLAIN_MAX ((size_t)1 << 21)
#define QUARRY_KMALLOC_IS_PLAIN(size, flags)                                                                           \
    (((flags)&QUARRY_KMALLOC_RULES) == (QUARRY___GFP_DIRECT_RECLAIM | QUARRY___GFP_IO | QUARRY___GFP_FS) &&            \
     (size)-1 < QUARRY_KMALLOC_PLAIN_MAX)
/* The flags that say what GFP_KERNEL does not; what failslab makes fail is told without __GFP_NOWARN alone. */
#define QUARRY_KMALLOC_RULES                                                                                           \
    (QUARRY___GFP_DIRECT_RECLAIM | QUARRY___GFP_IO | QUARRY___GFP_FS | QUARRY___GFP_ZERO | QUARRY___GFP_HIGH |         \
     QUARRY___GFP_NOFAIL | QUARRY___GFP_NORETRY | QUARRY___GFP_RETRY_MAYFAIL | QUARRY___GFP_MEMALLOC |                 \
     QUARRY___GFP_THISNODE | QUARRY_GFP_ZONES | QUARRY___GFP_ACCOUNT | QUARRY___GFP_RECLAIMABLE | QUARRY___GFP_NOWARN)

/* For a thread that must wait for nothing, a signal handler on top of anything included: as with GFP_NOWAIT, and NULL
 * above QUARRY_KMALLOC_NOLOCK_MAX. flags: of __GFP_ZERO and __GFP_ACCOUNT, anything else is refused with one line on
 * stderr. The node is not looked at. */
#define QUARRY_KMALLOC_NOLOCK_MAX ((size_t)8192)
void *quarry_kmalloc_nolock(size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW;
/* As quarry_kfree, which waits for nothing. */
static inline void quarry_kfree_nolock(const void *p) QUARRY_NOTHROW { quarry_kfree(p); }

static inline void *quarry_kzalloc(size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kmalloc(size, flags | QUARRY___GFP_ZERO);
}
/* The array forms: NULL, without a line on stderr, when the product overflows. */
static inline void *quarry_kmalloc_array(size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    size_t bytes;
    return __builtin_mul_overflow(nr, size, &bytes) ? NULL : quarry_kmalloc(bytes, flags);
}
static inline void *quarry_kcalloc(size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kmalloc_array(nr, size, flags | QUARRY___GFP_ZERO);
}
static inline void *quarry_krealloc_array(void *p, size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    size_t bytes;
    return __builtin_mul_overflow(nr, size, &bytes) ? NULL : quarry_krealloc(p, bytes, flags);
}

/* --- scopes --- */

/* Binds this thread's allocations from the save to the restore, which takes what the save of the
 * same prefix returned. Scopes nest. Async-signal-safe. */
#define QUARRY_MEMALLOC_NOIO 1u      /* shrinkers see neither __GFP_IO nor __GFP_FS */
#define QUARRY_MEMALLOC_NOFS 2u      /* shrinkers do not see __GFP_FS */
#define QUARRY_MEMALLOC_NORECLAIM 4u /* no shrinkers, and the reserve may be drawn on: for who is freeing memory */
#define QUARRY_MEMALLOC_PIN 8u       /* pages with __GFP_MOVABLE are as without: for who will hold them for long */
unsigned quarry_memalloc_save(unsigned scopes) QUARRY_NOTHROW;
void quarry_memalloc_restore(unsigned scopes, unsigned before) QUARRY_NOTHROW;
static inline unsigned quarry_memalloc_noio_save(void) QUARRY_NOTHROW {
    return quarry_memalloc_save(QUARRY_MEMALLOC_NOIO);
}
static inline void quarry_memalloc_noio_restore(unsigned before) QUARRY_NOTHROW {
    quarry_memalloc_restore(QUARRY_MEMALLOC_NOIO, before);
}
static inline unsigned quarry_memalloc_nofs_save(void) QUARRY_NOTHROW {
    return quarry_memalloc_save(QUARRY_MEMALLOC_NOFS);
}
static inline void quarry_memalloc_nofs_restore(unsigned before) QUARRY_NOTHROW {
    quarry_memalloc_restore(QUARRY_MEMALLOC_NOFS, before);
}
static inline unsigned quarry_memalloc_noreclaim_save(void) QUARRY_NOTHROW {
    return quarry_memalloc_save(QUARRY_MEMALLOC_NORECLAIM);
}
static inline void quarry_memalloc_noreclaim_restore(unsigned before) QUARRY_NOTHROW {
    quarry_memalloc_restore(QUARRY_MEMALLOC_NORECLAIM, before);
}
static inline unsigned quarry_memalloc_pin_save(void) QUARRY_NOTHROW {
    return quarry_memalloc_save(QUARRY_MEMALLOC_PIN);
}
static inline void quarry_memalloc_pin_restore(unsigned before) QUARRY_NOTHROW {
    quarry_memalloc_restore(QUARRY_MEMALLOC_PIN, before);
}
/* The flags, less what this thread's scopes forbid. */
quarry_gfp_t quarry_current_gfp_context(quarry_gfp_t flags) QUARRY_NOTHROW;

/* kmalloc from a NUMA node, by the kernel's number, or the nearest with memory; with __GFP_THISNODE all of it lies on
 * that node, or NULL. Negative: kmalloc, which takes from the node this thread runs on anyway. The wish is not heard
 * without __GFP_DIRECT_RECLAIM, and where kmalloc is debugged: __GFP_THISNODE is NULL then, unless there is one node.
 */
void *quarry_kmalloc_node(size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW;
/* krealloc whose result lies at a multiple of align, a power of two up to QUARRY_KMALLOC_MAX_SIZE or 0, else NULL; what
 * moves goes to the node, as kmalloc_node's, and with __GFP_THISNODE it moves in any case. Where kmalloc is debugged
 * what fits stays on its node. */
void *quarry_krealloc_node_align(const void *p, size_t size, unsigned long align, quarry_gfp_t flags,
                                 int node) QUARRY_NOTHROW;
static inline void *quarry_krealloc_node(const void *p, size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW {
    return quarry_krealloc_node_align(p, size, 1, flags, node);
}
static inline void *quarry_kzalloc_node(size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW {
    return quarry_kmalloc_node(size, flags | QUARRY___GFP_ZERO, node);
}
static inline void *quarry_kmalloc_array_node(size_t nr, size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW {
    size_t bytes;
    return __builtin_mul_overflow(nr, size, &bytes) ? NULL : quarry_kmalloc_node(bytes, flags, node);
}
static inline void *quarry_kcalloc_node(size_t nr, size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW {
    return quarry_kmalloc_array_node(nr, size, flags | QUARRY___GFP_ZERO, node);
}

/* --- copies --- */

/* NULL for NULL. */
char *quarry_kstrdup(const char *s, quarry_gfp_t flags) QUARRY_NOTHROW;
/* At most max characters, and a NUL. */
char *quarry_kstrndup(const char *s, size_t max, quarry_gfp_t flags) QUARRY_NOTHROW;
void *quarry_kmemdup(const void *src, size_t len, quarry_gfp_t flags) QUARRY_NOTHROW;
/* s itself where it is a constant of the program's own file, which stays as long as the process; else, and for
 * constants of libraries, a copy. Free it by quarry_kfree_const. */
const char *quarry_kstrdup_const(const char *s, quarry_gfp_t flags) QUARRY_NOTHROW;
void quarry_kfree_const(const void *p) QUARRY_NOTHROW;
/* len bytes, whatever they are, and a NUL. NULL for NULL. */
char *quarry_kmemdup_nul(const char *s, size_t len, quarry_gfp_t flags) QUARRY_NOTHROW;
/* An overflowing product is larger than any kmalloc. */
static inline void *quarry_kmemdup_array(const void *src, size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kmemdup(src, quarry_size_mul(nr, size), flags);
}

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#include <quarry/kmem_account.h>
#include <quarry/kmem_cache.h>
#include <quarry/kmem_obj.h>
#include <quarry/kmem_pages.h>
#include <quarry/kmem_vmalloc.h>
#include <quarry/mempool.h>

#endif
