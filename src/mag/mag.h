/* SPDX-License-Identifier: MIT */
/*
 * Magazines: the free objects kept for each CPU id and class, so that nearly every malloc and free is a few
 * instructions without atomics. The inline primitives are in rseq.h; here is everything else. Called by engine/ (slow
 * path, housekeeping) and obs/.
 *
 * A slot means: size class in the low 7 bits, NUMA bank above, as in the page map.
 * Every function is thread-safe, lock-free but for what is below it, and async-signal-safe, unless said otherwise.
 */
#ifndef QUARRY_MAG_MAG_H
#define QUARRY_MAG_MAG_H

#include "mag/rseq.h"

/* Chooses how ids are found, and starts the fast path. Once, before any other thread. 0 or -ENOMEM. */
int mag_init(void);
/* Every call takes the slow path from now on (counting calls). Before mag_init. */
void mag_divert(void);

/* An object of the class, from a magazine, the depot or the slabs; NULL when memory is out. *ret_zero (may be NULL): it
 * is known to read as zeros. */
void *mag_alloc(unsigned cls, bool *ret_zero);
/* Takes back an object whose page map entry is slot. */
void mag_free(unsigned slot, void *p);

/* "mm_cid", "cpu_id" or "locked" */
const char *mag_mode_name(void);

/* --- giving back --- */

enum mag_drain { MAG_DRAIN_IDLE, MAG_DRAIN_ALL };
/* Empties the magazines of ids (those that did nothing since the call before, or all), each after making sure nobody
 * uses it. Where the kernel has no barrier for that, only the locked regions and the caller's own id are emptied. */
void mag_drain(enum mag_drain which);
/* Empties the caller's magazines of classes that stand where they stood some hundred misses ago, at the call before
 * and now: the program does something else. */
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
};
void mag_stats_get(struct mag_stats *ret_stats);

#endif
