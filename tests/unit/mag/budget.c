/* SPDX-License-Identifier: MIT */
/*
 * How magazines share their budget: classes that are in use keep theirs however many they are, one that rests gives its
 * objects back, and an id over its budget shrinks. Counted in exchanges with the slabs, on one thread.
 */
#include "mag/region.h"
#include "rt/usage.h"
#include "unit/alone.h"
#include "unit/mag/magazines.h"

#include <string.h>

enum { LIVE = 8192, WARM = 200000, MEASURED = 200000, MANY = 400000, SHIFT_MIN = 4, SHIFTS = 10 };

static u64 seed = 1;
static void *live[LIVE];

static void start_by_cpu(void) { magazines_start_here(OPT_PERCPU_CPU_ID); }
static void start_locked(void) { magazines_start_here(OPT_PERCPU_OFF); }

/* As many in each doubling from 16 bytes to 16 KiB. */
static size_t any_size(void) {
    size_t base = (size_t)1 << (SHIFT_MIN + alone_random(&seed) % SHIFTS);
    return base + 1 + alone_random(&seed) % base;
}

static void replace(unsigned times) {
    while (times-- > 0) {
        unsigned at = (unsigned)(alone_random(&seed) % LIVE);
        if (live[at] != NULL)
            magazines_give(live[at]);
        live[at] = magazines_alloc(any_size());
        cr_assert_not_null(live[at]);
    }
}

static struct mag_stats stats(void) {
    struct mag_stats st;
    mag_stats_get(&st);
    return st;
}

static u64 exchanges(void) { return stats().refills + stats().flushes; }

static void expect_few_exchanges(void) {
    replace(WARM);
    u64 before = exchanges();
    replace(MEASURED);
    u64 nr = exchanges() - before;
    cr_expect_lt(nr, (u64)MEASURED / 100, "%lu exchanges with the slabs in %d replacements", nr, MEASURED);
}

Test(budget, fifty_classes_in_use_keep_their_magazines, .init = start_by_cpu) { expect_few_exchanges(); }
/* Where every call is a slow one. */
Test(budget, fifty_classes_keep_their_locked_magazines, .init = start_locked) { expect_few_exchanges(); }

/* So many objects are taken, and then returned in order. */
static void equal_wave(unsigned objects_nr, size_t size_bytes) {
    static void *wave[LIVE];
    for (unsigned i = 0; i < objects_nr; i++)
        wave[i] = magazines_alloc(size_bytes);
    for (unsigned i = 0; i < objects_nr; i++)
        magazines_give(wave[i]);
}

/* What the magazines of this id grow to in waves of as many classes as would fill any budget. */
static s64 capacity_in_waves(void) {
    for (unsigned round = 0; round < 64; round++) {
        for (size_t size = 32; size <= 1024; size += 32)
            equal_wave(LIVE / 8, size);
    }
    return atomic_load(&region_mine_racy()->capacity_bytes[MAG_SMALL]);
}

/* Half of what a small process may have is 1 MiB. */
Test(budget, an_id_that_was_emptied_leaves_its_share, .init = start_by_cpu) {
    if (strcmp(mag_mode_name(), "cpu_id") != 0)
        cr_skip_test("there are no ids");
    int here = sched_getcpu(), other = 0;
    while (other < CPU_SETSIZE && (other == here || !magazines_go_to(other)))
        other++;
    if (other == CPU_SETSIZE)
        cr_skip_test("there is one CPU alone");
    magazines_give(magazines_alloc(100));
    cr_assert(magazines_go_to(here));
    mag_drain(MAG_DRAIN_ALL);
    cr_assert_not_null(region_at((unsigned)other));
    cr_expect_gt(capacity_in_waves(), (s64)MIB);
}

/* Slow calls of one class: too many at a time for its magazines. */
static void work_with(size_t size) {
    for (unsigned round = 0; round < 64; round++)
        equal_wave(LIVE, size);
}

Test(budget, a_class_at_rest_is_emptied_and_one_in_use_is_not, .init = start_by_cpu) {
    unsigned resting = slab_class_for(200), used = slab_class_for(100);
    struct slab_class_stats st;
    for (unsigned i = 0; i < LIVE; i++)
        live[i] = magazines_alloc(200);
    for (unsigned i = 0; i < LIVE; i++)
        magazines_give(live[i]);
    mag_rest();
    slab_class_stats_get(resting, &st);
    cr_assert_gt(st.out_objs, 0u, "nothing was kept");
    work_with(100);
    magazines_give(magazines_alloc(100));
    mag_rest();
    mag_depot_trim(MAG_DRAIN_ALL);
    slab_class_stats_get(resting, &st);
    cr_expect_eq(st.out_objs, 0u, "%lu objects are kept by a class at rest", st.out_objs);
    slab_class_stats_get(used, &st);
    cr_expect_gt(st.out_objs, 0u);
}

enum { LARGE_BYTES = 18 * KIB, USED_BYTES = 24 * KIB, LARGE_NR = 64, LARGE_FREED_NR = 4 };

/* Of two classes something is kept: how many objects of gone stay out of its slabs when the program has done what. */
static u64 out_after(unsigned gone, unsigned used, void (*what)(void)) {
    struct slab_class_stats st;
    slab_class_stats_get(gone, &st);
    cr_assert_gt(st.out_objs, 0u, "nothing was kept");
    cr_assert_gt(mag_class_cached_racy(used), 0u, "nothing was kept");
    what();
    slab_class_stats_get(gone, &st);
    return st.out_objs;
}

static void work_with_small(void) { work_with(100); }

/* The program frees all it had of one large class and a little of what it has of another, and goes on with small
 * objects, for many more misses than there are classes. Returns how many objects of the first stay out of its slabs. */
static u64 turn_to_small_objects(void) {
    unsigned left = slab_class_for(LARGE_BYTES), used = slab_class_for(USED_BYTES);
    for (unsigned i = 0; i < LARGE_NR; i++) {
        live[i] = magazines_alloc(slab_geometry[left].size_bytes);
        live[LARGE_NR + i] = magazines_alloc(slab_geometry[used].size_bytes);
    }
    for (unsigned i = 0; i < LARGE_NR; i++)
        magazines_give(live[i]);
    for (unsigned i = 0; i < LARGE_FREED_NR; i++)
        magazines_give(live[LARGE_NR + i]);
    u64 out = out_after(left, used, work_with_small);
    cr_expect_gt(mag_class_cached_racy(used), 0u, "a class in use was emptied");
    return out;
}

/* 24 MiB in use. */
static void be_large(void) {
    enum { OTHERS = 24 * 1024 };
    for (unsigned i = 0; i < OTHERS; i++)
        cr_assert_not_null(magazines_alloc(1 * KIB));
}

Test(budget, a_large_class_that_is_not_used_any_more_is_emptied, .init = start_by_cpu) {
    be_large();
    u64 kept = turn_to_small_objects();
    cr_expect_eq(kept, 0u, "%lu objects are kept by a class that is not used", kept);
}

/* What it gave back would only wait among the free pages. */
Test(budget, a_small_program_keeps_what_it_may_use_again, .init = start_by_cpu) {
    u64 kept = turn_to_small_objects();
    cr_expect_gt(kept, 0u);
}

/* A thousand strings grow from 128 bytes to 2 KiB, each in turn by a little, in a program that holds 4 MiB besides. No
 * tick comes. Sizes that were passed keep what they had since memory in use last grew by a part, and no more. */
Test(budget, sizes_a_small_program_passed_through_keep_little, .init = start_by_cpu) {
    enum { STRINGS = 1000, FROM_BYTES = 128, TO_BYTES = 2 * KIB, STEP_BYTES = 32, OTHER_BYTES = 1 * KIB };
    enum { OTHERS = 4096, KEPT_BYTES = 4 * MIB };
    u64 kept = 0;
    struct slab_class_stats st;
    for (unsigned i = 0; i < OTHERS; i++)
        cr_assert_not_null(magazines_alloc(OTHER_BYTES));
    for (unsigned i = 0; i < STRINGS; i++)
        live[i] = magazines_alloc(FROM_BYTES);
    for (unsigned size = FROM_BYTES + STEP_BYTES; size <= TO_BYTES; size += STEP_BYTES) {
        for (unsigned i = 0; i < STRINGS; i++) {
            void *grown = magazines_alloc(size);
            magazines_give(live[i]);
            live[i] = grown;
        }
    }
    for (unsigned cls = slab_class_for(FROM_BYTES); cls < slab_class_for(TO_BYTES); cls++) {
        slab_class_stats_get(cls, &st);
        kept += cls == slab_class_for(OTHER_BYTES) ? 0 : st.slabs * slab_geometry[cls].granules * GRANULE_BYTES;
    }
    cr_expect_leq(kept, (u64)KEPT_BYTES, "%lu bytes of slabs are kept by sizes that were passed", kept);
}

/* Waves of two classes, of one of which the program has some all the time; then a tick, before either has rested.
 * Returns how many objects of the other are out of its slabs. */
static u64 tick_after_waves(void) {
    enum { WAVE = 240, HELD = 2000, HELD_BYTES = 100 };
    unsigned gone = slab_class_for(3 * KIB), held = slab_class_for(HELD_BYTES);
    for (unsigned i = 0; i < HELD; i++)
        live[i] = magazines_alloc(HELD_BYTES);
    for (unsigned round = 0; round < 8; round++) {
        equal_wave(WAVE, slab_geometry[gone].size_bytes);
        equal_wave(WAVE, HELD_BYTES);
    }
    u64 cached = mag_class_cached_racy(held), out = out_after(gone, held, mag_rest);
    cr_expect_eq(mag_class_cached_racy(held), cached, "a class in use was emptied");
    return out;
}

Test(budget, a_tick_empties_classes_that_the_program_has_nothing_of, .init = start_by_cpu) {
    be_large();
    u64 kept = tick_after_waves();
    cr_expect_eq(kept, 0u, "%lu objects of 3 KiB are kept", kept);
}

Test(budget, a_tick_leaves_a_small_program_its_magazines, .init = start_by_cpu) {
    u64 kept = tick_after_waves();
    cr_expect_gt(kept, 0u);
}

/* Fill and free all, in order, again and again; returns the exchanges of one wave. */
static u64 wave_exchanges(unsigned objects_nr) {
    enum { WARM_WAVES = 4, WAVES = 8, WAVE_MAX_BYTES = 512 };
    static void *wave[MANY];
    u64 before = 0;
    for (unsigned round = 0; round < WARM_WAVES + WAVES; round++) {
        if (round == WARM_WAVES)
            before = exchanges();
        for (unsigned i = 0; i < objects_nr; i++)
            wave[i] = magazines_alloc(1 + alone_random(&seed) % WAVE_MAX_BYTES);
        for (unsigned i = 0; i < objects_nr; i++)
            magazines_give(wave[i]);
    }
    return (exchanges() - before) / WAVES;
}

/* 25 MiB in sixteen classes: in each wave all magazines shrink to little and grow again. Were it those that miss most
 * that shrink, few would ever hold more than a handful. */
Test(budget, waves_of_many_classes_exchange_large_magazines, .init = start_by_cpu) {
    u64 nr = wave_exchanges(100000);
    cr_expect_lt(nr, 800u, "%lu exchanges with the slabs in a wave of 100000 objects", nr);
}

/* Half a MiB in forty classes: what the chance of sizes takes from one class and gives to another stays in magazines.
 */
Test(budget, a_small_program_hardly_leaves_its_magazines, .init = start_by_cpu) {
    enum { HELD = 1024, SIZE_MAX_BYTES = 1024, TIMES = 200000 };
    u64 before = 0;
    for (unsigned round = 0; round < 2 * TIMES; round++) {
        if (round == TIMES)
            before = stats().depot_gets + stats().depot_puts;
        unsigned at = (unsigned)(alone_random(&seed) % HELD);
        if (live[at] != NULL)
            magazines_give(live[at]);
        live[at] = magazines_alloc(1 + alone_random(&seed) % SIZE_MAX_BYTES);
    }
    u64 nr = stats().depot_gets + stats().depot_puts - before;
    cr_expect_lt(nr, (u64)TIMES / 2000, "%lu magazines through the depot in %d replacements", nr, TIMES);
}

/* 2.5 MiB: there is nothing to win by shrinking. */
Test(budget, a_small_program_keeps_its_magazines_through_waves, .init = start_by_cpu) {
    u64 nr = wave_exchanges(10000);
    cr_expect_lt(nr, 120u, "%lu exchanges with the slabs in a wave of 10000 objects", nr);
}

/* Classes of 4 to 128 KiB, each used a little between two ticks, as a compiler uses them: what stays in magazines and
 * depot. */
Test(budget, a_small_program_keeps_little_of_each_large_class, .init = start_by_cpu) {
    enum { ROUNDS = 200, AT_ONCE = 8, KEPT_MAX_BYTES = 80 * KIB, DEPOTS_MAX_BYTES = 512 * KIB };
    unsigned first = slab_class_for(4 * KIB) + 1, last = slab_class_for(128 * KIB);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned cls = first; cls <= last; cls++)
            equal_wave(AT_ONCE, slab_geometry[cls].size_bytes);
        mag_rest();
        mag_depot_trim(MAG_DRAIN_IDLE);
    }
    u64 kept_bytes = 0;
    for (unsigned cls = first; cls <= last; cls++) {
        struct slab_class_stats st;
        slab_class_stats_get(cls, &st);
        kept_bytes += st.out_objs * slab_geometry[cls].size_bytes;
    }
    cr_expect_leq(kept_bytes, (u64)(last - first + 1) * KEPT_MAX_BYTES + DEPOTS_MAX_BYTES,
                  "%lu bytes are kept by %u classes", kept_bytes, last - first + 1);
}

/* So many objects of a class are taken and returned at once, again and again; returns the exchanges of the last
 * waves. */
static u64 equal_wave_exchanges(unsigned objects_nr, unsigned cls) {
    enum { WARM_WAVES = 512, WAVES = 16 };
    size_t size_bytes = slab_geometry[cls].size_bytes;
    u64 before = 0;
    for (unsigned round = 0; round < WARM_WAVES + WAVES; round++) {
        if (round == WARM_WAVES)
            before = exchanges();
        equal_wave(objects_nr, size_bytes);
    }
    return exchanges() - before;
}

/* 1.9 and 3.8 MiB: what the depot refused and had to be refilled, it learns to keep. */
Test(budget, waves_of_buffers_stay_in_magazines_and_depot, .init = start_by_cpu) {
    u64 nr = equal_wave_exchanges(240, slab_class_for(8 * KIB));
    cr_expect_eq(nr, 0u, "%lu exchanges with the slabs for 240 buffers of 8 KiB", nr);
    mag_depot_trim(MAG_DRAIN_ALL);
    nr = equal_wave_exchanges(60, slab_class_for(64 * KIB));
    cr_expect_eq(nr, 0u, "%lu exchanges with the slabs for 60 buffers of 64 KiB", nr);
}

/* A wave or two between two ticks is little use: magazines and depot stay as they are for that. */
Test(budget, waves_now_and_then_earn_nothing, .init = start_by_cpu) {
    enum { WAVES = 400, FEW = 8, PUTS_MIN = 3, SOME = 12, DEPOTS_BYTES = 512 * KIB };
    u64 puts = 0;
    for (unsigned round = 0; round < WAVES; round++) {
        puts = stats().depot_puts;
        equal_wave(FEW, slab_geometry[slab_class_for(32 * KIB)].size_bytes);
        mag_rest();
    }
    puts = stats().depot_puts - puts;
    cr_expect_geq(puts, (u64)PUTS_MIN, "%lu magazines hold eight objects of 32 KiB", puts);
    mag_depot_trim(MAG_DRAIN_ALL);
    u64 most = 0;
    for (unsigned round = 0; round < WAVES; round++) {
        equal_wave(SOME, slab_geometry[slab_class_for(64 * KIB)].size_bytes);
        equal_wave(SOME, slab_geometry[slab_class_for(64 * KIB)].size_bytes);
        most = MAX(most, stats().depot_bytes);
        mag_rest();
        mag_depot_trim(MAG_DRAIN_IDLE);
    }
    cr_expect_leq(most, (u64)DEPOTS_BYTES, "%lu bytes are in the depot", most);
}

/* A list of slabs of one object does as well, within bounds of its own. */
Test(budget, magazines_of_one_object_are_not_kept, .init = start_by_cpu) {
    enum { TURNS = 20, WAVE = 40 };
    for (unsigned turn = 0; turn < TURNS; turn++) {
        equal_wave(WAVE, 1536 * KIB);
        cr_expect_eq(stats().depot_bytes, 0u, "%lu bytes", stats().depot_bytes);
    }
}

/* It is not all that is kept, and what lies idle goes, the room for it too: what is freed next finds none. */
Test(budget, what_is_kept_for_waves_is_bounded_and_fades, .init = start_by_cpu) {
    enum { ROOM_MAX_BYTES = 9 * MIB / 2, FEW_BYTES = 768 * KIB };
    (void)equal_wave_exchanges(120, slab_class_for(64 * KIB));
    cr_expect_gt(stats().depot_bytes, 2 * MIB, "%lu bytes", stats().depot_bytes);
    cr_expect_leq(stats().depot_bytes, (u64)ROOM_MAX_BYTES, "%lu bytes", stats().depot_bytes);
    for (unsigned i = 0; i < 3; i++)
        mag_depot_trim(MAG_DRAIN_IDLE);
    cr_expect_eq(stats().depot_bytes, 0u, "%lu bytes lie idle", stats().depot_bytes);
    equal_wave(240, slab_geometry[slab_class_for(8 * KIB)].size_bytes);
    cr_expect_leq(stats().depot_bytes, (u64)FEW_BYTES, "%lu bytes", stats().depot_bytes);
}

static void *many[MANY];

static void many_fill(void) {
    for (unsigned i = 0; i < MANY; i++)
        many[i] = magazines_alloc(16 + alone_random(&seed) % 256);
}

/* Of the first from objects all but to, in random order. */
static void many_free(unsigned from, unsigned to) {
    for (unsigned i = from; i > to; i--) {
        unsigned at = (unsigned)(alone_random(&seed) % i);
        magazines_give(many[at]);
        many[at] = many[i - 1];
    }
}

/* Small objects in magazines keep more than their own size from being given back: they are not kept for waves. */
Test(budget, small_objects_are_not_kept_for_waves, .init = start_by_cpu) {
    enum { WAVES = 40, FEW_BYTES = 768 * KIB };
    for (unsigned round = 0; round < WAVES; round++) {
        many_fill();
        many_free(MANY, 0);
    }
    cr_expect_leq(stats().depot_bytes, (u64)FEW_BYTES, "%lu bytes are in the depot", stats().depot_bytes);
}

/* A program frees half of what it has on one CPU and the rest on another. */
Test(budget, ids_nobody_is_on_are_emptied_as_use_falls, .init = start_by_cpu) {
    int here = sched_getcpu(), there = here == 0 ? 1 : 0;
    if (!magazines_go_to(there) || strcmp(mag_mode_name(), "cpu_id") != 0)
        cr_skip("one CPU, or no CPU numbers");
    many_fill();
    many_free(MANY, MANY / 2);
    u64 left = stats().cached_bytes;
    cr_assert_gt(left, 512 * KIB, "%lu bytes are in magazines", left);
    cr_assert(magazines_go_to(here));
    many_free(MANY / 2, 0);
    u64 end = stats().cached_bytes + stats().depot_bytes;
    cr_expect_leq(end, 5 * MIB / 4, "%lu bytes are kept at the end, %lu when the CPU changed", end, left);
}

Test(budget, magazines_shrink_with_the_program, .init = start_by_cpu) {
    u64 most = 0;
    many_fill();
    for (unsigned i = MANY; i > 0; i--) {
        unsigned at = (unsigned)(alone_random(&seed) % i);
        magazines_give(many[at]);
        many[at] = many[i - 1];
        if (i % 1024 == 0)
            most = MAX(most, stats().cached_bytes + stats().depot_bytes);
    }
    u64 end = stats().cached_bytes + stats().depot_bytes;
    cr_expect_gt(most, 1 * MIB);
    cr_expect_leq(end, 5 * MIB / 4, "%lu bytes are kept at the end, %lu at most before", end, most);
    cr_expect_eq((u64)atomic_load(&rt_usage_out_bytes), end);
}

/* Objects of 80 to 112 KiB: what their depots keep is wanted by all classes of that size, as free runs. */
Test(budget, large_objects_have_no_part_of_what_is_in_use_in_depots, .init = start_by_cpu) {
    enum { LARGE = 1024, DEPOTS_BYTES = 512 * KIB };
    static void *large[LARGE];
    u64 most = 0;
    for (unsigned i = 0; i < LARGE; i++)
        large[i] = magazines_alloc(80 * KIB + alone_random(&seed) % (32 * KIB));
    cr_assert_gt(rt_usage_out_get(), 16 * DEPOTS_BYTES);
    for (unsigned i = LARGE; i > LARGE / 2; i--) {
        magazines_give(large[i - 1]);
        most = MAX(most, stats().depot_bytes);
    }
    cr_expect_gt(most, 0u);
    cr_expect_leq(most, (u64)DEPOTS_BYTES, "%lu bytes are in depots", most);
}

/* Such as is learned from what was purged and wanted back. */
static void waves_turn_here(void) {
    for (unsigned i = 0; i < 32; i++) {
        rt_usage_purged();
        rt_usage_regretted();
    }
}

/* Use falls far below where it turned before, in one go and without a tick: no other call comes, so what small objects
 * in magazines and depots keep of their slabs has gone by then. */
Test(budget, the_end_of_waves_leaves_little, .init = start_by_cpu) {
    enum { LEFT_BYTES = 18 * MIB };
    many_fill();
    waves_turn_here();
    many_free(MANY, 0);
    cr_assert_not(rt_usage_in_waves());
    size_t left = page_backed_bytes_racy();
    cr_expect_leq(left, (size_t)LEFT_BYTES, "%zu bytes may hold memory, %lu in magazines, %lu in depots", left,
                  stats().cached_bytes, stats().depot_bytes);
}
