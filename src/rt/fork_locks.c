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

/* A fork of this thread passed a lock by. Of the child's own making are those it has then; a fork that is not ON_TOP
 * passes none. */
static __thread bool passed;

static u32 forks_nr(u32 word) { return word % RT_FORK_ABOVE; }

bool rt_fork_has(_Atomic(u32) *forks) { return forks_nr(atomic_load_explicit(forks, memory_order_relaxed)) != 0; }

/* Of another thread's: that it waits for what is below this one. */
static bool waits_for_us(u32 word) { return forks_nr(word) != 0 && (word & (RT_FORK_LETS_GO | RT_FORK_HAS_TOP)) == 0; }

void rt_fork_mark(struct sys_lock *lock, _Atomic(u32) *forks) {
    u32 had = atomic_load_explicit(forks, memory_order_relaxed);
    if (sys_lock_is_mine(lock) && forks_nr(had) == 0)
        atomic_store_explicit(forks, had + RT_FORK_ABOVE, memory_order_relaxed);
}

/*
 * Whoever holds the lock: whether this fork goes on without it. What is read may be old, but never says that a fork
 * waits for us which did so before: that one held all locks before it let go, the one below this handler among them,
 * which was taken afterwards, and with it its marks were seen (rt_fork_let_go()). Old marks of a handler cost the child
 * a tier.
 */
static bool is_left(struct sys_lock *lock, _Atomic(u32) *forks, enum rt_fork_from from) {
    /* order: acquire: this child has what the lock protects as it was when the other fork took it. pairs: [fork.has] */
    u32 had = atomic_load_explicit(forks, memory_order_acquire);
    if (sys_lock_is_mine(lock)) {
        if (forks_nr(had) != 0)
            /* order: release: hands on what was acquired.                                       pairs: [fork.has] */
            atomic_store_explicit(forks, had + 1, memory_order_release);
        return true;
    }
    if (sys_lock_is_lost(lock) || waits_for_us(had))
        return true;
    if (forks_nr(had) != 0 || had == 0)
        return false;
    passed = from == RT_FORK_ON_TOP;
    return passed;
}

void rt_fork_lock(struct sys_lock *lock, _Atomic(u32) *forks, enum rt_fork_from from) {
    passed = passed && from == RT_FORK_ON_TOP;
    while (!(from == RT_FORK_ON_TOP ? sys_lock_try(lock) : sys_lock_acquire(lock))) {
        if (is_left(lock, forks, from))
            return;
        sys_sleep_ms(1);
    }
    /* order: release: after the lock was taken, whole.                                             pairs: [fork.has] */
    atomic_store_explicit(forks, from == RT_FORK_ON_TOP ? 1 | RT_FORK_HAS_TOP : 1, memory_order_release);
}

/* The kernel copies the page table of some 100 GiB in the first time. The second is for who waits once somebody has
 * waited that long in vain: what allocates a thousand objects inside of what the fork waits for shall come to its end,
 * and what allocates without an end beside a fork that is slow shall not make thousands of mappings meanwhile. */
enum { PATIENCE_MS = 1000, PATIENCE_LATE_MS = 10, NS_PER_MS = 1000000 };
static _Atomic(bool) is_late; /* the fork that is under way. A hint. */

/* In vain: whoever slept for the lock may have been woken to take it, and hands that on. */
static bool fork_is_late(struct sys_lock *lock, u64 waited_ns, unsigned patience_ms) {
    if (waited_ns < (u64)patience_ms * NS_PER_MS)
        return false;
    atomic_store_explicit(&is_late, true, memory_order_relaxed);
    sys_lock_wake(lock);
    return true;
}

bool rt_fork_enter(struct sys_lock *lock, _Atomic(u32) *forks, u64 start_ns) {
    if (sys_lock_try_spinning(lock))
        return true;
    while (!sys_lock_try_as(lock, sys_thread_self() | SYS_LOCK_WAITED)) {
        unsigned patience_ms = atomic_load_explicit(&is_late, memory_order_relaxed) ? PATIENCE_LATE_MS : PATIENCE_MS;
        if (sys_lock_is_mine(lock) || sys_lock_is_lost(lock))
            return false;
        if (rt_fork_has(forks) && fork_is_late(lock, sys_clock_ns() - start_ns, patience_ms))
            return false;
        sys_lock_wait(lock, patience_ms);
    }
    return true;
}

/* relaxed: whoever is on top of a lock that this thread released took it afterwards, and sees the marks. */
void rt_fork_let_go(struct sys_lock *lock, _Atomic(u32) *forks) {
    u32 had = atomic_load_explicit(forks, memory_order_relaxed);
    if (sys_lock_is_mine(lock) && forks_nr(had) == 1)
        atomic_store_explicit(forks, had | RT_FORK_LETS_GO, memory_order_relaxed);
}

/* Those of forks that wait for this one, too: which they are is not known any more. */
void rt_fork_lose(struct sys_lock *lock, _Atomic(u32) *forks) {
    if (!passed || sys_lock_is_mine(lock))
        return;
    sys_lock_lose(lock);
    atomic_store_explicit(forks, 0, memory_order_relaxed);
}

bool rt_fork_may_unlock(struct sys_lock *lock, _Atomic(u32) *forks, enum rt_fork_side side) {
    u32 had = atomic_load_explicit(forks, memory_order_relaxed);
    bool mine = sys_lock_is_mine(lock);
    if (had == 0 || (side == RT_FORK_PARENT && !mine))
        return false;
    if (forks_nr(had) == 0) {
        if (mine)
            atomic_store_explicit(forks, had - RT_FORK_ABOVE, memory_order_relaxed);
        return false;
    }
    bool last = side == RT_FORK_CHILD || forks_nr(had) == 1;
    atomic_store_explicit(&is_late, false, memory_order_relaxed);
    atomic_store_explicit(forks, last ? 0 : had - 1, memory_order_relaxed);
    return last;
}
