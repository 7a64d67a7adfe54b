/* SPDX-License-Identifier: MIT */
/*
 * Ends of a process that come in the middle of an allocation: a signal handler on top of malloc or free calls exit(),
 * whose handlers allocate; or abort(), where the handler of SIGABRT allocates; or quick_exit() with handlers of its
 * own. Beside it other threads go on allocating. Each end is tried many times, in children, at random moments. A child
 * that hangs is ended by its alarm, and one whose handlers did not come to their end is a failure. Argument: exit,
 * abort or quick_exit.
 */
#include "check.h"
#include "oracle.h"
#include "workers.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    TRIALS_USUAL = 40,
    TRIALS_SOAK = 3000,
    END_STATUS = 42,
    END_STEPS = 500,
    MOMENT_MAX_US = 6000,
    LIMIT_SECONDS = 30,
    WORKERS = 2,
    SIZE_LIMIT = 300000,
};

static const struct way {
    const char *name;
    void (*leave)(void);
    int signal_nr; /* that the process dies of */
} * way;

/* What came to its end; parent and child see it. */
static atomic_uint *handlers_nr;
static struct pool pool, end_pool;

static void handler_work(void) {
    pool_steps(&end_pool, END_STEPS);
    pool_drain(&end_pool);
    atomic_fetch_add(handlers_nr, 1);
}

static void on_abort(int signal_nr) {
    (void)signal_nr;
    handler_work();
}

static void leave_exit(void) { exit(END_STATUS); }
static void leave_quick(void) { quick_exit(END_STATUS); }

static const struct way ways[] = {
    {"exit", leave_exit, 0},
    {"quick_exit", leave_quick, 0},
    {"abort", abort, SIGABRT},
};

static void on_alarm(int signal_nr) {
    (void)signal_nr;
    way->leave();
}

static _Noreturn void child_run(unsigned long moment_us) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec once = {{0, 0}, {0, (long)moment_us * 1000}};
    timer_t timer;
    struct sigaction end = {.sa_handler = on_alarm}, aborted = {.sa_handler = on_abort};
    workers_start(WORKERS, moment_us, 5000, POOL_ENOMEM_FATAL);
    (void)alarm(limit_seconds(LIMIT_SECONDS));
    CHECK(atexit(handler_work) == 0 && at_quick_exit(handler_work) == 0);
    CHECK(sigaction(SIGUSR1, &end, NULL) == 0 && sigaction(SIGABRT, &aborted, NULL) == 0);
    /* Of a clock that runs on in system calls: they are made with locks held. */
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &once, NULL) == 0);
    for (;;)
        pool_step(&pool);
}

static void trial_judge(pid_t child, unsigned long moment_us) {
    int status;
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    bool good = way->signal_nr != 0 ? WIFSIGNALED(status) && WTERMSIG(status) == way->signal_nr
                                    : WIFEXITED(status) && WEXITSTATUS(status) == END_STATUS;
    CHECK_MSG(good, "%s after %lu us ended with wait status %#x%s", way->name, moment_us, (unsigned)status,
              WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    CHECK_MSG(atomic_load(handlers_nr) == 1, "%s after %lu us: %u handlers came to their end", way->name, moment_us,
              atomic_load(handlers_nr));
}

int main(int argc, char **argv) {
    struct rng rng = {(uint64_t)getpid()};
    unsigned trials = getenv("SOAK") != NULL ? TRIALS_SOAK : TRIALS_USUAL;
    for (size_t i = 0; argc == 2 && i < sizeof(ways) / sizeof(ways[0]); i++)
        way = strcmp(argv[1], ways[i].name) == 0 ? &ways[i] : way;
    CHECK_MSG(way != NULL, "usage: life_ends exit|quick_exit|abort");
    handlers_nr = mmap(NULL, sizeof(*handlers_nr), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(handlers_nr != MAP_FAILED);
    printf("seed: %llu\n", (unsigned long long)rng.state);
    pool_init(&pool, rng.state, 1, SIZE_LIMIT);
    pool_init(&end_pool, rng.state, 2, SIZE_LIMIT);
    pool_steps(&pool, END_STEPS);
    for (unsigned i = 0; i < trials; i++) {
        unsigned long moment_us = 1 + rng_below(&rng, MOMENT_MAX_US);
        atomic_store(handlers_nr, 0);
        fflush(stdout);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            child_run(moment_us);
        trial_judge(child, moment_us);
    }
    pool_drain(&pool);
    return 0;
}
