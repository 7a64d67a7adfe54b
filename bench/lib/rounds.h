/* SPDX-License-Identifier: MIT */
/*
 * A fixed amount of work in several equal rounds, of which the median counts: the way of most micro programs. Unlike
 * blocks of a fixed duration, every allocator then does the same, and the whole program's time, memory and page faults
 * can be compared as well. Called by the micro programs; owns nothing.
 */
#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include <stddef.h>
#include <stdint.h>

enum { ROUNDS_MAX = 1001 };

/* A loop that does nr operations on objects of one size and returns how many ns they took. */
typedef uint64_t timed_loop(size_t size_bytes, uint64_t nr);

/*
 * ns per operation, the median of rounds (1..ROUNDS_MAX) of nr (>= 1) operations. places: the loop as PLACED() builds
 * it; the rounds take turns. The first round is not counted: it finds the allocator cold.
 */
double rounds_op_ns(timed_loop *const *places, size_t size_bytes, uint64_t nr, uint64_t rounds);

#endif
