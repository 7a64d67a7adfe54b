/* SPDX-License-Identifier: MIT */
/* /proc/slabinfo and /proc/meminfo of the process itself: caches by their names, newest first, then malloc's size
 * classes, largest first; and their sums. Owns the table the heap's figures are gathered in. */
#include "big/area.h"
#include "kmem/cache.h"
#include "slab/slab.h"

_Static_assert((int)QUARRY_CORE1_CLASSES_MAX == (int)SLAB_IDS_NR, "a row for each class");

struct listing {
    struct kmem_text *out;
    struct quarry_core1_class_row *rows;
    unsigned rows_nr;
};

static void row_put(struct kmem_text *out, const char *name, const struct quarry_core1_class_row *class) {
    const struct quarry_core1_class_info *info = &class->info;
    u64 objs = info->slabs * info->objs_per_slab;
    kmem_slabinfo_row(out, &(struct kmem_slab_row){
                               .name = name,
                               .active_objs = MIN(info->objs_out - MIN(info->objs_cached, info->objs_out), objs),
                               .objs = objs,
                               .slot_bytes = class->slot_bytes,
                               .objs_per_slab = info->objs_per_slab,
                               .pages_per_slab = info->slab_bytes >> QUARRY_PAGE_SHIFT,
                               .active_slabs = info->slabs - info->empty,
                               .slabs = info->slabs,
                           });
}

static struct quarry_core1_class_info pages_look(const struct quarry_kmem_cache *s) {
    struct quarry_core1_class_info info;
    kmem_cache_look(s, &info);
    return info;
}

/* What was shown has no slabs any more, so that what is left are classes without a cache. */
static void cache_put(void *listing, const struct quarry_kmem_cache *s) {
    const struct listing *l = listing;
    if (s->heap.id >= l->rows_nr)
        return;
    if (kmem_cache_is_paged(s)) /* whose class has no slab */
        l->rows[s->heap.id] = (struct quarry_core1_class_row){.slot_bytes = s->slot_bytes, .info = pages_look(s)};
    row_put(l->out, s->name, &l->rows[s->heap.id]);
    l->rows[s->heap.id].info.slabs = 0;
}

/* Under the lock of the caches. */
static struct quarry_core1_class_row rows[QUARRY_CORE1_CLASSES_MAX];

static void listing_put(void *listing) {
    struct listing *l = listing;
    char name[KMEM_NAME_BYTES];
    l->rows = rows;
    l->rows_nr = quarry_core1_classes_look(rows, QUARRY_CORE1_CLASSES_MAX);
    kmem_caches_each(cache_put, l);
    for (unsigned id = SLAB_CLASSES_NR; id < l->rows_nr; id++) {
        if (rows[id].info.slabs == 0)
            continue;
        kmem_left_name(name, id);
        row_put(l->out, name, &rows[id]);
    }
    for (unsigned id = MIN(l->rows_nr, (unsigned)SLAB_CLASSES_NR); id-- > 1;) {
        kmem_class_name(name, rows[id].slot_bytes);
        row_put(l->out, name, &rows[id]);
    }
}

size_t quarry_slabinfo(char *text, size_t cap) {
    struct kmem_text out = {text, cap, 0};
    struct listing l = {.out = &out};
    kmem_slabinfo_head(&out);
    kmem_caches_locked(listing_put, &l);
    return out.len;
}

/* --- /proc/meminfo --- */

struct sums {
    struct kmem_meminfo m;
    unsigned rows_nr;
};

static u64 slabs_bytes(const struct quarry_core1_class_row *class) {
    return class->info.slabs * class->info.slab_bytes;
}

static void cache_add(void *sums, const struct quarry_kmem_cache *s) {
    struct sums *all = sums;
    struct quarry_core1_class_row pages = {.info = kmem_cache_is_paged(s) ? pages_look(s)
                                                                          : (struct quarry_core1_class_info){0}};
    all->m.slab_bytes += slabs_bytes(&pages);
    if ((s->flags & QUARRY_SLAB_RECLAIM_ACCOUNT) != 0)
        all->m.reclaimable_bytes += slabs_bytes(&pages);
    if ((s->flags & QUARRY_SLAB_RECLAIM_ACCOUNT) != 0 && s->heap.id < all->rows_nr)
        all->m.reclaimable_bytes += slabs_bytes(&rows[s->heap.id]);
}

static void slabs_add(void *sums) {
    struct sums *all = sums;
    all->rows_nr = quarry_core1_classes_look(rows, QUARRY_CORE1_CLASSES_MAX);
    for (unsigned id = 1; id < all->rows_nr; id++)
        all->m.slab_bytes += slabs_bytes(&rows[id]);
    kmem_caches_each(cache_add, all);
}

static void area_add(void *sums, const struct area_info *info) {
    ((struct sums *)sums)->m.vmalloc_bytes += info->bytes;
}

size_t quarry_meminfo(char *text, size_t cap) {
    struct kmem_text out = {text, cap, 0};
    struct sums all = {.rows_nr = 0};
    kmem_caches_locked(slabs_add, &all);
    quarry_core1_areas_each(area_add, &all);
    kmem_meminfo_rows(&out, &all.m);
    return out.len;
}
