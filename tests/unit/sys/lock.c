/* SPDX-License-Identifier: MIT */
/*
 * The lock with real threads and the real futex: exclusion, waking of sleepers, and that a thread which holds it
 * already is told so instead of waiting for itself. The counters under the lock are plain variables on purpose:
 * ThreadSanitizer then checks the lock's ordering.
 */
#include "sys/sys.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { WORKERS_NR = 4, ROUNDS_NR = 20000, NAP_NS = 200000 };

static struct sys_lock lock;
static unsigned long entries, inside;
static _Atomic(bool) broken;
static _Atomic(unsigned) waiting;

static void nap(void) {
    struct timespec ns = {.tv_nsec = NAP_NS};
    nanosleep(&ns, NULL);
}

static void critical_section(void) {
    if (inside++ != 0)
        atomic_store(&broken, true);
    entries++;
    inside--;
}

static void workers_run(void *(*work)(void *)) {
    pthread_t threads[WORKERS_NR];
    for (int i = 0; i < WORKERS_NR; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, work, NULL), 0);
    for (int i = 0; i < WORKERS_NR; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

static void *acquire_often(void *arg) {
    for (int i = 0; i < ROUNDS_NR; i++) {
        if (!sys_lock_acquire(&lock))
            atomic_store(&broken, true);
        critical_section();
        sys_lock_release(&lock);
    }
    return arg;
}

Test(lock, one_thread_at_a_time) {
    workers_run(acquire_often);
    cr_expect_eq(entries, (unsigned long)WORKERS_NR * ROUNDS_NR);
    cr_expect(!atomic_load(&broken));
}

/* Holders that sleep make the others spin out and sleep too; a lost wake-up hangs the test. */
static void *acquire_and_nap(void *arg) {
    for (int i = 0; i < 100; i++) {
        if (!sys_lock_acquire(&lock))
            atomic_store(&broken, true);
        critical_section();
        nap();
        sys_lock_release(&lock);
    }
    return arg;
}

Test(lock, sleepers_are_woken, .timeout = 120) {
    workers_run(acquire_and_nap);
    cr_expect_eq(entries, (unsigned long)WORKERS_NR * 100);
    cr_expect(!atomic_load(&broken));
}

static void *try_often(void *arg) {
    for (int i = 0; i < ROUNDS_NR; i++) {
        while (!sys_lock_try(&lock))
            sched_yield();
        critical_section();
        sys_lock_release(&lock);
    }
    return arg;
}

Test(lock, try_excludes_as_well) {
    workers_run(try_often);
    cr_expect_eq(entries, (unsigned long)WORKERS_NR * ROUNDS_NR);
    cr_expect(!atomic_load(&broken));
}

Test(lock, its_holder_is_told_and_does_not_wait) {
    cr_expect(!sys_lock_is_mine(&lock));
    cr_assert(sys_lock_acquire(&lock));
    cr_expect(sys_lock_is_mine(&lock));
    cr_expect(!sys_lock_acquire(&lock), "the holder would wait for itself");
    cr_expect(!sys_lock_try(&lock));
    cr_expect(sys_lock_is_mine(&lock), "a refusal takes nothing away");
    sys_lock_release(&lock);
    cr_expect(!sys_lock_is_mine(&lock));
    cr_expect(sys_lock_try(&lock));
    sys_lock_release(&lock);
}

static void *acquire_once(void *arg) {
    atomic_fetch_add(&waiting, 1);
    if (!sys_lock_acquire(&lock))
        return NULL;
    bool mine = sys_lock_is_mine(&lock);
    sys_lock_release(&lock);
    return mine ? arg : NULL;
}

/* Long enough in the lock for the other thread to have marked it as waited for. */
Test(lock, waited_for_is_still_its_holders) {
    pthread_t thread;
    void *result = NULL;
    cr_assert(sys_lock_acquire(&lock));
    cr_assert_eq(pthread_create(&thread, NULL, acquire_once, &lock), 0);
    while (atomic_load(&waiting) == 0)
        sched_yield();
    for (int i = 0; i < 50; i++)
        nap();
    cr_expect(sys_lock_is_mine(&lock));
    cr_expect(!sys_lock_acquire(&lock));
    sys_lock_release(&lock);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_expect_eq(result, &lock);
    cr_expect(!sys_lock_is_mine(&lock));
}

static void *hold_for_good(void *arg) {
    bool held = sys_lock_acquire(&lock);
    return held ? arg : NULL;
}

/* What a fork's child inherits: a lock whose holder is not there any more. */
Test(lock, reset_frees_it_whoever_held_it) {
    pthread_t thread;
    void *result = NULL;
    cr_assert_eq(pthread_create(&thread, NULL, hold_for_good, &lock), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(result, &lock);
    cr_expect(!sys_lock_try(&lock));
    sys_lock_reset(&lock);
    cr_expect(sys_lock_try(&lock));
    cr_expect(sys_lock_is_mine(&lock));
    sys_lock_release(&lock);
}
