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

void rt_fork_lock(struct sys_lock *lock, _Atomic(u32) *forks, enum rt_fork_from from) {
    while (!(from == RT_FORK_ON_TOP ? sys_lock_try(lock) : sys_lock_acquire(lock))) {
        u32 had = atomic_load_explicit(forks, memory_order_relaxed);
        if (sys_lock_is_mine(lock)) {
            if (had != 0)
                atomic_store_explicit(forks, had + 1, memory_order_relaxed);
            return;
        }
        if (had != 0 && (had & RT_FORK_LETS_GO) == 0)
            return;
        sys_sleep_ms(1);
    }
    atomic_store_explicit(forks, 1, memory_order_relaxed);
}

/* relaxed: whoever is on top of a lock that this thread released took it afterwards, and sees the marks. */
void rt_fork_let_go(struct sys_lock *lock, _Atomic(u32) *forks) {
    if (sys_lock_is_mine(lock) && atomic_load_explicit(forks, memory_order_relaxed) == 1)
        atomic_store_explicit(forks, 1 | RT_FORK_LETS_GO, memory_order_relaxed);
}

bool rt_fork_may_unlock(struct sys_lock *lock, _Atomic(u32) *forks, enum rt_fork_side side) {
    u32 had = atomic_load_explicit(forks, memory_order_relaxed);
    if (had == 0 || (side == RT_FORK_PARENT && !sys_lock_is_mine(lock)))
        return false;
    bool last = side == RT_FORK_CHILD || (had & ~RT_FORK_LETS_GO) == 1;
    atomic_store_explicit(forks, last ? 0 : had - 1, memory_order_relaxed);
    return last;
}
