/* SPDX-License-Identifier: MIT */
/*
 * The command line of the stress program. Called by stress.c.
 */
#ifndef QUARRY_TESTS_STRESS_OPTIONS_H
#define QUARRY_TESTS_STRESS_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

struct options {
    unsigned long seconds;
    uint64_t seed;
    size_t thread_nr;
    /* Disturbances: timers whose handlers allocate, threads that change CPU, forks. */
    int signals, affinity, forks;
};

/* Leaves with status 2 and the usage for anything not understood. Defaults: 5 s, a random seed, 8 threads a CPU. */
struct options options_parse(int argc, char **argv, size_t thread_limit);
/* The seed, and the command that repeats the run, on stdout and with every failure (check_repeat_set). */
void options_print(const struct options *options, const char *program);

#endif
