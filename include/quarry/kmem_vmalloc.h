/* SPDX-License-Identifier: MIT */
/*
 * The kernel's vmalloc and kvmalloc in user space, with a prefix; part of <quarry/kmem.h>. <linux/vmalloc.h> and
 * <linux/slab.h> have them under the kernel's names.
 *
 * A vmalloc area is a mapping of its own: page-aligned, as large as asked for rounded up to a page, with a page behind
 * it that ends the program with SIGSEGV when it is touched. For large buffers: each costs system calls, two mappings of
 * the 65530 a process may have, and at least a page of page tables.
 *
 * All functions are thread-safe and async-signal-safe; none touches errno. Failure is NULL. Sizes are bytes. A free
 * that cannot be right ends the program with one line on stderr.
 */
#ifndef QUARRY_KMEM_VMALLOC_H
#define QUARRY_KMEM_VMALLOC_H

#include <quarry/kmem.h>

#ifdef __cplusplus
extern "C" {
#define QUARRY_NOTHROW noexcept
#else
#define QUARRY_NOTHROW
#endif

/* --- vmalloc --- */

/* size 0: NULL, and one line on stderr. */
void *quarry_vmalloc(unsigned long size) QUARRY_NOTHROW;
/* Zeroed. */
void *quarry_vzalloc(unsigned long size) QUARRY_NOTHROW;
/* Zeroed: what a process would map. */
void *quarry_vmalloc_user(unsigned long size) QUARRY_NOTHROW;
/* The memory lies on that NUMA node where the system can (mbind(2), preferred); QUARRY_NUMA_NO_NODE: where it is first
 * touched. */
void *quarry_vmalloc_node(unsigned long size, int node) QUARRY_NOTHROW;
void *quarry_vzalloc_node(unsigned long size, int node) QUARRY_NOTHROW;
/* At an address below 4 GiB, which fits a 32-bit pointer; the physical memory may lie anywhere. vmalloc_32_user is
 * zeroed, too. NULL, too, when nothing is free there, and under a limit of address space (RLIMIT_AS). */
void *quarry_vmalloc_32(unsigned long size) QUARRY_NOTHROW;
void *quarry_vmalloc_32_user(unsigned long size) QUARRY_NOTHROW;
/* In hugepages from 2 MiB on, where the thp option allows them and the system has them. */
void *quarry_vmalloc_huge(unsigned long size, quarry_gfp_t flags) QUARRY_NOTHROW;
void *quarry_vmalloc_huge_node(unsigned long size, quarry_gfp_t flags, int node) QUARRY_NOTHROW;
/* With __GFP_ZERO zeroed. Without __GFP_DIRECT_RECLAIM NULL: an area is made by system calls. __GFP_NORETRY,
 * __GFP_RETRY_MAYFAIL and __GFP_NOFAIL as quarry_kmalloc; even the last one gives NULL above limit_hard. */
void *quarry___vmalloc(unsigned long size, quarry_gfp_t flags) QUARRY_NOTHROW;
/* At a multiple of align, a power of two up to 1 GiB. caller: what quarry_vmallocinfo says; may be NULL. */
void *quarry___vmalloc_node(unsigned long size, unsigned long align, quarry_gfp_t flags, int node,
                            const void *caller) QUARRY_NOTHROW;

/* NULL is let pass. */
void quarry_vfree(const void *p) QUARRY_NOTHROW;
/* The same without system call: the area is unmapped by the next call of anybody who may block. */
void quarry_vfree_atomic(const void *p) QUARRY_NOTHROW;
/* p NULL: __vmalloc. size 0: vfree, NULL. An area that shrinks gives its pages back and stays where it is; one that
 * grows moves, without being copied. With __GFP_ZERO everything beyond what was asked for before is zero, if every call
 * for this area had it. NULL for any other size leaves p as it was. */
void *quarry_vrealloc(const void *p, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW;
/* At a multiple of align, a power of two up to 1 GiB or 0, where p must be already: else NULL, and p as it was. node is
 * where a first area comes from; one that there is goes to it with __GFP_THISNODE alone, by a copy. */
void *quarry_vrealloc_node_align(const void *p, size_t size, unsigned long align, quarry_gfp_t flags,
                                 int node) QUARRY_NOTHROW;

/* Whether an address lies in an area, wherever in it; up to the next multiple of 16 KiB behind one, too. */
bool quarry_is_vmalloc_addr(const void *p) QUARRY_NOTHROW;

/* The array forms: NULL, without a line on stderr, when the product overflows. */
static inline void *quarry___vmalloc_array(size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    size_t bytes;
    return __builtin_mul_overflow(nr, size, &bytes) ? NULL : quarry___vmalloc(bytes, flags);
}
static inline void *quarry_vmalloc_array(size_t nr, size_t size) QUARRY_NOTHROW {
    return quarry___vmalloc_array(nr, size, QUARRY_GFP_KERNEL);
}
static inline void *quarry___vcalloc(size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry___vmalloc_array(nr, size, flags | QUARRY___GFP_ZERO);
}
static inline void *quarry_vcalloc(size_t nr, size_t size) QUARRY_NOTHROW {
    return quarry___vmalloc_array(nr, size, QUARRY_GFP_KERNEL | QUARRY___GFP_ZERO);
}

/* --- kvmalloc: kmalloc where that serves, else vmalloc --- */

/* Up to QUARRY_KMALLOC_MAX_SIZE kmalloc is tried first, and for a page or less it is all that is tried; without
 * __GFP_DIRECT_RECLAIM, too. size 0: QUARRY_ZERO_SIZE_PTR. Above INT_MAX: NULL, and one line on stderr without
 * __GFP_NOWARN. */
void *quarry_kvmalloc_node(size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW;
/* The same at a multiple of align, a power of two up to QUARRY_KMALLOC_MAX_SIZE or 0; else NULL. */
void *quarry_kvmalloc_node_align(size_t size, unsigned long align, quarry_gfp_t flags, int node) QUARRY_NOTHROW;
static inline void *quarry_kvmalloc(size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kvmalloc_node(size, flags, -1);
}
static inline void *quarry_kvzalloc(size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kvmalloc(size, flags | QUARRY___GFP_ZERO);
}
static inline void *quarry_kvzalloc_node(size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW {
    return quarry_kvmalloc_node(size, flags | QUARRY___GFP_ZERO, node);
}
/* The array forms: NULL, without a line on stderr, when the product overflows. */
static inline void *quarry_kvmalloc_array_node(size_t nr, size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW {
    size_t bytes;
    return __builtin_mul_overflow(nr, size, &bytes) ? NULL : quarry_kvmalloc_node(bytes, flags, node);
}
static inline void *quarry_kvmalloc_array(size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kvmalloc_array_node(nr, size, flags, -1);
}
static inline void *quarry_kvcalloc(size_t nr, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW {
    return quarry_kvmalloc_array(nr, size, flags | QUARRY___GFP_ZERO);
}
static inline void *quarry_kvcalloc_node(size_t nr, size_t size, quarry_gfp_t flags, int node) QUARRY_NOTHROW {
    return quarry_kvmalloc_array_node(nr, size, flags | QUARRY___GFP_ZERO, node);
}
/* Takes what kmalloc, vmalloc and kvmalloc gave, NULL and QUARRY_ZERO_SIZE_PTR. */
void quarry_kvfree(const void *p) QUARRY_NOTHROW;
/* The same, without system call: as vfree_atomic for an area. */
void quarry_kvfree_atomic(const void *p) QUARRY_NOTHROW;
/* Overwrites len bytes first. */
void quarry_kvfree_sensitive(const void *p, size_t len) QUARRY_NOTHROW;
/* An area: as vrealloc. Else krealloc, and where that fails an area, with the contents. size 0: as the function whose
 * memory it is. */
void *quarry_kvrealloc(const void *p, size_t size, quarry_gfp_t flags) QUARRY_NOTHROW;
/* An area: as vrealloc_node_align. Else krealloc_node_align and, where that fails, an area; align is a power of two up
 * to QUARRY_KMALLOC_MAX_SIZE or 0, else NULL. */
void *quarry_kvrealloc_node_align(const void *p, size_t size, unsigned long align, quarry_gfp_t flags,
                                  int node) QUARRY_NOTHROW;
void *quarry_kvmemdup(const void *src, size_t len, quarry_gfp_t flags) QUARRY_NOTHROW;

/* --- views --- */

/* One line for each area, as in /proc/vmallocinfo: addresses with the guard page, bytes with it, caller, pages=,
 * vmalloc, and user for those of quarry_vmalloc_user() and quarry_vmalloc_32_user(). Racy. Writes at most cap bytes
 * with a NUL, cut where there is no room; returns the length without cut. */
size_t quarry_vmallocinfo(char *text, size_t cap) QUARRY_NOTHROW;

#undef QUARRY_NOTHROW
#ifdef __cplusplus
}
#endif

#endif
