/* SPDX-License-Identifier: MIT */
/*
 * Magazines under eight threads, by the fast path and the slow one: owners stamp objects and hand them on, so that each
 * is freed on another thread; the main thread drains ids and trims the depot meanwhile. At the end, all drained, every
 * object is back in its slab. Without rseq (and under ThreadSanitizer) the same runs on the locked regions.
 */
#include "rt/usage.h"
#include "unit/handover.h"
#include "unit/mag/magazines.h"

enum { MS = 500, HELD = 96 };

static void start_locked(void) {
    rt_options_read(NULL, NULL);
    rt_opt.percpu = OPT_PERCPU_OFF;
    rt_opt.fake_cpus = 3; /* few, so that threads meet */
    magazines_start_with_options();
}

static void give(void *p, size_t size) {
    MUST(page_map_get(p) == slab_class_for(size));
    magazines_give(p);
}

static void expect_all_back(void) {
    struct mag_stats st;
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
    mag_stats_get(&st);
    cr_assert_eq(st.cached_bytes, 0u, "%lu bytes are left in magazines", st.cached_bytes);
    cr_assert_eq(st.depot_bytes, 0u);
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        struct slab_class_stats slabs;
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
        slab_class_stats_get(cls, &slabs);
        cr_assert_eq(slabs.out_objs, 0u, "class %u: %lu objects are lost", slab_geometry[cls].size_bytes,
                     slabs.out_objs);
        cr_assert_eq(slabs.slabs, 0u);
    }
    cr_assert_eq(atomic_load(&rt_usage_out_bytes), 0);
}

static const struct handover_ops small = {magazines_alloc, give, {16, 32, 48, 64, 256, 1024}, HELD, MS};
static const struct handover_ops mixed = {magazines_alloc, give, {16, 64, 640, 4096, 20480, 98304}, HELD, MS};

static void give_back(void) {
    static unsigned turn;
    turn++;
    mag_drain(turn % 4 != 0 ? MAG_DRAIN_ALL : MAG_DRAIN_IDLE);
    mag_depot_trim(turn % 8 == 0 ? MAG_DRAIN_ALL : MAG_DRAIN_IDLE);
    slab_sweep(1 + turn % SLAB_CLASS_MAX, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
}

static void off_for_good(void) {
    static unsigned turn;
    if (turn++ == 20)
        mag_percpu_off();
    give_back();
}

/* On and off while ids are emptied and new ones are made; at the end nobody is watched. */
static void watch_now_and_then(void) {
    static unsigned turn;
    turn++;
    mag_watch(turn % 3 == 0 ? MAG_WATCH_ALL : MAG_WATCH_NONE);
    if (turn % 2 == 0)
        give_back();
}

Test(mag_concurrent, allocations_are_watched_now_and_then, .init = magazines_start) {
    handover_run(&small, watch_now_and_then);
    handover_run(&mixed, watch_now_and_then);
    mag_watch(MAG_WATCH_NONE);
    expect_all_back();
    cr_expect(!mag_is_watched());
}

static void start_by_cpu(void) { magazines_start_here(OPT_PERCPU_CPU_ID); }

/* The first object fills a magazine, out of which the fast path serves another: but not while it is watched. */
Test(mag_concurrent, what_is_watched_takes_the_slow_path, .init = start_by_cpu) {
    unsigned cls = slab_class_for(64);
    void *objs[3] = {mag_alloc(cls, NULL)};
    mag_watch(MAG_WATCH_ALL);
    cr_expect_null(rseq_pop(mag_tabs.alloc_view, cls), "not watched");
    objs[1] = mag_alloc(cls, NULL);
    struct mag_stats st;
    mag_stats_get(&st);
    cr_expect_eq(st.refills, 1u, "the watched call went past its magazine");
    mag_watch(MAG_WATCH_NONE);
    objs[2] = rseq_pop(mag_tabs.alloc_view, cls);
    cr_expect(objs[2] != NULL || rseq_id_racy() < 0, "still watched");
    for (unsigned i = 0; i < 3; i++) {
        if (objs[i] != NULL)
            mag_free(cls, objs[i]);
    }
    expect_all_back();
}

Test(mag_concurrent, small_objects, .init = magazines_start) {
    handover_run(&small, NULL);
    expect_all_back();
}

Test(mag_concurrent, with_drains, .init = magazines_start) {
    handover_run(&small, give_back);
    handover_run(&mixed, give_back);
    expect_all_back();
}

Test(mag_concurrent, locked_regions, .init = start_locked) {
    cr_assert_str_eq(mag_mode_name(), "locked");
    handover_run(&small, NULL);
    handover_run(&mixed, give_back);
    expect_all_back();
}

Test(mag_concurrent, percpu_magazines_are_switched_off_meanwhile, .init = magazines_start) {
    handover_run(&mixed, off_for_good);
    expect_all_back();
}
