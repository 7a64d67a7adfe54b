/* SPDX-License-Identifier: MIT */
/*
 * Objects that lie in pages or in vmalloc areas: libquarry-kmem hands some out by kmalloc (kmem/lent.c), and who frees
 * one, or asks about it, has an address and no more. Nothing else in pages and areas is an object. Asked on slow paths
 * alone, of addresses in such memory alone.
 */
#ifndef QUARRY_ENGINE_LENT_H
#define QUARRY_ENGINE_LENT_H

#include "page/page.h"

/* Both async-signal-safe, without system call or waiting. */
struct engine_lent {
    bool (*free)(void *p);           /* false: no object begins there */
    size_t (*usable)(const void *p); /* 0: no object begins there */
};

/* NULL until there are some. */
extern HIDDEN const struct engine_lent *_Atomic engine_lent;

static inline const struct engine_lent *engine_lent_get(void) {
    /* order: acquire: the table, and what its functions need.                                   pairs: [engine.lent] */
    return atomic_load_explicit(&engine_lent, memory_order_acquire);
}

/* cls: of p's page map entry. */
static inline bool engine_lent_may_be(unsigned cls) {
    return (cls == PAGE_MAP_PAGES || cls == PAGE_MAP_VMALLOC) && engine_lent_get() != NULL;
}
static inline size_t engine_lent_usable(const void *p, unsigned cls) {
    return engine_lent_may_be(cls) ? engine_lent_get()->usable(p) : 0;
}
static inline bool engine_lent_free(void *p, unsigned cls) {
    return engine_lent_may_be(cls) && engine_lent_get()->free(p);
}

#endif
