/* SPDX-License-Identifier: MIT */
/*
 * The one clock of the bench programs, and the median they report. Owns no state. CLOCK_MONOTONIC is read through the
 * vDSO (about 20 ns), so callers time blocks of at least a millisecond, never single calls.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_now_ns(void);
void clock_sleep_ms(uint64_t duration_ms);

/* Sorts values in place and returns the middle one, or the mean of the two middle ones; nr >= 1. */
double median_of(double *values, size_t nr);

#endif
