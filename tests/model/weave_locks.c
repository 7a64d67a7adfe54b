/* SPDX-License-Identifier: MIT */
/*
 * Threads' names, and the lock of src/sys/lock.c, for models of files that take one: each change of it is one step of
 * the machine, and who waits does nothing until another thread has. weave_lock.c explores the real one.
 */
#include "sys/sys.h"
#include "weave.h"

u64 sys_thread_self(void) { return (u64)(weave_self() + 1) << 12; }

/* seen: whose it is instead. */
static bool lock_take(struct sys_lock *lock, u64 *ret_seen) {
    *ret_seen = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, ret_seen, sys_thread_self(), memory_order_acquire,
                                                   memory_order_relaxed);
}

bool sys_lock_try(struct sys_lock *lock) {
    u64 seen;
    return lock_take(lock, &seen);
}

bool sys_lock_try_spinning(struct sys_lock *lock) { return sys_lock_try(lock); }

bool sys_lock_acquire(struct sys_lock *lock) {
    for (u64 seen; !lock_take(lock, &seen); weave_wait()) {
        if (seen == sys_thread_self())
            return false;
    }
    return true;
}

bool sys_lock_is_mine(struct sys_lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) == sys_thread_self();
}

void sys_lock_release(struct sys_lock *lock) { atomic_store_explicit(&lock->word, 0, memory_order_release); }
void sys_lock_reset(struct sys_lock *lock) { atomic_store_explicit(&lock->word, 0, memory_order_relaxed); }
