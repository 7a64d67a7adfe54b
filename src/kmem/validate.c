/* SPDX-License-Identifier: MIT */
/*
 * All slots of caches that are debugged, looked at now and not when they are next allocated or freed: what writing 1 to
 * /sys/kernel/slab/CACHE/validate does. Owns nothing.
 *
 * The kernel holds a slab's lock meanwhile. Here nothing keeps a thread from handing out a slot while it is looked at,
 * which would be reported as damage; so nobody may use the caches, as with destroying them.
 */
#include "kmem/debug.h"

#include <errno.h>

struct walk {
    const struct quarry_kmem_cache *cache;
    bool found; /* one that is debugged */
    long damaged;
};

/* Called for each slab, with object NULL, and for each slot that is out, which comes with its slab. */
static void slab_check(void *walk, void *base, size_t nr, void *object) {
    struct walk *w = walk;
    const struct quarry_kmem_cache *s = w->cache;
    struct quarry_core1_slab slab;
    (void)nr;
    if (object != NULL || !quarry_core1_debug_look(base, &slab))
        return;
    for (unsigned i = 0; i < slab.objs_nr; i++) {
        char *slot = slab.base + (size_t)i * slab.slot_bytes;
        if (quarry_core1_debug_look(slot, &slab))
            w->damaged += !kmem_debug_object_validate(s, slot + s->debug->at.left_bytes, slab.is_out);
    }
    w->damaged += !kmem_debug_tail_check(s, &slab);
}

static void cache_check(void *walk, const struct quarry_kmem_cache *s) {
    struct walk *w = walk;
    if (s->debug == NULL)
        return;
    w->found = true;
    w->cache = s;
    quarry_core1_class_each_out(&s->heap, slab_check, w);
}

static void all_check(void *walk) { kmem_caches_each(cache_check, walk); }

long quarry_kmem_cache_validate(struct quarry_kmem_cache *s) {
    struct walk w = {.damaged = 0};
    if (s != NULL)
        cache_check(&w, s);
    else
        kmem_caches_locked(all_check, &w);
    return w.found ? w.damaged : -EINVAL;
}
