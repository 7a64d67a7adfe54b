/* SPDX-License-Identifier: MIT */
/*
 * Command lines of the bench programs: a table of long options over getopt_long(). Every option has a range or is a
 * flag; anything else on the line is an error, so no setting is ever silently ignored. Called first thing in main().
 */
#ifndef BENCH_ARGS_H
#define BENCH_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One option: a number when number is set, else a flag. The variable holds the default before args_parse(). */
struct arg {
    const char *name;
    uint64_t *number;
    uint64_t min;
    uint64_t max;
    bool *flag;
    const char *help;
};

/* Returns the index of the first word that is not an option. --help prints the table and exits with 0. */
int args_parse(int argc, char **argv, const char *summary, const struct arg *args, size_t nr);

/* The same, for programs that take options alone: a further word is an error. */
void args_parse_all(int argc, char **argv, const char *summary, const struct arg *args, size_t nr);

#define ARGS_NR(table) (sizeof(table) / sizeof((table)[0]))

#endif
