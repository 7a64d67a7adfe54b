/* SPDX-License-Identifier: MIT */
/*
 * Nodes, for the magazines: keeping objects apart by node begins here, and what crosses between nodes is counted here.
 * An object freed on another node than its own waits in the freeing id's bank of its node, and leaves in whole
 * magazines for its node's depot or its slab: nothing of it is handed out there. Contract in mag.h.
 *
 *   [N4] Objects in a magazine are all of one slot, hence of one node. Only a free, by the page map entry, and a refill
 *        out of slabs of that node put any in.
 */
#include "mag/region.h"

#include "rt/context.h"
#include "sys/sys.h"

/* sys_thread_self() of the thread that makes what is missing; 0: none. A handler on top of it makes nothing, nor in the
 * child if it forks: there the thread it interrupted goes on, with what is half made and must not be in use. */
static _Atomic(u64) starter;
/* A row for each node that frees, a column for each that is freed to; made when nodes are opened. */
_Atomic(u64) *mag_remote_matrix;
static _Atomic(u64) astray, moves;

/* All that nodes need, once. Nobody uses it before they are open. */
static bool all_make(unsigned nodes_nr) {
    static bool made;
    if (made)
        return true;
    if (mag_remote_matrix == NULL)
        mag_remote_matrix = rt_meta_alloc((size_t)nodes_nr * nodes_nr * sizeof(u64), CACHE_LINE);
    if (mag_remote_matrix == NULL || page_nodes_make() != 0 || slab_nodes_make() != 0 || depots_make(nodes_nr) != 0)
        return false;
    regions_open(nodes_nr);
    return made = true;
}

unsigned mag_nodes_start(enum page_open how) {
    u64 nobody = 0;
    /* order: acquire, and release below: one thread after the other makes what is missing.     pairs: [node.starter] */
    if (page_nodes_nr() > 1 || page_nodes_decided() == 1 || !rt_may_block() ||
        !atomic_compare_exchange_strong_explicit(&starter, &nobody, sys_thread_self(), memory_order_acquire,
                                                 memory_order_relaxed))
        return page_nodes_nr();
    unsigned nodes_nr = page_nodes_nr() > 1 ? 0 : page_nodes_decide();
    if (nodes_nr > 1 && all_make(nodes_nr))
        page_nodes_open(how);
    /* order: release                                                                           pairs: [node.starter] */
    atomic_store_explicit(&starter, 0, memory_order_release);
    return page_nodes_nr();
}

/* What another thread began is made again, or found. */
void nodes_fork_child(void) {
    page_nodes_fork_child();
    if (atomic_load_explicit(&starter, memory_order_relaxed) != sys_thread_self())
        atomic_store_explicit(&starter, 0, memory_order_relaxed);
}

void node_count_remote(unsigned from, unsigned node, unsigned nr) {
    if (UNLIKELY(from != node) && nr != 0)
        atomic_fetch_add_explicit(&mag_remote_matrix[from * page_nodes_nr() + node], nr, memory_order_relaxed);
}

void node_count_astray(unsigned nr) { atomic_fetch_add_explicit(&astray, nr, memory_order_relaxed); }
void node_count_move(void) { atomic_fetch_add_explicit(&moves, 1, memory_order_relaxed); }

u64 mag_remote_frees(unsigned from, unsigned node) {
    unsigned nr = page_nodes_nr();
    return nr == 1 || from >= nr || node >= nr
               ? 0
               : atomic_load_explicit(&mag_remote_matrix[from * nr + node], memory_order_relaxed);
}

void node_stats_get(struct mag_stats *s) {
    for (unsigned from = 0; from < page_nodes_nr(); from++) {
        for (unsigned node = 0; node < page_nodes_nr(); node++)
            s->remote_frees += mag_remote_frees(from, node);
    }
    s->astray_objs = atomic_load_explicit(&astray, memory_order_relaxed);
    s->node_moves = atomic_load_explicit(&moves, memory_order_relaxed);
}
