/* SPDX-License-Identifier: MIT */
/*
 * The kept regions of src/big/kept.c, explored (weave.h), two places for them: threads put regions there, take the
 * nearest or the oldest, and put what they took again. Each region is one thread's or in one place, and who takes it
 * sees its record as it was put.
 */
#include "big/kept.h"

#include "weave_hands.h"

enum { WANTED_BYTES = 2 << KEPT_SIZE_SHIFT };

static size_t bytes_of(const struct hpage *h) { return (size_t)(h - regions + 1) << KEPT_SIZE_SHIFT; }
static char *addr_of(const struct hpage *h) { return (char *)((uintptr_t)(h - regions + 1) << HPAGE_SHIFT); }

static void put(struct hand *hand) {
    if (hand->nr == 0)
        return;
    struct hpage *h = hand->region[hand->nr - 1];
    h->addr = addr_of(h);
    h->big_bytes = bytes_of(h);
    h->big_reserve_bytes = HPAGE_BYTES;
    if (kept_put(h, (u64)(h - regions)))
        hand->nr--;
    else
        h->big_bytes = 0;
}

/* Whoever takes a region out has its record alone. */
static void got(struct hand *hand, const char *p) {
    if (p == NULL)
        return;
    struct hpage *h = &regions[((uintptr_t)p >> HPAGE_SHIFT) - 1];
    weave_must(h->addr == p && h->big_bytes == bytes_of(h));
    h->big_bytes = 0;
    hand->region[hand->nr++] = h;
}

/* p put one of one's own, n take the nearest, o take the oldest. */
static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'p')
            put(&hands[self]);
        else if (*at == 'n')
            got(&hands[self], kept_take(WANTED_BYTES, 1));
        else
            got(&hands[self], kept_take_oldest(UINT64_MAX));
    }
}

static void finish(void) {
    unsigned seen[REGIONS_NR], kept = kept_regions_racy();
    for (unsigned i = 0; i < kept; i++)
        got(&hands[0], i % 2 == 0 ? kept_take(WANTED_BYTES, 1) : kept_take_oldest(UINT64_MAX));
    weave_must(kept_take(WANTED_BYTES, 1) == NULL && kept_bytes_racy() == 0);
    hands_count(seen);
    for (unsigned i = 0; i < REGIONS_NR; i++)
        weave_must(seen[i] == 1);
}

static void setup_take(void) { setup("p", "n", ""); }
static void setup_both(void) { setup("pn", "pn", ""); }
static void setup_again(void) { setup("pnp", "n", ""); }
static void setup_full(void) { setup("pp", "pp", ""); }
static void setup_oldest(void) { setup("pp", "oo", ""); }
static void setup_three(void) { setup("p", "n", "o"); }

static const struct weave_model models[] = {
    {"one puts, one takes", 2, setup_take, thread, finish, WEAVE_BOTH},
    {"two put and take", 2, setup_both, thread, finish, WEAVE_BOTH},
    {"what was taken is put again", 2, setup_again, thread, finish, WEAVE_BOTH},
    {"two put more than there is room for", 2, setup_full, thread, finish, WEAVE_BOTH},
    {"one puts, one takes the oldest", 2, setup_oldest, thread, finish, WEAVE_BOTH},
    {"one puts, two take", 3, setup_three, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"kept_put", "&put_ms", WEAVE_ANY, "a hint: which goes first"},
    {"kept_take_oldest", "&put_ms", WEAVE_ANY, "the same"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"kept_put", "if (place_fill", WEAVE_ALWAYS},
    {"kept_take", "if (place_empty", WEAVE_ALWAYS},
    {"kept_take_oldest", "if (place_empty", WEAVE_ALWAYS},
};

WEAVE_MAIN("kept regions")
