/* SPDX-License-Identifier: MIT */
/*
 * The bench programs' random numbers: splitmix64, one state per thread, seeded by the caller so that every allocator
 * sees the same sequence. Not for anything but workloads.
 */
#ifndef BENCH_RAND_H
#define BENCH_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    uint64_t state;
};

static inline uint64_t rand_next(struct rand *rand) {
    uint64_t word = (rand->state += 0x9e3779b97f4a7c15u);

    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

/* Uniform in min..max, both included; the span is below 2^32. */
static inline size_t rand_between(struct rand *rand, size_t min, size_t max) {
    return min + (size_t)(((rand_next(rand) >> 32) * (max - min + 1)) >> 32);
}

/* Fisher-Yates. */
static inline void rand_shuffle(struct rand *rand, void **pointers, size_t nr) {
    for (size_t left = nr; left > 1; left--) {
        size_t other = rand_between(rand, 0, left - 1);
        void *moved = pointers[left - 1];

        pointers[left - 1] = pointers[other];
        pointers[other] = moved;
    }
}

#endif
