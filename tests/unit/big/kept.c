/* SPDX-License-Identifier: MIT */
/* The places of freed regions: which one is taken, what a word has room for, and how many there are. Records alone; no
 * region is mapped. */
#include "big/kept.h"

#include <criterion/criterion.h>

enum { PAGE = 1 << KEPT_SIZE_SHIFT };

static struct hpage region(uintptr_t place, size_t bytes, size_t reserve_bytes) {
    char *addr = (char *)(place << HPAGE_SHIFT); // NOLINT(performance-no-int-to-ptr)
    return (struct hpage){.addr = addr, .big_bytes = bytes, .big_reserve_bytes = reserve_bytes};
}

static bool put(struct hpage h, u64 now_ms) { return kept_put(&h, now_ms); }

Test(kept, the_nearest_is_taken_and_none_that_is_too_far_or_awry) {
    struct hpage small = region(1, 3 * MIB, 4 * MIB), large = region(3, 6 * MIB, 8 * MIB);
    cr_assert(put(small, 1));
    cr_assert(put(large, 2));
    cr_expect_eq(kept_regions_racy(), 2u);
    cr_expect_eq(kept_bytes_racy(), 9 * MIB);
    cr_expect_null(kept_take(6 * MIB, 8 * HPAGE_BYTES), "neither is aligned so");
    cr_expect_null(kept_take(8 * MIB, 1), "the addresses are all needed for the guard");
    cr_expect_null(kept_take(256 * KIB, 1), "the little that is wanted is less than an eighth");
    cr_expect_eq(kept_take(5 * MIB, 1), large.addr);
    cr_expect_eq(kept_take(4 * MIB - PAGE, 1), small.addr, "it has the addresses");
    cr_expect_eq(kept_regions_racy(), 0u);
    cr_expect_null(kept_take(4 * MIB, 1));
}

Test(kept, the_oldest_goes_first_and_none_that_is_younger) {
    for (uintptr_t i = 1; i <= 3; i++)
        cr_assert(put(region(i, 2 * MIB, 4 * MIB), 100 - 10 * i));
    cr_expect_null(kept_take_oldest(69));
    for (uintptr_t i = 3; i >= 2; i--)
        cr_expect_eq((uintptr_t)kept_take_oldest(80) >> HPAGE_SHIFT, i);
    cr_expect_null(kept_take_oldest(80));
    cr_expect_eq((uintptr_t)kept_take_oldest(UINT64_MAX) >> HPAGE_SHIFT, 1u);
}

Test(kept, there_are_so_many_places) {
    for (uintptr_t i = 1; i <= KEPT_NR; i++)
        cr_assert(put(region(i, 2 * MIB, 4 * MIB), 0));
    cr_expect_not(put(region(KEPT_NR + 1, 2 * MIB, 4 * MIB), 0));
    cr_expect_eq(kept_regions_racy(), (unsigned)KEPT_NR);
    for (unsigned i = 0; i < KEPT_NR; i++)
        cr_expect_not_null(kept_take(2 * MIB, 1));
    cr_expect_null(kept_take(2 * MIB, 1));
}

/* The last byte of 48 bits of address; the largest size; and more addresses beyond it than a word can tell. */
Test(kept, what_no_word_has_room_for_is_not_kept) {
    uintptr_t last = ((uintptr_t)1 << (48 - HPAGE_SHIFT)) - 1;
    size_t most = (((size_t)1 << KEPT_SIZE_BITS) - 1) << KEPT_SIZE_SHIFT;
    cr_expect_not(put(region(last + 1, 2 * MIB, 4 * MIB), 0));
    cr_expect_not(put(region(1, most + PAGE, most + 4 * MIB), 0));
    cr_assert(put(region(last, most, most + 8 * GIB), 0));
    cr_expect_eq(kept_bytes_racy(), most);
    cr_expect_null(kept_take(most + 4 * GIB, 1), "nobody knows that it has so many");
    cr_expect_eq(kept_take(most + GIB, 1), (char *)(last << HPAGE_SHIFT)); // NOLINT(performance-no-int-to-ptr)
}
