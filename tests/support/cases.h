/* SPDX-License-Identifier: MIT */
/*
 * A table of cases run one child process each, reported in TAP. Owns the running; the table and the case
 * functions belong to the program. A case passes by returning. Called by main() of edges.c and cxx.cpp.
 */
#ifndef QUARRY_TESTS_CASES_H
#define QUARRY_TESTS_CASES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the C, C++, POSIX or glibc rule binds any allocator, or only quarry promises it. */
enum case_scope { CASE_STANDARD, CASE_QUARRY };

struct test_case {
    const char *name;
    void (*run)(size_t argument);
    size_t argument;
    enum case_scope scope;
};

/*
 * The whole of main(): no arguments runs every case; --standard-only leaves out what only quarry promises;
 * --list prints the names; --case NAME runs that one in this process, for a debugger. Returns the exit status.
 */
int cases_main(int argc, char **argv, const struct test_case *table, size_t case_nr);

#ifdef __cplusplus
}
#endif
#endif
