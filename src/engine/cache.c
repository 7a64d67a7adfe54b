/* SPDX-License-Identifier: MIT */
/* The slow path of allocation by class, and objects by the run. Contract in cache.h. */
#include "engine/cache.h"

#include "engine/atomic.h"
#include "engine/debug.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/options.h"
#include "sys/sys.h"

#include <string.h>

enum { RUN_MAX = 1 << 16 }; /* objects moved at a time: counts of the layers below have 32 bits */

/* In a signal handler on top of the page tier's holder nothing can be done that mag_alloc() did not try. */
COLD static void *alloc_hard(unsigned cls) {
    if (page_is_busy_here())
        return NULL;
    engine_pressure_hard();
    return mag_alloc(cls, NULL);
}

/* What options ask of each object handed out, NULL included. Zero: an object of a class with a constructor stays as its
 * constructor, or its last owner, left it. */
static void object_settle(unsigned cls, void *p) {
    if (UNLIKELY(p == NULL))
        return;
    if (UNLIKELY(rt_opt.zero) && !slab_keeps_contents(cls))
        memset(p, 0, slab_geometry_of(cls)->size_bytes);
    if (UNLIKELY(engine_counting))
        engine_count(ENGINE_CALL_MALLOC, slab_geometry_of(cls)->size_bytes);
}

void *engine_class_alloc_slow(unsigned cls) {
    if (engine_is_debug_handle(cls))
        return engine_debug_get()->alloc(cls, RT_MAY_BLOCK);
    void *p = mag_pop_untried(cls);
    if (p != NULL) {
        object_settle(cls, p);
        return p;
    }
    p = mag_alloc(cls, NULL);
    if (UNLIKELY(p == NULL))
        p = alloc_hard(cls);
    object_settle(cls, p);
    engine_pressure_look();
    engine_tick_maybe();
    return p;
}

void *engine_class_alloc_node(unsigned cls, int id, enum engine_node how) {
    if (engine_is_debug_handle(cls) || !engine_ready())
        return NULL;
    (void)mag_nodes_start(PAGE_OPEN_WAIT);
    id = id < 0 ? sys_node_racy() : id;
    bool strict = how == ENGINE_NODE_STRICT;
    int node = strict && page_nodes_nr() != 1 ? page_node_index(id) : (int)page_node_nearest(id);
    enum mag_near near = strict ? MAG_STRICT : MAG_NEAR;
    void *p = node < 0 ? NULL : mag_alloc_node(cls, (unsigned)node, near, NULL);
    if (UNLIKELY(p == NULL) && node >= 0 && !page_is_busy_here()) {
        engine_pressure_hard();
        p = mag_alloc_node(cls, (unsigned)node, near, NULL);
    }
    object_settle(cls, p);
    if (p != NULL && strict && !engine_settle_on(p, slab_geometry_of(cls)->size_bytes, id)) {
        engine_free_slow(p);
        p = NULL;
    }
    engine_pressure_look();
    engine_tick_maybe();
    return p;
}

/* Counting calls, and option zero, see each object. */
static bool by_the_run(void) { return LIKELY(!engine_counting && !rt_opt.zero); }

size_t engine_class_alloc_bulk(unsigned cls, size_t nr, void **objs) {
    size_t got = 0;
    if (engine_is_debug_handle(cls))
        return engine_debug_alloc_bulk(cls, nr, objs);
    while (got < nr) {
        unsigned run = (unsigned)MIN(nr - got, (size_t)RUN_MAX);
        unsigned done = by_the_run() ? mag_alloc_bulk(cls, run, objs + got) : 0;
        got += done;
        /* Out of memory, or not by the run: what one object takes. */
        if (done < run && (objs[got] = engine_class_alloc_slow(cls)) == NULL)
            break;
        got += done < run;
    }
    engine_pressure_look();
    engine_tick_maybe();
    return got;
}

static void free_one(void *p) {
    if (!engine_free_fast(p))
        engine_free_atomic(p);
}

void *engine_class_alloc_atomic(unsigned cls, enum rt_context context) {
    if (engine_is_debug_handle(cls))
        return engine_debug_get()->alloc(cls, context);
    if (!engine_started())
        return NULL;
    void *p = engine_take_in(context, cls);
    object_settle(cls, p);
    return p;
}

COLD static void free_as_said(const struct quarry_core1_class *class, void *p) {
    engine_debug_get()->said(p, class);
    engine_free_atomic(p);
}

void engine_class_free_slow(const struct quarry_core1_class *class, void *p) {
    if (engine_is_debugged(p, page_map_get(p) % PAGE_MAP_CLASSES))
        engine_debug_get()->free(p, class);
    else if (class != NULL && UNLIKELY(rt_opt.harden) && engine_debug_get() != NULL)
        free_as_said(class, p);
    else
        engine_free_atomic(p);
}

/* Objects from the first on whose page map entry is this. */
static unsigned run_length(unsigned slot, size_t nr, void *const *objs) {
    return (unsigned)page_map_run(slot, MIN(nr, (size_t)RUN_MAX), objs);
}

/* As every free of the kernel API: without system call or waiting. All classes without magazines have one slot, which
 * an object that is debugged may have, too. */
void engine_class_free_bulk(unsigned cls, size_t nr, void *const *objs) {
    unsigned slot = slab_has_slot(cls) || engine_debug_get() == NULL ? slab_slot_of(cls) : PAGE_MAP_NOT_OURS;
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    while (nr > 0) {
        unsigned entry = page_map_get(objs[0]); /* of any node */
        bool known = by_the_run() && slot != PAGE_MAP_NOT_OURS && entry % PAGE_MAP_CLASSES == slot;
        unsigned run = known ? run_length(entry, nr, objs) : 0;
        if (run != 0)
            mag_free_bulk(entry, run, objs);
        else
            free_one(objs[0]);
        run = MAX(run, 1u);
        objs += run;
        nr -= run;
    }
    rt_context_leave(before);
}

/* Single objects among others are quicker on the fast path. */
static void run_free(unsigned slot, unsigned nr, void *const *objs) {
    if (nr > 1 && by_the_run()) {
        mag_free_bulk(slot, nr, objs);
        return;
    }
    for (unsigned i = 0; i < nr; i++)
        free_one(objs[i]);
}

size_t engine_free_bulk(size_t nr, void *const *objs) {
    size_t done = 0;
    if (!engine_started())
        return 0;
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    while (done < nr) {
        unsigned slot = page_map_get(objs[done]), entry = slot % PAGE_MAP_CLASSES;
        if (!slab_entry_is_slab(entry) || engine_is_debugged(objs[done], entry))
            break;
        /* Caches without magazines share an entry. */
        unsigned run = entry == SLAB_BARE ? 1 : run_length(slot, nr - done, objs + done);
        run_free(slot, run, objs + done);
        done += run;
    }
    rt_context_leave(before);
    return done;
}
