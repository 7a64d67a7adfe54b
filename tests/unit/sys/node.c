/* SPDX-License-Identifier: MIT */
/* What sysfs says of nodes, in files of the kernel's form below a pretended root; and what the system says of this
 * process, which must hold on any machine. */
#include "sys/sys.h"
#include "unit/files.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sys_numa numa;

static void read_all(unsigned nr, const unsigned *allowed_ids) {
    struct sys_nodes allowed = {{0}};
    char root[128];
    for (unsigned i = 0; i < nr; i++)
        sys_nodes_add(&allowed, allowed_ids[i]);
    snprintf(root, sizeof(root), "%s/node", files_root);
    sys_numa_read(root, &allowed, &numa);
}

static void start(void) { (void)files_start(); }

static void expect_order(unsigned node, unsigned nr, const u8 *order) {
    for (unsigned i = 0; i < nr; i++)
        cr_expect_eq(numa.order[node][i], order[i], "node %u: the %u. nearest is %u, not %u", node, i,
                     numa.order[node][i], order[i]);
}

/* Two sockets, memory without CPUs at each, and a node with CPUs alone at the second. */
Test(sys_node, memory_without_cpus_and_cpus_without_memory, .init = start, .fini = files_end) {
    files_write("/node/online", "0-2,8,255\n");
    files_write("/node/has_cpu", "0-2\n");
    files_write("/node/has_memory", "0-1,8,255\n");
    files_write("/node/node0/distance", "10 20 20 40 17\n");
    files_write("/node/node1/distance", "20 10 12 17 40\n");
    files_write("/node/node2/distance", "20 12 10 17 40\n");
    files_write("/node/node8/distance", "40 17 17 10 60\n");
    files_write("/node/node255/distance", "17 40 40 60 10\n");
    read_all(5, (const unsigned[]){0, 1, 2, 8, 255});
    cr_assert_eq(numa.nr, 4u);
    cr_expect_eq(numa.id[0], 0u);
    cr_expect_eq(numa.id[1], 1u);
    cr_expect_eq(numa.id[2], 8u);
    cr_expect_eq(numa.id[3], 255u);
    cr_expect_eq(numa.home[0], 0u);
    cr_expect_eq(numa.home[2], 1u, "the nearest memory to node 2 is node 1's");
    cr_expect_eq(numa.home[8], 2u);
    cr_expect_eq(numa.home[255], 3u);
    expect_order(0, 4, (const u8[]){0, 3, 1, 2});
    expect_order(1, 4, (const u8[]){1, 2, 0, 3});
    expect_order(2, 4, (const u8[]){2, 1, 0, 3});
    expect_order(3, 4, (const u8[]){3, 0, 1, 2});
}

Test(sys_node, among_equals_memory_with_cpus_is_nearer, .init = start, .fini = files_end) {
    files_write("/node/online", "0-2\n");
    files_write("/node/has_cpu", "0,2\n");
    files_write("/node/has_memory", "0-2\n");
    files_write("/node/node0/distance", "10 20 20\n");
    files_write("/node/node1/distance", "20 10 20\n");
    files_write("/node/node2/distance", "20 20 10\n");
    read_all(3, (const unsigned[]){0, 1, 2});
    expect_order(0, 3, (const u8[]){0, 2, 1});
    expect_order(1, 3, (const u8[]){1, 0, 2});
    expect_order(2, 3, (const u8[]){2, 0, 1});
}

Test(sys_node, a_cpuset_leaves_nodes_out, .init = start, .fini = files_end) {
    files_write("/node/online", "0-3\n");
    files_write("/node/has_cpu", "0-3\n");
    files_write("/node/has_memory", "0-3\n");
    files_write("/node/node0/distance", "10 20 30 40\n");
    files_write("/node/node1/distance", "20 10 40 30\n");
    files_write("/node/node2/distance", "30 40 10 20\n");
    files_write("/node/node3/distance", "40 30 20 10\n");
    read_all(2, (const unsigned[]){1, 2});
    cr_assert_eq(numa.nr, 2u);
    cr_expect_eq(numa.id[0], 1u);
    cr_expect_eq(numa.id[1], 2u);
    cr_expect_eq(numa.home[0], 0u);
    cr_expect_eq(numa.home[3], 1u);
    expect_order(0, 2, (const u8[]){0, 1});
    expect_order(1, 2, (const u8[]){1, 0});
}

Test(sys_node, without_sysfs_there_is_what_is_allowed, .init = start, .fini = files_end) {
    read_all(3, (const unsigned[]){0, 4, 1023});
    cr_assert_eq(numa.nr, 3u);
    cr_expect_eq(numa.id[2], 1023u);
    cr_expect_eq(numa.home[4], 1u);
    expect_order(1, 3, (const u8[]){1, 0, 2});
}

/* Whatever a file holds, indices stay below the number of nodes. */
Test(sys_node, nonsense_is_survived, .init = start, .fini = files_end) {
    static const char *const lists[] = {"",      "\n", "0-",     "0-99999999999999999999\n",
                                        "5-2\n", "x",  "0,,1\n", "0-1,1024\n"};
    static const char *const distances[] = {"", "10", "10 20 30 40 50 60\n", "999999999999 1\n", "-1 x\n"};
    for (size_t i = 0; i < ARRAY_NR(lists); i++) {
        files_write("/node/online", lists[i]);
        files_write("/node/has_memory", lists[(i + 1) % ARRAY_NR(lists)]);
        files_write("/node/has_cpu", lists[(i + 2) % ARRAY_NR(lists)]);
        files_write("/node/node0/distance", distances[i % ARRAY_NR(distances)]);
        read_all(2, (const unsigned[]){0, 1});
        cr_assert_leq(numa.nr, 2u);
        for (unsigned id = 0; id < SYS_NODE_IDS_NR; id++)
            cr_assert_lt(numa.home[id], MAX(numa.nr, 1u));
    }
}

Test(sys_node, what_the_system_says_of_this_process) {
    struct sys_nodes allowed;
    int here = sys_node_racy();
    cr_assert_geq(here, 0);
    if (!sys_nodes_allowed(&allowed))
        return; /* a kernel without nodes */
    cr_expect_geq(sys_nodes_count(&allowed), 1u);
    static _Alignas(64 * KIB) char page[4096];
    page[0] = 1;
    int node = sys_node_of(page);
    if (node < 0)
        return; /* forbidden, as in some containers */
    cr_expect(sys_nodes_have(&allowed, (unsigned)node));
    cr_expect(sys_vm_on_node(page, sizeof(page), (unsigned)node, SYS_SETTLE_LOOK));
    cr_expect(sys_vm_on_node(page, sizeof(page), (unsigned)node, SYS_SETTLE_MOVE));
    cr_expect(!sys_vm_on_node(page, sizeof(page), (unsigned)node + 1, SYS_SETTLE_LOOK));
}

/* The kernel tells the numbers that it was given, which are not those of the nodes. */
Test(sys_node, a_policy_of_relative_nodes_names_none) {
    struct sys_nodes nodes;
    unsigned long mask = 1;
    int modes[] = {MPOL_BIND, MPOL_INTERLEAVE};
    cr_expect_eq(sys_thread_policy(&nodes), SYS_POLICY_NONE);
    for (unsigned i = 0; i < ARRAY_NR(modes); i++) {
        enum sys_policy expected = modes[i] == MPOL_BIND ? SYS_POLICY_NODES : SYS_POLICY_TURNS;
        if (syscall(SYS_set_mempolicy, modes[i], &mask, 64) != 0)
            cr_skip("this process may set no policy");
        cr_expect_eq(sys_thread_policy(&nodes), expected);
        cr_expect_eq(sys_nodes_count(&nodes), 1u);
        if (syscall(SYS_set_mempolicy, modes[i] | MPOL_F_RELATIVE_NODES, &mask, 64) != 0)
            cr_skip("this process may set no policy");
        cr_expect_eq(sys_thread_policy(&nodes), expected);
        cr_expect_eq(sys_nodes_count(&nodes), 0u);
    }
}
