/* SPDX-License-Identifier: MIT */
/* Reads the counters of every class, the magazines of every CPU id, and the records of every slab. Contract in
 * classes.h; what the counters mean is slab/class.h's and mag/region.h's. */
#include "classes.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES = 4096, /* the largest magazine, and its alignment at most */
    REGIONS_MAX = 1 << 16,
    NODES_MAX = 64,
};

/* --- counters --- */

static void class_add(struct class_figures *f, const struct slab_class *c) {
    f->stats.slabs += (u64)MAX(c->slabs, 0);
    f->stats.out_objs += (u64)MAX(c->out_objs, 0);
    f->stats.purged_bytes += (u64)MAX(c->purged_bytes, 0);
}

static bool fixed_read(const struct target *t, struct classes *classes) {
    static struct slab_class row[SLAB_CLASSES_NR];
    unsigned nodes_nr = classes->nodes_nr;
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
        classes->by_id[cls].geometry_at = &t->view.geometry[cls];
    for (unsigned node = 0; node < nodes_nr; node++) {
        const struct slab_class *at = target_peek_pointer(t, &t->view.classes[node]);
        if (at == NULL || !target_peek(t, row, at, sizeof(row)))
            return false;
        for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
            class_add(&classes->by_id[cls], &row[cls]);
    }
    return true;
}

/* The same classes on further nodes. */
static bool made_nodes_read(const struct target *t, struct classes *classes, struct slab_class *const *nodes,
                            size_t nr) {
    static struct slab_class row[SLAB_MADE_NR];
    for (unsigned node = 1; node < classes->nodes_nr; node++) {
        const struct slab_class *at = target_peek_pointer(t, &nodes[node]);
        if (at == NULL || !target_peek(t, row, at, nr * sizeof(row[0])))
            return false;
        for (size_t i = 0; i < nr; i++)
            class_add(&classes->by_id[SLAB_CLASSES_NR + i], &row[i]);
    }
    return true;
}

/* All records in one call. */
static bool made_read(const struct target *t, struct classes *classes) {
    struct slab_made_view made;
    size_t nr = classes->nr - SLAB_CLASSES_NR;
    if (nr == 0)
        return true;
    const void *table =
        target_peek(t, &made, t->view.made, sizeof(made)) ? target_peek_pointer(t, made.table_at) : NULL;
    char *records = table == NULL ? NULL : malloc(nr * made.stride_bytes);
    bool read = records != NULL && target_peek(t, records, table, nr * made.stride_bytes);
    for (size_t i = 0; read && i < nr; i++) {
        struct class_figures *f = &classes->by_id[SLAB_CLASSES_NR + i];
        const char *record = records + i * made.stride_bytes;
        struct slab_class c;
        memcpy(&c, record + made.class_offset, sizeof(c));
        memcpy(&f->geometry_at, record + made.geometry_offset, sizeof(void *));
        class_add(f, &c);
    }
    free(records);
    return read && made_nodes_read(t, classes, made.nodes, nr);
}

bool classes_read(const struct target *t, struct classes *ret_classes) {
    *ret_classes = (struct classes){0};
    if (!target_peek(t, &ret_classes->nr, t->view.ids_end, sizeof(ret_classes->nr)) ||
        !target_peek(t, &ret_classes->nodes_nr, t->view.nodes_nr, sizeof(ret_classes->nodes_nr)))
        return false;
    ret_classes->nodes_nr = MIN(ret_classes->nodes_nr, (unsigned)NODES_MAX);
    ret_classes->nr = CLAMP(ret_classes->nr, (unsigned)SLAB_CLASSES_NR, (unsigned)SLAB_IDS_NR);
    return fixed_read(t, ret_classes) && made_read(t, ret_classes);
}

/* Geometries are written once and never freed. */
static bool geometries_read(const struct target *t, struct classes *classes) {
    bool read = true;
    for (unsigned cls = 1; cls < classes->nr; cls++) {
        struct class_figures *f = &classes->by_id[cls];
        if (f->geometry_at != NULL)
            read = target_peek(t, &f->geometry, f->geometry_at, sizeof(f->geometry)) && read;
        f->slab_bytes = f->geometry.granules * GRANULE_BYTES;
    }
    return read;
}

/* --- magazines --- */

/* Objects below and at the top word of a magazine: down to its header, which is odd, in the same block. */
static u64 magazine_objs(const struct target *t, u64 top) {
    u64 words[BLOCK_BYTES / sizeof(u64)];
    u64 from = top & ~(u64)(BLOCK_BYTES - 1);
    size_t nr = (top - from) / sizeof(u64) + 1, objs = 0;
    if (top <= SPARE_STOPPED || top % sizeof(u64) != 0 || !target_peek(t, words, (const void *)from, nr * sizeof(u64)))
        return 0;
    while (objs < nr && (words[nr - 1 - objs] & MAG_WORD_END) == 0)
        objs++;
    return objs == nr ? 0 : objs;
}

static void region_read(const struct target *t, const struct mag_region *at, struct classes *classes) {
    static struct mag_region r;
    static u64 bank[PAGE_MAP_CLASSES];
    unsigned nr = MIN(classes->nr, (unsigned)SLAB_SLOT_IDS_NR);
    if (at == NULL || !target_peek(t, &r, at, sizeof(r)))
        return;
    for (unsigned cls = 1; cls < nr; cls = slab_id_after(cls))
        classes->by_id[cls].magazine_objs +=
            magazine_objs(t, r.slot[cls]) + magazine_objs(t, region_class(&r, cls)->spare);
    for (unsigned node = 1; node < classes->nodes_nr; node++) {
        if (!target_peek(t, bank, (const u64 *)at->slot + slot_at(0, node), sizeof(bank)))
            continue;
        for (unsigned cls = 1; cls < nr; cls = slab_id_after(cls))
            classes->by_id[cls].magazine_objs += magazine_objs(t, bank[cls]);
    }
}

static void regions_read(const struct target *t, const void *array_at, const unsigned *nr_at, struct classes *classes) {
    const struct mag_region *const *array = target_peek_pointer(t, array_at);
    unsigned nr;
    if (array == NULL || !target_peek(t, &nr, nr_at, sizeof(nr)))
        return;
    for (unsigned i = 0; i < MIN(nr, (unsigned)REGIONS_MAX); i++)
        region_read(t, target_peek_pointer(t, &array[i]), classes);
}

static bool magazines_read(const struct target *t, struct classes *classes) {
    struct mag_regions_view regions;
    struct mag_depots_view depots;
    u16 caps[SLAB_SLOT_IDS_NR];
    if (!target_peek(t, &regions, t->view.regions, sizeof(regions)) ||
        !target_peek(t, &depots, t->view.depots, sizeof(depots)) ||
        !target_peek(t, caps, t->view.magazine_caps, sizeof(caps)))
        return false;
    regions_read(t, regions.by_id, regions.ids_nr, classes);
    regions_read(t, regions.locked, regions.locked_nr, classes);
    for (unsigned cls = 1; cls < MIN(classes->nr, (unsigned)SLAB_SLOT_IDS_NR); cls = slab_id_after(cls)) {
        s32 objs;
        if (target_peek(t, &objs, (const char *)depots.objs + cls * depots.stride_bytes, sizeof(objs)))
            classes->by_id[cls].depot_objs = (u64)MAX(objs, 0);
        for (unsigned node = 1; node < classes->nodes_nr; node++) {
            const char *first = target_peek_pointer(t, &depots.nodes[node]);
            if (first != NULL &&
                target_peek(t, &objs, first + depots.objs_offset_bytes + cls * depots.stride_bytes, sizeof(objs)))
                classes->by_id[cls].depot_objs += (u64)MAX(objs, 0);
        }
        classes->by_id[cls].magazine_cap = caps[cls];
    }
    return true;
}

bool classes_read_more(const struct target *t, struct classes *classes) {
    return geometries_read(t, classes) && magazines_read(t, classes);
}

/* --- slabs --- */

static void slab_add(struct class_figures *f, const struct slab *s) {
    slab_word_t word = {s->word};
    unsigned nobj = f->geometry.nobj, free_nr = (unsigned)MAX(slab_word_free(word), 0);
    if (slab_word_state(word) == SLAB_EMPTY)
        return;
    f->empty += free_nr >= nobj;
    f->partial += free_nr != 0 && free_nr < nobj;
    f->partial_objs += free_nr != 0 && free_nr < nobj ? nobj - free_nr : 0;
}

struct walk {
    unsigned classes_nr;
    class_slab_fn *fn;
    void *arg;
};

/* As slab/made.c of its own process. Records are read only where the page map knows of slabs: others may never have
 * been touched. */
static void hpage_slabs(const struct target *t, const struct chunk *at, const struct hpage *h, void *arg) {
    const struct walk *w = arg;
    u32 entries[HPAGE_GRANULES];
    static struct slab slabs[HPAGE_GRANULES];
    u64 first = (uintptr_t)h->addr >> GRANULE_SHIFT;
    bool known = false;
    if (h->state != HPAGE_RUNS || (h->used[0] | h->used[1]) == 0 ||
        !target_peek(t, entries, t->meta.map_end + rt_meta_map_index(&t->meta, (uintptr_t)h->addr), sizeof(entries)))
        return;
    for (unsigned i = 0; i < HPAGE_GRANULES; i++)
        known = known || slab_entry_is_slab(entries[i] / PAGE_SLOT_BYTES % PAGE_MAP_CLASSES);
    if (!known || !target_peek(t, slabs, &at->descs[first % CHUNK_GRANULES], sizeof(slabs)))
        return;
    for (unsigned i = 0; i < HPAGE_GRANULES; i++) {
        unsigned cls = slab_cls(&slabs[i]);
        if (slab_entry_is_slab(entries[i] / PAGE_SLOT_BYTES % PAGE_MAP_CLASSES) && slabs[i].back == 0 &&
            cls < w->classes_nr)
            w->fn(t, cls, &slabs[i], h->addr + i * GRANULE_BYTES, w->arg);
    }
}

void classes_slabs_each(const struct target *t, const struct classes *classes, class_slab_fn *fn, void *arg) {
    target_hpages_each(t, hpage_slabs, &(struct walk){classes->nr, fn, arg});
}

static void slab_count(const struct target *t, unsigned cls, const struct slab *s, const char *base, void *arg) {
    struct classes *classes = arg;
    (void)t, (void)base;
    slab_add(&classes->by_id[cls], s);
}

void classes_walk(const struct target *t, struct classes *classes) {
    classes_slabs_each(t, classes, slab_count, classes);
}
