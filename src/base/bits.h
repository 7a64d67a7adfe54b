/* SPDX-License-Identifier: MIT */
/* Bit arithmetic on words. Pure functions, no state. */
#ifndef QUARRY_BASE_BITS_H
#define QUARRY_BASE_BITS_H

#include "base/types.h"

/* Index of the lowest set bit. x must not be 0. */
static ALWAYS_INLINE unsigned bits_lowest(u64 x) { return (unsigned)__builtin_ctzll(x); }
/* Index of the highest set bit. x must not be 0. */
static ALWAYS_INLINE unsigned bits_highest(u64 x) { return 63u - (unsigned)__builtin_clzll(x); }
static ALWAYS_INLINE unsigned bits_count(u64 x) { return (unsigned)__builtin_popcountll(x); }
/* nr low bits set; 0 <= nr <= 64. */
static ALWAYS_INLINE u64 bits_mask(unsigned nr) { return nr >= 64 ? ~(u64)0 : ((u64)1 << nr) - 1; }
/* Smallest s with (1 << s) >= x. x must not be 0. */
static ALWAYS_INLINE unsigned bits_log2_up(u64 x) { return x <= 1 ? 0 : bits_highest(x - 1) + 1; }

/* Each bit of x in every bit of the result, and no two x in one. Not for secrets by itself. */
static inline u64 bits_mix(u64 x) {
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}

#endif
