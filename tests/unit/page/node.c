/* SPDX-License-Identifier: MIT */
/* Which node a thread is served from that set a policy for itself, and how often it is asked for. On a pretended
 * machine, as mag/node.c. */
#include "rt/context.h"
#include "unit/mag/nodes.h"

/* From the first slow allocation on, and from one look to the next at most when it changes. */
Test(policy, a_policy_of_a_thread_is_heeded, .init = start_open) {
    enum { SLOW = 70, CLASS_OBJS = 600 }; /* slow calls until it is asked for again at the latest */
    set_policy(SYS_POLICY_NODES, 1u << 2);
    fill(SMALL);
    cr_expect_eq(misplaced_nr(ids[2]), 0u, "%u objects are of other nodes", misplaced_nr(ids[2]));
    drop();
    set_policy(SYS_POLICY_NODES, 1u << 1 | 1u << 2);
    for (unsigned i = 0; i < SLOW; i++)
        MUST((live[i] = mag_alloc(slab_class_for(SMALL), NULL)) != NULL);
    cr_expect_eq(page_node_here(), 1u, "of several the nearest");
    set_policy(SYS_POLICY_NONE, 0);
    for (unsigned i = SLOW; i < 2 * SLOW; i++)
        MUST((live[i] = mag_alloc(slab_class_for(SMALL), NULL)) != NULL);
    cr_expect_eq(page_node_here(), 0u, "a policy that was given up holds on");
    for (unsigned i = 0; i < 2 * SLOW; i++)
        magazines_give(live[i]);
    expect_all_back();
}

Test(policy, nodes_in_turn_have_the_same, .init = start_open) {
    unsigned of_node[NODES] = {0};
    set_policy(SYS_POLICY_TURNS, 1u << 0 | 1u << 2);
    fill(2048);
    for (unsigned i = 0; i < LIVE; i++)
        of_node[node_of(live[i])]++;
    cr_expect_eq(of_node[1], 0u);
    cr_expect(of_node[0] > LIVE * 45ul / 100 && of_node[2] > LIVE * 45ul / 100, "%u and %u", of_node[0], of_node[2]);
    for (unsigned i = 0; i < LIVE; i++)
        magazines_give(live[i]);
    expect_all_back();
}

/* What a policy names is not always ours: memory that came later, or beyond the most that are kept apart. */
Test(policy, nodes_in_turn_leave_out_those_that_are_not_ours, .init = start_open) {
    enum { FOREIGN_LOW = 3, FOREIGN_HIGH = 9 };
    struct sys_nodes nodes = {{0}};
    unsigned of_node[NODES] = {0};
    sys_nodes_add(&nodes, FOREIGN_LOW);
    sys_nodes_add(&nodes, FOREIGN_HIGH);
    for (unsigned i = 0; i < NODES; i++)
        sys_nodes_add(&nodes, ids[i]);
    fake_policy(SYS_POLICY_TURNS, &nodes);
    fill(2048);
    for (unsigned i = 0; i < LIVE; i++)
        of_node[node_of(live[i])]++;
    for (unsigned node = 0; node < NODES; node++)
        cr_expect_gt(of_node[node], LIVE * 30ul / 100, "node %u has %u", node, of_node[node]);
    drop();
    expect_all_back();
}

/* A policy of foreign nodes, or of numbers that are not nodes', says nothing: the thread is served where it runs. */
Test(policy, a_policy_without_nodes_of_ours_is_none, .init = start_open) {
    for (enum sys_policy policy = SYS_POLICY_NODES; policy <= SYS_POLICY_TURNS; policy++) {
        set_policy(policy, 0);
        for (unsigned i = 0; i < NODES; i++) {
            fake_node_go(ids[i]);
            (void)mag_alloc(slab_class_for(SMALL), NULL);
            cr_expect_eq(page_node_here(), i);
        }
    }
}

/* Nor do allocations by the run, which their magazines serve, pass it by. */
Test(policy, a_policy_is_heeded_by_the_run, .init = start_open) {
    enum { CALLS = 130, RUN = 4 };
    unsigned cls = slab_class_for(SMALL);
    void *objs[RUN];
    (void)mag_alloc(cls, NULL);
    MUST(mag_alloc_bulk(cls, RUN, objs) == RUN);
    mag_free_bulk(slot_at(cls, 0), RUN, objs);
    set_policy(SYS_POLICY_NODES, 1u << 2);
    for (unsigned i = 0; i < CALLS; i++) {
        MUST(mag_alloc_bulk(cls, RUN, objs) == RUN);
        mag_free_bulk((unsigned)page_map_get(objs[0]), RUN, objs);
    }
    cr_expect_eq(node_of(objs[0]), 2u);
}

/* No system call that nobody expects: not without libnuma, nor where nothing may block, nor on each call. */
Test(policy, it_is_asked_for_now_and_then_alone, .init = start_open) {
    enum { CALLS = 6400, EVERY = 64 };
    unsigned cls = slab_class_for(SMALL), asked = fake_policy_asked_nr();
    for (unsigned i = 0; i < CALLS; i++)
        live[i] = mag_alloc(cls, NULL);
    cr_expect_eq(fake_policy_asked_nr(), asked, "asked in a program that has no libnuma");
    set_policy(SYS_POLICY_NODES, 1u << 1);
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    for (unsigned i = 0; i < CALLS; i++)
        magazines_give(mag_alloc(cls, NULL));
    rt_context_leave(before);
    cr_expect_eq(fake_policy_asked_nr(), asked, "asked where nothing may block");
    for (unsigned i = 0; i < CALLS; i++)
        magazines_give(mag_alloc(cls, NULL));
    cr_expect_leq(fake_policy_asked_nr() - asked, CALLS / EVERY + 1);
    cr_expect_gt(fake_policy_asked_nr(), asked);
}
