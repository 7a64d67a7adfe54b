/* SPDX-License-Identifier: MIT */
/* vmalloc areas, with what the engine adds to them. Contract in areas.h. */
#include "engine/areas.h"

#include "engine/atomic.h"
#include "engine/engine.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "rt/misuse.h"

void *engine_area_alloc(size_t size, size_t align, unsigned flags, int node, const void *caller) {
    if (align > GIB || !engine_ready())
        return NULL;
    void *p = big_area_alloc(size, align, flags, node, caller);
    if (UNLIKELY(p == NULL) && size <= PTRDIFF_MAX) {
        engine_pressure_hard();
        p = big_area_alloc(size, align, flags, node, caller);
    }
    engine_chores_look();
    engine_pressure_look();
    engine_tick_maybe();
    return p;
}

COLD static void report(const void *p) {
    if (big_in_area(p))
        rt_misuse(MISUSE_INTERIOR, p, 0, "vmalloc");
    if (engine_kind_of(p) != ENGINE_NOT_OURS)
        rt_misuse(MISUSE_INTERFACE, p, engine_usable(p), NULL);
    engine_bad_pointer(p);
}

size_t engine_area_bytes(const void *p) {
    size_t bytes = engine_started() ? big_area_bytes(p) : 0;
    if (UNLIKELY(bytes == 0))
        report(p);
    return bytes;
}

void *engine_area_resize(void *p, size_t size) {
    if (engine_area_bytes(p) == 0)
        return NULL;
    void *q = big_area_resize(p, size);
    if (UNLIKELY(q == NULL) && size <= PTRDIFF_MAX) {
        engine_pressure_hard();
        q = big_area_resize(p, size);
    }
    engine_pressure_look();
    return q;
}

void engine_area_free(void *p) {
    if (UNLIKELY(!engine_started() || !big_area_free(p)))
        report(p);
    engine_chores_look();
    engine_tick_maybe();
}

void engine_area_free_atomic(void *p) {
    enum rt_context before = rt_context_enter(MAX(rt_context(), RT_ATOMIC));
    bool freed = engine_started() && big_area_free(p);
    rt_context_leave(before);
    if (UNLIKELY(!freed))
        report(p);
}
