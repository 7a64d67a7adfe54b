/* SPDX-License-Identifier: MIT */
/*
 * Calibration of the CPU's counter (see ticks.h). No state.
 */
#include "ticks.h"

#include "clock.h"

/* A read of both clocks is off by 100 ns at most, which is then 0.001 % of the span. */
enum { SPAN_MIN_NS = 10000000, COST_READS = 1000 };

struct ticks_mark ticks_mark_now(void) {
    return (struct ticks_mark){.ticks = ticks_now(), .ns = clock_now_ns()};
}

double ticks_ns_per_tick(const struct ticks_mark *start) {
    struct ticks_mark now;

    do {
        now = ticks_mark_now();
    } while (now.ns - start->ns < SPAN_MIN_NS);
    return (double)(now.ns - start->ns) / (double)(now.ticks - start->ticks);
}

uint64_t ticks_own_cost(void) {
    uint64_t least = UINT64_MAX;

    for (unsigned read = 0; read < COST_READS; read++) {
        uint64_t start = ticks_now();
        uint64_t cost = ticks_now() - start;

        if (cost < least)
            least = cost;
    }
    return least;
}
