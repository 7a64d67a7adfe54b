/* SPDX-License-Identifier: MIT */
/* A pretended machine, of which nodes 2, 5 and 7 have memory and threads run where they say, magazines on it, and what
 * is asked of both: which node objects are of, and whether all of them came back. */
#ifndef QUARRY_TESTS_UNIT_MAG_NODES_H
#define QUARRY_TESTS_UNIT_MAG_NODES_H

#include "fakes/fake.h"
#include "mag/region.h"
#include "slab/class.h"
#include "unit/alone.h"
#include "unit/mag/magazines.h"

enum { NODES = 3, LIVE = 100000, SMALL = 64 };
static const u16 ids[NODES] = {2, 5, 7};
static void *live[LIVE];

static inline void machine(void) {
    fake_nodes(NODES, ids);
    fake_node_go(ids[0]);
    rt_options_read(NULL, NULL);
}

static inline void start(void) {
    machine();
    magazines_start_with_options();
}

static inline void start_open(void) {
    start();
    MUST(mag_nodes_start(PAGE_OPEN_WAIT) == NODES);
}

static inline void start_open_locked(void) {
    machine();
    rt_opt.percpu = OPT_PERCPU_OFF;
    rt_opt.fake_cpus = 3;
    magazines_start_with_options();
    MUST(mag_nodes_start(PAGE_OPEN_WAIT) == NODES);
}

/* A bit for each of ids. */
static inline void set_policy(enum sys_policy policy, unsigned which) {
    struct sys_nodes nodes = {{0}};
    for (unsigned i = 0; i < NODES; i++) {
        if ((which >> i & 1) != 0)
            sys_nodes_add(&nodes, ids[i]);
    }
    fake_policy(policy, &nodes);
}

static inline unsigned node_of(const void *p) { return slot_node(page_map_get(p)); }

static NOINLINE void fill(size_t size) {
    for (unsigned i = 0; i < LIVE; i++)
        MUST((live[i] = magazines_alloc(size)) != NULL);
}

static inline void drop(void) {
    for (unsigned i = 0; i < LIVE; i++)
        magazines_give(live[i]);
}

/* Of the objects just allocated, those of other nodes than the one with this number. */
static inline unsigned misplaced_nr(int id) {
    unsigned nr = 0;
    for (unsigned i = 0; i < LIVE; i++)
        nr += page_node_id(node_of(live[i])) != id || fake_node_preferred(live[i]) != id;
    return nr;
}

static inline struct mag_stats stats(void) {
    struct mag_stats st;
    mag_stats_get(&st);
    return st;
}

static inline u64 node_slabs(unsigned node, size_t size) {
    struct slab_class_stats st;
    slab_node_stats_get(node, slab_class_for(size), &st);
    return st.slabs;
}

/* [N4] */
static inline void expect_no_mixture(void) {
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        for (unsigned slot = 0; r != NULL && slot < page_nodes_nr() * PAGE_MAP_CLASSES; slot++) {
            u64 m = r->slot[slot];
            if (slot_class(slot) == 0 || slot_class(slot) >= mag_ids_end_get() || mag_is_null(m))
                continue;
            for (const u64 *at = (const u64 *)m; (*at & MAG_WORD_END) == 0; at--) // NOLINT(performance-no-int-to-ptr)
                MUST(page_map_get((const void *)*at) == slot);                    // NOLINT(performance-no-int-to-ptr)
        }
    }
}

static inline void expect_all_back(void) {
    expect_no_mixture();
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
    cr_assert_eq(stats().cached_bytes, 0u, "%lu bytes are left in magazines", stats().cached_bytes);
    cr_assert_eq(stats().depot_bytes, 0u);
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
            struct slab_class_stats st;
            slab_node_stats_get(node, cls, &st);
            cr_assert_eq(st.out_objs, 0u, "node %u, class %u: %lu objects are lost", node, cls, st.out_objs);
            cr_assert_eq(st.slabs, 0u);
        }
    }
}

#endif
