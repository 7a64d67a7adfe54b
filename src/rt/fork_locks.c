/* SPDX-License-Identifier: MIT */
/* See fork_locks.h. */
#include "rt/fork_locks.h"

struct sys_lock rt_fork_locks[RT_FORK_LOCKS_NR];

bool rt_fork_locks_mine(void) {
    bool mine = false;
    for (unsigned i = 0; i < RT_FORK_LOCKS_NR; i++)
        mine = mine || sys_lock_is_mine(&rt_fork_locks[i]);
    return mine;
}

void rt_fork_lock(struct sys_lock *lock, _Atomic(bool) *forks, enum rt_fork_from from) {
    while (!(from == RT_FORK_ON_TOP ? sys_lock_try(lock) : sys_lock_acquire(lock))) {
        if (sys_lock_is_mine(lock) || atomic_load_explicit(forks, memory_order_relaxed))
            return;
        sys_sleep_ms(1);
    }
    atomic_store_explicit(forks, true, memory_order_relaxed);
}

bool rt_fork_may_unlock(struct sys_lock *lock, _Atomic(bool) *forks, enum rt_fork_side side) {
    if (!atomic_load_explicit(forks, memory_order_relaxed) || (side == RT_FORK_PARENT && !sys_lock_is_mine(lock)))
        return false;
    atomic_store_explicit(forks, false, memory_order_relaxed);
    return true;
}
