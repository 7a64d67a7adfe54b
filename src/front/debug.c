/* SPDX-License-Identifier: MIT */
/* The functions of core.h by which libquarry-kmem debugs caches, and has objects of its own. Owns nothing. */
#include "engine/debug.h"

#include "engine/engine.h"
#include "engine/lent.h"
#include "engine/start.h"
#include "front/core.h"
#include "rt/options.h"

_Static_assert((int)QUARRY_CORE1_HANDLES == (int)ENGINE_DEBUG_HANDLES, "one number of handles");
_Static_assert((int)QUARRY_CORE1_ATOMIC == (int)RT_ATOMIC && (int)QUARRY_CORE1_ATOMIC_RESERVE == (int)RT_ATOMIC_RESERVE,
               "one numbering of contexts");

static struct engine_debug hooks;
static const struct quarry_core1_debug *debugger;

static void *hook_alloc(unsigned handle, enum rt_context context) {
    return debugger->alloc(handle, (enum quarry_core1_context)context);
}

void quarry_core1_debug_start(const struct quarry_core1_debug *debug) {
    debugger = debug;
    hooks =
        (struct engine_debug){.alloc = hook_alloc, .free = debug->free, .usable = debug->usable, .said = debug->said};
    /* order: release: the table.                                                               pairs: [engine.debug] */
    atomic_store_explicit(&engine_debug, &hooks, memory_order_release);
}

void quarry_core1_lent_start(const struct engine_lent *lent) {
    /* order: release: the table.                                                                pairs: [engine.lent] */
    atomic_store_explicit(&engine_lent, lent, memory_order_release);
}

void quarry_core1_debug_free(void *slot) { engine_debug_slot_free(slot); }

bool quarry_core1_debug_look(const void *p, struct quarry_core1_slab *ret_slab) {
    return engine_started() && engine_is_debugged(p, page_map_get(p) % PAGE_MAP_CLASSES) &&
           quarry_core1_slab_look(p, ret_slab);
}

bool quarry_core1_slab_look(const void *p, struct quarry_core1_slab *ret_slab) {
    if (!engine_started() || !slab_entry_is_slab(page_map_get(p) % PAGE_MAP_CLASSES))
        return false;
    struct slab_spot spot = slab_made_spot(p);
    const struct slab_geometry *g = spot.geometry;
    *ret_slab = (struct quarry_core1_slab){
        .id = spot.cls,
        .base = spot.base,
        .slab_bytes = g->granules * GRANULE_BYTES,
        .slot_bytes = g->size_bytes,
        .objs_nr = g->nobj,
        .out_nr = g->nobj - MIN(spot.free_nr, (unsigned)g->nobj),
        .index = spot.index,
        .is_out = spot.index < g->nobj && slab_made_is_out(spot.cls, spot.base, spot.index),
    };
    return true;
}

bool quarry_core1_slab_watch(const void *p) { return slab_made_watch(p); }

void quarry_core1_debug_options(struct quarry_core1_debug_options *ret_options) {
    bool known = engine_ready();
    struct rt_text slab_debug = rt_opt.slab_debug.at != NULL ? rt_opt.slab_debug : rt_opt.slub_debug;
    *ret_options = (struct quarry_core1_debug_options){.slab_debug = known ? slab_debug.at : NULL,
                                                       .slab_debug_bytes = slab_debug.len_bytes,
                                                       .failslab = known ? rt_opt.failslab.at : NULL,
                                                       .failslab_bytes = rt_opt.failslab.len_bytes,
                                                       .abort = rt_opt.slab_debug_action == OPT_SLAB_DEBUG_ABORT,
                                                       .zero = rt_opt.zero != 0,
                                                       .harden = rt_opt.harden != 0};
}
