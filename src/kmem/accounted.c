/* SPDX-License-Identifier: MIT */
/*
 * The caches that charged objects come from, apart from all others as the kernel's kmalloc-cg: their classes have no
 * magazines, so that each free comes here, and nobody else's free has to look whether its object is charged. Owns those
 * of kmalloc; a cache of SLAB_ACCOUNT has its own in its record.
 *
 * With the first account such a cache gets a handle in the place of its class, as one that is debugged: what threads
 * without an account allocate then comes from the cache's class as before, by its magazines, but through here.
 */
#include "kmem/account.h"
#include "kmem/debug.h"
#include "kmem/gfp.h"
#include "kmem/lent.h"
#include "rt/misuse.h"
#include "slab/slab.h"

#include <stdio.h>
#include <string.h>

/* Powers of two, and 96 and 192, as the kernel's up to 8 KiB; above that the kernel charges pages. */
static const u32 kmalloc_bytes[] = {16,   32,   64,    96,    128,   192,    256,    512,    1024,   2048,
                                    4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576};
_Static_assert(SLAB_MADE_OBJECT_MAX == 1048576, "the largest is the largest a cache may have");
static struct quarry_kmem_cache *_Atomic kmalloc_caches[ARRAY_NR(kmalloc_bytes)];
static _Atomic(bool) zeroing;

/* --- caches --- */

void kmem_accounted_ctor(void *object) { (void)object; }

static bool kmalloc_cache_make(size_t i) {
    char name[KMEM_NAME_BYTES];
    unsigned bytes = kmalloc_bytes[i];
    struct quarry_kmem_cache_args args = {.align = bytes & -bytes};
    (void)snprintf(name, sizeof(name), "kmalloc-cg-%u", bytes);
    /* Of sizes that are debugged, kmalloc's own caches charge. */
    return kmem_cache_new_once(&kmalloc_caches[i], name, bytes, &args, KMEM_SLAB_ACCOUNTED | QUARRY_SLAB_NO_USER_FLAGS,
                               QUARRY_GFP_KERNEL) != NULL;
}

static struct quarry_kmem_cache *kmalloc_cache(size_t i) {
    /* order: acquire: the cache.                                                            pairs: [kmem.cache.once] */
    return atomic_load_explicit(&kmalloc_caches[i], memory_order_acquire);
}

/* Before the first account there is nobody who would look at any of this. */
bool kmem_accounted_start(void) {
    struct quarry_core1_debug_options options;
    if (kmem_accounts_are_on())
        return true;
    for (size_t i = 0; i < ARRAY_NR(kmalloc_bytes); i++) {
        if (!kmalloc_cache_make(i))
            return false;
    }
    quarry_core1_debug_options(&options);
    atomic_store_explicit(&zeroing, options.zero, memory_order_relaxed);
    return kmem_caches_account();
}

/* --- allocating --- */

static enum quarry_core1_context context_of(quarry_gfp_t flags) {
    return kmem_may_block(flags)         ? QUARRY_CORE1_MAY_BLOCK
           : kmem_gfp_has_reserve(flags) ? QUARRY_CORE1_ATOMIC_RESERVE
                                         : QUARRY_CORE1_ATOMIC;
}

quarry_gfp_t kmem_accounted_flags(enum quarry_core1_context context) {
    if (context == QUARRY_CORE1_MAY_BLOCK)
        return kmem_gfp_inside();
    return context == QUARRY_CORE1_ATOMIC_RESERVE ? QUARRY_GFP_ATOMIC : QUARRY_GFP_NOWAIT;
}

static void *class_take(const struct quarry_kmem_cache *s, enum quarry_core1_context context) {
    return context == QUARRY_CORE1_MAY_BLOCK
               ? quarry_core1_class_alloc(&s->heap)
               : quarry_core1_class_alloc_atomic(&s->heap, context == QUARRY_CORE1_ATOMIC_RESERVE);
}

static void *charged_try(const void *cache, quarry_gfp_t flags) {
    const struct quarry_kmem_cache *s = cache;
    void *p = class_take(s, context_of(flags));
    if (p == NULL || kmem_account_charge(p, flags))
        return p;
    quarry_core1_debug_free(p);
    return NULL;
}

/* Option zero, as the heap does it for classes that do not keep what is in free objects. */
static void *settled(const struct quarry_kmem_cache *s, void *p) {
    if (p != NULL && UNLIKELY(atomic_load_explicit(&zeroing, memory_order_relaxed)) && s->args.ctor == NULL &&
        (s->flags & QUARRY_SLAB_TYPESAFE_BY_RCU) == 0)
        memset(p, 0, s->slot_bytes);
    return p;
}

void *kmem_accounted_alloc(const struct quarry_kmem_cache *s, enum quarry_core1_context context) {
    if (quarry_account_current() == NULL)
        return class_take(s, context);
    const struct quarry_kmem_cache *charged = s->accounted;
    quarry_gfp_t flags = kmem_accounted_flags(context);
    return settled(charged,
                   kmem_may_block(flags) ? kmem_gfp_try_inside(charged_try, charged) : charged_try(charged, flags));
}

void *kmem_accounted_kmalloc(size_t size, quarry_gfp_t flags) {
    size_t i = 0;
    while (i < ARRAY_NR(kmalloc_bytes) && kmalloc_bytes[i] < size)
        i++;
    if (i == ARRAY_NR(kmalloc_bytes))
        return kmem_lent_area(size, flags);
    const struct quarry_kmem_cache *s = kmalloc_cache(i);
    void *p = kmem_gfp_try_if_blocking(charged_try, s, flags);
    if (p == NULL && kmem_may_block(flags) && kmem_gfp_has_reserve(flags))
        p = charged_try(s, flags & ~QUARRY___GFP_DIRECT_RECLAIM);
    if (p != NULL && !kmem_gfp_node_holds(p, size, flags)) {
        quarry_core1_free(p);
        return NULL;
    }
    if (p != NULL && (flags & QUARRY___GFP_ZERO) != 0)
        return memset(p, 0, s->slot_bytes);
    return settled(s, p);
}

/* --- charging later --- */

static void *late_try(const void *what, quarry_gfp_t flags) {
    const struct quarry_core1_slab *slab = what;
    return kmem_account_charge_late(slab, flags) ? slab->base : NULL;
}

/* Free knows what is charged of slabs, pages and areas by asking here. Objects of kmalloc's own classes it knows
 * without asking anybody: as the kernel's of its plain caches, they are charged when they are made or never. */
static bool chargeable(const void *p, struct quarry_core1_slab *ret_slab) {
    if (!quarry_core1_slab_look(p, ret_slab))
        return kmem_lent_place(p, ret_slab);
    return ret_slab->index < ret_slab->objs_nr && quarry_core1_slab_watch(p);
}

bool quarry_kmem_cache_charge(void *p, quarry_gfp_t flags) {
    struct quarry_core1_slab slab;
    if (quarry_account_current() == NULL || QUARRY_ZERO_OR_NULL_PTR(p) || !chargeable(p, &slab))
        return true;
    return kmem_gfp_try_if_blocking(late_try, &slab, flags) != NULL;
}

/* --- freeing --- */

/* An object that may be charged to somebody goes back to its slab, which finds out if it was there already. */
void kmem_accounted_free(void *p, const struct quarry_core1_slab *slab) {
    const char *slot = slab->base + (size_t)slab->index * slab->slot_bytes;
    if (slab->index >= slab->objs_nr || p != slot)
        quarry_core1_misuse(MISUSE_INTERIOR, p, slab->slot_bytes, NULL);
    (void)kmem_account_uncharge(slab);
    quarry_core1_debug_free(p);
}

size_t kmem_accounted_usable(const void *p, const struct quarry_core1_slab *slab) {
    const char *slot = slab->base + (size_t)slab->index * slab->slot_bytes;
    return slab->index < slab->objs_nr && slab->is_out && p == slot ? slab->slot_bytes : 0;
}
