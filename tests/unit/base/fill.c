/* SPDX-License-Identifier: MIT */
/* What lies around objects: which writes show, for every seed and every place. */
#include "base/fill.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SEEDS = 256, BYTES = 256 };

static _Alignas(64) char around[BYTES];

static void filled(unsigned seed) { fill_write((u8)seed, around, around + BYTES); }

static const char *damage(unsigned seed) { return fill_damage((u8)seed, around, around + BYTES); }

Test(fill, what_was_not_touched_is_whole) {
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        filled(seed);
        cr_assert_null(damage(seed));
        cr_assert_null(fill_damage((u8)seed, around + 3, around + 3));
        /* A part of it is judged by where it lies. */
        cr_assert_null(fill_damage((u8)seed, around + 5, around + 100));
    }
}

Test(fill, zeros_and_ascii_always_show) {
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        for (unsigned at = 0; at < BYTES; at++) {
            for (unsigned value = 0; value < 128; value += 13) {
                filled(seed);
                around[at] = (char)value;
                cr_assert_eq(damage(seed), &around[at], "seed %u, byte %u, value %u", seed, at, value);
            }
        }
    }
}

/* As memset writes them. Of the two the one that is there already may be the first. */
Test(fill, any_byte_twice_in_a_row_shows) {
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        for (unsigned value = 0; value < 256; value++) {
            unsigned at = (seed * 31 + value * 7) % (BYTES - 1);
            filled(seed);
            memset(&around[at], (int)value, 2);
            const char *first = damage(seed);
            cr_assert(first == &around[at] || first == &around[at + 1], "seed %u, byte %u, value %u", seed, at, value);
        }
    }
}

/* A write somebody foresaw would not show. */
Test(fill, seeds_shift_it) {
    unsigned same = 0;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        filled(seed);
        same += damage(0) == NULL;
    }
    cr_assert_eq(same, 2, "%u of %u seeds give the same", same, SEEDS);
}
