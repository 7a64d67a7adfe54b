/* SPDX-License-Identifier: MIT */
/*
 * Caches whose slabs are pages. Contract in paged.h. Owns the slabs' records.
 *
 * States      A record has pages, or is free for the next slab of its cache (base NULL), or is about to get some
 *             (TAKEN). An object of one with pages is free (its bit is set) or has one owner.
 * Invariants  [Z1] A record without pages has no bit set, so nobody takes an object of it. [Z2] The granule that a
 *             slab begins in has KMEM_OWNER_CACHE in the entry of its first page, and no other granule has. [Z3] The
 *             entries of a slab's objects are behind those of the pages of its first granule, in one vector.
 * Ordering    Free sets the bit by release, alloc clears it by acquire: the last write of who freed, or the
 *             constructor, comes before the first of the next owner. [paged.object] Records are listed when they are
 *             filled. [paged.list] Those without pages are on a stack, too. [paged.idle]
 * Progress    Lock-free but for the page allocator, which is asked when no slab has a free object. Without system call
 *             or waiting where the context says so.
 * Reclamation Records stay until their cache is destroyed. Who shrinks takes all objects of a slab first, so nobody has
 *             one when its pages go; who frees the one object of a slab has them all.
 */
#include "kmem/paged.h"

#include "base/bits.h"
#include "kmem/account.h"
#include "kmem/debug.h"
#include "kmem/gfp.h"
#include "kmem/lent.h"
#include "page/page.h"
#include "rt/misuse.h"
#include "slab/slab.h"

#include <string.h>

enum { WORD_BITS = 64, OBJS_MAX = KMEM_PAGED_WORDS_NR * WORD_BITS, OBJS_WANTED = 8, ORDER_WANTED = 5 };

/* No pages begin there. */
static char taken_mark[2] __attribute__((aligned(2)));
#define TAKEN (taken_mark + 1)

bool kmem_paged_wants(unsigned slot_bytes, quarry_slab_flags_t flags) {
    return (flags & KMEM_SLAB_ZONES) != 0 || slot_bytes > SLAB_MADE_OBJECT_MAX;
}

struct kmem_paged kmem_paged_start(unsigned slot_bytes, quarry_slab_flags_t flags) {
    if (!kmem_paged_wants(slot_bytes, flags))
        return (struct kmem_paged){.objs_per_slab = 0};
    unsigned order = quarry_get_order(MAX((size_t)slot_bytes, (size_t)GRANULE_BYTES));
    while ((QUARRY_PAGE_SIZE << order) / slot_bytes < OBJS_WANTED && order < ORDER_WANTED)
        order++;
    size_t objs = (QUARRY_PAGE_SIZE << order) / slot_bytes;
    return (struct kmem_paged){.objs_per_slab = (unsigned)MIN(objs, (size_t)OBJS_MAX),
                               .order = order,
                               .slab_bytes = QUARRY_PAGE_SIZE << order};
}

void kmem_paged_begin(struct quarry_kmem_cache *s) {
    s->class = (struct quarry_core1_class){.slot = s->heap.slot, .id = kmem_debug_handle(s)};
    kmem_debug_hook(s);
    kmem_lent_start();
}

static unsigned words_nr(const struct quarry_kmem_cache *s) {
    return (s->paged.objs_per_slab + WORD_BITS - 1) / WORD_BITS;
}
static u64 word_full(const struct quarry_kmem_cache *s, unsigned w) {
    return bits_mask(MIN(s->paged.objs_per_slab - w * WORD_BITS, (unsigned)WORD_BITS));
}

/* --- from an address to its slab --- */

static unsigned pages_per_granule(void) { return (unsigned)MAX(GRANULE_BYTES / QUARRY_PAGE_SIZE, (size_t)1); }

/* [Z2] The mark of a slab at base; objs_nr: how many objects' entries come behind those of its pages. */
static struct quarry_core1_slab mark_place(char *base, unsigned objs_nr) {
    return (struct quarry_core1_slab){.base = base, .objs_nr = pages_per_granule() + objs_nr};
}

/* [Z3] */
static struct quarry_core1_slab object_place(const struct quarry_kmem_cache *s, char *base, unsigned i) {
    struct quarry_core1_slab place = mark_place(base, s->paged.objs_per_slab);
    place.index = pages_per_granule() + i;
    place.slot_bytes = s->slot_bytes;
    return place;
}

/* Whatever lies at the granule's start is asked: the page that leads there may be anybody's. */
static struct kmem_paged_slab *slab_of(const void *p, char **ret_base) {
    struct quarry_page *page = quarry_virt_to_page(p), *head = page == NULL ? NULL : quarry_compound_head(page);
    if (head == NULL || (uintptr_t)head->quarry_addr % GRANULE_BYTES != 0)
        return NULL;
    const struct quarry_core1_slab place = mark_place(head->quarry_addr, 0);
    const _Atomic(u16) *mark = kmem_owner_find(&place);
    if (mark == NULL || (atomic_load_explicit(mark, memory_order_relaxed) & KMEM_OWNER_CACHE) == 0)
        return NULL;
    *ret_base = head->quarry_addr;
    return head->mapping;
}

/* Index of the object that p lies in; objs_per_slab or above: behind the last one. */
static unsigned index_of(const struct quarry_kmem_cache *s, const char *base, const void *p) {
    return (unsigned)((size_t)((const char *)p - base) / s->slot_bytes);
}
static bool is_start(const struct quarry_kmem_cache *s, const char *base, const void *p) {
    return (size_t)((const char *)p - base) % s->slot_bytes == 0 && index_of(s, base, p) < s->paged.objs_per_slab;
}
static bool is_free(struct kmem_paged_slab *slab, unsigned i) {
    u64 word = atomic_load_explicit(&slab->free[i / WORD_BITS], memory_order_relaxed);
    return (word >> i % WORD_BITS & 1) != 0;
}

const struct quarry_kmem_cache *kmem_paged_of(const void *p, char **ret_object, struct quarry_core1_slab *ret_place) {
    char *base;
    const struct kmem_paged_slab *slab = slab_of(p, &base);
    const struct quarry_kmem_cache *s = slab == NULL ? NULL : slab->cache;
    unsigned i = s == NULL ? 0 : index_of(s, base, p);
    if (s == NULL || i >= s->paged.objs_per_slab)
        return NULL;
    *ret_object = base + (size_t)i * s->slot_bytes;
    *ret_place = object_place(s, base, i);
    return s;
}

/* --- slabs come and go --- */

/* False: no memory for the mark. */
static bool mark_set(const struct quarry_kmem_cache *s, char *base, quarry_gfp_t flags) {
    const struct quarry_core1_slab place = mark_place(base, s->paged.objs_per_slab);
    _Atomic(u16) *mark = kmem_owner_make(&place, flags);
    if (mark != NULL)
        atomic_store_explicit(mark, KMEM_OWNER_CACHE, memory_order_relaxed);
    return mark != NULL;
}

static void pages_release(const struct quarry_kmem_cache *s, char *base) {
    const struct quarry_core1_slab place = mark_place(base, 0);
    _Atomic(u16) *mark = kmem_owner_find(&place);
    if (mark != NULL)
        atomic_store_explicit(mark, 0, memory_order_relaxed);
    quarry_free_pages((unsigned long)base, s->paged.order);
}

/* Records without pages: a stack whose head is an address, in units of their alignment, and a tag. */
enum { IDLE_ADDRESS_SHIFT = 4, IDLE_TAG_SHIFT = 44 };
_Static_assert(_Alignof(max_align_t) >= 1 << IDLE_ADDRESS_SHIFT, "the heap's objects are so far apart");

static u64 idle_head(u64 old, const struct kmem_paged_slab *slab) {
    return ((old >> IDLE_TAG_SHIFT) + 1) << IDLE_TAG_SHIFT | (uintptr_t)slab >> IDLE_ADDRESS_SHIFT;
}
static struct kmem_paged_slab *idle_top(u64 head) {
    uintptr_t address = (head & (((u64)1 << IDLE_TAG_SHIFT) - 1)) << IDLE_ADDRESS_SHIFT;
    return (struct kmem_paged_slab *)address; // NOLINT(performance-no-int-to-ptr)
}

/* The record's pages went back, or did not come. */
static void record_put(struct quarry_kmem_cache *s, struct kmem_paged_slab *slab) {
    u64 head = atomic_load_explicit(&s->paged.idle, memory_order_relaxed);
    atomic_store_explicit(&slab->base, NULL, memory_order_relaxed);
    do {
        atomic_store_explicit(&slab->next_idle, idle_top(head), memory_order_relaxed);
        /* order: release: next_idle, and that there are no pages.                                pairs: [paged.idle] */
    } while (!atomic_compare_exchange_weak_explicit(&s->paged.idle, &head, idle_head(head, slab), memory_order_release,
                                                    memory_order_relaxed));
}

/*
 * NULL: there is none. The tag has 20 bits: a thread would have to sleep through exactly a million slabs, or a
 * multiple. Then the stack has a record that has pages; by its base it is told, and left alone.
 */
static struct kmem_paged_slab *record_idle(struct quarry_kmem_cache *s) {
    char *none = NULL;
    /* order: acquire: next_idle, and failing below the same.                                     pairs: [paged.idle] */
    u64 head = atomic_load_explicit(&s->paged.idle, memory_order_acquire);
    struct kmem_paged_slab *slab;
    do {
        if ((slab = idle_top(head)) == NULL)
            return NULL;
        /* order: acquire                                                                         pairs: [paged.idle] */
    } while (!atomic_compare_exchange_weak_explicit(
        &s->paged.idle, &head, idle_head(head, atomic_load_explicit(&slab->next_idle, memory_order_relaxed)),
        memory_order_acquire, memory_order_acquire));
    return atomic_compare_exchange_strong_explicit(&slab->base, &none, TAKEN, memory_order_relaxed,
                                                   memory_order_relaxed)
               ? slab
               : NULL;
}

/* A record that is the caller's: one whose pages went back, or a new one, which is listed. */
static struct kmem_paged_slab *record_get(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    struct kmem_paged_slab *slab = record_idle(s);
    if (slab != NULL)
        return slab;
    slab = kmem_may_block(flags) ? quarry_core1_alloc(sizeof(*slab))
                                 : quarry_core1_alloc_atomic(sizeof(*slab), kmem_gfp_has_reserve(flags));
    if (slab == NULL)
        return NULL;
    memset(slab, 0, sizeof(*slab));
    slab->cache = s;
    atomic_store_explicit(&slab->base, TAKEN, memory_order_relaxed);
    struct kmem_paged_slab *head = atomic_load_explicit(&s->paged.slabs, memory_order_relaxed);
    do {
        slab->next = head;
        /* order: release: the record.                                                            pairs: [paged.list] */
    } while (!atomic_compare_exchange_weak_explicit(&s->paged.slabs, &head, slab, memory_order_release,
                                                    memory_order_relaxed));
    return slab;
}

/* What flags say of the object is not said of its slab; and how hard to try is for who asks for the object. */
#define FLAGS_OF_OBJECTS                                                                                               \
    (QUARRY___GFP_ZERO | QUARRY___GFP_ACCOUNT | QUARRY___GFP_NOFAIL | QUARRY___GFP_THISNODE |                          \
     QUARRY___GFP_RETRY_MAYFAIL | QUARRY___GFP_RECLAIMABLE | QUARRY___GFP_MOVABLE | QUARRY_GFP_ZONES)

static quarry_gfp_t kind_of(const struct quarry_kmem_cache *s) {
    quarry_gfp_t zones = ((s->flags & QUARRY_SLAB_CACHE_DMA) != 0 ? QUARRY___GFP_DMA : 0) |
                         ((s->flags & QUARRY_SLAB_CACHE_DMA32) != 0 ? QUARRY___GFP_DMA32 : 0);
    return zones == 0 && (s->flags & QUARRY_SLAB_RECLAIM_ACCOUNT) != 0 ? QUARRY___GFP_RECLAIMABLE : zones;
}

static struct quarry_page *pages_get(const struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    struct quarry_page *page = quarry_alloc_pages(
        (flags & ~FLAGS_OF_OBJECTS) | QUARRY___GFP_COMP | QUARRY___GFP_NORETRY | kind_of(s), s->paged.order);
    if (page == NULL || mark_set(s, page->quarry_addr, flags))
        return page;
    pages_release(s, page->quarry_addr);
    return NULL;
}

/* A new slab, whose first object is the caller's. */
static void *slab_add(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    struct kmem_paged_slab *slab = record_get(s, flags);
    struct quarry_page *page = slab == NULL ? NULL : pages_get(s, flags);
    if (page == NULL) {
        if (slab != NULL)
            record_put(s, slab);
        return NULL;
    }
    char *base = page->quarry_addr;
    page->mapping = slab;
    for (unsigned i = 0; s->args.ctor != NULL && i < s->paged.objs_per_slab; i++)
        s->args.ctor(base + (size_t)i * s->slot_bytes);
    atomic_store_explicit(&slab->base, base, memory_order_relaxed);
    for (unsigned w = 0; w < words_nr(s); w++) {
        u64 bits = word_full(s, w);
        /* order: release: base, and what was constructed.                                      pairs: [paged.object] */
        atomic_store_explicit(&slab->free[w], w == 0 ? bits & (bits - 1) : bits, memory_order_release);
    }
    atomic_fetch_add_explicit(&s->paged.slabs_nr, 1, memory_order_relaxed);
    return base;
}

/* All objects of the slab, or none. */
static bool slab_claim(const struct quarry_kmem_cache *s, struct kmem_paged_slab *slab) {
    for (unsigned w = 0; w < words_nr(s); w++) {
        u64 full = word_full(s, w);
        /* order: acquire: what the last owners did.                                            pairs: [paged.object] */
        if (atomic_compare_exchange_strong_explicit(&slab->free[w], &full, 0, memory_order_acquire,
                                                    memory_order_relaxed))
            continue;
        while (w-- > 0) {
            /* order: release: as it was.                                                       pairs: [paged.object] */
            atomic_fetch_or_explicit(&slab->free[w], word_full(s, w), memory_order_release);
        }
        return false;
    }
    return true;
}

static bool has_pages(struct kmem_paged_slab *slab) {
    const char *base = atomic_load_explicit(&slab->base, memory_order_relaxed);
    return base != NULL && base != TAKEN;
}

/* Of a slab at base whose objects are all the caller's. The record is anybody's then. */
static void slab_release(struct quarry_kmem_cache *s, struct kmem_paged_slab *slab, char *base) {
    pages_release(s, base);
    atomic_fetch_sub_explicit(&s->paged.slabs_nr, 1, memory_order_relaxed);
    record_put(s, slab);
}

/* Those of types that must stay go back with the cache alone. */
static size_t shrink(struct quarry_kmem_cache *s, bool all) {
    size_t left = 0;
    /* order: acquire: what is listed is filled.                                                  pairs: [paged.list] */
    struct kmem_paged_slab *slab = atomic_load_explicit(&s->paged.slabs, memory_order_acquire);
    for (; slab != NULL; slab = slab->next) {
        if (!has_pages(slab))
            continue;
        if (!all || !slab_claim(s, slab)) {
            left++;
            continue;
        }
        slab_release(s, slab, atomic_load_explicit(&slab->base, memory_order_relaxed));
    }
    return left;
}

size_t kmem_paged_shrink(struct quarry_kmem_cache *s) {
    return shrink(s, (s->flags & QUARRY_SLAB_TYPESAFE_BY_RCU) == 0);
}

size_t kmem_paged_end(struct quarry_kmem_cache *s) {
    /* order: acquire: who gave the last slab back is done with it.                                pairs: [paged.out] */
    size_t out = atomic_load_explicit(&s->paged.out_nr, memory_order_acquire);
    if (out != 0)
        return out;
    (void)shrink(s, true);
    struct kmem_paged_slab *slab = atomic_load_explicit(&s->paged.slabs, memory_order_relaxed), *next;
    for (; slab != NULL; slab = next) {
        next = slab->next;
        quarry_core1_free(slab);
    }
    return 0;
}

/* --- objects --- */

static void *taken_of(const struct quarry_kmem_cache *s, struct kmem_paged_slab *slab) {
    for (unsigned w = 0; w < words_nr(s); w++) {
        u64 free = atomic_load_explicit(&slab->free[w], memory_order_relaxed);
        while (free != 0) {
            size_t i = (size_t)w * WORD_BITS + bits_lowest(free);
            /* order: acquire: base, and what the last owner did; failing: the same.            pairs: [paged.object] */
            if (atomic_compare_exchange_weak_explicit(&slab->free[w], &free, free & (free - 1), memory_order_acquire,
                                                      memory_order_acquire))
                return atomic_load_explicit(&slab->base, memory_order_relaxed) + i * s->slot_bytes;
        }
    }
    return NULL;
}

/* The kernel keeps some empty slabs for each cache; of objects as large as these that would be much, and the page
 * allocator keeps what comes back for a while. Memory for devices is dear to come by. */
static bool keeps_empty(const struct quarry_kmem_cache *s) {
    return s->paged.objs_per_slab > 1 || (s->flags & (KMEM_SLAB_ZONES | QUARRY_SLAB_TYPESAFE_BY_RCU)) != 0;
}

static void *object_take(struct quarry_kmem_cache *s, quarry_gfp_t flags) {
    void *p = NULL;
    /* order: acquire: what is listed is filled.                                                  pairs: [paged.list] */
    struct kmem_paged_slab *slab = atomic_load_explicit(&s->paged.slabs, memory_order_acquire);
    for (; slab != NULL && p == NULL && keeps_empty(s); slab = slab->next)
        p = taken_of(s, slab);
    if (p == NULL)
        p = slab_add(s, flags);
    if (p != NULL)
        atomic_fetch_add_explicit(&s->paged.out_nr, 1, memory_order_relaxed);
    return p;
}

/* The one object of its slab. Of two who free it at once one finds the slab taken, or gone. */
static void sole_give(struct kmem_paged_slab *slab, void *p) {
    struct quarry_kmem_cache *s = slab->cache;
    char *base = p;
    if (!atomic_compare_exchange_strong_explicit(&slab->base, &base, TAKEN, memory_order_relaxed, memory_order_relaxed))
        quarry_core1_misuse(MISUSE_DOUBLE_FREE, p, s->slot_bytes, NULL);
    slab_release(s, slab, p);
    /* order: release: last, because the cache may be gone then.                                   pairs: [paged.out] */
    atomic_fetch_sub_explicit(&s->paged.out_nr, 1, memory_order_release);
}

static void object_give(struct kmem_paged_slab *slab, const char *base, void *p) {
    struct quarry_kmem_cache *s = slab->cache;
    if (!keeps_empty(s)) {
        sole_give(slab, p);
        return;
    }
    unsigned i = index_of(s, base, p);
    u64 bit = (u64)1 << i % WORD_BITS;
    /* First, because the slab, and with it the cache, may be gone when the bit is set. */
    atomic_fetch_sub_explicit(&s->paged.out_nr, 1, memory_order_relaxed);
    /* order: release: what its owner did.                                                      pairs: [paged.object] */
    if ((atomic_fetch_or_explicit(&slab->free[i / WORD_BITS], bit, memory_order_release) & bit) != 0)
        quarry_core1_misuse(MISUSE_DOUBLE_FREE, p, s->slot_bytes, NULL);
}

void *kmem_paged_alloc(struct quarry_kmem_cache *s, enum quarry_core1_context context) {
    quarry_gfp_t flags = kmem_accounted_flags(context);
    void *p = object_take(s, flags);
    if (p == NULL || (s->flags & QUARRY_SLAB_ACCOUNT) == 0 || quarry_kmem_cache_charge(p, flags))
        return p;
    (void)kmem_paged_free(p);
    return NULL;
}

bool kmem_paged_free(void *p) {
    char *base;
    struct kmem_paged_slab *slab = slab_of(p, &base);
    if (slab == NULL)
        return false;
    const struct quarry_kmem_cache *s = slab->cache;
    if (!is_start(s, base, p))
        quarry_core1_misuse(MISUSE_INTERIOR, p, s->slot_bytes, NULL);
    if (is_free(slab, index_of(s, base, p)))
        quarry_core1_misuse(MISUSE_DOUBLE_FREE, p, s->slot_bytes, NULL);
    const struct quarry_core1_slab place = object_place(s, base, index_of(s, base, p));
    (void)kmem_account_uncharge(&place);
    object_give(slab, base, p);
    return true;
}

size_t kmem_paged_usable(const void *p) {
    char *base;
    struct kmem_paged_slab *slab = slab_of(p, &base);
    bool is_object = slab != NULL && is_start(slab->cache, base, p) && !is_free(slab, index_of(slab->cache, base, p));
    return is_object ? slab->cache->slot_bytes : 0;
}

/* --- looking --- */

static unsigned out_of(const struct quarry_kmem_cache *s, struct kmem_paged_slab *slab) {
    unsigned free_nr = 0;
    for (unsigned w = 0; w < words_nr(s); w++)
        free_nr += bits_count(atomic_load_explicit(&slab->free[w], memory_order_relaxed));
    return s->paged.objs_per_slab - MIN(free_nr, s->paged.objs_per_slab);
}

void kmem_paged_look(const struct quarry_kmem_cache *s, struct quarry_core1_class_info *ret_info) {
    *ret_info =
        (struct quarry_core1_class_info){.slab_bytes = s->paged.slab_bytes, .objs_per_slab = s->paged.objs_per_slab};
    /* order: acquire: what is listed is filled.                                                  pairs: [paged.list] */
    struct kmem_paged_slab *slab = atomic_load_explicit(&s->paged.slabs, memory_order_acquire);
    for (; slab != NULL; slab = slab->next) {
        unsigned out = has_pages(slab) ? out_of(s, slab) : 0;
        ret_info->slabs += has_pages(slab);
        ret_info->objs_out += out;
        ret_info->full += has_pages(slab) && out == s->paged.objs_per_slab;
        ret_info->empty += has_pages(slab) && out == 0;
    }
    ret_info->partial = ret_info->slabs - MIN(ret_info->full + ret_info->empty, ret_info->slabs);
}

void kmem_paged_each_out(const struct quarry_kmem_cache *s, quarry_core1_out_fn *fn, void *arg) {
    struct kmem_paged_slab *slab = atomic_load_explicit(&s->paged.slabs, memory_order_relaxed);
    for (; slab != NULL; slab = slab->next) {
        char *base = atomic_load_explicit(&slab->base, memory_order_relaxed);
        if (!has_pages(slab) || out_of(s, slab) == 0)
            continue;
        fn(arg, base, out_of(s, slab), NULL);
        for (unsigned i = 0; i < s->paged.objs_per_slab; i++) {
            if (!is_free(slab, i))
                fn(arg, base, i, base + (size_t)i * s->slot_bytes);
        }
    }
}
