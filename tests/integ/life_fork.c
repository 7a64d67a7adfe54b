/* SPDX-License-Identifier: MIT */
/*
 * A fork storm: busy threads, several of which fork all the time, while their siblings hold whatever locks there
 * are. Every child checks and frees what its thread had, allocates in all tiers, starts a thread, forks once more,
 * and leaves. One fork is made inside a signal handler that interrupted an allocation. A child that hangs is ended by
 * its alarm and fails the test.
 */
#include "check.h"
#include "oracle.h"
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKERS = 3, FORKS_EACH = 25, HANDLER_FORKS = 20, CHILD_LIMIT_SECONDS = 15 };

static struct pool pools[FORKERS + 1];
static volatile sig_atomic_t handler_forks_nr;

static void child_wait(pid_t child) {
    int status;

    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child ended with wait status %#x%s",
              (unsigned)status, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
}

static void *child_thread(void *pool) {
    pool_steps(pool, 200);
    return NULL;
}

static void grandchild_run(struct pool *pool) {
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        alarm(limit_seconds(CHILD_LIMIT_SECONDS));
        pool_drain(pool);
        _exit(0);
    }
    child_wait(child);
}

static void child_run(struct pool *pool) {
    pthread_t thread;

    signal(SIGALRM, SIG_DFL);
    alarm(limit_seconds(CHILD_LIMIT_SECONDS));
    pool_steps(pool, 300);
    CHECK(pthread_create(&thread, NULL, child_thread, pool) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    grandchild_run(pool);
    pool_drain(pool);
    _exit(0);
}

static void *forker_run(void *argument) {
    struct pool *pool = argument;

    for (int i = 0; i < FORKS_EACH; i++) {
        pid_t child;
        pool_steps(pool, 100);
        child = fork();
        CHECK(child >= 0);
        if (child == 0)
            child_run(pool);
        child_wait(child);
    }
    pool_drain(pool);
    return NULL;
}

static void on_alarm(int signal_nr) {
    int saved = errno;
    pid_t child;

    (void)signal_nr;
    if (handler_forks_nr < HANDLER_FORKS) {
        child = fork();
        if (child == 0) {
            signal(SIGALRM, SIG_DFL);
            alarm(limit_seconds(CHILD_LIMIT_SECONDS));
            for (size_t i = 0; i < 100; i++)
                free(malloc(i * 50));
            _exit(0);
        }
        child_wait(child);
        handler_forks_nr++;
    }
    errno = saved;
}

/* Alone and single-threaded, because glibc's own fork takes locks that a handler in a threaded process may not. */
static void fork_from_handler(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    struct pool *pool = &pools[FORKERS];

    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    while (handler_forks_nr < HANDLER_FORKS)
        pool_steps(pool, 64);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    pool_drain(pool);
}

int main(void) {
    pthread_t forkers[FORKERS];

    for (size_t i = 0; i <= FORKERS; i++)
        pool_init(&pools[i], 5, i, 300000);
    fork_from_handler();
    workers_start(6, 5, 300000, POOL_ENOMEM_FATAL);
    for (size_t i = 0; i < FORKERS; i++)
        CHECK(pthread_create(&forkers[i], NULL, forker_run, &pools[i]) == 0);
    for (size_t i = 0; i < FORKERS; i++)
        CHECK(pthread_join(forkers[i], NULL) == 0);
    workers_stop();
    return 0;
}
