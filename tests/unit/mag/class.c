/* SPDX-License-Identifier: MIT */
/*
 * Made classes and their magazines: eight threads work on some while the main thread makes, uses and unmakes others,
 * and a housekeeper drains, trims and sweeps all of them. Every unmake must find its class whole: an object missed in a
 * magazine, in somebody's hands or on a list would be taken for one that is still out.
 */
#include "mag/region.h"
#include "unit/handover.h"
#include "unit/mag/magazines.h"

enum { MS = 500, USED = HANDOVER_SIZES, ROUND_OBJS = 700, BULK_MAX = 200 };

static unsigned used[USED];
static const size_t used_sizes[USED] = {16, 48, 80, 256, 1024, 16400};

static unsigned class_of_size(size_t size) {
    for (unsigned i = 0; i < USED; i++) {
        if (used_sizes[i] == size)
            return used[i];
    }
    return 0;
}

static void *class_alloc(unsigned cls) {
    void *p = rseq_pop(mag_tabs.alloc_view, slab_slot_of(cls));
    return p != NULL ? p : mag_alloc(cls, NULL);
}

static unsigned class_make(size_t size, slab_ctor_fn ctor) {
    unsigned cls = mag_class_make(&(struct slab_make){.size_bytes = size, .align_bytes = 16, .ctor = ctor}, 0);
    MUST(cls != 0);
    return cls;
}

/* Half of the time by the run. */
static void *alloc(size_t size) {
    static _Thread_local void *run[4];
    static _Thread_local unsigned run_nr, run_cls, turn;
    unsigned cls = class_of_size(size);
    if (run_nr > 0 && run_cls == cls)
        return run[--run_nr];
    if (run_nr > 0) {
        mag_free_bulk(slab_slot_of(run_cls), run_nr, run);
        run_nr = 0;
    }
    if (turn++ % 4 == 0 && (run_nr = mag_alloc_bulk(run_cls = cls, 4, run)) > 0) {
        void *p = run[--run_nr];
        mag_free_bulk(slab_slot_of(cls), run_nr, run);
        run_nr = 0;
        return p;
    }
    return class_alloc(cls);
}

static void give(void *p, size_t size) {
    unsigned cls = class_of_size(size), entry = page_map_get(p) % PAGE_MAP_CLASSES;
    MUST(slab_id_of(p, entry) == cls);
    magazines_give(p);
}

static const struct handover_ops ops = {alloc, give, {16, 48, 80, 256, 1024, 16400}, HANDOVER_HELD, MS};

/* Whatever housekeeping does to classes it does not own. */
static _Atomic(bool) keeper_stop;
static void *housekeeper(void *unused) {
    (void)unused;
    for (unsigned turn = 0; !atomic_load(&keeper_stop); turn++) {
        mag_drain(turn % 3 == 0 ? MAG_DRAIN_ALL : MAG_DRAIN_IDLE);
        mag_depot_trim(turn % 5 == 0 ? MAG_DRAIN_ALL : MAG_DRAIN_IDLE);
        mag_rest();
        slab_sweep(SLAB_CLASSES_NR + turn % (slab_ids_end_get() - SLAB_CLASSES_NR), SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
        slab_tick(turn);
    }
    return NULL;
}

/* One life of a cache; leaves nothing out, or leak objects. Returns what unmake says. */
static enum mag_unmake life(size_t size, unsigned leak, u64 *ret_live) {
    static void *objs[ROUND_OBJS];
    unsigned cls = class_make(size, NULL);
    u64 seed = size * 977 + 13;
    for (unsigned i = 0; i < ROUND_OBJS; i++) {
        MUST((objs[i] = class_alloc(cls)) != NULL);
        *(u64 *)objs[i] = (u64)&objs[i];
    }
    for (unsigned i = ROUND_OBJS; i > 1; i--) {
        unsigned k = (unsigned)(alone_random(&seed) % i);
        void *p = objs[i - 1];
        objs[i - 1] = objs[k];
        objs[k] = p;
    }
    for (unsigned i = leak; i < ROUND_OBJS; i++)
        magazines_give(objs[i]);
    enum mag_unmake said = mag_class_unmake(cls, ret_live);
    for (unsigned i = 0; i < leak; i++)
        slab_give(&objs[i], 1);
    if (leak > 0) {
        u64 none;
        MUST(mag_class_unmake(cls, &none) == MAG_UNMAKE_DONE);
    }
    return said;
}

static unsigned lives_nr;
static void make_and_unmake(void) {
    static unsigned turn;
    static const size_t sizes[] = {16, 64, 208, 528, 4096};
    u64 live = 0;
    unsigned leak = turn % 7 == 0 ? 1 + turn % 5 : 0;
    enum mag_unmake said = life(sizes[turn++ % ARRAY_NR(sizes)], leak, &live);
    MUST(said == (leak > 0 ? MAG_UNMAKE_LIVE : MAG_UNMAKE_DONE) && live == leak);
    lives_nr++;
}

static void start_used(void) {
    for (unsigned i = 0; i < USED; i++)
        used[i] = class_make(used_sizes[i], NULL);
}

static void end_used(void) {
    for (unsigned i = 0; i < USED; i++) {
        u64 live = 0;
        cr_assert_eq(mag_class_unmake(used[i], &live), MAG_UNMAKE_DONE, "class %u: %lu objects are lost", used[i],
                     live);
    }
}

static void run_all(void (*meanwhile)(void)) {
    pthread_t keeper;
    start_used();
    atomic_store(&keeper_stop, false);
    MUST(pthread_create(&keeper, NULL, housekeeper, NULL) == 0);
    handover_run(&ops, meanwhile);
    atomic_store(&keeper_stop, true);
    MUST(pthread_join(keeper, NULL) == 0);
    end_used();
}

static void start_with_regions(unsigned nr) {
    rt_options_read(NULL, NULL);
    rt_opt.percpu = OPT_PERCPU_OFF;
    rt_opt.fake_cpus = nr;
    magazines_start_with_options();
}
static void start_locked(void) { start_with_regions(3); }
static void start_one_region(void) { start_with_regions(1); }

Test(mag_class, classes_come_and_go_beside_others, .init = magazines_start) {
    run_all(make_and_unmake);
    cr_assert_geq(lives_nr, 10u);
}

Test(mag_class, classes_come_and_go_locked, .init = start_locked) {
    run_all(make_and_unmake);
    cr_assert_geq(lives_nr, 5u);
}

/* A handler forks on top of the holder, who goes on in the child; another thread's hold ends there. */
Test(mag_class, a_fork_on_top_of_a_region_leaves_it_held, .init = start_one_region) {
    start_used();
    magazines_give(class_alloc(used[0]));
    struct mag_region *r = region_at(regions_nr() - 1);
    cr_assert_not_null(r);
    cr_assert(region_trylock(r));
    mag_fork_child();
    cr_expect(region_lock_is_mine(r));
    cr_expect_not(region_trylock(r));
    atomic_fetch_xor(&r->lock, 2u);
    mag_fork_child();
    cr_expect(region_trylock(r), "a thread that is not here has it");
    region_unlock(r);
    end_used();
}

/* Nor does one on top of the holder wait for it, to empty a class. */
Test(mag_class, a_held_region_is_not_waited_for_by_its_holder, .init = start_one_region) {
    start_used();
    magazines_give(class_alloc(used[0]));
    struct mag_region *r = region_at(regions_nr() - 1);
    cr_assert(region_trylock(r));
    cr_expect_not(mag_class_drain(used[0]), "out of reach");
    region_unlock(r);
    cr_expect(mag_class_drain(used[0]));
    end_used();
}

static void shrink_used(void) {
    static unsigned turn;
    mag_class_shrink(used[turn++ % USED]);
}

Test(mag_class, classes_shrink_while_they_are_used, .init = magazines_start) { run_all(shrink_used); }

/* With those further slots that nobody touches as long as the first do: the first are taken. */
static void further_run(unsigned lives_min) {
    unsigned taken[SLAB_BARE - SLAB_CLASSES_NR];
    u64 live;
    for (unsigned i = 0; i < ARRAY_NR(taken); i++)
        cr_assert_lt(taken[i] = class_make(64, NULL), (unsigned)SLAB_BARE);
    run_all(make_and_unmake);
    cr_assert_geq(used[0], (unsigned)PAGE_MAP_FURTHER);
    cr_assert_geq(lives_nr, lives_min);
    for (unsigned i = 0; i < ARRAY_NR(taken); i++)
        cr_assert_eq(mag_class_unmake(taken[i], &live), MAG_UNMAKE_DONE);
}

Test(mag_class, further_classes, .init = magazines_start) { further_run(10); }
Test(mag_class, further_classes_locked, .init = start_locked) { further_run(5); }

/* Which classes have magazines: all that have a slot, whatever is in it. */
Test(mag_class, every_slot_holds_a_magazine, .init = magazines_start) {
    enum { NR = SLAB_SLOT_IDS_NR - SLAB_CLASSES_NR - (PAGE_MAP_FURTHER - SLAB_BARE) };
    static unsigned made[NR + 1];
    void *objs[20];
    u64 live;
    for (unsigned i = 0; i < NR + 1; i++)
        made[i] = class_make(64, NULL);
    for (unsigned i = 0; i < NR + 1; i++) {
        for (unsigned k = 0; k < ARRAY_NR(objs); k++)
            cr_assert_not_null(objs[k] = class_alloc(made[i]));
        for (unsigned k = 0; k < ARRAY_NR(objs); k++)
            magazines_give(objs[k]);
        cr_assert_eq(mag_class_cached_racy(made[i]) > 0, i < NR, "class %u", made[i]);
    }
    for (unsigned i = 0; i < NR + 1; i++)
        cr_assert_eq(mag_class_unmake(made[i], &live), MAG_UNMAKE_DONE);
}

/* Threads whose regions are made while the first further class is: each finds its slots there. */
static _Atomic(unsigned) further_cls;
static void *further_user(void *unused) {
    static void *none;
    (void)unused;
    magazines_give(class_alloc(used[0]));
    unsigned cls;
    while ((cls = atomic_load(&further_cls)) == 0)
        sys_sleep_ms(0);
    for (unsigned i = 0; i < 100; i++) {
        void *objs[8];
        for (unsigned k = 0; k < ARRAY_NR(objs); k++)
            MUST((objs[k] = class_alloc(cls)) != none);
        for (unsigned k = 0; k < ARRAY_NR(objs); k++)
            magazines_give(objs[k]);
    }
    return NULL;
}

static void further_race(void) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    u64 live;
    while ((used[0] = class_make(64, NULL)) != SLAB_BARE - 1) {
    }
    for (unsigned i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, further_user, NULL) == 0);
    unsigned cls = class_make(96, NULL);
    cr_assert_eq(cls, (unsigned)PAGE_MAP_FURTHER);
    atomic_store(&further_cls, cls);
    for (unsigned i = 0; i < THREADS; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    cr_assert_eq(mag_class_unmake(cls, &live), MAG_UNMAKE_DONE);
}
Test(mag_class, further_slots_appear_beside_new_regions, .init = magazines_start) { further_race(); }
static void start_many_regions(void) { start_with_regions(64); }
Test(mag_class, further_slots_appear_beside_new_locked_regions, .init = start_many_regions) { further_race(); }

/* A view reads magazines as they are while others fill them, which is a race and meant to be: not where one is looked
 * for. */
#if defined(__has_feature)
#define RACES_ARE_FOUND __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define RACES_ARE_FOUND 1
#else
#define RACES_ARE_FOUND 0
#endif

/* Who looks at all regions meets those that are being made. */
static _Atomic(bool) looker_stop;
static void *further_looker(void *unused) {
    (void)unused;
    while (!atomic_load(&looker_stop)) {
        if (!RACES_ARE_FOUND)
            (void)mag_class_cached_racy(used[0]);
        MUST(mag_class_drain(used[0]));
    }
    return NULL;
}
static void *further_beginner(void *unused) {
    (void)unused;
    magazines_give(class_alloc(used[0]));
    return NULL;
}

static void start_most_regions(void) { start_with_regions(4096); }
Test(mag_class, regions_that_are_being_made_are_looked_at, .init = start_most_regions) {
    enum { ROUNDS = 100, THREADS = 8 };
    pthread_t looker, threads[THREADS];
    u64 live;
    while ((used[0] = class_make(64, NULL)) < PAGE_MAP_FURTHER) {
    }
    MUST(pthread_create(&looker, NULL, further_looker, NULL) == 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < THREADS; i++)
            MUST(pthread_create(&threads[i], NULL, further_beginner, NULL) == 0);
        for (unsigned i = 0; i < THREADS; i++)
            MUST(pthread_join(threads[i], NULL) == 0);
    }
    atomic_store(&looker_stop, true);
    MUST(pthread_join(looker, NULL) == 0);
    cr_assert_eq(mag_class_unmake(used[0], &live), MAG_UNMAKE_DONE);
}

/* The same without slots: the ids that have them are taken. */
Test(mag_class, classes_without_magazines, .init = magazines_start) {
    unsigned taken[SLAB_SLOT_IDS_NR - SLAB_CLASSES_NR - (PAGE_MAP_FURTHER - SLAB_BARE)];
    u64 live;
    for (unsigned i = 0; i < ARRAY_NR(taken); i++)
        cr_assert_lt(taken[i] = class_make(64, NULL), (unsigned)SLAB_SLOT_IDS_NR);
    run_all(make_and_unmake);
    cr_assert_geq(lives_nr, 5u);
    for (unsigned i = 0; i < ARRAY_NR(taken); i++)
        cr_assert_eq(mag_class_unmake(taken[i], &live), MAG_UNMAKE_DONE);
}

/* Housekeeping in slow motion: it has the magazine in its hands for as long as another thread needs to look for it. */
enum { IN_HAND_MS = 30 };
static _Atomic(bool) in_hand;
static void *slow_housekeeper(void *arg) {
    unsigned cls = (unsigned)(uintptr_t)arg;
    MUST(slab_made_enter(cls));
    struct mag_region *r = region_mine_racy();
    u64 m = r->slot[cls];
    MUST(!mag_is_null(m) && !mag_is_empty(m) && region_take_slot(cls, m));
    atomic_store(&in_hand, true);
    sys_sleep_ms(IN_HAND_MS);
    mag_flush(m);
    slab_made_leave(cls);
    return NULL;
}

Test(mag_class, unmaking_waits_for_housekeeping, .init = start_one_region) { /* for both threads */
    pthread_t keeper;
    u64 live = 0;
    unsigned cls = class_make(64, NULL);
    magazines_give(class_alloc(cls));
    MUST(pthread_create(&keeper, NULL, slow_housekeeper, (void *)(uintptr_t)cls) == 0); // NOLINT
    while (!atomic_load(&in_hand))
        sys_sleep_ms(1);
    cr_assert_eq(mag_class_unmake(cls, &live), MAG_UNMAKE_DONE, "%lu objects in hand are taken for live ones", live);
    MUST(pthread_join(keeper, NULL) == 0);
}

/* Objects by the run: each once, none lost, whatever the numbers. */
Test(mag_class, bulk_conserves_objects, .init = magazines_start) {
    static void *objs[16][BULK_MAX];
    static unsigned nrs[16];
    unsigned cls = class_make(96, NULL);
    u64 seed = 4711, live = 0;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned hand = (unsigned)(alone_random(&seed) % 16);
        for (unsigned i = 0; i < nrs[hand]; i++)
            cr_assert_eq(*(u64 *)objs[hand][i], (u64)&objs[hand][i], "an object has two owners");
        mag_free_bulk(slab_slot_of(cls), nrs[hand], objs[hand]);
        nrs[hand] = (unsigned)(alone_random(&seed) % BULK_MAX);
        cr_assert_eq(mag_alloc_bulk(cls, nrs[hand], objs[hand]), nrs[hand]);
        for (unsigned i = 0; i < nrs[hand]; i++)
            *(u64 *)objs[hand][i] = (u64)&objs[hand][i];
    }
    for (unsigned hand = 0; hand < 16; hand++)
        mag_free_bulk(slab_slot_of(cls), nrs[hand], objs[hand]);
    cr_assert_eq(mag_class_unmake(cls, &live), MAG_UNMAKE_DONE, "%lu objects are lost", live);
}

/* The capacity that was asked for bounds every magazine. */
Test(mag_class, capacity, .init = magazines_start) {
    static void *objs[1000];
    unsigned cls = mag_class_make(&(struct slab_make){.size_bytes = 32, .align_bytes = 16}, 5);
    u64 live;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 1000; i++)
            cr_assert_not_null(objs[i] = class_alloc(cls));
        for (unsigned i = 0; i < 1000; i++)
            magazines_give(objs[i]);
        struct mag_region *r = region_mine_racy();
        u64 m = r->slot[cls];
        cr_assert(mag_is_null(m) || mag_cap((u64)mag_header(m)) <= 5);
    }
    cr_assert_eq(mag_class_unmake(cls, &live), MAG_UNMAKE_DONE);
}
