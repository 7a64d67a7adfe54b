/* SPDX-License-Identifier: MIT */
/*
 * The CPU's own counter, for single calls: the clocks of clock.h cost as much as what is timed. x86-64: the time stamp
 * counter, which on every CPU of the last decade runs at a fixed rate. aarch64: the virtual counter, whose step may be
 * as long as 40 ns. Both reads wait for what stands before them and hold back what stands behind.
 *
 *   struct ticks_mark start = ticks_mark_now();
 *   .. many pairs of ticks_now() ..
 *   double ns_per_tick = ticks_ns_per_tick(&start);
 */
#ifndef BENCH_TICKS_H
#define BENCH_TICKS_H

#include <stdint.h>

#if defined(__x86_64__)
static inline uint64_t ticks_now(void) {
    uint32_t low;
    uint32_t high;

    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}
#elif defined(__aarch64__)
static inline uint64_t ticks_now(void) {
    uint64_t ticks;

    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
    return ticks;
}
#endif

/* One moment by both clocks. */
struct ticks_mark {
    uint64_t ticks;
    uint64_t ns;
};

struct ticks_mark ticks_mark_now(void);

/* The length of a tick, from start to now; the span is at least 10 ms, waited for if need be. */
double ticks_ns_per_tick(const struct ticks_mark *start);

/* What lies between two reads with nothing between them, in ticks: the least of many. */
uint64_t ticks_own_cost(void);

#endif
