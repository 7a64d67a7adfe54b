/* SPDX-License-Identifier: MIT */
/*
 * A futex lock that knows its owner. It is held for short stretches of the page tier and of big regions, where a system
 * call may be under way, so waiters spin a little and then sleep. Owner and state are one word, so that a signal
 * handler running on top of the holder always sees that waiting would never end, and fork can tell its own lock from
 * another thread's.
 */
#include "sys/call.h"
#include "sys/span.h"
#include "sys/sys.h"

#include <limits.h>
#include <linux/futex.h>

bool sys_lock_is_mine(struct sys_lock *lock) {
    return (atomic_load_explicit(&lock->word, memory_order_relaxed) & ~SYS_LOCK_WAITED) == sys_thread_self();
}

bool sys_lock_try_as(struct sys_lock *lock, u64 word) {
    u64 seen = 0;
    /* order: acquire                                                                           pairs: [lock.release] */
    return atomic_compare_exchange_strong_explicit(&lock->word, &seen, word, memory_order_acquire,
                                                   memory_order_relaxed);
}

bool sys_lock_try(struct sys_lock *lock) { return sys_lock_try_as(lock, sys_thread_self()); }

/* The futex is the low half of the word (both architectures are little-endian). */
void sys_lock_wait(struct sys_lock *lock, unsigned ms) {
    u64 seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
    if (seen == 0)
        return;
    if ((seen & SYS_LOCK_WAITED) == 0 &&
        !atomic_compare_exchange_strong_explicit(&lock->word, &seen, seen | SYS_LOCK_WAITED, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    struct timespec most = sys_span_of_ms(ms);
    (void)SYS4(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, (u32)(seen | SYS_LOCK_WAITED), &most);
}

/* Nobody lets go of a lost one. */
bool sys_lock_try_spinning(struct sys_lock *lock) {
    for (int i = 0; i < SYS_SPINS && !sys_lock_is_lost(lock); i++) {
        if (sys_lock_try(lock))
            return true;
        sys_relax();
    }
    return false;
}

bool sys_lock_acquire(struct sys_lock *lock) {
    if (sys_lock_try_spinning(lock))
        return true;
    if (sys_lock_is_mine(lock) || sys_lock_is_lost(lock))
        return false;
    /* Whoever slept once takes the lock as waited for, because others may sleep still. */
    while (!sys_lock_try_as(lock, sys_thread_self() | SYS_LOCK_WAITED))
        sys_lock_wait(lock, SYS_LOCK_WAIT_MS);
    return true;
}

void sys_lock_wake(struct sys_lock *lock) { (void)SYS3(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1); }

static void release(struct sys_lock *lock, unsigned wake_nr) {
    /* order: release: publishes all that was written under the lock.                           pairs: [lock.release] */
    u64 old = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    if (old & SYS_LOCK_WAITED)
        (void)SYS3(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, wake_nr);
}

void sys_yield(void) {
    if (SYS_RARE(0, SYS_sched_yield) != 0)
        sys_sleep_ms(0);
}

void sys_lock_release(struct sys_lock *lock) { release(lock, 1); }
void sys_lock_release_all(struct sys_lock *lock) { release(lock, INT_MAX); }
void sys_wait(_Atomic(u32) *word, u32 expected, unsigned ms) {
    struct timespec span = sys_span_of_ms(ms);
    (void)SYS4(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &span);
}

void sys_wake(_Atomic(u32) *word, unsigned nr) { (void)SYS3(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr); }

void sys_lock_reset(struct sys_lock *lock) { atomic_store_explicit(&lock->word, 0, memory_order_relaxed); }
void sys_lock_lose(struct sys_lock *lock) { atomic_store_explicit(&lock->word, SYS_LOCK_LOST, memory_order_relaxed); }
bool sys_lock_is_lost(struct sys_lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) == SYS_LOCK_LOST;
}
