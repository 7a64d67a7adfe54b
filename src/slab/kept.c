/* SPDX-License-Identifier: MIT */
/*
 * Wholly free slabs that a class keeps beyond the few it always may. A program that frees and allocates large objects
 * in turn would give a slab back and make one for each of them: records, page map and the page tier's lock cost several
 * times what the rest of the call does. So a class that makes slabs soon after it gave as many back regrets that, and
 * keeps so many more from then on. It costs no memory: what is kept counts as free pages do, and is bound by what may
 * be kept of these (page/purge.c). What lay idle from one tick to the next goes; and before a class has a slab made of
 * memory that was not used before, all others give up what they keep.
 *
 * All of it are hints: threads may lose each other's steps, but for the sum of what is regretted.
 */
#include "rt/usage.h"
#include "slab/class.h"

enum {
    NOBJ_MAX = 16,    /* with more objects a slab's making is a small part of what they cost */
    RETIRED_PART = 4, /* of what was given back is forgotten with each tick */
    OVER_PART = 4,    /* so much above what may be kept is too much: what is in use fell meanwhile */
};
/* What may be kept by another name, or is not worth a look. */
#define OVER_MIN_BYTES ((s64)(2 * MIB))

static _Atomic(s64) regretted_bytes; /* of all classes together */

static s64 slab_bytes(const struct slab_geometry *g) { return (s64)(g->granules * GRANULE_BYTES); }

static void regret_add(struct slab_class *c, const struct slab_geometry *g, s32 slabs) {
    atomic_fetch_add_explicit(&c->regretted, slabs, memory_order_relaxed);
    atomic_fetch_add_explicit(&regretted_bytes, slabs * slab_bytes(g), memory_order_relaxed);
}

/* So many less, or as many as there are; several threads may be here for one class. */
static void regret_take(struct slab_class *c, const struct slab_geometry *g, s32 slabs) {
    s32 seen = atomic_load_explicit(&c->regretted, memory_order_relaxed), less;
    do {
        less = MIN(seen, slabs);
    } while (less > 0 && !atomic_compare_exchange_weak_explicit(&c->regretted, &seen, seen - less, memory_order_relaxed,
                                                                memory_order_relaxed));
    if (less > 0)
        atomic_fetch_sub_explicit(&regretted_bytes, less * slab_bytes(g), memory_order_relaxed);
}

bool slab_kept_admits(s64 bytes) {
    return atomic_load_explicit(&regretted_bytes, memory_order_relaxed) != 0 && page_may_keep((u64)bytes);
}

s32 slab_kept_more(const struct slab_class *c) { return atomic_load_explicit(&c->regretted, memory_order_relaxed); }

void slab_kept_note(struct slab_class *c, s32 empties) {
    if (empties < atomic_load_explicit(&c->empties_min, memory_order_relaxed))
        atomic_store_explicit(&c->empties_min, empties, memory_order_relaxed);
}

void slab_kept_retired(struct slab_class *c, unsigned cls) {
    s32 retired = atomic_load_explicit(&c->retired, memory_order_relaxed);
    if (cls < SLAB_CLASSES_NR && slab_geometry[cls].nobj <= NOBJ_MAX)
        atomic_store_explicit(&c->retired, retired + 1, memory_order_relaxed);
}

static void class_yield(unsigned cls) {
    const struct slab_geometry *g = slab_geometry_of(cls);
    bool any = false;
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        struct slab_class *c = slab_class_at(node, cls);
        any = any || slab_kept_more(c) != 0;
        slab_kept_forget(c, g);
    }
    if (any)
        slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO);
    for (unsigned node = 0; any && node < page_nodes_nr(); node++)
        atomic_store_explicit(&slab_class_at(node, cls)->retired, 0, memory_order_relaxed);
}

/* asking: the class that gets it; 0: the system. */
void slab_kept_yield(unsigned asking) {
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        if (cls != asking)
            class_yield(cls);
    }
}

void slab_kept_look(void) {
    s64 bytes = atomic_load_explicit(&rt_usage_empty_bytes, memory_order_relaxed);
    if (LIKELY(bytes <= OVER_MIN_BYTES) || atomic_load_explicit(&regretted_bytes, memory_order_relaxed) == 0)
        return;
    if (!page_may_keep((u64)(bytes - bytes / OVER_PART)))
        slab_kept_yield(0);
}

void slab_kept_made(struct slab_class *c, unsigned cls) {
    s32 retired = atomic_load_explicit(&c->retired, memory_order_relaxed);
    if (retired <= 0 || cls >= SLAB_CLASSES_NR)
        return;
    atomic_store_explicit(&c->retired, retired - 1, memory_order_relaxed);
    if (slab_kept_more(c) < atomic_load_explicit(&c->slabs, memory_order_relaxed)) /* more could never be kept */
        regret_add(c, slab_geometry_of(cls), 1);
}

bool slab_kept_elsewhere(const struct slab_class *c, unsigned cls) {
    s64 own = slab_kept_more(c) * slab_bytes(slab_geometry_of(cls));
    return atomic_load_explicit(&regretted_bytes, memory_order_relaxed) > own;
}

void slab_kept_forget(struct slab_class *c, const struct slab_geometry *g) {
    if (slab_kept_more(c) > 0)
        regret_take(c, g, INT32_MAX);
}

/* Slabs that were free all the time since the last tick are not wanted: they go, and no more than the others are
 * regretted. */
static void idle_give(struct slab_class *c, unsigned cls, s32 empties, s32 idle) {
    s32 regretted = slab_kept_more(c);
    if (idle <= 0 || regretted == 0)
        return;
    regret_take(c, slab_geometry_of(cls), MAX(regretted - MAX(empties - idle, 0), idle));
    slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO);
}

static void class_tick(unsigned node, unsigned cls) {
    struct slab_class *c = slab_class_at(node, cls);
    s32 retired = atomic_load_explicit(&c->retired, memory_order_relaxed);
    s32 empties = atomic_load_explicit(&c->empties, memory_order_relaxed);
    s32 idle = atomic_load_explicit(&c->empties_min, memory_order_relaxed);
    if (retired > 0)
        atomic_store_explicit(&c->retired, retired - (retired + RETIRED_PART - 1) / RETIRED_PART, memory_order_relaxed);
    idle_give(c, cls, empties, idle);
    atomic_store_explicit(&c->empties_min, atomic_load_explicit(&c->empties, memory_order_relaxed),
                          memory_order_relaxed);
}

/* Another thread may have been between a class's count and the sum of all. */
void slab_kept_fork_child(void) {
    s64 regretted = 0, empty = 0;
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        for (unsigned cls = 1; cls < slab_ids_end_get(); cls++) {
            struct slab_class *c = slab_class_at(node, cls);
            s64 bytes = slab_bytes(slab_geometry_of(cls));
            regretted += slab_kept_more(c) * bytes;
            empty += slab_was_pinned(c) ? 0 : atomic_load_explicit(&c->empties, memory_order_relaxed) * bytes;
        }
    }
    atomic_store_explicit(&regretted_bytes, regretted, memory_order_relaxed);
    atomic_store_explicit(&rt_usage_empty_bytes, empty, memory_order_relaxed);
}

void slab_kept_tick(void) {
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
            class_tick(node, cls);
    }
}
