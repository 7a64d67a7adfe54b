/* SPDX-License-Identifier: MIT */
/* Watching faults, where the program sets a handler at that moment, and where the system refuses ours. */
#include "sys/fault.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>

static struct sigaction stands;               /* the action of SIGSEGV, as the system has it */
static unsigned sets_nr;                      /* since the test began */
static unsigned faults_after_sets = UINT_MAX; /* there is a fault before the next */
static void (*passed_to)(int nr);             /* what stood after it */
static bool refuses;                          /* actions are looked at, not set */
static void (*slipped_in)(int nr);            /* set by "another thread" before the next set */

static void fault_happens(void) {
    ucontext_t context = {0};
    siginfo_t info = {.si_code = SEGV_MAPERR};
    info.si_addr = &info;
    stands.sa_sigaction(SIGSEGV, &info, &context);
}

/* In the place of libc's. The test runner has its own signals. */
int sigaction(int nr, const struct sigaction *restrict action, struct sigaction *restrict old) {
    if (nr != SIGSEGV) {
        int (*libcs)(int, const struct sigaction *, struct sigaction *);
        *(void **)&libcs = dlsym(RTLD_NEXT, "sigaction");
        return libcs(nr, action, old);
    }
    if (action != NULL && refuses) {
        errno = EPERM;
        return -1;
    }
    if (action != NULL && slipped_in != NULL) {
        stands = (struct sigaction){.sa_handler = slipped_in};
        slipped_in = NULL;
    }
    if (action != NULL && sets_nr++ == faults_after_sets) {
        fault_happens();
        passed_to = stands.sa_handler;
    }
    if (old != NULL)
        *old = stands;
    if (action != NULL)
        stands = *action;
    return 0;
}

static unsigned faults_nr[3];
static void first(const struct sys_fault *fault) { faults_nr[0] += fault->address != 0; }
static void second(const struct sys_fault *fault) { faults_nr[1] += fault->address != 0; }
static void third(const struct sys_fault *fault) { faults_nr[2] += fault->address != 0; }
static void programs(int nr) { (void)nr; }

static bool is_ours(void) { return sys_fault_is_ours((uintptr_t)stands.sa_sigaction); }

Test(fault, goes_to_the_watchers_and_then_where_it_went_before) {
    cr_assert(sys_fault_watch(first, SYS_FAULT_ALONE));
    cr_assert(sys_fault_watch(second, SYS_FAULT_ALONE));
    cr_assert_not(sys_fault_watch(third, SYS_FAULT_ALONE), "there is room for two");
    cr_assert(is_ours());
    fault_happens();
    cr_expect(faults_nr[0] == 1 && faults_nr[1] == 1 && faults_nr[2] == 0);
    cr_expect_eq(stands.sa_handler, SIG_DFL);
}

Test(fault, leaves_a_handler_that_is_set_meanwhile) {
    slipped_in = programs;
    cr_expect_not(sys_fault_watch(first, SYS_FAULT_ALONE));
    cr_expect_eq(stands.sa_handler, programs);
    cr_expect_eq(sets_nr, 2u, "ours, and the program's again");
}

Test(fault, before_that_handler_is_put_back_is_its_own) {
    slipped_in = programs;
    faults_after_sets = 1;
    cr_expect_not(sys_fault_watch(first, SYS_FAULT_ALONE));
    cr_expect_eq(faults_nr[0], 1u);
    cr_expect_eq(passed_to, programs);
    cr_expect_eq(stands.sa_handler, programs);
}

Test(fault, is_not_watched_by_those_who_were_told_so) {
    slipped_in = programs;
    cr_assert_not(sys_fault_watch(first, SYS_FAULT_ALONE));
    stands = (struct sigaction){.sa_handler = SIG_DFL};
    refuses = true;
    cr_assert_not(sys_fault_watch(second, SYS_FAULT_ALONE));
    refuses = false;
    cr_assert(sys_fault_watch(third, SYS_FAULT_ALONE));
    fault_happens();
    cr_expect(faults_nr[0] == 0 && faults_nr[1] == 0 && faults_nr[2] == 1);
}
