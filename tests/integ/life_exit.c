/* SPDX-License-Identifier: MIT */
/*
 * Allocation while the process ends: atexit and on_exit handlers and destructors of every priority, with threads
 * still running. The last handler speaks, so that the driver sees that all of them ran; the exit status stays.
 */
#include "check.h"
#include "oracle.h"
#include "workers.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_STATUS = 42 };

static struct pool pool;
static char *kept;

static void handlers_work(void) {
    pool_steps(&pool, 2000);
    free(strdup("at exit"));
}

static void on_exit_work(int status, void *memory) {
    CHECK(status == EXIT_STATUS);
    CHECK(!strcmp(memory, "on exit"));
    free(memory);
    handlers_work();
    /* A handler registered by a handler is run as well. */
    CHECK(atexit(handlers_work) == 0);
}

__attribute__((destructor(65000))) static void destructor_first(void) {
    CHECK(!strcmp(kept, "kept until the end"));
    kept = realloc(kept, 100000);
    CHECK(kept != NULL);
    pool_steps(&pool, 2000);
}

__attribute__((destructor(101))) static void destructor_last(void) {
    CHECK(!strcmp(kept, "kept until the end"));
    free(kept);
    pool_drain(&pool);
    printf("destructors ran, %lu steps\n", pool.steps_nr);
}

int main(void) {
    pool_init(&pool, 4, 1, 0);
    kept = strdup("kept until the end");
    CHECK(kept != NULL);
    CHECK(atexit(handlers_work) == 0);
    CHECK(on_exit(on_exit_work, strdup("on exit")) == 0);
    handlers_work();
    workers_start(2, 4, 5000, POOL_ENOMEM_FATAL);
    printf("leaving\n");
    exit(EXIT_STATUS);
}
