/* SPDX-License-Identifier: MIT */
/* The functions of core.h that serve caches: classes made for them, and waiting. Owns nothing. */
#include "engine/cache.h"

#include "engine/atomic.h"
#include "engine/debug.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "front/core.h"
#include "mag/mag.h"
#include "sys/sys.h"

#include <errno.h>

static void *(*_Atomic class_failed)(const struct quarry_core1_class *class);

void quarry_core1_class_failed(void *(*fn)(const struct quarry_core1_class *class)) {
    atomic_store_explicit(&class_failed, fn, memory_order_relaxed);
}

/* A cache's head may change while it is used: kmem/cache.c, cache_account(). */
static ALWAYS_INLINE unsigned slot_of(const struct quarry_core1_class *class) {
    return __atomic_load_n(&class->slot, __ATOMIC_RELAXED);
}
/* Who finds a handle finds what it leads to. The fast path reads no id. */
static ALWAYS_INLINE unsigned id_of(const struct quarry_core1_class *class) {
    /* order: acquire: what a handle leads to.                                             pairs: [kmem.cache.handle] */
    return __atomic_load_n(&class->id, __ATOMIC_ACQUIRE);
}

static COLD NOINLINE void *class_alloc_slow(const struct quarry_core1_class *class) {
    unsigned id = id_of(class); /* once: what failed is what is asked about */
    void *p = engine_class_alloc_slow(id);
    if (LIKELY(p != NULL) || engine_is_debug_handle(id))
        return p;
    void *(*failed)(const struct quarry_core1_class *) = atomic_load_explicit(&class_failed, memory_order_relaxed);
    return failed == NULL ? NULL : failed(class);
}

/* Slots are indices, so that the fast path needs no test for a class without magazines. */
FAST_ENTRY void *quarry_core1_class_alloc(const struct quarry_core1_class *class) {
    void *p = rseq_pop(mag_tabs.alloc_view, slot_of(class));
    return LIKELY(p != NULL) ? p : class_alloc_slow(class);
}

void *quarry_core1_class_alloc_atomic(const struct quarry_core1_class *class, bool reserve) {
    void *p = rseq_pop(mag_tabs.alloc_view, slot_of(class));
    return LIKELY(p != NULL) ? p : engine_class_alloc_atomic(id_of(class), reserve ? RT_ATOMIC_RESERVE : RT_ATOMIC);
}

/* What the magazine has, in one section; the rest, if any, the slow way. */
FAST_ENTRY size_t quarry_core1_class_alloc_bulk(const struct quarry_core1_class *class, size_t nr, void **objs) {
    size_t got = 0;
    if (LIKELY(nr - 1 < MAG_RUN_MAX)) /* 0 too */
        got = rseq_pop_run(mag_tabs.alloc_view, slot_of(class), nr, objs);
    return LIKELY(got == nr) ? nr : got + engine_class_alloc_bulk(id_of(class), nr - got, objs + got);
}

FAST_ENTRY void quarry_core1_class_free_bulk(const struct quarry_core1_class *class, size_t nr, void *const *objs) {
    size_t given = 0;
    unsigned slot = slot_of(class);
    size_t ours = page_map_run(slot, nr, objs);
    if (LIKELY(ours - 1 < MAG_RUN_MAX))
        given = rseq_push_run(mag_free_view(), slot, ours, objs);
    if (UNLIKELY(given < nr))
        engine_class_free_bulk(id_of(class), nr - given, objs + given);
}

size_t quarry_core1_free_bulk(size_t nr, void *const *objs) { return engine_free_bulk(nr, objs); }

FAST_ENTRY void quarry_core1_class_free(const struct quarry_core1_class *class, void *p) {
    if (UNLIKELY(!engine_free_fast(p)))
        engine_class_free_slow(class, p);
}

int quarry_core1_class_make(struct quarry_core1_class *ret_class, const struct quarry_core1_class_make *make) {
    if (!engine_ready())
        return -ENOMEM;
    unsigned cls = mag_class_make(&(struct slab_make){.size_bytes = make->size_bytes,
                                                      .align_bytes = make->align_bytes,
                                                      .ctor = make->ctor,
                                                      .pinned = make->pinned,
                                                      .debugged = make->debugged,
                                                      .reclaimable = make->reclaimable},
                                  make->capacity);
    if (cls == 0)
        return -ENOMEM;
    *ret_class = (struct quarry_core1_class){.slot = slab_slot_of(cls), .id = cls};
    return 0;
}

long quarry_core1_class_unmake(const struct quarry_core1_class *class) {
    u64 live = 0;
    enum mag_unmake result = mag_class_unmake(class->id, &live);
    return result == MAG_UNMAKE_DONE ? 0 : result == MAG_UNMAKE_LIVE ? (long)live : -EBUSY;
}

void quarry_core1_class_unpin(const struct quarry_core1_class *class) { slab_made_pin(class->id, SLAB_UNPINNED); }
void quarry_core1_class_pin(const struct quarry_core1_class *class) { slab_made_pin(class->id, SLAB_PINNED); }
unsigned quarry_core1_grace_begin(bool all) { return slab_grace_begin(all ? SLAB_KEEP_NONE : SLAB_KEEP_SOME); }
void quarry_core1_grace_end(void) { slab_grace_end(); }
void quarry_core1_grace_wanted(void (*fn)(void)) { engine_grace_wanted(fn); }

size_t quarry_core1_class_shrink(const struct quarry_core1_class *class) {
    struct slab_class_stats st;
    mag_class_shrink(class->id);
    slab_class_stats_get(class->id, &st);
    return st.slabs;
}

/* --- looking --- */

static void slab_count(void *arg, const struct slab_seen *slab) {
    struct quarry_core1_class_info *info = arg;
    info->slabs++;
    if (slab->free_nr == 0)
        info->full++;
    else if (slab->free_nr >= info->objs_per_slab)
        info->empty++;
    else
        info->partial++;
}

/* All but the slabs. */
static struct quarry_core1_class_info class_counters(unsigned cls) {
    const struct slab_geometry *g = slab_geometry_of(cls);
    struct slab_class_stats st;
    slab_class_stats_get(cls, &st);
    return (struct quarry_core1_class_info){.slab_bytes = g->granules * GRANULE_BYTES,
                                            .objs_per_slab = g->nobj,
                                            .objs_out = st.out_objs,
                                            .objs_cached = mag_class_cached_racy(cls)};
}

void quarry_core1_class_look(const struct quarry_core1_class *class, struct quarry_core1_class_info *ret_info) {
    *ret_info = class_counters(class->id);
    slab_made_walk(class->id, slab_count, ret_info);
}

struct all_walk {
    struct quarry_core1_class_row *rows;
    unsigned rows_nr;
};

static void slab_count_any(void *arg, const struct slab_seen *slab) {
    const struct all_walk *w = arg;
    if (slab->cls < w->rows_nr)
        slab_count(&w->rows[slab->cls].info, slab);
}

unsigned quarry_core1_classes_look(struct quarry_core1_class_row *ret_rows, unsigned cap) {
    struct all_walk w = {ret_rows, MIN(cap, slab_ids_end_get())};
    if (!engine_ready())
        return 0;
    for (unsigned cls = 0; cls < w.rows_nr; cls++)
        ret_rows[cls] = (struct quarry_core1_class_row){slab_geometry_of(cls)->size_bytes, class_counters(cls)};
    slab_made_walk(SLAB_ANY_CLASS, slab_count_any, &w);
    return w.rows_nr;
}

struct out_walk {
    unsigned cls;
    quarry_core1_out_fn *fn;
    void *arg;
};

static void slab_out(void *arg, const struct slab_seen *slab) {
    const struct out_walk *w = arg;
    const struct slab_geometry *g = slab_geometry_of(w->cls);
    w->fn(w->arg, slab->base, g->nobj - MIN(slab->free_nr, (unsigned)g->nobj), NULL);
    for (unsigned i = 0; i < g->nobj; i++) {
        if (slab_made_is_out(w->cls, slab->base, i))
            w->fn(w->arg, slab->base, i, slab->base + (size_t)i * g->size_bytes);
    }
}

void quarry_core1_class_each_out(const struct quarry_core1_class *class, quarry_core1_out_fn *fn, void *arg) {
    struct out_walk w = {class->id, fn, arg};
    slab_made_walk(class->id, slab_out, &w);
}

/* --- waiting --- */

void quarry_core1_wait(unsigned *word, unsigned expected, unsigned ms) { sys_wait((_Atomic(u32) *)word, expected, ms); }

void quarry_core1_wake(unsigned *word, unsigned nr) { sys_wake((_Atomic(u32) *)word, nr); }
