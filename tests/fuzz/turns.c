/* SPDX-License-Identifier: MIT */
/* See turns.h. */
#include "turns.h"

#include "ops.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct runner {
    sem_t start, done;
    void (*fn)(void *arg);
    void *arg;
    bool made;
};

static struct runner runners[FUZZ_THREADS_NR];

static void wait_for(sem_t *sem) {
    while (sem_wait(sem) != 0)
        continue;
}

__attribute__((noreturn)) static void *runner_run(void *argument) {
    struct runner *r = argument;
    for (;;) {
        wait_for(&r->start);
        r->fn(r->arg);
        (void)sem_post(&r->done);
    }
}

static void runner_make(struct runner *r) {
    pthread_t thread;
    if (sem_init(&r->start, 0, 0) != 0 || sem_init(&r->done, 0, 0) != 0 ||
        pthread_create(&thread, NULL, runner_run, r) != 0 || pthread_detach(thread) != 0) {
        fprintf(stderr, "fuzz: no thread\n");
        abort();
    }
    r->made = true;
}

void turn_on(unsigned thread, void (*fn)(void *arg), void *arg) {
    struct runner *r = &runners[thread];
    if (thread == 0) {
        fn(arg);
        return;
    }
    if (!r->made)
        runner_make(r);
    r->fn = fn;
    r->arg = arg;
    (void)sem_post(&r->start);
    wait_for(&r->done);
}
