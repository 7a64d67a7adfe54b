/* SPDX-License-Identifier: MIT */
/*
 * From what the recorder left in the raw file to a trace: puts the records of all threads in order, and gives each
 * object its number. Called by `quarry record` after the program has ended.
 */
#ifndef BENCH_REPLAY_CONVERT_H
#define BENCH_REPLAY_CONVERT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct convert_report {
    uint64_t records_nr;
    uint64_t strays_nr; /* calls left out or made up, because memory came or went by calls that are not recorded */
    uint32_t threads_nr;
    uint32_t cut; /* recording ended before the program did */
};

/* Makes fd, which is empty and open for reading and writing, the raw file of process pid. 0 or -errno. */
int convert_prepare(int fd, pid_t pid);

/* Whether the program came as far as its first allocation call. */
bool convert_has_begun(int fd);

/* Writes out; name is the program's. Returns what was wrong, or NULL; out may be written to in part even so. */
const char *convert(int fd, FILE *out, const char *name, struct convert_report *ret_report);

#endif
