/* SPDX-License-Identifier: MIT */
/*
 * How a bench program stops when it cannot measure: one line on stderr and status 1. A program never prints a figure
 * it did not measure, so every failed system call ends here. Called by every bench program; owns nothing.
 */
#ifndef BENCH_DIE_H
#define BENCH_DIE_H

/* Prints the program's name, the message and, when errno is set, its text; does not return. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

enum { EXIT_USAGE = 2 };
/* The same for a command line that makes no sense: EXIT_USAGE, as of getopt's own complaints. */
__attribute__((noreturn, format(printf, 1, 2))) void die_of_usage(const char *format, ...);

/* malloc() that ends the program instead of returning NULL. */
void *alloc_or_die(unsigned long size_bytes);

#endif
