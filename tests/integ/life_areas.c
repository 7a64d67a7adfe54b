/* SPDX-License-Identifier: MIT */
/*
 * Threads whose rseq areas quarry registers, because libc registers none: when it does, when it does not, and what
 * stays of it. Whether an area is registered a thread learns by trying to register another one, which the kernel
 * refuses then. By what way it was served the count of calls without an id says: none, or each. Argument: the case.
 */
#include "check.h"
#include "deny.h"
#include "registration.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <quarry/quarry.h>
#pragma weak quarry_stat

enum { PAIRS = 5000, PAIR_BYTES = 100, CLONE_STACK_BYTES = 64 << 10, CHILD_PAIRS = 300 };

static __thread _Alignas(RSEQ_AREA_BYTES) char foreign_area[RSEQ_AREA_BYTES];

static bool foreign_register(void) {
    if (syscall(SYS_rseq, foreign_area, RSEQ_AREA_BYTES, RSEQ_REGISTER, RSEQ_SIGNATURE) == 0)
        return true;
    CHECK_MSG(errno == EINVAL, "registering failed with errno %d", errno);
    return false;
}

static void foreign_unregister(void) {
    CHECK(syscall(SYS_rseq, foreign_area, RSEQ_AREA_BYTES, RSEQ_UNREGISTER, RSEQ_SIGNATURE) == 0);
}

static bool is_registered(void) {
    if (!foreign_register())
        return true;
    foreign_unregister();
    return false;
}

static uint64_t without_id(void) {
    uint64_t nr = 0;
    CHECK(quarry_stat("fallback_ops", &nr) == 0);
    return nr;
}

static void pair(void) {
    void *volatile p = malloc(PAIR_BYTES);
    CHECK(p != NULL);
    memset(p, 1, PAIR_BYTES);
    free(p);
}

static void pairs_by_id(void) {
    uint64_t before = without_id();
    for (unsigned i = 0; i < PAIRS; i++)
        pair();
    CHECK(is_registered());
    CHECK_MSG(without_id() == before, "%llu calls without an id", (unsigned long long)(without_id() - before));
}

static void pairs_without(void) {
    uint64_t before = without_id();
    for (unsigned i = 0; i < PAIRS; i++)
        pair();
    CHECK_MSG(without_id() - before >= 2 * PAIRS, "%llu of %d calls without an id",
              (unsigned long long)(without_id() - before), 2 * PAIRS);
}

static void in_thread(void *(*run)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* --- which call registers --- */

static void *first_malloc(void *unused) {
    CHECK(!is_registered());
    pairs_by_id();
    return unused;
}

static void *first_free(void *object) {
    CHECK(!is_registered());
    uint64_t before = without_id();
    free(object);
    CHECK(is_registered());
    CHECK(without_id() == before);
    return NULL;
}

static void *first_large(void *unused) {
    void *volatile p = aligned_alloc(4096, 20000);
    CHECK(p != NULL && is_registered());
    free(p);
    return unused;
}

static void first_calls(void) {
    pairs_by_id();
    in_thread(first_malloc, NULL);
    in_thread(first_free, malloc(PAIR_BYTES));
    in_thread(first_large, NULL);
    pairs_by_id();
}

/* --- in a handler --- */

static volatile sig_atomic_t handled;

static void on_signal(int signal_nr) {
    (void)signal_nr;
    CHECK(!is_registered());
    pair();
    CHECK(is_registered());
    handled = 1;
}

static void *handler_run(void *unused) {
    CHECK(raise(SIGUSR1) == 0 && handled);
    pairs_by_id();
    return unused;
}

static void handler(void) {
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    in_thread(handler_run, NULL);
}

/* --- somebody else registers --- */

static void *foreign_run(void *unused) {
    CHECK(foreign_register());
    pairs_without();
    deny_deadly(SYS_rseq); /* it asked once */
    pairs_without();
    return unused;
}

static void foreign(void) {
    pairs_by_id();
    in_thread(foreign_run, NULL);
}

/* --- refused --- */

static void *refused_run(void *unused) {
    pair();
    deny_deadly(SYS_rseq);
    pairs_without();
    return unused;
}

/* Who was registered before stays so. */
static void refused(void) {
    pairs_by_id();
    deny_syscall(SYS_rseq, ENOSYS);
    in_thread(refused_run, NULL);
    uint64_t before = without_id();
    for (unsigned i = 0; i < PAIRS; i++)
        pair();
    CHECK(without_id() == before);
}

/* --- children in our memory --- */

static int child_run(void *unused) {
    (void)unused;
    bool before = is_registered();
    for (unsigned i = 0; i < CHILD_PAIRS; i++)
        pair();
    return before || is_registered();
}

static void child_wait(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with wait status %#x", (unsigned)status);
}

static __attribute__((noinline)) void vfork_round(void) {
    pid_t child = vfork();
    if (child == 0)
        _exit(child_run(NULL));
    child_wait(child);
}

static void clone_round(void) {
    static char stack[CLONE_STACK_BYTES];
    child_wait(clone(child_run, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
}

/* What the child finds not registered it leaves so, and the thread's own first call registers. */
static void *parent_run(void *round) {
    ((void (*)(void))round)();
    CHECK(!is_registered());
    pairs_by_id();
    ((void (*)(void))round)();
    pairs_by_id();
    return NULL;
}

static void vfork_first(void) { in_thread(parent_run, (void *)vfork_round); }
static void clone_first(void) { in_thread(parent_run, (void *)clone_round); }

/* --- fork --- */

static void fork_round(void) {
    pid_t child = fork();
    if (child == 0) {
        pairs_by_id();
        in_thread(first_malloc, NULL);
        _exit(0);
    }
    child_wait(child);
}

static void *fork_run(void *unused) {
    fork_round();
    pairs_by_id();
    fork_round();
    return unused;
}

static void forks(void) {
    pairs_by_id();
    in_thread(fork_run, NULL);
    fork_round();
}

/* --- given up --- */

/* As a restore from a file may do, behind our back: the next call registers again. */
static void *given_up_run(void *unused) {
    pairs_by_id();
    for (unsigned i = 0; i < 3; i++) {
        rseq_unregister_found();
        CHECK(!is_registered());
        pairs_by_id();
    }
    return unused;
}

static void given_up(void) { in_thread(given_up_run, NULL); }

/* --- nobody registers --- */

static void *nobody_run(void *unused) {
    pairs_without();
    CHECK(!is_registered());
    return unused;
}

static void nobody(void) {
    (void)nobody_run(NULL);
    in_thread(nobody_run, NULL);
}

#ifdef LIBRSEQ
/* As in a program that is linked with librseq. */
int rseq_register_current_thread(void);
__attribute__((visibility("default"))) int rseq_register_current_thread(void) { return -1; }
#endif

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"first", first_calls}, {"handler", handler},   {"foreign", foreign},
        {"refused", refused},   {"vfork", vfork_first}, {"clone", clone_first},
        {"fork", forks},        {"nobody", nobody},     {"given-up", given_up},
    };
    CHECK(argc == 2 && quarry_stat != NULL);
    if (syscall(SYS_rseq, NULL, 0, RSEQ_REGISTER, RSEQ_SIGNATURE) != 0 && errno == ENOSYS)
        check_skip("this kernel has no rseq");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return 0;
        }
    }
    check_fail(__FILE__, __LINE__, "no case %s", argv[1]);
}
