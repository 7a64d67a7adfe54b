/* SPDX-License-Identifier: MIT */
/* What is left of the slow path for objects that are debugged. Contract in debug.h. */
#include "engine/debug.h"

#include "engine/lent.h"
#include "engine/start.h"
#include "mag/mag.h"

const struct engine_debug *_Atomic engine_debug;
const struct engine_lent *_Atomic engine_lent;

size_t engine_debug_alloc_bulk(unsigned handle, size_t nr, void **objs) {
    size_t got = 0;
    while (got < nr && (objs[got] = engine_debug_get()->alloc(handle, RT_MAY_BLOCK)) != NULL)
        got++;
    return got;
}

void engine_debug_slot_free(void *slot) {
    if (UNLIKELY(engine_counting))
        engine_count(ENGINE_CALL_FREE, -(s64)slab_geometry_of(slab_id_bare(slot))->size_bytes);
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    mag_free(SLAB_BARE, slot);
    rt_context_leave(before);
}
