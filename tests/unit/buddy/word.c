/* SPDX-License-Identifier: MIT */
/* The arithmetic of buddies in a word against a model that looks at one bit at a time: random words of all densities,
 * and all words of 16 bits. And the transitions of a page's record. */
#include "buddy/word.h"
#include "buddy/states.h"
#include "unit/alone.h"

#include <criterion/criterion.h>

enum { RANDOM_WORDS = 200000 };

static bool all_free(u64 free, unsigned pos, unsigned order) {
    for (unsigned i = 0; i < 1u << order; i++) {
        if ((free >> (pos + i) & 1) == 0)
            return false;
    }
    return true;
}

/* Order of the largest free block that holds page pos, which is free. */
static unsigned model_around(u64 free, unsigned pos) {
    unsigned order = 0;
    while (order < BUDDY_WORD_ORDER && all_free(free, pos & ~((2u << order) - 1), order + 1))
        order++;
    return order;
}

static void check_find(u64 free, unsigned order) {
    int least = BUDDY_WORD_ORDER + 1, first = -1;
    for (unsigned pos = 0; pos < BUDDY_WORD_BITS; pos += 1u << order) {
        if (all_free(free, pos, order) && (int)model_around(free, pos) < least) {
            least = (int)model_around(free, pos);
            first = (int)pos;
        }
    }
    struct buddy_fit fit = buddy_find(free, order);
    cr_assert_eq(fit.pos, first, "2^%u of %#lx: at %d, not %d", order, free, fit.pos, first);
    cr_assert(first < 0 || (int)fit.order == least, "2^%u of %#lx: from 2^%u, not 2^%d", order, free, fit.order, least);
}

static void check_word(u64 free) {
    int largest = -1;
    for (unsigned order = 0; order <= BUDDY_WORD_ORDER; order++) {
        u64 starts = 0;
        for (unsigned pos = 0; pos < BUDDY_WORD_BITS; pos += 1u << order)
            starts |= (u64)all_free(free, pos, order) << pos;
        cr_assert_eq(buddy_free_starts(free, order), starts, "starts of 2^%u in %#lx", order, free);
        largest = starts != 0 ? (int)order : largest;
        check_find(free, order);
        for (u64 rest = starts; rest != 0; rest &= rest - 1) {
            unsigned pos = bits_lowest(rest);
            cr_assert_eq(buddy_merged(free, pos, order), MAX(model_around(free, pos), order));
        }
    }
    cr_assert_eq(buddy_largest(free), largest, "largest of %#lx", free);
}

Test(word, random_words_of_all_densities) {
    u64 seed = 17;
    for (int i = 0; i < RANDOM_WORDS; i++) {
        u64 free = alone_random(&seed);
        for (int k = 0; k < i % 5; k++)
            free |= alone_random(&seed);
        for (int k = 0; k < i / 5 % 3; k++)
            free &= alone_random(&seed);
        if (i % 11 == 0) /* whole blocks */
            free |= buddy_mask((unsigned)(alone_random(&seed) % 4) * 16, 4);
        check_word(free);
    }
    check_word(0);
    check_word(~(u64)0);
}

Test(word, all_words_of_16_bits) {
    for (u64 free = 0; free < 1 << 16; free++) {
        check_word(free);
        if (free % 8 == 0)
            check_word(free << 48);
    }
}

Test(word, a_block_is_split_and_merged_again) {
    u64 free = ~(u64)0;
    struct buddy_fit fit = buddy_find(free, 0);
    cr_assert_eq(fit.order, 6u);
    free &= ~buddy_mask(0, 0);
    for (unsigned order = 0; order < BUDDY_WORD_ORDER; order++) {
        /* the halves that the splits left, smallest first */
        fit = buddy_find(free, order);
        cr_expect_eq(fit.pos, 1 << order);
        cr_expect_eq(fit.order, order);
    }
    cr_expect_eq(buddy_merged(free | 1, 0, 0), 6u);
}

Test(states, references_are_counted_and_the_last_one_ends) {
    buddy_state_t s = buddy_state(BUDDY_HEAD, 3, 2);
    cr_expect_eq(buddy_state_order(s), 3u);
    cr_expect_eq(buddy_state_refs(s), 2u);
    cr_expect(buddy_state_is_head(s));
    s = buddy_state_put(s);
    cr_expect_eq(buddy_state_refs(s), 1u);
    cr_expect_eq(buddy_state_order(s), 3u);
    cr_expect_eq(buddy_state_put(s).bits, 0u);
    cr_expect_eq(buddy_state_free(s).bits, 0u);
    s = buddy_state_free(buddy_state(BUDDY_HEAD, 3, 2));
    cr_expect_eq(buddy_state_order(s), 0u, "only the first page is left");
    cr_expect_eq(buddy_state_refs(s), 1u);
    s = buddy_state_free(buddy_state(BUDDY_HEAD_COMPOUND, 3, 2));
    cr_expect_eq(buddy_state_order(s), 3u, "a compound one stays whole");
    cr_expect_not(buddy_state_is_head(buddy_state(BUDDY_TAIL, 3, 0)));
}

Test(states, owner_stays_as_long_as_a_page) {
    buddy_state_t plain = buddy_state(BUDDY_HEAD, 3, 3), s = buddy_state_owned(plain, UINT16_MAX);
    cr_expect_eq(buddy_state_owner(plain), 0u);
    cr_expect_eq(buddy_state_owner(s), UINT16_MAX);
    cr_expect_eq(buddy_state_kind(s), BUDDY_HEAD);
    cr_expect_eq(buddy_state_order(s), 3u);
    cr_expect_eq(buddy_state_refs(s), 3u);
    cr_expect_eq(buddy_state_owned(s, 0).bits, plain.bits);
    s = buddy_state_put(s);
    cr_expect_eq(buddy_state_owner(s), UINT16_MAX);
    cr_expect_eq(buddy_state_free(s).bits, buddy_state_owned(buddy_state(BUDDY_HEAD, 0, 1), UINT16_MAX).bits);
    cr_expect_eq(buddy_state_put(buddy_state_put(s)).bits, 0u);
    s = buddy_state_owned(buddy_state(BUDDY_HEAD_COMPOUND, 9, 2), 1);
    cr_expect_eq(buddy_state_owner(buddy_state_free(s)), 1u);
}
