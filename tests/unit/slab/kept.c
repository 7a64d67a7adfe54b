/* SPDX-License-Identifier: MIT */
/* Wholly free slabs that a class keeps because it wanted them back: for whom, for how long, and within what bounds. */
#include "slab/class.h"
#include "slab/made.h"
#include "unit/core.h"

enum { LARGE_BYTES = 100 * KIB, LARGE_NR = 300, FEW = 8, SMALL_NR = 10000 };

static void *out[SMALL_NR];
static unsigned out_nr;

static u64 slabs(unsigned cls) {
    struct slab_class_stats st;
    slab_class_stats_get(cls, &st);
    return st.slabs;
}

static u64 slab_bytes(unsigned cls) { return slab_geometry[cls].granules * GRANULE_BYTES; }

static void take(unsigned cls, unsigned nr) {
    while (nr-- > 0)
        cr_assert_eq(slab_take(cls, 0, 1, &out[out_nr++] + 1, NULL), 1u);
}

/* By the few, as magazines of large objects do: the accounts are settled with each batch. */
static void give_all(void) {
    for (unsigned i = 0; i < out_nr; i += 2)
        slab_give(out + i, MIN(out_nr - i, 2u));
    out_nr = 0;
}

static void wave(unsigned cls, unsigned nr) {
    take(cls, nr);
    give_all();
}

/* Two waves: the second shows that the first one's slabs were given back for nothing. */
static unsigned keep(unsigned nr) {
    unsigned cls = slab_class_for(LARGE_BYTES);
    wave(cls, nr);
    cr_assert_leq(slabs(cls), (u64)FEW, "nothing is regretted yet");
    wave(cls, nr);
    cr_assert_geq(slabs(cls), (u64)nr * 7 / 8, "%lu of %u are kept", slabs(cls), nr);
    return cls;
}

Test(kept, slabs_that_were_wanted_back_are_kept, .init = core_start_slabs) {
    unsigned cls = keep(LARGE_NR);
    struct page_stats before, after;
    page_stats_get(&before);
    for (unsigned turn = 0; turn < 4; turn++)
        wave(cls, LARGE_NR);
    page_stats_get(&after);
    cr_expect_leq(after.purged_bytes_total - before.purged_bytes_total, LARGE_NR * slab_bytes(cls) / 8);
    cr_expect_leq(page_backed_bytes_racy(), LARGE_NR * slab_bytes(cls) + 8 * MIB);
}

/* As free pages go that nobody wanted for a while. */
Test(kept, what_lies_idle_goes, .init = core_start_slabs) {
    unsigned cls = keep(LARGE_NR);
    slab_tick(0);
    cr_expect_geq(slabs(cls), (u64)LARGE_NR * 7 / 8, "they were in use since the last tick");
    slab_tick(0);
    cr_expect_leq(slabs(cls), (u64)FEW);
}

/* Nothing comes from the system while some class keeps what would do. */
Test(kept, others_are_served_from_it, .init = core_start_slabs) {
    unsigned cls = keep(LARGE_NR), other = slab_class_for(2 * LARGE_BYTES);
    u64 backed = page_backed_bytes_racy();
    take(other, LARGE_NR / 3);
    cr_expect_leq(slabs(cls), (u64)FEW);
    cr_expect_leq(page_backed_bytes_racy(), backed + HPAGE_BYTES);
    give_all();
}

/* It counts as free pages do, of which only so many may hold memory. */
Test(kept, it_is_bound_as_free_pages_are, .init = core_start_slabs) {
    unsigned cls = keep(LARGE_NR);
    struct page_stats st;
    page_stats_get(&st);
    cr_expect_leq(slabs(cls) * slab_bytes(cls) + st.run_free_bytes, LARGE_NR * slab_bytes(cls) + 8 * MIB);
    cr_expect(page_may_keep(0));
    cr_expect(!page_may_keep(LARGE_NR * slab_bytes(cls) + 16 * MIB));
    take(cls, LARGE_NR);
    rt_opt.purge_delay = 0;
    cr_expect(!page_may_keep(0));
    give_all();
    cr_expect_leq(slabs(cls), (u64)LARGE_NR / 8, "%lu are kept", slabs(cls));
}

/* What was kept beside much in use is too much when that is gone: the next free finds out. */
Test(kept, it_goes_when_it_is_too_much, .init = core_start_slabs) {
    unsigned small = slab_class_for(512);
    take(small, 1);
    void *object = out[--out_nr];
    unsigned cls = keep(LARGE_NR);
    cr_assert_geq(slabs(cls), (u64)LARGE_NR * 7 / 8);
    rt_opt.purge_delay = 0;
    slab_give(&object, 1);
    cr_expect_leq(slabs(cls), (u64)FEW);
}

/* Making one is a small part of what its objects cost. */
Test(kept, slabs_of_small_objects_are_not, .init = core_start_slabs) {
    unsigned cls = slab_class_for(512);
    for (unsigned turn = 0; turn < 3; turn++)
        wave(cls, SMALL_NR);
    cr_expect_leq(slabs(cls), (u64)(288 * KIB) / slab_bytes(cls) * 3 / 2);
}

Test(kept, a_sweep_at_rest_ends_it, .init = core_start_slabs) {
    unsigned cls = keep(LARGE_NR);
    slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO);
    cr_expect_geq(slabs(cls), (u64)LARGE_NR * 7 / 8);
    slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
    cr_expect_leq(slabs(cls), (u64)FEW);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
    cr_expect_eq(slabs(cls), 0u);
}

Test(kept, free_pages_and_it_are_bound_together, .init = core_start_slabs) {
    enum { RUNS = 1000, RUN_GRANULES = 16 };
    static void *runs[RUNS];
    unsigned cls = keep(LARGE_NR);
    enum page_content content;
    for (unsigned i = 0; i < RUNS; i++)
        cr_assert_not_null(runs[i] = page_run_alloc(0, RUN_GRANULES, 1, &content));
    for (unsigned i = 0; i < RUNS; i++)
        page_run_free(runs[i], RUN_GRANULES);
    struct page_stats st;
    page_stats_get(&st);
    cr_expect_leq(slabs(cls) * slab_bytes(cls) + st.run_free_bytes, LARGE_NR * slab_bytes(cls) + 8 * MIB);
}

/* They wait for readers, and are nobody's to keep or to give back. */
Test(kept, what_is_pinned_is_no_part_of_it, .init = core_start_slabs) {
    enum { OBJECTS = 120000, TURNS = 200, RUNS = 8, RUN_GRANULES = 8 };
    static void *objs[OBJECTS];
    unsigned pinned = slab_make(&(struct slab_make){.size_bytes = 256, .align_bytes = 16, .pinned = true});
    enum page_content content;
    for (unsigned i = 0; i < OBJECTS; i++)
        cr_assert_eq(slab_take(pinned, 0, 1, &objs[i] + 1, NULL), 1u);
    slab_give(objs, OBJECTS);
    struct page_stats before, after;
    page_stats_get(&before);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        void *runs[RUNS];
        for (unsigned i = 0; i < RUNS; i++)
            cr_assert_not_null(runs[i] = page_run_alloc(0, RUN_GRANULES, 1, &content));
        for (unsigned i = 0; i < RUNS; i++)
            page_run_free(runs[i], RUN_GRANULES);
    }
    page_stats_get(&after);
    cr_expect_eq(after.purged_bytes_total, before.purged_bytes_total);
}
