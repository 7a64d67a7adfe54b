/* SPDX-License-Identifier: MIT */
/* Goes over the slabs of caches with users' stacks. Contract in tracks.h. */
#include "tracks.h"

#include <stdlib.h>
#include <string.h>

/* A class whose cache has users' stacks. */
struct tracked_class {
    const struct cache *cache; /* NULL: it has none */
    struct kmem_debug_layout at;
    bool is_kmalloc;
};

struct walk {
    const struct caches *caches;
    struct tracked_class by_id[SLAB_IDS_NR];
    char *slab; /* the bytes of one */
    size_t slab_cap;
    bool no_memory;
    tracks_fn *fn;
    void *arg;
};

static bool slab_read(const struct target *t, struct walk *w, const char *base, size_t bytes) {
    if (bytes > w->slab_cap) {
        char *larger = realloc(w->slab, bytes);
        if (larger == NULL) {
            w->no_memory = true;
            return false;
        }
        w->slab = larger;
        w->slab_cap = bytes;
    }
    return target_peek(t, w->slab, base, bytes);
}

/* object: its bytes here, at: its address there. */
static void object_look(const struct walk *w, const struct tracked_class *c, unsigned node, const char *object,
                        uintptr_t at) {
    struct kmem_track tracks[KMEM_TRACKS_NR];
    u64 word;
    u32 asked = c->at.object_bytes;
    memcpy(&word, object + c->at.state, sizeof(word));
    memcpy(tracks, object + c->at.tracks, sizeof(tracks));
    if (word != kmem_debug_state_word(at, KMEM_DEBUG_LIVE))
        return;
    for (size_t i = 0; i < KMEM_TRACKS_NR; i++) {
        if (tracks[i].addrs_nr > KMEM_TRACK_ADDRS)
            return; /* of an object that is damaged, or changes hands */
    }
    if (c->is_kmalloc)
        memcpy(&asked, object + c->at.asked, sizeof(asked));
    asked = MIN(asked & ~KMEM_ASKED_ZEROED, c->at.object_bytes);
    w->fn(w->arg, &(struct tracked){c->cache, tracks, c->at.object_bytes - asked, node});
}

static void slab_look(const struct target *t, unsigned cls, const struct slab *s, const char *base, void *arg) {
    struct walk *w = arg;
    const struct tracked_class *c = &w->by_id[cls];
    const struct slab_geometry *g = &w->caches->classes.by_id[cls].geometry;
    if (c->cache == NULL || !slab_read(t, w, base, (size_t)g->nobj * g->size_bytes))
        return;
    for (unsigned i = 0; i < g->nobj; i++) {
        size_t offset = (size_t)i * g->size_bytes + c->at.left_bytes;
        object_look(w, c, slab_node(s), w->slab + offset, (uintptr_t)base + offset);
    }
}

/* False: it keeps none, or was made or destroyed meanwhile. */
static bool class_find(const struct target *t, const struct cache *c, struct tracked_class *ret_class) {
    struct kmem_debug debug;
    if (c->debug == NULL || (c->flags & QUARRY_SLAB_STORE_USER) == 0 ||
        !target_peek(t, &debug, c->debug, sizeof(debug)))
        return false;
    if (debug.at.left_bytes + debug.at.end != c->class->geometry.size_bytes ||
        debug.at.tracks + KMEM_TRACKS_NR * sizeof(struct kmem_track) > debug.at.end ||
        (debug.is_kmalloc && debug.at.asked + sizeof(u32) > debug.at.end))
        return false;
    *ret_class = (struct tracked_class){c, debug.at, debug.is_kmalloc};
    return true;
}

enum tracks_result tracks_each(const struct target *t, const struct caches *caches, const struct cache *only,
                               tracks_fn *fn, void *arg) {
    static struct walk w;
    bool any = false;
    w = (struct walk){.caches = caches, .fn = fn, .arg = arg};
    for (size_t i = 0; i < caches->nr; i++) {
        const struct cache *c = &caches->rows[i];
        any = ((only == NULL || only == c) && class_find(t, c, &w.by_id[c->id])) || any;
    }
    if (any)
        classes_slabs_each(t, &caches->classes, slab_look, &w);
    free(w.slab);
    return !any ? TRACKS_NONE : w.no_memory ? TRACKS_NO_MEMORY : TRACKS_DONE;
}

void *tracks_array_grow(void *array, size_t *cap, size_t least, size_t element_bytes) {
    size_t larger_cap = MAX(*cap * 2, least);
    void *larger = realloc(array, larger_cap * element_bytes);
    if (larger != NULL)
        *cap = larger_cap;
    return larger;
}
