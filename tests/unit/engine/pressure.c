/* SPDX-License-Identifier: MIT */
/* Reclaim callbacks and what a limit refuses: registration, rounds that neither nest nor overlap, unregistering that
 * waits for a callback that runs, growth in place that a limit refuses at first. On the real system. */
#include "engine/pressure.h"

#include "engine/engine.h"
#include "engine/start.h"
#include "rt/usage.h"
#include "sys/fault.h"
#include "sys/sys.h"
#include "unit/alone.h"
#include "unit/calls.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { SLOTS_NR = 16 };

/* Not a constant: the compiler would warn of the fast path's tables. */
static volatile size_t small_bytes = 2000, large_bytes = 20 * MIB;
static _Atomic(unsigned) calls, inside, leaving, finished, left_early;

static void start(void) {
    cr_assert(engine_ready());
    rt_opt.limit_hard = 1 * GIB; /* rounds run for a limit alone */
}

static void count(void *arg) {
    (void)arg;
    atomic_fetch_add(&calls, 1);
}

Test(pressure, a_callback_is_called_once_a_round_until_it_is_taken_back, .init = start) {
    cr_assert_eq(engine_reclaim_register(count, NULL), 0);
    cr_assert_eq(engine_reclaim_register(count, &calls), 0);
    engine_pressure_hard();
    cr_expect_eq(calls, 2u);
    cr_expect_eq(engine_reclaim_unregister(count, &calls), 0);
    engine_pressure_hard();
    cr_expect_eq(calls, 3u);
    cr_expect_eq(engine_reclaim_unregister(count, &calls), -ENGINE_RECLAIM_UNKNOWN);
    cr_expect_eq(engine_reclaim_unregister(count, NULL), 0);
    engine_pressure_hard();
    cr_expect_eq(calls, 3u);
}

Test(pressure, sixteen_can_be_registered, .init = start) {
    static char args[SLOTS_NR + 1];
    for (unsigned i = 0; i < SLOTS_NR; i++)
        cr_assert_eq(engine_reclaim_register(count, &args[i]), 0);
    cr_expect_eq(engine_reclaim_register(count, &args[SLOTS_NR]), -ENGINE_RECLAIM_FULL);
    cr_expect_eq(engine_reclaim_unregister(count, &args[3]), 0);
    cr_expect_eq(engine_reclaim_register(count, &args[SLOTS_NR]), 0);
    engine_pressure_hard();
    cr_expect_eq(calls, (unsigned)SLOTS_NR);
}

static void again(void *arg) {
    count(arg);
    engine_pressure_hard();
    cr_expect_eq(engine_reclaim_unregister(again, arg), 0, "from inside it returns at once");
}

Test(pressure, rounds_do_not_nest, .init = start) {
    cr_assert_eq(engine_reclaim_register(again, NULL), 0);
    engine_pressure_hard();
    engine_pressure_hard();
    cr_expect_eq(calls, 1u);
}

static void handled(int signal_nr) { (void)signal_nr; }

Test(pressure, nobody_is_called_where_a_handler_may_run, .init = start) {
    sigset_t one, old;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    cr_assert_eq(engine_reclaim_register(count, NULL), 0);
    pthread_sigmask(SIG_BLOCK, &one, &old);
    engine_pressure_hard();
    cr_expect_eq(calls, 1u, "blocked, but nobody handles it");
    cr_assert_neq(signal(SIGUSR1, handled), SIG_ERR);
    engine_pressure_hard();
    cr_expect_eq(calls, 1u);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    engine_pressure_hard();
    cr_expect_eq(calls, 2u);
}

/* A handler of a fault that has lost its place (SA_RESETHAND) is one still. */
Test(pressure, nobody_is_called_where_a_fault_may_be_handled, .init = start) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t one, old;
    cr_assert_eq(engine_reclaim_register(count, NULL), 0);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct sigaction was, dfl = {.sa_handler = SIG_DFL};
        sigemptyset(&one);
        sigaddset(&one, faults[i]);
        cr_assert_eq(sigaction(faults[i], &dfl, &was), 0); /* the test runner may have one */
        pthread_sigmask(SIG_BLOCK, &one, &old);
        engine_pressure_hard();
        cr_expect_eq(calls, 0u, "signal %d", faults[i]);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        cr_assert_eq(sigaction(faults[i], &was, NULL), 0);
    }
}

/* With all signals blocked. True: all of them could be; an emulator may keep some for itself. */
static bool hard_with_all_blocked(void) {
    sigset_t all, old;
    unsigned blocked = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_sigmask(SIG_SETMASK, NULL, &all);
    engine_pressure_hard();
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    for (int nr = SIGRTMIN; nr <= SIGRTMAX; nr++)
        blocked += sigismember(&all, nr) == 1;
    return blocked == (unsigned)(SIGRTMAX - SIGRTMIN + 1);
}

static void nothing(const struct sys_fault *fault) { (void)fault; }

/* Nor does the handler of our own make one of him. */
Test(pressure, who_blocks_all_is_no_handler, .init = start) {
    cr_assert_eq(engine_reclaim_register(count, NULL), 0);
    for (int nr = 1; nr < NSIG; nr++)
        (void)signal(nr, SIG_DFL);
    bool whole = hard_with_all_blocked();
    cr_expect_eq(calls, whole ? 1u : 0u); /* else nobody is called, as for one blocked signal */
    cr_assert(sys_fault_watch(nothing, SYS_FAULT_ALONE));
    (void)hard_with_all_blocked();
    cr_expect_eq(calls, whole ? 2u : 0u);
    (void)signal(SIGSEGV, handled);
    (void)hard_with_all_blocked();
    cr_expect_eq(calls, whole ? 2u : 0u);
    (void)signal(SIGSEGV, SIG_DFL);
}

static _Atomic(unsigned) served;
static void serve(void) {
    engine_pressure_hard();
    atomic_store(&served, 1);
}

Test(pressure, nobody_is_called_in_a_thread_of_the_library, .init = start) {
    cr_assert_eq(engine_reclaim_register(count, NULL), 0);
    cr_assert_eq(sys_thread_start(serve), 0);
    while (!atomic_load(&served))
        sys_sleep_ms(1);
    cr_expect_eq(calls, 0u);
    engine_pressure_hard();
    cr_expect_eq(calls, 1u, "and in others they are");
}

/* Stays inside until somebody wants to unregister it, and then long enough for one who does not wait to be seen. */
static void linger(void *arg) {
    (void)arg;
    atomic_store(&inside, 1);
    while (!atomic_load(&leaving))
        sys_sleep_ms(1);
    sys_sleep_ms(100);
    atomic_store(&finished, 1);
}

static void *leaver(void *arg) {
    (void)arg;
    while (!atomic_load(&inside))
        sys_sleep_ms(1);
    atomic_store(&leaving, 1);
    int err = engine_reclaim_unregister(linger, NULL);
    atomic_store(&left_early, err != 0 || !atomic_load(&finished));
    return NULL;
}

Test(pressure, who_unregisters_waits_for_a_callback_that_runs, .init = start) {
    pthread_t thread;
    cr_assert_eq(engine_reclaim_register(linger, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, leaver, NULL), 0);
    engine_pressure_hard();
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_eq(finished, 1u);
    cr_expect_eq(left_early, 0u, "it returned while the callback was running");
}

/* What is free fits neither beside the growth nor the copy; once it went back the growth fits, in place or moved. */
static void grow_under_limit(size_t from, size_t to) {
    enum { SMALL_NR = 4000 };
    static void *small[SMALL_NR];
    char *p = alloc(from);
    cr_assert_not_null(p);
    memset(p, 0x5a, from);
    for (unsigned i = 0; i < SMALL_NR; i++)
        cr_assert_not_null(small[i] = alloc(small_bytes));
    for (unsigned i = 0; i < SMALL_NR; i++)
        give(small[i]);
    rt_opt.limit_hard = rt_usage_total() + 1 * MIB;
    cr_assert_gt(to - from, 1 * MIB);
    char *q = engine_realloc(p, to);
    cr_assert_not_null(q, "what was free could have gone back");
    for (size_t i = 0; i < from; i += 512)
        cr_assert_eq(q[i], 0x5a);
    cr_expect_leq(rt_usage_total(), rt_opt.limit_hard);
    rt_opt.limit_hard = 0;
    give(q);
}

Test(pressure, growth_that_a_limit_refuses_is_tried_again, .init = start) { grow_under_limit(20 * MIB, 24 * MIB); }

Test(pressure, and_without_that_much_to_give_it_fails, .init = start) {
    char *p = alloc(large_bytes);
    memset(p, 1, 20 * MIB);
    rt_opt.limit_hard = rt_usage_total() + 1 * MIB;
    cr_expect_null(engine_realloc(p, 40 * MIB));
    cr_expect_eq(engine_usable(p), 20 * MIB);
    cr_expect_eq(p[20 * MIB - 1], 1);
}
