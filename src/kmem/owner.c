/* SPDX-License-Identifier: MIT */
/*
 * Whose an object is: for each slab with objects that are charged, a vector of account numbers outside of it, found by
 * the granule the slab begins at, in a tree of three levels over the addresses a process has. Written by account.c.
 *
 * Invariants  [W1] An entry is not 0 while its slot is charged, and only then; so all entries of a slab that went back
 *             are 0, and the vector serves the next slab at its place, if it is long enough.
 *             [W2] Which vector a slab uses is settled by its number of objects and the vector's length alone, so that
 *             all who look at once come to the same one: of a vector that is too short nobody reads or writes entries.
 * Ordering    Publishing a level or a vector releases its zeros. [kmem.owner] The entry itself is ordered by how the
 *             object is handed on, and by the heap's bits between two owners of a slot.
 * Progress    Lock-free; a lookup is wait-free. No system call where the caller may not block: memory at hand, or NULL.
 * Reclamation A vector that is too short is freed by who replaces it, which nobody uses by [W2]: its length is in the
 *             word that leads to it. Levels stay.
 */
#include "kmem/account.h"

#include "kmem/gfp.h"

#include <string.h>

enum { LEVEL_BITS = 11, LEVEL_NR = 1 << LEVEL_BITS, ADDRESS_BITS = 47, LENGTH_SHIFT = 48 };
_Static_assert(3 * LEVEL_BITS == ADDRESS_BITS - GRANULE_SHIFT, "three levels over all granules");

/* An entry of the lowest level is a vector's address, with its length above; of the others the next level's. */
struct level {
    _Atomic(u64) entries[LEVEL_NR];
};
static struct level root;

static void *zeros_get(size_t bytes, quarry_gfp_t flags) {
    if (kmem_may_block(flags))
        return quarry_core1_zalloc(bytes);
    void *p = quarry_core1_alloc_atomic(bytes, kmem_gfp_has_reserve(flags));
    return p == NULL ? NULL : memset(p, 0, bytes);
}

static _Atomic(u64) *entry_of(struct level *l, uintptr_t granule, unsigned height) {
    return &l->entries[granule >> height * LEVEL_BITS & (LEVEL_NR - 1)];
}

static u64 entry_load(const _Atomic(u64) *at) {
    /* order: acquire: the zeros behind it.                                                       pairs: [kmem.owner] */
    return atomic_load_explicit(at, memory_order_acquire);
}

/* False: another was quicker, and *old is what it wrote. */
static bool entry_replace(_Atomic(u64) *at, u64 *old, u64 entry) {
    /* order: release: the zeros; acquire: the other's.                                           pairs: [kmem.owner] */
    return atomic_compare_exchange_strong_explicit(at, old, entry, memory_order_acq_rel, memory_order_acquire);
}

static void *entry_address(u64 entry) {
    return (void *)(uintptr_t)(entry & (((u64)1 << LENGTH_SHIFT) - 1)); // NOLINT(performance-no-int-to-ptr)
}

static uintptr_t granule_of(const struct quarry_core1_slab *slab) {
    return ((uintptr_t)slab->base & (((uintptr_t)1 << ADDRESS_BITS) - 1)) >> GRANULE_SHIFT;
}

static struct level *level_make(_Atomic(u64) *at, quarry_gfp_t flags) {
    u64 old = entry_load(at);
    if (old != 0)
        return entry_address(old);
    struct level *l = zeros_get(sizeof(*l), flags);
    if (l == NULL || entry_replace(at, &old, (uintptr_t)l))
        return l;
    quarry_core1_free(l);
    return entry_address(old);
}

static bool is_long_enough(u64 entry, const struct quarry_core1_slab *slab) {
    return entry >> LENGTH_SHIFT >= slab->objs_nr;
}

static _Atomic(u16) *owner_in(u64 entry, const struct quarry_core1_slab *slab) {
    return (_Atomic(u16) *)entry_address(entry) + slab->index;
}

_Atomic(u16) *kmem_owner_find(const struct quarry_core1_slab *slab) {
    uintptr_t granule = granule_of(slab);
    struct level *l = &root;
    for (unsigned height = 2; height > 0 && l != NULL; height--)
        l = entry_address(entry_load(entry_of(l, granule, height)));
    u64 entry = l == NULL ? 0 : entry_load(entry_of(l, granule, 0));
    return entry != 0 && is_long_enough(entry, slab) ? owner_in(entry, slab) : NULL; /* [W2] */
}

/* [W2] Of several who make one, one has its way, and the others take that one's. */
static _Atomic(u16) *vector_make(_Atomic(u64) *at, const struct quarry_core1_slab *slab, quarry_gfp_t flags) {
    u64 old = entry_load(at);
    if (old != 0 && is_long_enough(old, slab))
        return owner_in(old, slab);
    void *vector = zeros_get(slab->objs_nr * sizeof(u16), flags);
    if (vector == NULL)
        return NULL;
    u64 entry = (uintptr_t)vector | (u64)slab->objs_nr << LENGTH_SHIFT;
    if (!entry_replace(at, &old, entry)) {
        quarry_core1_free(vector);
        return owner_in(old, slab);
    }
    quarry_core1_free(entry_address(old));
    return owner_in(entry, slab);
}

_Atomic(u16) *kmem_owner_make(const struct quarry_core1_slab *slab, quarry_gfp_t flags) {
    uintptr_t granule = granule_of(slab);
    struct level *l = &root;
    for (unsigned height = 2; height > 0 && l != NULL; height--)
        l = level_make(entry_of(l, granule, height), flags);
    return l == NULL ? NULL : vector_make(entry_of(l, granule, 0), slab, flags);
}
