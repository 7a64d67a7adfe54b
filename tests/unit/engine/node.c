/* SPDX-License-Identifier: MIT */
/*
 * What a thread asks for that names a node, on a pretended machine: nodes 2, 5 and 7 have memory. Judged is the node
 * that the memory was said to prefer. Objects of slabs are tests/unit/mag/node.c's.
 */
#include "page/node.h"
#include "big/big.h"
#include "engine/engine.h"
#include "fakes/fake.h"
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
    engine_free_slow(engine_alloc_slow(LARGE));
    MUST(engine_thread_node(ids[2]) == ENGINE_NODE_SET);
    fake_fail(FAKE_RESERVE, 1, 1000);
    void *p = engine_alloc_slow(LARGE);
    cr_assert_not_null(p);
    engine_free_slow(p);
}

Test(node, a_hint_must_name_a_node_with_memory, .init = machine) {
    cr_expect_eq(engine_thread_node(3), ENGINE_NODE_UNKNOWN);
    expect_preferred(engine_alloc_slow(LARGE), ids[1]);
}
