/* SPDX-License-Identifier: MIT */
/*
 * Which nodes there are. Contract in node.h.
 *
 * States      decision: 0 undecided | DECIDING | how many nodes. DECIDING belongs to one thread, which writes the
 *             topology; nobody waits for it.
 * Ordering    The decision releases the topology. [page.decision] Opening releases all that was made. [page.nodes]
 */
#include "page/node.h"

#include "page/tier.h"
#include "rt/context.h"
#include "rt/meta.h"
#include "rt/options.h"

#include <string.h>

enum { DECIDING = 1 << 16 };

_Atomic(unsigned) page_nodes_opened = 1;
_Atomic(bool) page_nodes_wanted;
static _Atomic(unsigned) decision;

/* Written by who decides; NULL where one node was decided upon. Indices of ours are the system's, but that the first
 * two that differ change places: see swap. */
static struct sys_numa *numa;
static u8 first;      /* the system's index of our index 0 */
static int sole = -1; /* written by who decides */

const struct page_nodes_view page_nodes_view = {&numa, &first};

/* Index + 1, 0: none. Of this thread's hint, and of what its policy said when it was last asked for. */
static __thread s16 hint, ruled_by;
static __thread u8 calls_left; /* until it is asked for again */
static __thread bool in_turn;  /* its policy names a node anew each time */

/* Index 0 is where the process began: the two change places, which is its own reverse. */
static unsigned swapped(unsigned node) { return node == 0 ? first : node == first ? 0 : node; }

/* What the heap's first pages lie on, which are labelled with index 0. */
static int first_id(void) {
    const char *low = __atomic_load_n(&tier_at(0)->low, __ATOMIC_RELAXED); /* any will do */
    int id = low == NULL ? -1 : sys_node_of(low);
    return id >= 0 ? id : sys_node_racy();
}

/* Written by who decides: what sysfs says of those. NULL: no memory. */
static struct sys_numa *numa_read(const struct sys_nodes *allowed) {
    struct sys_numa *read = rt_meta_alloc(sizeof(*read), CACHE_LINE);
    if (read != NULL)
        sys_numa_read(SYS_NODE_ROOT, allowed, read);
    return read;
}

/* The kernel, or a filter, does not say what this process may use: it may be anything there is. */
static void decide_unknown(void) {
    struct sys_nodes all;
    memset(&all, 0xff, sizeof(all));
    const struct sys_numa *read = numa_read(&all);
    if (read != NULL && read->nr < 2)
        sole = read->nr == 0 ? 0 : read->id[0]; /* 0: of a kernel without nodes */
}

/* False: there are several. */
static bool decide_sole(const struct sys_nodes *allowed) {
    if (sys_nodes_count(allowed) >= 2)
        return false;
    sole = (int)MIN(sys_nodes_next(allowed, 0), SYS_NODE_IDS_NR - 1u);
    return true;
}

void page_nodes_begin(void) {
    struct sys_nodes allowed;
    if (atomic_load_explicit(&decision, memory_order_relaxed) == 0 && sys_nodes_allowed(&allowed) &&
        decide_sole(&allowed))
        atomic_store_explicit(&decision, 1, memory_order_relaxed);
}

static unsigned decide(void) {
    struct sys_nodes allowed, ruled;
    if (!sys_nodes_allowed(&allowed)) {
        if (!sys_is_confined()) /* there are files to read */
            decide_unknown();
        return 1;
    }
    if (decide_sole(&allowed))
        return 1;
    if (rt_opt.numa != OPT_NUMA_AUTO || sys_thread_policy(&ruled) != SYS_POLICY_NONE)
        return 1;
    struct sys_numa *read = numa_read(&allowed);
    if (read == NULL || read->nr < 2)
        return 1;
    int id = first_id();
    first = id < 0 || id >= SYS_NODE_IDS_NR ? 0 : read->home[id];
    numa = read;
    for (unsigned node = 0; node < read->nr; node++)
        rt_meta_near(node, read->id[swapped(node)]);
    return read->nr;
}

unsigned page_nodes_decided(void) {
    /* order: acquire: the topology.                                                           pairs: [page.decision] */
    unsigned seen = atomic_load_explicit(&decision, memory_order_acquire);
    return seen == DECIDING ? 0 : seen;
}

unsigned page_nodes_decide(void) {
    unsigned seen = page_nodes_decided();
    if (LIKELY(seen != 0) || !rt_may_block())
        return seen;
    /* order: acquire                                                                          pairs: [page.decision] */
    if (!atomic_compare_exchange_strong_explicit(&decision, &seen, DECIDING, memory_order_acquire,
                                                 memory_order_acquire))
        return seen == DECIDING ? 0 : seen;
    unsigned nr = decide();
    /* order: release: publishes the topology.                                                 pairs: [page.decision] */
    atomic_store_explicit(&decision, nr, memory_order_release);
    /* order: seq_cst fence: who wants nodes either sees the decision, or is overwritten here.   pairs: [page.wanted] */
    atomic_thread_fence(memory_order_seq_cst);
    atomic_store_explicit(&page_nodes_wanted, nr > 1, memory_order_relaxed);
    return nr;
}

void page_nodes_want(void) {
    if (atomic_load_explicit(&decision, memory_order_relaxed) != 0)
        return;
    atomic_store_explicit(&page_nodes_wanted, true, memory_order_relaxed);
    /* order: seq_cst fence                                                                      pairs: [page.wanted] */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&decision, memory_order_relaxed) == 1)
        atomic_store_explicit(&page_nodes_wanted, false, memory_order_relaxed);
}

int page_nodes_make(void) {
    unsigned nr = page_nodes_decided();
    for (unsigned node = 1; node < nr; node++) {
        if (tiers_make(node) != 0)
            return -1;
    }
    return 0;
}

/*
 * A fork holds the tiers there are, all of the first node's, from before the process is copied until after: with one of
 * them held here, nodes are open to both sides of a fork or to none. Were they opened in between, another thread could
 * be inside a further node's tier as it is copied.
 */
void page_nodes_open(enum page_open how) {
    unsigned nr = page_nodes_decided();
    struct page_tier *t = tier_at(0);
    if (nr < 2) {
        atomic_store_explicit(&page_nodes_wanted, false, memory_order_relaxed);
        return;
    }
    /* What of the first node's address space holds no memory yet shall come from there. */
    if (!tiers_place_first(how) || !tier_lock_for(t, how))
        return;
    /* order: release: all that was made of the nodes.                                            pairs: [page.nodes] */
    atomic_store_explicit(&page_nodes_opened, nr, memory_order_release);
    tier_unlock(t);
    atomic_store_explicit(&page_nodes_wanted, false, memory_order_relaxed);
}

/* Whoever was deciding is not here, unless it is this very thread's handler that forks, which decides on. Nor is who
 * was about to open: what it made is found here, and who allocates next opens. */
void page_nodes_fork_child(void) {
    unsigned deciding = DECIDING;
    (void)atomic_compare_exchange_strong_explicit(&decision, &deciding, 0, memory_order_relaxed, memory_order_relaxed);
    if (page_nodes_decided() > 1)
        atomic_store_explicit(&page_nodes_wanted, page_nodes_nr() == 1, memory_order_relaxed);
}

/* The first of ours from a kernel's number on. */
static int policy_next(const struct sys_nodes *nodes, unsigned id) {
    while ((id = sys_nodes_next(nodes, id)) < SYS_NODE_IDS_NR && page_node_index((int)id) == PAGE_NODE_ANY)
        id++;
    return page_node_index((int)id);
}

/* Of several nodes the nearest. Of nodes in turn the one that follows, by the kernel's numbers. ANY: none is ours. */
static int policy_node(enum sys_policy policy, const struct sys_nodes *nodes) {
    unsigned here = page_node_nearest(sys_node_racy());
    if (policy == SYS_POLICY_TURNS) {
        int next =
            ruled_by == 0 ? PAGE_NODE_ANY : policy_next(nodes, (unsigned)page_node_id((unsigned)ruled_by - 1) + 1);
        return next != PAGE_NODE_ANY ? next : policy_next(nodes, 0);
    }
    for (unsigned nth = 0; nth < page_nodes_nr(); nth++) {
        unsigned node = page_node_near(here, nth);
        if (sys_nodes_have(nodes, (unsigned)page_node_id(node)))
            return (int)node;
    }
    return PAGE_NODE_ANY;
}

/*
 * A thread may change its policy without a word, and asking is a system call: the first slow allocation of a thread
 * asks, and one in so many after it. A program that could not set one is never asked: what confines itself by a filter
 * to the calls it knows is not ended by this one.
 */
void page_node_heed(void) {
    enum { CALLS = 64, TURN_CALLS = 8 };
    struct sys_nodes nodes;
    if (LIKELY(calls_left > 0)) {
        calls_left--;
        return;
    }
    if (page_nodes_nr() == 1 || !sys_policies_are_used() || !rt_may_block())
        return;
    enum sys_policy policy = sys_thread_policy(&nodes);
    ruled_by = (s16)(1 + (policy == SYS_POLICY_NONE ? PAGE_NODE_ANY : policy_node(policy, &nodes)));
    in_turn = policy == SYS_POLICY_TURNS && ruled_by != 0;
    calls_left = policy == SYS_POLICY_TURNS ? TURN_CALLS : CALLS;
}

bool page_node_is_in_turn(void) { return in_turn; }

unsigned page_node_far(void) {
    int node = (hint != 0 ? hint : ruled_by) - 1;
    if (UNLIKELY(node >= 0))
        return (unsigned)node;
    return page_node_nearest(sys_node_racy());
}

unsigned page_node_decided_here(void) {
    int id = page_nodes_decided() < 2 ? -1 : sys_node_racy();
    return id < 0 || id >= SYS_NODE_IDS_NR ? 0 : swapped(numa->home[id]);
}

int page_node_index(int id) {
    if (page_nodes_nr() == 1 || id < 0 || id >= SYS_NODE_IDS_NR)
        return PAGE_NODE_ANY;
    unsigned node = numa->home[id];
    return numa->id[node] == id ? (int)swapped(node) : PAGE_NODE_ANY;
}

unsigned page_node_nearest(int id) {
    return page_nodes_nr() == 1 || id < 0 || id >= SYS_NODE_IDS_NR ? 0 : swapped(numa->home[id]);
}

int page_node_sole(void) { return page_nodes_decided() == 0 ? -1 : sole; }

int page_node_id(unsigned node) { return page_nodes_decided() < 2 ? -1 : numa->id[swapped(node)]; }

unsigned page_node_near(unsigned node, unsigned nth) {
    return page_nodes_nr() == 1 ? 0 : swapped(numa->order[swapped(node)][nth]);
}

void page_node_hint(int node) { hint = (s16)(node + 1); }
int page_node_hinted(void) { return hint - 1; }
