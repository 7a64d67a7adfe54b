/* SPDX-License-Identifier: MIT */
/*
 * kmalloc and what is made of it. Owns the kernel's edge rules: what 0, NULL, too large and the flags mean. The sizes
 * that need no rule go to the heap as they are, whose classes already have kmalloc's alignment.
 */
#include "kmem/account.h"
#include "kmem/debug.h"
#include "kmem/gfp.h"
#include "kmem/kmem.h"
#include "kmem/lent.h"

#include <string.h>

/* Larger requests than the heap has classes for are mappings at multiples of a hugepage. */
// NOLINTNEXTLINE(misc-redundant-expression)
_Static_assert(QUARRY_KMALLOC_PLAIN_MAX == HPAGE_BYTES, "what the heap aligns by itself");
/* No mapping is smaller (the least that option vmalloc_threshold may be); slab objects are as large as good_size says.
 */
#define MAPPED_MIN (64 * KIB)

/* What every object has. */
#define OBJECT_ALIGN 16

void (*_Atomic kmem_rcu_barrier)(void);

void kmem_warn_once(_Atomic(bool) *said, quarry_gfp_t flags, const char *line) {
    if ((flags & QUARRY___GFP_NOWARN) == 0 && !atomic_exchange_explicit(said, true, memory_order_relaxed))
        quarry_core1_warn(line);
}

/* krealloc with __GFP_ZERO counts on zeros up to the object's end, which a mapping used again may have further off than
 * it was asked for. */
static void zero_from(char *p, size_t from) {
    size_t usable = quarry_usable_size(p);
    if (usable > from)
        memset(p + from, 0, usable - from);
}

static void *zalloc_whole(size_t size) {
    size_t bytes = quarry_good_size(size);
    char *p = quarry_core1_zalloc(bytes);
    if (p != NULL && size > MAPPED_MIN)
        zero_from(p, bytes);
    return p;
}

/* 4 MiB alone is a power of two above what the heap aligns to. */
static void *alloc_aligned(size_t size, quarry_gfp_t flags) {
    char *p = quarry_core1_alloc_aligned(QUARRY_KMALLOC_MAX_SIZE, size);
    if (p != NULL && (flags & QUARRY___GFP_ZERO) != 0)
        zero_from(p, 0);
    return p;
}

static void *alloc_atomic(size_t size, quarry_gfp_t flags) {
    kmem_gfp_nofail_ignored(flags);
    if (!kmem_gfp_node_holds(NULL, size, flags))
        return NULL;
    char *p = quarry_core1_alloc_atomic(size, kmem_gfp_has_reserve(flags));
    if (p != NULL && (flags & QUARRY___GFP_ZERO) != 0)
        zero_from(p, 0);
    return p;
}

static void *alloc_blocking(const void *what, quarry_gfp_t flags) {
    size_t size = *(const size_t *)what;
    if (size > QUARRY_KMALLOC_PLAIN_MAX && size % QUARRY_KMALLOC_MAX_SIZE == 0)
        return alloc_aligned(size, flags);
    return (flags & QUARRY___GFP_ZERO) != 0 ? zalloc_whole(size) : quarry_core1_alloc(size);
}

/* --- of a node --- */

struct wanted {
    size_t size;
    int node; /* negative: this thread's */
};

static void *alloc_on(const void *what, quarry_gfp_t flags) {
    const struct wanted *w = what;
    char *p = quarry_core1_alloc_node(w->size, w->node, (flags & QUARRY___GFP_THISNODE) != 0);
    if (p != NULL && (flags & QUARRY___GFP_ZERO) != 0)
        zero_from(p, 0);
    return p;
}

/* The reserve is of no node in particular. */
static void *alloc_by_node(size_t size, quarry_gfp_t flags, int node) {
    bool strict = (flags & QUARRY___GFP_THISNODE) != 0;
    void *p = kmem_gfp_try(alloc_on, &(struct wanted){size, node}, flags);
    return p != NULL || strict || !kmem_gfp_has_reserve(flags) ? p : alloc_atomic(size, flags);
}

static NOINLINE void *alloc_by_flags(size_t size, quarry_gfp_t flags) {
    void *p;
    flags = kmem_gfp_node_flags(flags);
    if ((flags & QUARRY_GFP_ZONES) != 0)
        return kmem_lent_pages(size, flags);
    if (UNLIKELY(kmem_debug_kmalloc_on) && kmem_debug_kmalloc(size, flags, &p))
        return p;
    if (UNLIKELY((flags & QUARRY___GFP_ACCOUNT) != 0 && kmem_accounts_are_on()))
        return kmem_accounted_kmalloc(size, flags);
    if ((flags & (QUARRY___GFP_RECLAIMABLE | QUARRY___GFP_THISNODE)) == QUARRY___GFP_RECLAIMABLE &&
        (p = kmem_reclaimable_kmalloc(size, flags)) != NULL)
        return p;
    if (QUARRY_KMALLOC_IS_PLAIN(size, flags & ~(QUARRY___GFP_ACCOUNT | QUARRY___GFP_RECLAIMABLE | QUARRY___GFP_NOWARN)))
        return quarry_core1_alloc(size);
    if (!kmem_may_block(flags))
        return alloc_atomic(size, flags);
    return (flags & QUARRY___GFP_THISNODE) != 0 ? alloc_by_node(size, flags, QUARRY_NUMA_NO_NODE)
                                                : kmem_gfp_alloc(alloc_blocking, size, flags);
}

COLD static void *kmalloc_edge(size_t size, quarry_gfp_t flags) {
    static _Atomic(bool) said;
    if (size == 0)
        return QUARRY_ZERO_SIZE_PTR;
    kmem_warn_once(&said, flags, "quarry: warning: kmalloc of more than KMALLOC_MAX_SIZE refused\n");
    return NULL;
}

/* The plain request ends in a jump, so that nothing is saved across a call. */
FAST_ENTRY void *quarry_kmalloc(size_t size, quarry_gfp_t flags) {
    if (UNLIKELY(size - 1 >= QUARRY_KMALLOC_MAX_SIZE)) /* 0 too */
        return kmalloc_edge(size, flags);
    if (LIKELY(QUARRY_KMALLOC_IS_PLAIN(size, flags)))
        return quarry_core1_alloc(size);
    return alloc_by_flags(size, flags);
}

/* Objects that are debugged, and those of atomic contexts, come from where there are some. */
void *quarry_kmalloc_node(size_t size, quarry_gfp_t flags, int node) {
    flags = kmem_gfp_node_flags(flags);
    bool charged = (flags & QUARRY___GFP_ACCOUNT) != 0 && kmem_accounts_are_on();
    bool rules = !kmem_may_block(flags) || (flags & QUARRY_GFP_ZONES) != 0 || kmem_debug_kmalloc_on || charged;
    if (node < 0 || UNLIKELY(size - 1 >= QUARRY_KMALLOC_MAX_SIZE))
        return quarry_kmalloc(size, flags);
    if (UNLIKELY(rules)) {
        bool elsewhere = (flags & QUARRY___GFP_THISNODE) != 0 && quarry_core1_node_sole() != node;
        return elsewhere ? NULL : quarry_kmalloc(size, flags);
    }
    return alloc_by_node(size, flags, node);
}

void *quarry_kmalloc_nolock(size_t size, quarry_gfp_t flags, int node) {
    static _Atomic(bool) said;
    (void)node;
    if (size == 0)
        return QUARRY_ZERO_SIZE_PTR;
    if ((flags & ~(QUARRY___GFP_ZERO | QUARRY___GFP_ACCOUNT)) != 0) {
        kmem_warn_once(&said, flags, "quarry: warning: kmalloc_nolock with flags it does not know refused\n");
        return NULL;
    }
    return size > QUARRY_KMALLOC_NOLOCK_MAX ? NULL : alloc_by_flags(size, flags);
}

FAST_ENTRY void quarry_kfree(const void *p) {
    if (LIKELY(!QUARRY_ZERO_OR_NULL_PTR(p)))
        quarry_core1_free((void *)(uintptr_t)p);
}

size_t quarry_ksize(const void *p) { return QUARRY_ZERO_OR_NULL_PTR(p) ? 0 : quarry_usable_size(p); }

void quarry_kfree_sensitive(const void *p) {
    if (QUARRY_ZERO_OR_NULL_PTR(p))
        return;
    void *object = (void *)(uintptr_t)p;
    memset(object, 0, quarry_usable_size(object));
    __asm__ volatile("" : : "r"(object) : "memory"); /* the compiler may not drop a store nobody reads */
    quarry_core1_free(object);
}

void quarry_kfree_bulk(size_t nr, void **p) { kmem_free_each(nr, p, quarry_kfree); }

size_t quarry_kmalloc_size_roundup(size_t size) {
    if (size - 1 >= QUARRY_KMALLOC_MAX_SIZE)
        return size;
    size_t debugged = kmem_debug_kmalloc_on ? kmem_debug_kmalloc_bytes(size) : 0;
    return debugged != 0 ? debugged : quarry_good_size(size);
}

/* In place. What is given up is zeroed, so that a later call finds zeros when it grows into it again. */
static void *krealloc_here(char *p, size_t size, size_t usable, quarry_gfp_t flags) {
    if ((flags & QUARRY___GFP_ZERO) != 0)
        memset(p + size, 0, usable - size);
    return p;
}

/* To a new place. */
static void *krealloc_move(const void *p, size_t bytes, size_t size, quarry_gfp_t flags, int node) {
    void *q = quarry_kmalloc_node(size, flags, node);
    if (q == NULL)
        return NULL;
    memcpy(q, p, bytes);
    quarry_kfree(p);
    return q;
}

static void *krealloc_by(const void *p, size_t size, quarry_gfp_t flags, int node) {
    if (size == 0) {
        quarry_kfree(p);
        return QUARRY_ZERO_SIZE_PTR;
    }
    if (QUARRY_ZERO_OR_NULL_PTR(p))
        return quarry_kmalloc_node(size, flags, node);
    void *q;
    if (UNLIKELY(kmem_debug_any) && kmem_debug_krealloc(p, size, flags, &q))
        return q;
    size_t usable = quarry_usable_size(p);
    return size <= usable ? krealloc_here((char *)(uintptr_t)p, size, usable, flags)
                          : krealloc_move(p, usable, size, flags, node);
}

void *quarry_krealloc(const void *p, size_t size, quarry_gfp_t flags) {
    return krealloc_by(p, size, flags, QUARRY_NUMA_NO_NODE);
}

/* A multiple of the alignment is aligned to it by kmalloc. */
void *quarry_krealloc_node_align(const void *p, size_t size, unsigned long align, quarry_gfp_t flags, int node) {
    if (size == 0)
        return krealloc_by(p, 0, flags, node);
    align = MAX(align, 1ul);
    if (!is_pow2(align) || align > QUARRY_KMALLOC_MAX_SIZE || size > QUARRY_KMALLOC_MAX_SIZE)
        return size > QUARRY_KMALLOC_MAX_SIZE ? kmalloc_edge(size, flags) : NULL;
    bool strict = (flags & QUARRY___GFP_THISNODE) != 0 && node >= 0 && quarry_core1_node_sole() != node;
    bool stays = !strict && ((uintptr_t)p & (align - 1)) == 0;
    if (stays && align <= OBJECT_ALIGN)
        return krealloc_by(p, size, flags, node);
    if (QUARRY_ZERO_OR_NULL_PTR(p))
        return quarry_kmalloc_node(round_up(size, align), flags, node);
    size_t usable = quarry_ksize(p);
    return stays && size <= usable ? krealloc_by(p, size, flags, node)
                                   : krealloc_move(p, MIN(usable, size), round_up(size, align), flags, node);
}
