/* SPDX-License-Identifier: MIT */
/*
 * Children that share the parent's memory: vfork by both its names, and clone with CLONE_VM | CLONE_VFORK. They run
 * with the parent thread's TLS while the kernel treats them as another task, so a per-CPU scheme that trusts that TLS
 * corrupts the heap of the busy siblings. The children allocate and free in the parent's heap; every object is stamped;
 * the parent goes on with what its children left.
 */
#include "check.h"
#include "oracle.h"
#include "workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SPAWNERS = 2, ROUNDS = 150, CHILD_STEPS = 400, CLONE_STACK_BYTES = 256 << 10, SIZE_LIMIT = 60000 };

static struct pool pools[SPAWNERS];

static void child_wait(pid_t child) {
    int status;

    CHECK(waitpid(child, &status, 0) == child);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with wait status %#x", (unsigned)status);
}

/* Its own frame, so that nothing the child does can change the parent's locals around vfork. */
static __attribute__((noinline)) void vfork_round(struct pool *pool) {
    pid_t child = vfork();

    CHECK(child >= 0);
    if (child == 0) {
        pool_steps(pool, CHILD_STEPS);
        _exit(0);
    }
    child_wait(child);
}

/* libc's other name for it, which old programs were linked to. */
extern pid_t vfork_by_old_name(void) __asm__("__vfork") __attribute__((returns_twice));

static __attribute__((noinline)) void old_vfork_round(struct pool *pool) {
    pid_t child = vfork_by_old_name();

    CHECK(child >= 0);
    if (child == 0) {
        pool_steps(pool, CHILD_STEPS);
        _exit(0);
    }
    child_wait(child);
}

static int clone_child(void *pool) {
    pool_steps(pool, CHILD_STEPS);
    return 0;
}

static void clone_round(struct pool *pool, char *stack) {
    pid_t child = clone(clone_child, stack + CLONE_STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, pool);

    CHECK(child >= 0);
    child_wait(child);
}

static void *spawner_run(void *argument) {
    struct pool *pool = argument;
    char *stack = mmap(NULL, CLONE_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(stack != MAP_FAILED);
    for (int round = 0; round < ROUNDS; round++) {
        pool_steps(pool, 50);
        if (round % 3 == 0)
            vfork_round(pool);
        else if (round % 3 == 1)
            old_vfork_round(pool);
        else
            clone_round(pool, stack);
    }
    pool_drain(pool);
    CHECK(munmap(stack, CLONE_STACK_BYTES) == 0);
    return NULL;
}

int main(void) {
    pthread_t spawners[SPAWNERS];

    workers_start(6, 6, SIZE_LIMIT, POOL_ENOMEM_FATAL);
    for (size_t i = 0; i < SPAWNERS; i++) {
        pool_init(&pools[i], 6, i, SIZE_LIMIT);
        CHECK(pthread_create(&spawners[i], NULL, spawner_run, &pools[i]) == 0);
    }
    for (size_t i = 0; i < SPAWNERS; i++)
        CHECK(pthread_join(spawners[i], NULL) == 0);
    workers_stop();
    return 0;
}
