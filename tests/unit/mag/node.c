/* SPDX-License-Identifier: MIT */
/*
 * Objects kept apart by node, on a pretended machine: nodes 2, 5 and 7 have memory, threads run where they say. What is
 * judged is the page map's node of each object, and the node its pages were said to prefer.
 */
#include "page/tier.h"
#include "rt/context.h"
#include "unit/handover.h"
#include "unit/mag/nodes.h"

#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MS = 500, MEASURE_PART = 100 };

/* --- knowing of nodes --- */

Test(node, one_node_is_looked_for_once_and_left_alone) {
    rt_options_read(NULL, NULL);
    magazines_start_with_options();
    fill(SMALL);
    cr_expect_eq(page_nodes_decided(), 1u, "the heap grew, and nobody looked");
    cr_expect_eq(page_nodes_nr(), 1u);
    cr_expect(!page_nodes_are_wanted());
    cr_expect_eq(fake_calls_nr(FAKE_PLACE), 0u);
    drop();
    expect_all_back();
}

Test(node, a_small_process_does_not_ask, .init = start) {
    for (unsigned i = 0; i < 1000; i++)
        magazines_give(magazines_alloc(SMALL));
    cr_expect_eq(page_nodes_decided(), 0u);
}

Test(node, a_heap_that_grows_finds_the_nodes, .init = start) {
    fill(SMALL);
    cr_expect_eq(page_nodes_nr(), NODES);
    cr_expect_eq(page_node_id(0), ids[0]);
    for (unsigned node = 0; node < NODES; node++)
        cr_expect_eq(page_node_index(page_node_id(node)), (int)node);
    cr_expect_eq(page_node_index(3), PAGE_NODE_ANY);
    cr_expect_eq(misplaced_nr(ids[0]), 0u, "what was there before is not of the first node");
    drop();
    expect_all_back();
}

Test(node, index_0_is_where_the_process_began) {
    fake_nodes(NODES, ids);
    fake_node_go(ids[2]);
    rt_options_read(NULL, NULL);
    magazines_start_with_options();
    fill(SMALL);
    cr_expect_eq(page_node_id(0), ids[2]);
    cr_expect_eq(page_node_id(2), ids[0]);
    cr_expect_eq(page_node_id(1), ids[1]);
    cr_expect_eq(misplaced_nr(ids[2]), 0u);
    cr_expect_eq(page_node_near(0, 0), 0u);
    cr_expect_eq(page_node_near(0, 1), 1u);
    cr_expect_eq(page_node_near(0, 2), 2u);
    cr_expect_eq(page_node_near(2, 1), 1u);
}

Test(node, a_policy_of_the_process_is_respected) {
    machine();
    set_policy(SYS_POLICY_NODES, 1u << 1);
    magazines_start_with_options();
    fill(SMALL);
    cr_expect_eq(page_nodes_nr(), 1u);
    cr_expect_eq(fake_calls_nr(FAKE_PLACE), 0u);
}

Test(node, numa_off_keeps_nothing_apart) {
    machine();
    rt_opt.numa = OPT_NUMA_OFF;
    magazines_start_with_options();
    fill(SMALL);
    cr_expect_eq(page_nodes_nr(), 1u);
    cr_expect_eq(fake_calls_nr(FAKE_PLACE), 0u);
}

Test(node, numa_prefer_names_its_nodes) {
    machine();
    rt_opt.numa = OPT_NUMA_PREFER;
    sys_nodes_add(&rt_opt.numa_nodes, 5);
    magazines_start_with_options();
    fill(SMALL);
    cr_expect_eq(page_nodes_nr(), 1u);
    cr_expect_eq(fake_node_preferred(live[0]), 5);
    cr_expect_eq(fake_node_preferred(live[LIVE - 1]), 5);
}

/* --- objects --- */

static u64 misses(void) {
    u64 nr = 0;
    for (unsigned i = 0; i < regions_nr(); i++)
        nr += region_at(i) == NULL ? 0 : atomic_load(&region_at(i)->counts.misses);
    return nr;
}

/* Who names a node does not come by the fast path, and finds its magazine all the same. */
Test(node, a_call_that_names_a_node_takes_from_the_magazine, .init = start) {
    enum { ROUNDS = 1000 };
    for (unsigned i = 0; i < 100; i++)
        live[i] = magazines_alloc(SMALL);
    for (unsigned i = 0; i < 100; i++)
        magazines_give(live[i]);
    u64 before = misses();
    for (unsigned i = 0; i < ROUNDS; i++) {
        void *p = mag_alloc_node(slab_class_for(SMALL), 0, MAG_NEAR, NULL);
        MUST(p != NULL);
        magazines_give(p);
    }
    cr_expect_leq(misses() - before, ROUNDS / MEASURE_PART, "past the magazine");
}

static void expect_local_everywhere(void) {
    for (unsigned i = 0; i < NODES; i++) {
        fake_node_go(ids[i]);
        fill(SMALL);
        cr_expect_leq(misplaced_nr(ids[i]), LIVE / MEASURE_PART, "%u objects for node %u are of other ones",
                      misplaced_nr(ids[i]), ids[i]);
        drop();
    }
    expect_all_back();
}

Test(node, a_thread_is_served_from_the_node_it_runs_on, .init = start_open) { expect_local_everywhere(); }
Test(node, and_from_locked_magazines, .init = start_open_locked) { expect_local_everywhere(); }

/* A thread that leaves its node and never the fast path: from the next tick on it has objects of the new one, and goes
 * on without slow calls. */
Test(node, who_lives_on_the_fast_path_is_told_to_look, .init = start_open) {
    enum { ROUNDS = 1000 };
    void *p;
    for (unsigned i = 0; i < 100; i++)
        live[i] = magazines_alloc(SMALL);
    for (unsigned i = 0; i < 100; i++)
        magazines_give(live[i]);
    if (strcmp(mag_mode_name(), "locked") == 0)
        return; /* no fast path */
    fake_node_go(ids[1]);
    for (unsigned i = 0; i < ROUNDS; i++) {
        MUST((p = engine_malloc_fast(SMALL)) != NULL && node_of(p) == 0);
        MUST(engine_free_fast(p));
    }
    for (unsigned time = 0; time < 2; time++) { /* the second time it has not moved */
        mag_nodes_nudge();
        cr_expect_null(engine_malloc_fast(SMALL), "not told");
        MUST(node_of(p = magazines_alloc(SMALL)) == 1);
        magazines_give(p);
        for (unsigned i = 0; i < regions_nr(); i++)
            MUST(region_at(i) == NULL || region_home(region_at(i)) != 1 || !region_at(i)->nudged);
        u64 slow = stats().slow_allocs;
        for (unsigned i = 0; i < ROUNDS; i++) {
            MUST(node_of(p = magazines_alloc(SMALL)) == 1);
            magazines_give(p);
        }
        cr_expect_leq(stats().slow_allocs - slow, 2u, "the fast path does not come back");
    }
    expect_all_back();
}

/* Who may not block cannot say where it runs: an id that has no other allocations gets its fast path back. One that has
 * none at all is told until it has. */
Test(node, who_may_not_block_is_let_go_at_the_next_turn, .init = start_open) {
    enum { ROUNDS = 1000 };
    void *p = magazines_alloc(SMALL);
    magazines_give(p);
    if (strcmp(mag_mode_name(), "locked") == 0)
        return; /* no fast path */
    mag_nodes_nudge();
    mag_nodes_nudge();
    cr_expect_null(engine_malloc_fast(SMALL), "not told any more, and nobody answered");
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    magazines_give(magazines_alloc(SMALL));
    mag_nodes_nudge();
    u64 slow = stats().slow_allocs;
    for (unsigned i = 0; i < ROUNDS; i++)
        magazines_give(magazines_alloc(SMALL));
    rt_context_leave(before);
    cr_expect_leq(stats().slow_allocs - slow, 2u, "the fast path does not come back");
    mag_nodes_nudge();
    cr_expect_null(engine_malloc_fast(SMALL), "never told again");
    expect_all_back();
}

/* All that is freed far away comes home, nothing of it is handed out there, and each is counted once. */
static void expect_remote_frees_come_home(void) {
    u64 slabs = 0;
    for (unsigned round = 0; round < 4; round++) {
        fake_node_go(ids[0]);
        fill(SMALL);
        if (round == 1)
            slabs = node_slabs(0, SMALL);
        cr_expect_leq(misplaced_nr(ids[0]), LIVE / MEASURE_PART);
        cr_expect(round == 0 || node_slabs(0, SMALL) <= slabs + slabs / 10 + 1, "what was freed did not come home");
        fake_node_go(ids[1]);
        for (unsigned i = 0; i < LIVE; i++) {
            void *mine = magazines_alloc(SMALL);
            cr_assert(i <= 2 * MAG_CAP_MAX || node_of(mine) == 1, "object %u of %u is of node %u", i, LIVE,
                      node_of(mine));
            magazines_give(live[i]);
            magazines_give(mine);
        }
    }
    cr_expect_leq(node_slabs(1, SMALL), 8u, "memory is stranded");
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
    u64 counted = mag_remote_frees(1, 0), freed = 4 * LIVE;
    cr_expect(counted <= freed + freed / MEASURE_PART && counted >= freed - freed / MEASURE_PART,
              "%lu remote frees, counted %lu", freed, counted);
    cr_expect_leq(mag_remote_frees(0, 1), freed / MEASURE_PART);
    cr_expect_eq(mag_remote_frees(2, 0) + mag_remote_frees(0, 2), 0u);
    cr_expect_eq(stats().astray_objs, 0u);
    expect_all_back();
}

Test(node, what_is_freed_far_away_comes_home, .init = start_open) { expect_remote_frees_come_home(); }
Test(node, and_by_locked_magazines, .init = start_open_locked) { expect_remote_frees_come_home(); }

Test(node, resting_magazines_of_other_nodes_go_home_with_a_tick, .init = start_open) {
    enum { FEW = 5000 }; /* several magazines */
    for (unsigned i = 0; i < FEW; i++)
        live[i] = magazines_alloc(SMALL);
    fake_node_go(ids[1]);
    magazines_give(magazines_alloc(SMALL));
    for (unsigned i = 0; i < FEW; i++)
        magazines_give(live[i]);
    mag_rest();
    mag_depot_trim(MAG_DRAIN_ALL);
    for (unsigned i = 0; i < regions_nr(); i++)
        MUST(region_at(i) == NULL || mag_is_null(region_at(i)->slot[slot_at(slab_class_for(SMALL), 0)]));
    for (unsigned i = 0; i < regions_nr(); i++) {
        u64 spare = region_at(i) == NULL ? 0 : region_class(region_at(i), slab_class_for(SMALL))->spare;
        MUST(spare <= SPARE_STOPPED || mag_is_empty(spare) || mag_node(spare) == 1);
    }
}

Test(node, an_explicit_node_is_heard, .init = start_open) {
    unsigned cls = slab_class_for(SMALL);
    for (unsigned node = 0; node < NODES; node++) {
        for (unsigned i = 0; i < 1000; i++) {
            void *p = mag_alloc_node(cls, node, MAG_STRICT, NULL);
            MUST(node_of(p) == node);
            live[node * 1000 + i] = p;
        }
    }
    for (unsigned i = 0; i < NODES * 1000; i++)
        magazines_give(live[i]);
    expect_all_back();
}

Test(node, a_hint_holds_for_its_thread, .init = start_open) {
    page_node_hint(2);
    for (unsigned i = 0; i < 1000; i++)
        MUST(node_of(live[i] = mag_alloc(slab_class_for(SMALL), NULL)) == 2);
    page_node_hint(PAGE_NODE_ANY);
    MUST(node_of(live[1000] = mag_alloc(slab_class_for(SMALL), NULL)) == 0);
    for (unsigned i = 0; i <= 1000; i++)
        magazines_give(live[i]);
    expect_all_back();
}

/* --- records --- */

static u64 header_of_home(unsigned node) {
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        u64 m = r == NULL || region_home(r) != node ? 0 : r->slot[slot_at(slab_class_for(SMALL), node)];
        if (m != 0 && !mag_is_null(m))
            return (u64)mag_header(m);
    }
    return 0;
}

/* What is written with a node's objects lies there: descriptors, bitmaps, depots, the magazines of who runs there. */
/* Two reservations may meet inside a chunk, whose records are those of who came first. */
static bool chunk_is_shared(const void *p, unsigned node) {
    uintptr_t chunk = (uintptr_t)p >> CHUNK_SHIFT;
    for (unsigned i = 0; i < node * NODE_TIERS_NR; i++) {
        const struct page_tier *t = tier_at(i);
        if (t->low != NULL && chunk >= (uintptr_t)t->low >> CHUNK_SHIFT &&
            chunk <= (uintptr_t)(t->reserved_end - 1) >> CHUNK_SHIFT)
            return true;
    }
    return false;
}

Test(node, records_lie_near_their_objects, .init = start_open) {
    for (unsigned node = 0; node < NODES; node++) {
        int id = page_node_id(node);
        fake_node_go(id);
        fill(SMALL);
        for (unsigned i = 0; i < LIVE; i += SMALL) {
            char *base;
            struct slab *s = slab_of(live[i], &base);
            const void *bitmap = slab_bitmap(s, slab_geometry_of(slab_class_for(SMALL)));
            if (node_of(live[i]) != node)
                continue;
            MUST(fake_node_preferred(bitmap) == id);
            MUST(fake_node_preferred(&rt_meta.map_end[page_map_index(live[i])]) == id || node == 0);
            /* Those of the first chunk were there before. */
            MUST(fake_node_preferred(s) == id || node == 0 || chunk_is_shared(live[i], node));
        }
        MUST(header_of_home(node) != 0);
        cr_expect_eq(fake_node_preferred((const void *)header_of_home(node)), id); // NOLINT(performance-no-int-to-ptr)
        drop();
        if (node != 0) {
            cr_expect_eq(fake_node_preferred(mag_depots_view.nodes[node]), id);
            cr_expect_eq(fake_node_preferred(slab_classes[node]), id);
            cr_expect_eq(fake_node_preferred(page_node_tiers[node]), id);
        }
    }
    expect_all_back();
}

/* What a block was made for is where it goes when it is given back, whoever gives it. */
Test(node, blocks_go_back_to_their_node, .init = start_open) {
    u64 m = mag_make(6, 1);
    fake_node_go(ids[2]);
    mag_unmake(m);
    cr_expect_neq(mag_make(6, 2), m);
    cr_expect_neq(mag_make(6, 0), m);
    cr_expect_eq(mag_make(6, 1), m);
}

/* The reserve of each node is its own, and its runs lie there. */
Test(node, each_node_has_a_reserve, .init = start_open) {
    enum page_content content;
    rt_opt.reserve = 1 << 20;
    page_reserve_fill();
    cr_expect_eq(page_reserve_bytes_racy(), NODES * rt_opt.reserve);
    for (unsigned node = 0; node < NODES; node++) {
        void *run;
        unsigned nr = 0;
        while ((run = page_reserve_take(node, 1, 1, &content)) != NULL) {
            MUST(tier_node(tier_of(run)) == node && fake_node_preferred(run) == page_node_id(node));
            page_run_free(run, 1);
            nr++;
        }
        cr_expect_eq(nr * GRANULE_BYTES, rt_opt.reserve);
    }
}

/* Of the first node too, whose records come from where the others get their pieces. */
Test(node, and_each_has_room_for_the_records_of_its_reserve, .init = start_open) {
    enum { RECORD = 1024 };
    u64 promised = 2 * MIB; /* 32 KiB for 512 */
    rt_opt.reserve = 32 * MIB;
    page_reserve_fill();
    enum rt_context before = rt_context_enter(RT_ATOMIC_RESERVE);
    for (unsigned node = 0; node < NODES; node++) {
        u64 bytes = 0;
        while (bytes < promised && rt_meta_alloc_near(node, RECORD, CACHE_LINE) != NULL)
            bytes += RECORD;
        cr_expect_eq(bytes, promised, "node %u: %lu KiB", node, bytes / KIB);
    }
    rt_context_leave(before);
}

/* Where a node's own is used up, and nothing may block, the nearest serves. */
Test(node, an_atomic_request_draws_on_its_own_node_first, .init = start_open) {
    enum page_content content;
    rt_opt.reserve = 1 << 20;
    page_reserve_fill();
    fake_node_go(ids[1]);
    enum rt_context before = rt_context_enter(RT_ATOMIC_RESERVE);
    void *near = mag_alloc(slab_class_for(SMALL), NULL);
    while (page_reserve_take(1, 1, 1, &content) != NULL)
        continue;
    void *far = mag_alloc(slab_class_for(2 * SMALL), NULL);
    rt_context_leave(before);
    MUST(near != NULL && far != NULL);
    cr_expect_eq(node_of(near), 1u);
    cr_expect_eq(node_of(far), 0u);
    cr_expect_eq(stats().astray_objs, 1u);
}

/* --- nothing to be had --- */

Test(node, the_nearest_serves_when_a_node_has_nothing, .init = start_open) {
    unsigned cls = slab_class_for(SMALL);
    void *first = mag_alloc(cls, NULL), *last = mag_alloc_node(cls, 2, MAG_STRICT, NULL);
    fake_fail(FAKE_RESERVE, 1, 1000);
    cr_expect_null(mag_alloc_node(cls, 1, MAG_STRICT, NULL), "a strict request was served from elsewhere");
    cr_expect_eq(stats().astray_objs, 0u);
    void *p = mag_alloc_node(cls, 1, MAG_NEAR, NULL);
    cr_assert_not_null(p);
    cr_expect_eq(node_of(p), 0u, "nodes 0 and 2 are as far, and 0 comes first");
    cr_expect_eq(stats().astray_objs, 1u);
    fake_fail(FAKE_RESERVE, 0, 0);
    void *now = mag_alloc_node(cls, 1, MAG_STRICT, NULL);
    cr_expect_eq(node_of(now), 1u);
    void *all[] = {first, last, p, now};
    for (unsigned i = 0; i < ARRAY_NR(all); i++)
        magazines_give(all[i]);
    expect_all_back();
}

/* --- threads --- */

static u64 hops;
static void *alloc_hopping(size_t size) {
    static __thread u64 seed;
    if (seed == 0)
        seed = __atomic_add_fetch(&hops, 1, __ATOMIC_RELAXED) * 7919;
    if (alone_random(&seed) % 256 == 0)
        fake_node_go(ids[alone_random(&seed) % NODES]);
    return magazines_alloc(size);
}

static void give(void *p, size_t size) {
    MUST(slot_class(page_map_get(p)) == slab_class_for(size));
    magazines_give(p);
}

static const struct handover_ops ops = {alloc_hopping, give, {16, 64, 640, 4096, 20480, 98304}, HANDOVER_HELD, MS};

static void give_back(void) {
    static unsigned turn;
    turn++;
    if (turn % 4 == 0)
        mag_rest();
    mag_drain(turn % 8 == 0 ? MAG_DRAIN_ALL : MAG_DRAIN_IDLE);
    mag_depot_trim(turn % 8 == 0 ? MAG_DRAIN_ALL : MAG_DRAIN_IDLE);
    slab_sweep(1 + turn % SLAB_CLASS_MAX, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
}

/* The nodes are found on the way, by whichever thread. */
Test(node, threads_hop_between_nodes_and_hand_objects_on, .init = start) {
    handover_run(&ops, give_back);
    cr_expect_eq(page_nodes_nr(), NODES);
    cr_expect_gt(stats().remote_frees, 0u);
    expect_all_back();
}

Test(node, and_on_locked_regions, .init = start_open_locked) {
    handover_run(&ops, give_back);
    expect_all_back();
}

/* --- while nodes are opened --- */

static _Atomic(bool) placing, go_on;
static _Atomic(void *) made_meanwhile;
static __thread bool opens;

static void wait_for(const _Atomic(bool) *flag) {
    while (!atomic_load(flag))
        sched_yield();
}

/* Another thread holds the lock of a tier, as it does in a system call; a free goes on, and nothing is done twice. */
Test(node, a_free_opens_them_step_by_step_and_waits_for_nobody, .init = start, .timeout = 120) {
    enum { HOLDER = 1 << 12, TIMES = 3 };
    struct page_tier *held[] = {tier_at(2), tier_at(0)};
    magazines_give(magazines_alloc(SMALL));
    page_nodes_want();
    for (unsigned i = 0; i < ARRAY_NR(held); i++) {
        unsigned placed = 0;
        MUST(sys_lock_try_as(&held[i]->lock, HOLDER));
        for (unsigned times = 0; times < TIMES; times++) {
            mag_rest(); /* as a free's tick does */
            cr_expect_eq(page_nodes_nr(), 1u, "opened under a held tier");
            cr_expect(page_nodes_are_wanted());
            cr_expect(times == 0 || fake_calls_nr(FAKE_PLACE) == placed, "placed once more");
            placed = fake_calls_nr(FAKE_PLACE);
        }
        sys_lock_reset(&held[i]->lock);
        mag_rest();
        cr_expect_eq(page_nodes_nr(), NODES, "nobody is in the way, and they are not open");
        if (i == 0) { /* once more from before the last step */
            atomic_store(&page_nodes_opened, 1);
            atomic_store(&page_nodes_wanted, true);
        }
    }
    fill(SMALL);
    cr_expect_eq(misplaced_nr(ids[0]), 0u);
    drop();
    expect_all_back();
}

static bool is_hugepage(const void *addr) {
    const struct chunk *c = chunk_of(addr);
    return c != NULL && chunk_hpage(chunk_of(addr), addr)->state == HPAGE_RUNS;
}

/* Whoever opens stops where it places the first record, which is past the lock. */
static void stop_at_record(void *addr) {
    if (!opens || !is_hugepage(addr))
        return;
    atomic_store(&placing, true);
    wait_for(&go_on);
}

static void *open_nodes(void *unused) {
    (void)unused;
    opens = true;
    (void)mag_nodes_start(PAGE_OPEN_WAIT);
    return NULL;
}

static pthread_t opener_start(void (*at)(void *addr)) {
    pthread_t opener;
    start();
    fake_placing = at;
    magazines_give(magazines_alloc(SMALL));
    MUST(pthread_create(&opener, NULL, open_nodes, NULL) == 0);
    wait_for(&placing);
    return opener;
}

static bool nodes_are_kept_apart_here(void) {
    fake_placing = NULL;
    fake_node_go(ids[1]);
    fill(SMALL);
    return page_nodes_nr() == NODES && misplaced_nr(ids[1]) <= LIVE / MEASURE_PART;
}

/* The copy has everything but the thread that was about to open. */
Test(node, a_child_of_a_fork_meanwhile_opens_them_itself) {
    pthread_t opener = opener_start(stop_at_record);
    page_fork_prepare(RT_FORK_ALONE);
    pid_t child = fork();
    if (child == 0) {
        atomic_store(&page_nodes_wanted, false); /* as a fork between decision and wish finds it */
        page_fork_done(RT_FORK_PARENT);
        slab_fork_child();
        mag_fork_child();
        _exit(nodes_are_kept_apart_here() ? 0 : 1);
    }
    page_fork_done(RT_FORK_PARENT);
    int status = -1;
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x", (unsigned)status);
    atomic_store(&go_on, true);
    MUST(pthread_join(opener, NULL) == 0);
    cr_expect(nodes_are_kept_apart_here());
    drop();
    expect_all_back();
}

/* A handler on top of who opens, at its nth piece, forks; in the child it goes on, and so does who opened, after it. */
static unsigned pieces_left;
static bool forked, in_child;

static void fork_on_top(void *addr) {
    (void)addr;
    if (forked || page_nodes_decided() == 0 || page_is_busy_here() || pieces_left-- != 0)
        return;
    forked = true;
    page_fork_prepare(RT_FORK_ALONE);
    pid_t child = fork();
    page_fork_done(RT_FORK_PARENT);
    int status = -1;
    if (child != 0) {
        MUST(waitpid(child, &status, 0) == child);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    in_child = true;
    slab_fork_child();
    mag_fork_child();
    fake_node_go(ids[1]);
    fill(SMALL);
    fake_node_go(ids[0]);
    (void)mag_alloc(slab_class_for(2 * SMALL), NULL);
    for (unsigned i = 0; i < LIVE / 2; i++) /* some wait in the magazines */
        magazines_give(live[i]);
}

static u64 objs_out(void) {
    struct slab_class_stats st;
    u64 objs = 0;
    mag_depot_trim(MAG_DRAIN_ALL);
    mag_drain(MAG_DRAIN_ALL);
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        slab_node_stats_get(node, slab_class_for(SMALL), &st);
        objs += st.out_objs;
    }
    return objs;
}

/* 0: nothing was lost, and nodes are open; in a process of its own. */
static int open_under_a_forking_handler(unsigned nth) {
    start();
    pieces_left = nth;
    fake_placing = fork_on_top;
    magazines_give(magazines_alloc(SMALL));
    (void)mag_nodes_start(PAGE_OPEN_WAIT);
    fake_placing = NULL;
    return !in_child || (objs_out() == LIVE - LIVE / 2 && page_nodes_nr() == NODES) ? 0 : 1;
}

Test(node, a_handler_that_forks_on_top_of_who_opens_them_loses_nothing) {
    enum { PIECES = 16 };
    for (unsigned nth = 0; nth < PIECES; nth++) {
        int status = -1;
        pid_t process = fork();
        if (process == 0)
            _exit(open_under_a_forking_handler(nth));
        MUST(process > 0 && waitpid(process, &status, 0) == process);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "at piece %u: %#x", nth, (unsigned)status);
    }
}

/* Who holds the tiers for a fork has all that there are. That they are not open a little later proves nothing, that
 * they are proves the contrary. */
Test(node, they_are_not_opened_within_a_fork) {
    enum { A_LITTLE_US = 50000 };
    pthread_t opener = opener_start(stop_at_record);
    page_fork_prepare(RT_FORK_ALONE);
    atomic_store(&go_on, true);
    usleep(A_LITTLE_US);
    cr_expect_eq(page_nodes_nr(), 1u, "nodes were opened between the two sides of a fork");
    page_fork_done(RT_FORK_PARENT);
    MUST(pthread_join(opener, NULL) == 0);
    cr_expect_eq(page_nodes_nr(), NODES);
    cr_expect(!page_nodes_are_wanted());
}

/* Between the two steps of placing, whichever comes first: a run for which the tier makes a record. */
static void make_record(void *addr) {
    enum { GRANULES = HPAGE_GRANULES };
    static _Atomic(unsigned) calls;
    enum page_content content;
    (void)addr;
    if (!opens || atomic_fetch_add(&calls, 1) != 0 || page_is_busy_here())
        return;
    atomic_store(&made_meanwhile, page_run_alloc(0, GRANULES, 1, &content));
}

static void make_record_after(void *addr) {
    if (opens && is_hugepage(addr))
        make_record(addr);
    atomic_store(&placing, true);
}

Test(node, a_record_made_meanwhile_is_placed) {
    pthread_t opener = opener_start(make_record_after);
    MUST(pthread_join(opener, NULL) == 0);
    cr_assert_not_null(atomic_load(&made_meanwhile));
    cr_expect_eq(fake_node_preferred(atomic_load(&made_meanwhile)), ids[0], "it lies where it is first touched");
}

/* The process began on another node, and has an id there: the thread that brings the second id gets nothing of the
 * first node's, not even the first object. */
static void *first_objects(void *unused) {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    CPU_SET(1, &mine);
    (void)unused;
    if (sched_setaffinity(0, sizeof(mine), &mine) != 0)
        return NULL;
    fake_node_go(ids[1]);
    for (unsigned i = 0; i < 100; i++)
        live[i] = magazines_alloc(SMALL);
    for (unsigned i = 0; page_nodes_nr() != 1 && i < 100; i++)
        MUST(page_node_id(node_of(live[i])) == ids[1]);
    return NULL;
}

Test(node, the_second_id_begins_on_its_own_node) {
    cpu_set_t first;
    pthread_t second;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    if (sched_setaffinity(0, sizeof(first), &first) != 0)
        return;
    machine();
    rt_opt.percpu = OPT_PERCPU_CPU_ID;
    magazines_start_with_options();
    magazines_give(magazines_alloc(SMALL));
    MUST(pthread_create(&second, NULL, first_objects, NULL) == 0);
    MUST(pthread_join(second, NULL) == 0);
    cr_expect(strcmp(mag_mode_name(), "cpu_id") != 0 || page_nodes_nr() == NODES || sys_cpu_ids_nr() < 2);
}
