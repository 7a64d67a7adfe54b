/* SPDX-License-Identifier: MIT */
/*
 * Runs a program and moves its threads between CPUs from outside, as fast as it can: where a thread is at that moment
 * it does not know, so that every instruction of it is met in time. Owns the moving; the program has the oracle. The
 * last thing it does is to count. Usage: migrated PROGRAM [ARGUMENT...]
 */
#include "check.h"
#include "oracle.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOVES_MIN = 16 }; /* that there are any: how many there are is up to who else wants the CPUs */

static cpu_set_t allowed;
static struct rng rng = {3};

/* Threads that have ended meanwhile are none; nor can one be moved while the process ends. */
static bool thread_move(pid_t thread) {
    cpu_set_t one;
    unsigned cpu;
    do
        cpu = (unsigned)rng_below(&rng, CPU_SETSIZE);
    while (!CPU_ISSET(cpu, &allowed));
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(thread, sizeof(one), &one) == 0)
        return true;
    CHECK_MSG(errno == ESRCH, "a thread cannot be moved: errno %d", errno);
    return false;
}

static unsigned long threads_move(pid_t process) {
    char path[64];
    unsigned long moves = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        pid_t thread = atoi(task->d_name);
        moves += thread > 0 && thread_move(thread);
    }
    if (tasks != NULL)
        (void)closedir(tasks);
    return moves;
}

int main(int argc, char **argv) {
    unsigned long moves = 0;
    int status;
    CHECK(argc > 1);
    CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
    if (CPU_COUNT(&allowed) < 2)
        check_skip("there is one CPU only");
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)execv(argv[1], argv + 1);
        check_fail(__FILE__, __LINE__, "cannot run %s: errno %d", argv[1], errno);
    }
    while (waitpid(child, &status, WNOHANG) == 0)
        moves += threads_move(child);
    printf("%lu moves\n", moves);
    CHECK_MSG(status == 0, "the program ended with wait status %#x", (unsigned)status);
    CHECK_MSG(moves >= MOVES_MIN, "threads were moved %lu times only", moves);
    return 0;
}
