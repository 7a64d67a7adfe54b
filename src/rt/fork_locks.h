/* SPDX-License-Identifier: MIT */
/*
 * The locks that a fork waits for and holds besides the page tiers'. Here, below all who wait for any of them: a signal
 * handler on top of a holder must not wait for another, for the fork that has that one may wait for this one. Owned by
 * big/, which takes and releases them.
 */
#ifndef QUARRY_RT_FORK_LOCKS_H
#define QUARRY_RT_FORK_LOCKS_H

#include "sys/sys.h"

enum rt_fork_lock { RT_FORK_LOCK_LOTS, RT_FORK_LOCKS_NR };

extern HIDDEN struct sys_lock rt_fork_locks[RT_FORK_LOCKS_NR];

/* This very thread is inside one of them: the caller runs in a signal handler on top of it. */
bool rt_fork_locks_mine(void);

/*
 * Around a fork, of each such lock: it is waited for, and *forks says how many forks of its holder have it, one in a
 * handler on top of the other. A lock that is this thread's own, but no fork's, is left alone. ON_TOP: in a handler on
 * top of a holder. Then another fork that has the lock may wait for that holder, and is not waited for: what the lock
 * protects is whole, and stays so while that fork waits. Once it lets go it waits no more, and says so. Nor does a fork
 * ON_TOP wait for what is below another of its kind, which may wait for what is below this one: it passes it by, whole
 * or not, and the child loses what is not its own. What a fork ON_TOP has is waited for, as it waits for none of those.
 */
#define RT_FORK_LETS_GO ((u32)1 << 31) /* in *forks */
#define RT_FORK_HAS_TOP ((u32)1 << 30) /* the fork that has it is ON_TOP of another lock */
#define RT_FORK_ABOVE ((u32)1 << 16)   /* times the forks in handlers on top of the holder, which is none */
enum rt_fork_from { RT_FORK_ALONE, RT_FORK_ON_TOP };
/* ON_TOP, of all of them before the first is waited for: who waits for one finds those below this fork marked. */
void rt_fork_mark(struct sys_lock *lock, _Atomic(u32) *forks);
void rt_fork_lock(struct sys_lock *lock, _Atomic(u32) *forks, enum rt_fork_from from);
/*
 * Everybody else's wait, which began at start_ns. False: the lock is this thread's own, or lost, or a fork has it and
 * had it for longer than forks take, a second: it may be waiting for a lock of libc's that this thread is inside of
 * (docs/locking.md), and is waited for no more than 10 ms a time then.
 */
bool rt_fork_enter(struct sys_lock *lock, _Atomic(u32) *forks, u64 start_ns);
/* Whether a fork has it. */
bool rt_fork_has(_Atomic(u32) *forks);
/* In the parent, of all of them before the first is released: who is on top of that one finds the others marked. */
void rt_fork_let_go(struct sys_lock *lock, _Atomic(u32) *forks);
/* In the child, of all of them before anything else. */
void rt_fork_lose(struct sys_lock *lock, _Atomic(u32) *forks);
/* Whether the lock is to be released now: in the parent by the first fork of those that have it, in the child whichever
 * had it. */
enum rt_fork_side { RT_FORK_PARENT, RT_FORK_CHILD };
bool rt_fork_may_unlock(struct sys_lock *lock, _Atomic(u32) *forks, enum rt_fork_side side);

#endif
