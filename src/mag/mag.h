/* SPDX-License-Identifier: MIT */
/*
 * Magazines: the free objects kept for each CPU id and class, so that nearly every malloc and free is a few
 * instructions without atomics. The inline primitives are in rseq.h; here is everything else. Called by engine/ (slow
 * path, housekeeping) and obs/.
 *
 * A slot means: size class in the low 9 bits, NUMA bank above, as in the page map.
 * Every function is thread-safe, lock-free but for what is below it, and async-signal-safe, unless said otherwise.
 */
#ifndef QUARRY_MAG_MAG_H
#define QUARRY_MAG_MAG_H

#include "mag/rseq.h"
#include "slab/made.h"

/* Chooses how ids are found, and starts the fast path. Once, before any other thread. 0 or -ENOMEM. */
int mag_init(void);
/* Every call takes the slow path from now on (counting calls). Before mag_init. */
void mag_divert(void);
/* Every allocation does, at any time: the magazines stay what they are, and the slow path uses them. An id whose
 * magazines another thread makes at this moment may be missed. */
void mag_divert_allocs(void);

/* Every allocation takes the slow path from now on, through the same magazines, so that engine/ sees it: some 20 ns
 * more. Or none does any more. Frees are left alone. A hint: does nothing where an id is being emptied at this moment.
 */
enum mag_watch { MAG_WATCH_NONE, MAG_WATCH_ALL };
void mag_watch(enum mag_watch which);
extern HIDDEN _Atomic(bool) mag_watched;
static inline bool mag_is_watched(void) { return atomic_load_explicit(&mag_watched, memory_order_relaxed); }

/* An object of the class, from a magazine, the depot or the slabs; NULL when memory is out. *ret_zero (may be NULL): it
 * is known to read as zeros. */
void *mag_alloc(unsigned cls, bool *ret_zero);
/* The same of a node, by its index: of another one where that has none, unless strict. */
enum mag_near { MAG_NEAR, MAG_STRICT };
void *mag_alloc_node(unsigned cls, unsigned node, enum mag_near near, bool *ret_zero);
/* Takes back an object whose page map entry is slot. */
void mag_free(unsigned slot, void *p);

/*
 * What the fast path would do for a thread that it does not serve, because it has no id or because calls are diverted:
 * an object of the class from its magazine, or NULL; whether p, whose page map entry is slot, was taken back. They give
 * up where the fast path would have, and where objects are kept apart by node. Without system call or waiting.
 */
void *mag_pop_untried(unsigned cls);
/* The same where allocations are slow because they are watched, and for nothing else. */
void *mag_pop_watched(unsigned cls);
bool mag_push_untried(unsigned slot, void *p);

/*
 * Figures that ids keep for engine/: what is added is neither lost nor counted twice, and no two CPUs write to one
 * line. Returns what this id has of the figure now, or 0. mag_figure_take() takes all that this id has away and returns
 * it. The sum over all ids is exact when nothing is added meanwhile.
 */
enum { MAG_FIGURES_NR = 8 };
s64 mag_figure_add(unsigned which, s64 more);
s64 mag_figure_take(unsigned which);
s64 mag_figure_sum_racy(unsigned which);

/* "mm_cid", "cpu_id" or "locked" */
const char *mag_mode_name(void);

/* --- classes made while the program runs (class.c) --- */

/* A class as slab_make() makes one, with magazines of at most cap objects (0: as many as a class of malloc's of this
 * size) where there is a slot for it. 0: no id, or no memory. One call at a time, this one and the next. */
unsigned mag_class_make(const struct slab_make *make, unsigned cap);
/*
 * Takes the class of a cache that nobody uses any more out of service. DONE: the id is free. LIVE: objects are out,
 * *ret_live of them, in their slabs: all the others are there too. STUCK: none is out, but some are in magazines that
 * cannot be emptied here, because the system has no barrier; the class stays as it is, and so it does when it is
 * pinned.
 */
enum mag_unmake { MAG_UNMAKE_DONE, MAG_UNMAKE_LIVE, MAG_UNMAKE_STUCK };
enum mag_unmake mag_class_unmake(unsigned cls, u64 *ret_live);
/* Magazines and depot of the class are emptied and its free slabs given back, whoever uses it meanwhile. */
void mag_class_shrink(unsigned cls);
/* Objects of the class in magazines and depot. */
u64 mag_class_cached_racy(unsigned cls);

/* Up to nr objects of the class, from the magazine by the run; fewer only where memory is out. */
unsigned mag_alloc_bulk(unsigned cls, unsigned nr, void **objs);
/* Objects whose page map entry is slot. */
void mag_free_bulk(unsigned slot, unsigned nr, void *const *objs);

/* --- nodes (node.c) --- */

/* Looks how many NUMA nodes there are, and keeps objects apart by node from then on if there are several. Returns how
 * many are kept apart. Enters the system the first time. With PAGE_OPEN_TRY it waits for nobody, and where somebody is
 * in the way the next call goes on. */
unsigned mag_nodes_start(enum page_open how);
/* Where nodes are kept apart, the next allocation of each id takes the slow path, once, and so finds out where its
 * thread runs: one that lives on the fast path alone would go on with objects of the node it, or its id, came from. An
 * id whose allocations are all in atomic contexts, which do not tell, takes the slow path from one call to the next. */
void mag_nodes_nudge(void);
/* Objects of one node freed by threads of another, counted as they leave the magazines. from, node: indices. */
u64 mag_remote_frees(unsigned from, unsigned node);
extern HIDDEN _Atomic(u64) *mag_remote_matrix; /* a row for each from; NULL while nodes are not kept apart */

/* --- giving back --- */

enum mag_drain { MAG_DRAIN_IDLE, MAG_DRAIN_ALL };
/* Empties the magazines of ids (those that did nothing since the call before, or all), each after making sure nobody
 * uses it. Where the kernel has no barrier for that, only the locked regions and the caller's own id are emptied. */
void mag_drain(enum mag_drain which);
/* Empties the caller's magazines of classes that stand where they stood some hundred misses ago, at the call before
 * and now: the program does something else. Above 16 MiB in use also of those, and their depots, of which magazines and
 * depots have seven eighths of all that is out. */
void mag_rest(void);
/* Gives depot magazines back to the slabs that stayed unused through this call and the one before; with MAG_DRAIN_ALL,
 * all of them. */
void mag_depot_trim(enum mag_drain which);

/* Switches the per-CPU magazines off for good: every thread uses the locked regions. */
void mag_percpu_off(void);
/* See engine_vfork_enter. */
int mag_vfork_enter(void);
void mag_vfork_leave(int id);
void mag_fork_child(void);

struct mag_stats {
    u64 cached_bytes, depot_bytes, ids, slow_allocs, slow_frees, refills, flushes, depot_gets, depot_puts, drains,
        fallback_ops;
    u64 remote_frees, astray_objs, node_moves;
};
void mag_stats_get(struct mag_stats *ret_stats);

#endif
