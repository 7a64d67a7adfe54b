/* SPDX-License-Identifier: MIT */
/*
 * Magazines of classes made while the program runs: making, emptying and unmaking them, and moving objects by the run
 * between a magazine and the caller. Contract in mag.h. The magazines themselves are those of every class.
 */
#include "mag/mag.h"
#include "mag/region.h"

_Atomic(unsigned) mag_ids_end = SLAB_CLASSES_NR;

/* Its slots are there before anyone looks for them. */
static void slots_prepare(unsigned cls) {
    if (cls >= PAGE_MAP_FURTHER)
        regions_extend();
    /* order: release: the slots.                                                                pairs: [mag.further] */
    if (cls >= mag_ids_end_get())
        atomic_store_explicit(&mag_ids_end, cls + 1, memory_order_release);
}

unsigned mag_class_make(const struct slab_make *make, unsigned cap) {
    unsigned cls = slab_make(make);
    if (cls == 0 || cls >= SLAB_SLOT_IDS_NR)
        return cls;
    if (slab_has_slot(cls))
        slots_prepare(cls);
    cap = cap == 0 ? mag_cap_for(make->size_bytes) : MIN(cap, (unsigned)MAG_CAP_MAX);
    atomic_store_explicit(&mag_class_cap[cls], (u16)(slab_has_slot(cls) ? cap : 0), memory_order_relaxed);
    return cls;
}

/* Of one region: what its slot and spare hold. */
static u64 region_objs_racy(struct mag_region *r, unsigned cls) {
    u64 spare = ref_load(&region_class(r, cls)->spare), objs = spare <= SPARE_STOPPED ? 0 : mag_count_racy(spare);
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        u64 m = ref_load(&r->slot[slot_at(cls, node)]);
        objs += slot_is_bare(m) ? 0 : mag_count_racy(m);
    }
    return objs;
}

u64 mag_class_cached_racy(unsigned cls) {
    u64 objs = 0;
    if (!slab_has_slot(cls))
        return 0;
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        objs += r == NULL ? 0 : region_objs_racy(r, cls);
    }
    return objs + (u64)depot_objs_racy(cls);
}

/* False: some magazines were out of reach. */
static bool class_empty(unsigned cls) {
    bool all = true;
    if (slab_has_slot(cls)) {
        all = mag_class_drain(cls);
        depot_empty(cls);
    }
    slab_made_retire(cls);
    return all;
}

void mag_class_shrink(unsigned cls) { (void)class_empty(cls); }

/* Closed first: housekeeping may have magazines of the class in its hands, or slabs off their lists, and would put them
 * back where this thread has looked already. */
enum mag_unmake mag_class_unmake(unsigned cls, u64 *ret_live) {
    struct slab_class_stats st;
    slab_made_close(cls);
    bool all = class_empty(cls);
    slab_class_stats_get(cls, &st);
    u64 cached = all ? 0 : mag_class_cached_racy(cls);
    if (st.out_objs > cached) {
        *ret_live = st.out_objs - cached;
        slab_made_open(cls);
        return MAG_UNMAKE_LIVE;
    }
    if (st.out_objs != 0 || st.slabs != 0) {
        slab_made_open(cls);
        return MAG_UNMAKE_STUCK;
    }
    if (slab_has_slot(cls))
        depot_forget(cls);
    slab_unmake(cls);
    return MAG_UNMAKE_DONE;
}

/* --- by the run --- */

unsigned mag_alloc_bulk(unsigned cls, unsigned nr, void **objs) {
    unsigned got = 0;
    (void)thread_joins();
    page_node_heed();
    if (!slab_has_slot(cls)) {
        /* Filled from the top down: what is missing is below. */
        got = slab_take(cls, page_node_here(), nr, objs + nr, NULL);
        for (unsigned i = 0; got < nr && i < got; i++)
            objs[i] = objs[nr - got + i];
        return got;
    }
    unsigned slot = slot_at(cls, page_node_here());
    while (got < nr) {
        unsigned want = MIN(nr - got, (unsigned)MAG_RUN_MAX);
        unsigned run = (unsigned)region_pop_run(slot, want, objs + got);
        got += run;
        /* The slow path also puts the next magazine into the slot. */
        if (run < want && (objs[got] = mag_alloc(cls, NULL)) == NULL)
            break;
        got += run < want;
    }
    return got;
}

void mag_free_bulk(unsigned slot, unsigned nr, void *const *objs) {
    unsigned given = 0;
    if (!slab_has_slot(slot_class(slot))) {
        slab_give(objs, nr);
        return;
    }
    (void)thread_joins();
    while (given < nr) {
        unsigned want = MIN(nr - given, (unsigned)MAG_RUN_MAX);
        unsigned run = (unsigned)region_push_run(slot, want, objs + given);
        given += run;
        if (run < want)
            mag_free(slot, objs[given++]);
    }
}
