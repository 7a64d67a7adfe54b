/* SPDX-License-Identifier: MIT */
/* What remains of a cache that is destroyed, as the kernel prints it (mm/slub.c, list_slab_objects). Owns nothing. */
#include "kmem/debug.h"
#include "kmem/paged.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_BYTES = 256 };

void kmem_print(const char *format, ...) {
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    quarry_core1_warn(line);
}

static void slab_head(const struct quarry_kmem_cache *s, const void *slab, size_t used) {
    struct quarry_core1_class_info info;
    kmem_cache_look(s, &info);
    quarry_core1_warn("=============================================================================\n");
    kmem_print("BUG %s (Not tainted): Objects remaining in %s on __kmem_cache_shutdown()\n", s->name, s->name);
    quarry_core1_warn("-----------------------------------------------------------------------------\n\n");
    kmem_print("Slab %p objects=%zu used=%zu\n", slab, info.objs_per_slab, used);
}

static void object_print(const struct quarry_kmem_cache *s, const char *slab, char *slot) {
    char *object = slot + (s->debug == NULL ? 0 : s->debug->at.left_bytes);
    kmem_print("Object %p @offset=%td\n", (void *)object, object - slab);
    if (s->debug == NULL)
        return;
    kmem_track_print("Allocated", kmem_debug_track(s->debug, object, KMEM_TRACK_ALLOC));
    kmem_track_print("Freed", kmem_debug_track(s->debug, object, KMEM_TRACK_FREE));
}

/* object NULL: a slab begins, with nr objects out; else one of them, the nr-th of its slab. */
static void out_print(void *cache, void *slab, size_t nr, void *object) {
    const struct quarry_kmem_cache *s = cache;
    if (object == NULL)
        slab_head(s, slab, nr);
    else
        object_print(s, slab, object);
}

static void heap_each_out(const struct quarry_kmem_cache *s) {
    quarry_core1_class_each_out(&s->heap, out_print, (void *)(uintptr_t)s);
}

static void paged_each_out(const struct quarry_kmem_cache *s) {
    kmem_paged_each_out(s, out_print, (void *)(uintptr_t)s);
}

void kmem_leak_report(const struct quarry_kmem_cache *s, size_t objs, const void *caller) {
    if (s->debug != NULL)
        kmem_report_begin();
    if ((s->flags & QUARRY_SLAB_NOLEAKTRACE) == 0)
        (kmem_cache_is_paged(s) ? paged_each_out : heap_each_out)(s);
    kmem_print("kmem_cache_destroy %s: Slab cache still has objects when called from %p (%zu)\n", s->name, caller,
               objs);
    if (s->debug != NULL)
        kmem_report_end();
}
