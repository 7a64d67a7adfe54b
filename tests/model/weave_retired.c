/* SPDX-License-Identifier: MIT */
/*
 * The retired regions of src/big/retired.c, explored (weave.h), two places of them: threads retire, so that regions
 * push each other out, one gives all back, and one looks what a fault was. Each region is given back once, to a thread
 * that then has its record alone; who looks sees a record as it was retired.
 */
#include "big/retired.h"

#include "big/big.h"
#include "big/cache.h"
#include "weave_hands.h"

static char space[REGIONS_NR][CACHE_LINE]; /* a region's addresses: it is never touched */
static u64 found[WEAVE_THREADS_MAX];
static size_t released[WEAVE_THREADS_MAX];

static size_t bytes_of(const struct hpage *h) { return 1 + (size_t)(h - regions); }

/* Whoever takes a region out has it. */
void big_region_release(struct hpage *h, size_t counted_bytes) {
    struct hand *hand = &hands[weave_self()];
    weave_must(hand->nr < REGIONS_NR && counted_bytes == 0 && h->big_reserve_bytes == 2 * bytes_of(h));
    hand->region[hand->nr++] = h;
    released[weave_self()] += h->big_reserve_bytes;
}

static void retire(struct hand *hand) {
    if (hand->nr == 0)
        return;
    struct hpage *h = hand->region[--hand->nr];
    h->addr = space[h - regions];
    h->big_bytes = bytes_of(h);
    h->big_reserve_bytes = 2 * bytes_of(h);
    retired_put(h);
}

/* Only of regions that do not come again: who has been given one back may write to its record. */
static void look(unsigned self) {
    for (unsigned i = 0; i < REGIONS_NR; i++) {
        char *addr = NULL;
        size_t bytes = 0;
        if (!retired_find(space[i], &addr, &bytes))
            continue;
        weave_must(addr == space[i] && bytes == bytes_of(&regions[i]));
        found[self]++;
    }
}

/* r retire one of one's own, f look for each, a give all back. */
static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        if (*at == 'r') {
            retire(&hands[self]);
        } else if (*at == 'f') {
            look(self);
        } else {
            size_t before = released[self];
            weave_must(retired_release_all() == released[self] - before);
        }
    }
}

static void finish(void) {
    unsigned seen[REGIONS_NR];
    char *addr;
    size_t bytes;
    (void)retired_release_all();
    weave_must(retired_release_all() == 0);
    hands_count(seen);
    for (unsigned i = 0; i < REGIONS_NR; i++)
        weave_must(seen[i] == 1 && !retired_find(space[i], &addr, &bytes));
}

static void setup_retire(void) { setup("rr", "rr", ""); }
static void setup_again(void) { setup("rrr", "rr", ""); }
static void setup_look(void) { setup("r", "f", ""); }
static void setup_all(void) { setup("rr", "ar", ""); }
static void setup_three(void) { setup("rr", "r", "a"); }
static void setup_looks(void) { setup("r", "rr", "f"); }

static const struct weave_model models[] = {
    {"two push each other's out", 2, setup_retire, thread, finish, WEAVE_BOTH},
    {"what was pushed out is retired again", 2, setup_again, thread, finish, WEAVE_BOTH},
    {"one retires, one looks", 2, setup_look, thread, finish, WEAVE_BOTH},
    {"two retire, one gives all back", 2, setup_all, thread, finish, WEAVE_BOTH},
    {"two retire, a third gives all back", 3, setup_three, thread, finish, WEAVE_BOTH},
    {"two retire, one looks", 3, setup_looks, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"retired_put", "&next", WEAVE_ANY, "a hint: which place is next"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"retired_release", "if (h != NULL", WEAVE_ALWAYS},
    {"retired_find", "if (h == NULL", WEAVE_NEVER},
};

WEAVE_MAIN("retired regions")
