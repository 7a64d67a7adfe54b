/* SPDX-License-Identifier: MIT */
/* kmem_dump_obj: what a pointer points to, as the kernel prints it (mm/slab_common.c). Owns nothing. */
#include "kmem/debug.h"
#include "kmem/paged.h"

/* "slab NAME start ADDRESS pointer offset N size N" */
static void head_print(const char *name, const char *object, const void *p, size_t bytes) {
    kmem_print(" slab %s start %p pointer offset %td size %zu\n", name, (const void *)object, (const char *)p - object,
               bytes);
}

static bool debugged_dump(const void *p, const struct quarry_kmem_cache *s, char *object) {
    const struct kmem_debug *d = s->debug;
    head_print(s->name, object, p, d->at.object_bytes);
    kmem_track_print_stack(NULL, kmem_debug_track(d, object, KMEM_TRACK_ALLOC));
    if (!kmem_debug_is_free(d, object))
        return true;
    kmem_track_print_stack(" Free path:\n", kmem_debug_track(d, object, KMEM_TRACK_FREE));
    return false;
}

static bool plain_dump(const void *p, const struct quarry_core1_slab *slab) {
    char name[64];
    struct kmem_text text = {name, sizeof(name), 0};
    if (!kmem_cache_name_of(slab->id, &text)) {
        kmem_text_str(&text, "kmalloc-");
        kmem_text_dec(&text, slab->slot_bytes, 0);
    }
    head_print(name, slab->base + slab->index * slab->slot_bytes, p, slab->slot_bytes);
    return slab->is_out;
}

/* False: p lies in no slab of pages for devices. */
static bool paged_dump(const void *p, bool *ret_is_out) {
    struct quarry_core1_slab place;
    char *object;
    const struct quarry_kmem_cache *s = kmem_paged_of(p, &object, &place);
    if (s == NULL)
        return false;
    head_print(s->name, object, p, s->object_bytes);
    *ret_is_out = kmem_paged_usable(object) != 0;
    return true;
}

bool quarry_kmem_dump_obj(const void *p) {
    struct quarry_kmem_cache *s;
    struct quarry_core1_slab slab;
    char *object;
    bool is_out;
    if (paged_dump(p, &is_out))
        return is_out;
    if (!quarry_core1_slab_look(p, &slab) || slab.index >= slab.objs_nr)
        return false;
    return kmem_debug_find(p, &s, &object, &slab) ? debugged_dump(p, s, object) : plain_dump(p, &slab);
}
