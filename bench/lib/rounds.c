/* SPDX-License-Identifier: MIT */
/*
 * Rounds of timed loops (see rounds.h). No state, no allocation between the rounds.
 */
#include "rounds.h"

#include "clock.h"
#include "placed.h"

double rounds_op_ns(timed_loop *const *places, size_t size_bytes, uint64_t nr, uint64_t rounds) {
    double op_ns[ROUNDS_MAX];

    places[0](size_bytes, nr);
    for (uint64_t round = 0; round < rounds; round++)
        op_ns[round] = (double)places[round % PLACES_NR](size_bytes, nr) / (double)nr;
    return median_of(op_ns, rounds);
}
