/* SPDX-License-Identifier: MIT */
/*
 * The clocks of the bench programs, and the median they report. Owns no state. Reading one takes about 20 ns through
 * the vDSO or 200 ns by a system call, so callers time blocks of at least a millisecond, never single calls.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Time that passes: for several threads, for sleeps, and for whole programs. */
uint64_t clock_now_ns(void);

/* CPU time of the calling thread: for work on one thread, which a busy machine interrupts but does not slow. */
uint64_t clock_thread_ns(void);

/* CPU time of all threads of the process: for work that threads share. */
uint64_t clock_process_ns(void);

void clock_sleep_ms(uint64_t duration_ms);

/* Sorts values in place and returns the middle one, or the mean of the two middle ones; nr >= 1. */
double median_of(double *values, size_t nr);

#endif
