/* SPDX-License-Identifier: MIT */
/*
 * A process for `quarry explain PID`: holds memory in each state there is, writes its own report to stdout, and waits
 * until stdin ends. With "busy" four threads go on allocating meanwhile, and no report is written. Run by explain.py.
 */
#include "check.h"
#include "workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <quarry/quarry.h>
#pragma weak quarry_report

enum { OBJS_NR = 60000, WORKERS_NR = 4, WANTED_BACK = 4 /* times, so that it is kept */ };

static void *objs[OBJS_NR];

static void hold(void) {
    char *region = malloc(30 << 20), *freed;
    CHECK(region != NULL);
    memset(region, 1, 10 << 20);
    for (unsigned i = 0; i < WANTED_BACK; i++) {
        CHECK((freed = malloc(3 << 20)) != NULL);
        memset(freed, 1, 3 << 20);
        free(freed);
    }
    for (int i = 0; i < OBJS_NR; i++) {
        size_t size = 100 + (size_t)i % 900;
        CHECK((objs[i] = malloc(size)) != NULL);
        memset(objs[i], 1, size);
    }
    for (int i = 0; i < OBJS_NR; i += 2)
        free(objs[i]);
}

int main(int argc, char **argv) {
    char byte;
    hold();
    if (argc > 1 && strcmp(argv[1], "busy") == 0) {
        workers_start(WORKERS_NR, 1, 0, POOL_ENOMEM_FATAL);
        CHECK(write(STDOUT_FILENO, "\n", 1) == 1);
    } else {
        CHECK(quarry_report(STDOUT_FILENO, QUARRY_JSON) == 0);
    }
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    _exit(0);
}
