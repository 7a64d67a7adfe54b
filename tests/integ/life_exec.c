/* SPDX-License-Identifier: MIT */
/*
 * The process executes itself again and again, each time from the middle of something: the first thread while others
 * allocate, another thread than the first, a signal handler on top of an allocation, and after attempts that failed,
 * its own and those of a vfork child. What starts over has no registration, no threads and no heap of before, and must
 * serve as the first one did. Argument: how many are still to come; none at the start.
 */
#include "check.h"
#include "oracle.h"
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GENERATIONS = 40, WORKERS = 3, STEPS = 1500, SIZE_LIMIT = 200000, LIMIT_SECONDS = 30 };

static struct pool pool;
static char generation_text[16];
static char *again[] = {(char *)"life_exec", generation_text, NULL};

static _Noreturn void start_over(void) {
    (void)execv("/proc/self/exe", again);
    check_fail(__FILE__, __LINE__, "execv failed with errno %d", errno);
}

static void *thread_start_over(void *arg) {
    pool_steps(&pool, STEPS);
    (void)arg;
    start_over();
}

static void from_thread(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, thread_start_over, NULL) == 0);
    (void)pthread_join(thread, NULL);
}

static void on_timer(int signal_nr) {
    sigset_t all;
    (void)signal_nr;
    /* What is blocked here would be blocked for ever. */
    CHECK(sigfillset(&all) == 0 && sigprocmask(SIG_UNBLOCK, &all, NULL) == 0);
    start_over();
}

static void from_handler(void) {
    struct sigaction action = {.sa_handler = on_timer};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec once = {{0, 0}, {0, 700000}};
    timer_t timer;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &once, NULL) == 0);
    for (;;)
        pool_step(&pool);
}

static void exec_fails(void) {
    char *const nobody[] = {(char *)"nobody", NULL};
    errno = 0;
    CHECK(execv("/nonexistent/program", nobody) == -1 && errno == ENOENT);
}

/* Its own frame, so that nothing the child does can change the parent's locals. */
static __attribute__((noinline)) void vfork_exec_fails(void) {
    int status;
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        pool_steps(&pool, 100);
        exec_fails();
        pool_steps(&pool, 100);
        _exit(3);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void from_failures(void) {
    exec_fails();
    vfork_exec_fails();
    pool_steps(&pool, STEPS);
    start_over();
}

int main(int argc, char **argv) {
    static void (*const ways[])(void) = {start_over, from_thread, from_handler, from_failures};
    int left = argc > 1 ? atoi(argv[1]) : GENERATIONS;
    (void)alarm(limit_seconds(LIMIT_SECONDS));
    pool_init(&pool, 12, (uint64_t)left, SIZE_LIMIT);
    workers_start(WORKERS, 12, 20000, POOL_ENOMEM_FATAL);
    pool_steps(&pool, STEPS);
    if (left > 0) {
        (void)snprintf(generation_text, sizeof(generation_text), "%d", left - 1);
        ways[left % 4]();
    }
    workers_stop();
    pool_drain(&pool);
    printf("all generations\n");
    return 0;
}
