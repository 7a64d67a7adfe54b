/* SPDX-License-Identifier: MIT */
/*
 * Nodes: which NUMA nodes the heap keeps apart, and by which index. Index 0 is the node where the process's first pages
 * lie, and all there is until a second node is worth knowing of: a process on a machine with one node never asks, a
 * small process with one thread neither. Called by every layer above; mag/ makes what each node needs (mag/node.c).
 *
 *   undecided --- page_nodes_decide() ---> decided how many --- page_nodes_open() ---> page_nodes_nr() says so
 *
 *   [N1] How many nodes there are is decided once, before a second region of magazines is made: regions have room for
 *        so many. [N2] Until they are open no index but 0 is in any entry of the page map. [N3] Neither goes back.
 */
#ifndef QUARRY_PAGE_NODE_H
#define QUARRY_PAGE_NODE_H

#include "base/types.h"
#include "sys/sys.h"

enum { PAGE_NODES_MAX = SYS_NODES_MAX, PAGE_NODE_ANY = -1 };

/* Nodes with a tier of their own; 1 until page_nodes_open(). */
extern HIDDEN _Atomic(unsigned) page_nodes_opened;
static ALWAYS_INLINE unsigned page_nodes_nr(void) {
    /* order: acquire: what mag/node.c made of each node.                                         pairs: [page.nodes] */
    return atomic_load_explicit(&page_nodes_opened, memory_order_acquire);
}

/* At the start, before a program may forbid itself to ask: one node is decided upon at once. Several take files to
 * read, as does a kernel that does not tell, and are left for when the heap has grown. */
void page_nodes_begin(void);
/* How many nodes there will be, deciding it if need be, which enters the system. 0: another thread is deciding, or this
 * one may not block. */
unsigned page_nodes_decide(void);
/* The same without deciding: 0 as long as nobody did. */
unsigned page_nodes_decided(void);
/* More than one node was decided upon, or should be looked for, and nobody has opened them. */
extern HIDDEN _Atomic(bool) page_nodes_wanted;
static ALWAYS_INLINE bool page_nodes_are_wanted(void) {
    return UNLIKELY(atomic_load_explicit(&page_nodes_wanted, memory_order_relaxed));
}
/* The heap grows: nodes should be looked for. */
void page_nodes_want(void);
/* Makes the tiers of all nodes that were decided upon. 0 or -ENOMEM, then to be tried again. One caller at a time. */
int page_nodes_make(void);
/* From now on page_nodes_nr() tells. Everything that is kept by node is there. WAIT: for who holds a tier of the first
 * node, be it a fork of another thread. TRY waits for nobody, as a free must not. What is left undone, by either on top
 * of a holder, is remembered, and for the next caller: no step is done twice. One caller at a time. */
enum page_open { PAGE_OPEN_TRY, PAGE_OPEN_WAIT };
void page_nodes_open(enum page_open how);
void page_nodes_fork_child(void);

/* The thread's memory policy is asked for now and then, in the course of allocations that leave the fast path. */
void page_node_heed(void);
/* What it said when it was last asked for: nodes of ours in turn, so that a change of node is no change of place. */
bool page_node_is_in_turn(void);
/* The index of this thread's node: what page_node_hint() said, its memory policy, or where it runs. Stale on return. */
unsigned page_node_far(void);
static ALWAYS_INLINE unsigned page_node_here(void) { return LIKELY(page_nodes_nr() == 1) ? 0 : page_node_far(); }
/* The same from the decision on, before they are open. */
unsigned page_node_decided_here(void);
/* The index of a node by the kernel's number; PAGE_NODE_ANY: it has no memory of ours, or nodes are not kept apart. */
int page_node_index(int id);
/* The same of the nearest node with memory of ours; 0 while nodes are not kept apart. */
unsigned page_node_nearest(int id);
/* The kernel's number of the one node whose memory this process may use; negative: there are several, or nobody has
 * looked. */
int page_node_sole(void);
/* The kernel's number of an index; negative while nodes are not kept apart. */
int page_node_id(unsigned node);
/* The nth nearest node, itself for 0; nth < page_nodes_nr(). */
unsigned page_node_near(unsigned node, unsigned nth);

/* For obs/view.h: the topology, and which of its indices ours has at 0. */
struct page_nodes_view {
    struct sys_numa *const *numa;
    const u8 *first;
};
extern HIDDEN const struct page_nodes_view page_nodes_view;

/* This thread's allocations prefer a node from now on, by index; PAGE_NODE_ANY: the one it runs on. */
void page_node_hint(int node);
int page_node_hinted(void);

#endif
