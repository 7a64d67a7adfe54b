/* SPDX-License-Identifier: MIT */
/* A machine with nodes, and threads that run where they say. See fake.h; the contract is sys/sys.h. */
#include "fakes/fake.h"

#include <stdlib.h>

enum { PLACED_MAX = 4096, WORD_BITS = 64 };

static u16 node_ids[SYS_NODES_MAX];
static unsigned nodes_nr = 1;
static _Atomic(bool) policies_used;
static __thread enum sys_policy policy;
static __thread struct sys_nodes policy_nodes;
static _Atomic(unsigned) policy_asked;
static __thread int here;
static _Atomic(int) began = -1; /* where the first thread said it was */

static struct placed {
    const char *from, *to;
    int id;
} placed[PLACED_MAX];
static _Atomic(unsigned) placed_nr;

void fake_nodes(unsigned nr, const u16 *ids) {
    nodes_nr = nr;
    for (unsigned i = 0; i < nr; i++)
        node_ids[i] = ids[i];
}

void fake_policy(enum sys_policy set, const struct sys_nodes *nodes) {
    atomic_store(&policies_used, true);
    policy = set;
    policy_nodes = *nodes;
}
unsigned fake_policy_asked_nr(void) { return atomic_load(&policy_asked); }
void fake_node_go(int id) {
    int never = -1;
    here = id;
    (void)atomic_compare_exchange_strong(&began, &never, id);
}

void fake_placed(void *addr, size_t bytes, enum sys_numa_mode mode, const struct sys_nodes *nodes) {
    unsigned at = atomic_fetch_add(&placed_nr, 1);
    unsigned id = mode == SYS_NUMA_PREFER ? sys_nodes_next(nodes, 0) : SYS_NODE_IDS_NR;
    if (at >= PLACED_MAX)
        abort();
    placed[at] = (struct placed){addr, (const char *)addr + bytes, id < SYS_NODE_IDS_NR ? (int)id : -1};
}

int fake_node_preferred(const void *p) {
    const char *at = p;
    for (unsigned i = atomic_load(&placed_nr); i-- > 0;) {
        if (at >= placed[i].from && at < placed[i].to)
            return placed[i].id;
    }
    return -1;
}

/* --- sys/sys.h --- */

bool sys_nodes_allowed(struct sys_nodes *ret_nodes) {
    *ret_nodes = (struct sys_nodes){{0}};
    for (unsigned i = 0; i < nodes_nr; i++)
        sys_nodes_add(ret_nodes, node_ids[i]);
    return true;
}

enum sys_policy sys_thread_policy(struct sys_nodes *ret_nodes) {
    atomic_fetch_add(&policy_asked, 1);
    *ret_nodes = policy_nodes;
    return policy;
}
bool sys_policies_are_used(void) { return atomic_load(&policies_used); }

static int by_distance(const void *a, const void *b, void *from) {
    int i = *(const u8 *)a, j = *(const u8 *)b, here_idx = *(const int *)from;
    int difference = abs(i - here_idx) - abs(j - here_idx);
    return difference != 0 ? difference : i - j;
}

void sys_numa_read(const char *root, const struct sys_nodes *allowed, struct sys_numa *ret_numa) {
    (void)root, (void)allowed;
    ret_numa->nr = nodes_nr;
    for (int i = 0; i < (int)nodes_nr; i++) {
        ret_numa->id[i] = node_ids[i];
        ret_numa->home[node_ids[i]] = (u8)i;
        for (unsigned j = 0; j < nodes_nr; j++)
            ret_numa->order[i][j] = (u8)j;
        qsort_r(ret_numa->order[i], nodes_nr, 1, by_distance, &i);
    }
}

int sys_node_racy(void) { return here; }

/* A page is where it was said to be preferred, or where the process began. */
int sys_node_of(const void *p) {
    int id = fake_node_preferred(p);
    return id >= 0 ? id : atomic_load(&began) >= 0 ? atomic_load(&began) : here;
}

bool sys_vm_on_node(void *addr, size_t bytes, unsigned node, enum sys_settle settle) {
    (void)bytes, (void)settle;
    return sys_node_of(addr) == (int)node;
}
