/* SPDX-License-Identifier: MIT */
/*
 * What a thread asks for that names a node, on a pretended machine: nodes 2, 5 and 7 have memory. Judged is the node
 * that the memory was said to prefer. Objects of slabs are tests/unit/mag/node.c's.
 */
#include "page/node.h"
#include "big/big.h"
#include "engine/engine.h"
#include "engine/start.h"
#include "fakes/fake.h"
#include "page/page.h"
#include "rt/options.h"
#include "unit/alone.h"
#include "unit/core.h"

#include <string.h>

enum { NODES = 3, LARGE = 3 << 20 };
static const u16 ids[NODES] = {2, 5, 7};

static void machine(void) {
    fake_nodes(NODES, ids);
    fake_node_go(ids[0]);
    MUST(engine_thread_node(ids[1]) == ENGINE_NODE_SET);
    MUST(page_nodes_nr() == NODES);
}

static void expect_preferred(void *p, int id) {
    cr_assert_not_null(p);
    cr_expect_eq(fake_node_preferred(p), id, "node %d is preferred, not %d", fake_node_preferred(p), id);
    cr_expect_eq(fake_node_preferred((char *)p + LARGE - 1), id);
    engine_free_slow(p);
}

Test(node, large_objects_follow_the_hint, .init = machine) {
    expect_preferred(engine_alloc_slow(LARGE), ids[1]);
    expect_preferred(engine_memalign(HPAGE_BYTES, LARGE), ids[1]);
    char *zeroed = engine_calloc(1, LARGE);
    MUST(zeroed != NULL && zeroed[0] == 0 && memcmp(zeroed, zeroed + 1, LARGE - 1) == 0);
    expect_preferred(zeroed, ids[1]);
}

/* Nor is what was placed for one handed to another. */
Test(node, without_one_they_lie_where_they_are_touched, .init = machine) {
    expect_preferred(engine_alloc_slow(LARGE), ids[1]);
    MUST(engine_thread_node(-1) == ENGINE_NODE_SET);
    unsigned placed = fake_calls_nr(FAKE_PLACE), reserved = fake_calls_nr(FAKE_RESERVE);
    void *p = engine_alloc_slow(LARGE);
    cr_assert_not_null(p);
    cr_expect_eq(fake_calls_nr(FAKE_PLACE), placed);
    cr_expect_eq(fake_calls_nr(FAKE_RESERVE), reserved + 1, "it is one that was placed for another");
    engine_free_slow(p);
}

/* Where a new mapping is not to be had, one that is kept for reuse serves. */
Test(node, a_hint_never_refuses, .init = machine) {
    MUST(engine_thread_node(-1) == ENGINE_NODE_SET);
    for (unsigned i = 0; i < 2; i++) /* what is wanted back is kept */
        engine_free_slow(engine_alloc_slow(LARGE));
    MUST(engine_thread_node(ids[2]) == ENGINE_NODE_SET);
    fake_fail(FAKE_RESERVE, 1, 1000);
    void *p = engine_alloc_slow(LARGE);
    cr_assert_not_null(p);
    engine_free_slow(p);
}

/* --- interleaved --- */

enum { SHARE_BYTES = 40 << 20 }; /* of which a hugepage is a twentieth */

static void interleaved(void) {
    fake_nodes(NODES, ids);
    MUST(engine_ready());
    rt_opt.numa = OPT_NUMA_INTERLEAVE;
    rt_opt.thp = OPT_THP_EARNED;
    fake_all_resident = true;
}

Test(node, one_hugepage_more_on_a_node_is_a_twentieth_of_its_share, .init = interleaved) {
    enum page_content content;
    for (size_t used = 0; used < (size_t)NODES * SHARE_BYTES; used += HPAGE_BYTES) {
        MUST(page_run_alloc(0, HPAGE_GRANULES, 1, &content) != NULL);
        cr_assert_eq(fake_calls_nr(FAKE_HUGE), 0u, "a hugepage at %zu KiB", used >> 10);
    }
    for (unsigned i = 0; i < NODES; i++)
        MUST(page_run_alloc(0, HPAGE_GRANULES, 1, &content) != NULL);
    cr_expect_geq(fake_calls_nr(FAKE_HUGE), 1u);
}

/* Slow ones are asked for one time in nine, and then in 33. Which node one is of the kernel tells by its address. */
Test(node, slow_hugepages_take_turns, .init = interleaved) {
    enum { RUNS = 400, SLOW_NS = 10000000 };
    enum page_content content;
    unsigned of_node[NODES] = {0}, all = 0;
    fake_clock_look_takes_ns(SLOW_NS);
    for (unsigned i = 0; i < RUNS; i++) {
        unsigned before = fake_calls_nr(FAKE_HUGE);
        uintptr_t run = (uintptr_t)page_run_alloc(0, HPAGE_GRANULES, 1, &content);
        MUST(run != 0);
        of_node[(run >> HPAGE_SHIFT) % NODES] += fake_calls_nr(FAKE_HUGE) - before;
        all += fake_calls_nr(FAKE_HUGE) - before;
    }
    cr_expect(all >= NODES && all < RUNS / 4, "%u hugepages", all);
    for (unsigned node = 0; node < NODES; node++)
        cr_expect(of_node[node] >= all / NODES && of_node[node] <= all / NODES + 1, "node %u has %u of %u", node,
                  of_node[node], all);
}

Test(node, and_in_large_objects, .init = interleaved) {
    unsigned told = fake_calls_nr(FAKE_NOHUGE);
    MUST(engine_alloc_slow((size_t)NODES * SHARE_BYTES - HPAGE_BYTES) != NULL);
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), 0u);
    cr_expect_gt(fake_calls_nr(FAKE_NOHUGE), told, "the system may make it hugepages of its own accord");
    MUST(engine_alloc_slow((size_t)NODES * SHARE_BYTES) != NULL);
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), 1u);
}

Test(node, nodes_that_are_named_count_alone, .init = interleaved) {
    sys_nodes_add(&rt_opt.numa_nodes, ids[0]);
    sys_nodes_add(&rt_opt.numa_nodes, ids[2]);
    MUST(engine_alloc_slow(2ul * SHARE_BYTES) != NULL);
    cr_expect_eq(fake_calls_nr(FAKE_HUGE), 1u);
}

Test(node, a_hint_must_name_a_node_with_memory, .init = machine) {
    cr_expect_eq(engine_thread_node(3), ENGINE_NODE_UNKNOWN);
    expect_preferred(engine_alloc_slow(LARGE), ids[1]);
}
