/* SPDX-License-Identifier: MIT */
/*
 * 64 threads allocate; sixteen of them fork besides, some dozens of children or, with SOAK, 10,000. A child allocates
 * and leaves at once, executes this program again, or leaves by exit() with its handlers. Each ends well or the test
 * fails; one that hangs is ended by its alarm. After the first half everything is freed, and after the second again: in
 * between nothing is lost, and memory is flat.
 */
#include "check.h"
#include "floor.h"
#include "oracle.h"
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WORKERS = 48,
    FORKERS = 16,  /* each waits for its child: more of them, more children for the same wait for a CPU */
    NAP_US = 5000, /* without it children get one part of 64 of the CPUs, and the workers what is left */
    CHILDREN_USUAL = 64,
    CHILDREN_SOAK = 10000,
    CHILD_STEPS = 200,
    CHILD_LIMIT_SECONDS = 60,
    CHILD_STATUS = 17,
    SIZE_LIMIT = 300000,
};

static struct pool pools[FORKERS];
static unsigned children_each;
static const char *self_path;

/* The forking thread's own: another's may have been in the middle of a step. */
static struct pool *child_pool;
static void child_drain(void) { pool_drain(child_pool); }

static _Noreturn void child_run(struct pool *pool, unsigned kind) {
    char name[] = "life_storm", mode[] = "--child", *arguments[] = {name, mode, NULL};
    signal(SIGALRM, SIG_DFL);
    alarm(limit_seconds(CHILD_LIMIT_SECONDS)); /* survives exec */
    child_pool = pool;
    pool_steps(pool, CHILD_STEPS);
    if (kind == 0)
        _exit(CHILD_STATUS);
    if (kind == 1)
        (void)execv(self_path, arguments);
    CHECK(kind != 1 && atexit(child_drain) == 0);
    exit(CHILD_STATUS);
}

static void child_wait(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_STATUS, "a child ended with wait status %#x%s",
              (unsigned)status, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
}

static void *forker_run(void *argument) {
    struct pool *pool = argument;
    for (unsigned i = 0; i < children_each; i++) {
        pool_steps(pool, 20);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            child_run(pool, i % 3);
        child_wait(child);
    }
    pool_drain(pool);
    return NULL;
}

static int executed_main(void) {
    pool_init(&pools[0], 11, 5, SIZE_LIMIT);
    pool_steps(&pools[0], CHILD_STEPS);
    pool_drain(&pools[0]);
    return CHILD_STATUS;
}

static void storm(uint64_t seed) {
    pthread_t forkers[FORKERS];
    workers_nap(NAP_US);
    workers_start(WORKERS, seed, SIZE_LIMIT, POOL_ENOMEM_FATAL);
    for (size_t i = 0; i < FORKERS; i++) {
        pool_init(&pools[i], seed, i, SIZE_LIMIT);
        CHECK(pthread_create(&forkers[i], NULL, forker_run, &pools[i]) == 0);
    }
    for (size_t i = 0; i < FORKERS; i++)
        CHECK(pthread_join(forkers[i], NULL) == 0);
    workers_stop();
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--child") == 0)
        return executed_main();
    self_path = argv[0];
    children_each = (getenv("SOAK") != NULL ? CHILDREN_SOAK : CHILDREN_USUAL) / FORKERS / 2;
    floor_threads(WORKERS + FORKERS);
    storm(11);
    struct floor before = floor_take();
    storm(12);
    floor_check(&before);
    return 0;
}
