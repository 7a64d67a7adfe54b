/* SPDX-License-Identifier: MIT */
/* Whose magazines a depot hands out: an id's own first, and others' where slabs have few free objects. */
#include "mag/region.h"
#include "unit/mag/magazines.h"

#include <string.h>

enum { SIZE = 64, CAP = 30 };

static unsigned slot_here(void) { return slot_at(slab_class_for(SIZE), 0); }

/* Ids are of CPUs: a CPU this process may run on, and the next one. False: there are no two. */
static bool ids_find(int ids[2]) {
    cpu_set_t all;
    cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    for (ids[0] = 0; ids[0] + 1 < CPU_SETSIZE; ids[0]++) {
        ids[1] = ids[0] + 1;
        if (CPU_ISSET((size_t)ids[0], &all) && CPU_ISSET((size_t)ids[1], &all))
            return true;
    }
    return false;
}

static u64 full_magazine(void) {
    u64 *w = (u64 *)mag_make(CAP, 0);
    cr_assert_eq(slab_take(slot_class(slot_here()), 0, CAP, (void **)(w + CAP + 1), NULL), (unsigned)CAP);
    return (u64)(w + CAP);
}

static u64 put_on(int cpu) {
    u64 m = full_magazine();
    cr_assert(magazines_go_to(cpu));
    cr_assert(depot_put(slot_here(), m));
    return m;
}

static u64 get_on(int cpu) {
    cr_assert(magazines_go_to(cpu));
    return depot_get(slot_here());
}

/* Until slabs have less than a magazine's worth free. */
static void slabs_use_up(void) {
    unsigned cls = slot_class(slot_here());
    struct slab_class_stats st;
    void *p;
    for (slab_class_stats_get(cls, &st); st.out_objs + CAP < st.slabs * slab_geometry[cls].nobj;
         slab_class_stats_get(cls, &st))
        cr_assert_eq(slab_take(cls, 0, 1, &p + 1, NULL), 1u);
}

/* Some magazines' worth comes back to slabs that keep as much: a slab that is free as a whole would go. */
static void slabs_fill(void) {
    enum { NR = 16 * MAG_CAP_MAX };
    static void *objs[NR];
    cr_assert_eq(slab_take(slot_class(slot_here()), 0, NR, objs + NR, NULL), (unsigned)NR);
    for (unsigned i = 0; i < NR; i += 2)
        slab_give(&objs[i], 1);
}

Test(depot, an_id_takes_its_own_and_others_before_new_memory) {
    int ids[2];
    magazines_start_by(OPT_PERCPU_CPU_ID);
    if (!ids_find(ids) || strcmp(mag_mode_name(), "cpu_id") != 0)
        cr_skip_test("no two ids");
    for (unsigned i = 0; i < 4; i++) /* demand earns room */
        cr_assert_eq(get_on(ids[0]), 0u);
    u64 first = put_on(ids[0]), second = put_on(ids[1]), third = put_on(ids[1]);
    cr_expect_eq(get_on(ids[0]), first);
    slabs_fill();
    cr_expect_eq(get_on(ids[0]), 0u, "slabs have plenty");
    cr_expect_eq(get_on(ids[1]), third);
    slabs_use_up();
    cr_expect_eq(get_on(ids[0]), second, "slabs have little");
    cr_expect_eq(get_on(ids[1]), 0u);
}
