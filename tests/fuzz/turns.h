/* SPDX-License-Identifier: MIT */
/*
 * A few threads of which one runs at a time, so that what several threads do is the same each time. Made when they are
 * first wanted, and never ended. Called by ops.c.
 */
#ifndef QUARRY_TESTS_FUZZ_TURNS_H
#define QUARRY_TESTS_FUZZ_TURNS_H

/* fn(arg) on that thread, of FUZZ_THREADS_NR; 0 is the caller. Returns when it has returned. */
void turn_on(unsigned thread, void (*fn)(void *arg), void *arg);

#endif
