/* SPDX-License-Identifier: MIT */
/*
 * Partial lists: for each class and node four lock-free stacks of slabs, by how much of the slab was free when it was
 * linked; and one of those whose free pages' memory was given back, and refused when it was wanted again.
 *
 * States      A slab is on no list, or LISTED on exactly one ([S1] in word.h).
 * Invariants  [L1] The tag changes with every push, pop and take-all. [L2] Descriptors are never unmapped.
 * Ordering    push releases, pop acquires. [slab.list] Progress    Lock-free. Each call visits one head of five.
 * Reclamation None: a stale link read through an old head is discarded because of [L1]. The tag has 30 bits.
 */
#include "slab/class.h"

enum { ID_BITS = 34 };

#define ID_MASK (((u64)1 << ID_BITS) - 1)
#define TAG_ONE ((u64)1 << ID_BITS)

static u64 base_id(const char *base) { return (u64)(uintptr_t)base >> GRANULE_SHIFT; }
static char *id_base(u64 id) { return (char *)(uintptr_t)(id << GRANULE_SHIFT); }
static u64 head_with(u64 head, u64 id) { return ((head & ~ID_MASK) + TAG_ONE) | id; }

char *partial_next(const char *base) {
    u64 id = atomic_load_explicit(&slab_at(base)->link, memory_order_relaxed);
    return id == 0 ? NULL : id_base(id);
}

static void push_on(_Atomic(u64) *head, char *base) {
    struct slab *s = slab_at(base);
    u64 seen = atomic_load_explicit(head, memory_order_relaxed);
    do {
        atomic_store_explicit(&s->link, seen & ID_MASK, memory_order_relaxed);
        /* order: release, relaxed on failure: publishes the link.                                 pairs: [slab.list] */
    } while (!atomic_compare_exchange_weak_explicit(head, &seen, head_with(seen, base_id(base)), memory_order_release,
                                                    memory_order_relaxed));
}

void partial_push(struct slab_class *c, char *base, int free_nr, int nobj) {
    push_on(&c->partial[(unsigned)CLAMP(free_nr, 0, nobj) * BUCKETS_NR / ((unsigned)nobj + 1)], base);
}

void partial_push_unbacked(struct slab_class *c, char *base) { push_on(&c->unbacked, base); }

static _Atomic(u64) *list_head(struct slab_class *c, unsigned list) {
    return list == BUCKET_UNBACKED ? &c->unbacked : &c->partial[list];
}

char *partial_pop(struct slab_class *c, unsigned list) {
    _Atomic(u64) *head = list_head(c, list);
    /* order: acquire: the link read below is at least as new as the head.                         pairs: [slab.list] */
    u64 seen = atomic_load_explicit(head, memory_order_acquire);
    while ((seen & ID_MASK) != 0) {
        char *base = id_base(seen & ID_MASK);
        u64 next = atomic_load_explicit(&slab_at(base)->link, memory_order_relaxed) & ID_MASK;
        if (atomic_compare_exchange_weak_explicit(head, &seen, head_with(seen, next), memory_order_acquire,
                                                  memory_order_acquire))
            return base;
    }
    return NULL;
}

char *partial_take_all(struct slab_class *c, unsigned list) {
    _Atomic(u64) *head = list_head(c, list);
    u64 seen = atomic_load_explicit(head, memory_order_relaxed);
    /* order: acquire: consumes the links of the whole list.                                       pairs: [slab.list] */
    while ((seen & ID_MASK) != 0 && !atomic_compare_exchange_weak_explicit(head, &seen, head_with(seen, 0),
                                                                           memory_order_acquire, memory_order_relaxed))
        continue;
    return (seen & ID_MASK) == 0 ? NULL : id_base(seen & ID_MASK);
}
