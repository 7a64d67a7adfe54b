/* SPDX-License-Identifier: MIT */
/*
 * The deferred regions of src/big/defer.c, explored (weave.h): threads defer, one and another give, and one counts,
 * which takes the list and puts it back. At the end each region that was deferred is given, once; a record that was
 * given may be deferred again by whoever has it.
 */
#include "big/defer.h"
#include "rt/context.h"
#include "weave.h"

enum { REGIONS_NR = 3 };

static struct hpage regions[REGIONS_NR];
static struct hand {
    struct hpage *region[REGIONS_NR];
    unsigned nr;
} hands[WEAVE_THREADS_MAX];
static u64 given[REGIONS_NR];
static const char *scripts[WEAVE_THREADS_MAX]; /* d defer one of one's own, g give all and keep them, c count */

_Atomic(u32) rt_chores; /* a flag that more wants done: nothing here asks */

static void hand_add(const struct hpage *record) {
    struct hpage *h = &regions[record - regions];
    struct hand *hand = &hands[weave_self()];
    weave_must(hand->nr < REGIONS_NR);
    hand->region[hand->nr++] = h;
    given[h - regions]++;
}
void region_give(struct hpage *h) {
    weave_must((h->big_flags & BIG_AREA) == 0);
    hand_add(h);
}
void area_give(const struct hpage *h) { hand_add(h); }

static void defer(struct hand *hand) {
    if (hand->nr == 0)
        return;
    struct hpage *h = hand->region[--hand->nr];
    h->big_flags = (u32)(h - regions) % 2 == 0 ? BIG_AREA : 0;
    h->big_bytes = HPAGE_BYTES;
    big_defer(h);
}

static void count(void *arg, char *addr, size_t bytes) {
    (void)addr;
    weave_must(bytes == HPAGE_BYTES);
    ++*(unsigned *)arg;
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        unsigned nr = 0;
        if (*at == 'd')
            defer(&hands[self]);
        else if (*at == 'g')
            big_deferred_give();
        else
            big_deferred_each(count, &nr);
        weave_must(nr <= REGIONS_NR);
    }
}

static void finish(void) {
    unsigned seen[REGIONS_NR] = {0};
    big_deferred_give();
    weave_must(big_deferred_bytes_racy() == 0);
    for (struct hand *h = hands; h < hands + WEAVE_THREADS_MAX; h++) {
        for (unsigned i = 0; i < h->nr; i++)
            seen[h->region[i] - regions]++;
    }
    for (unsigned i = 0; i < REGIONS_NR; i++)
        weave_must(seen[i] == 1);
}

/* Each thread begins with one region. */
static void setup(const char *first, const char *second, const char *third) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    weave_count(&rt_chores);
    for (unsigned t = 0; t < REGIONS_NR; t++) {
        hands[t].region[0] = &regions[t];
        hands[t].nr = 1;
    }
}
static void setup_give(void) { setup("d", "dg", ""); }
static void setup_again(void) { setup("dgd", "gd", ""); }
static void setup_count(void) { setup("dc", "dg", ""); }
static void setup_three(void) { setup("d", "d", "g"); }
static void setup_counts(void) { setup("d", "g", "c"); }

static const struct weave_model models[] = {
    {"one defers, one gives", 2, setup_give, thread, finish, WEAVE_BOTH},
    {"two give what they defer again", 2, setup_again, thread, finish, WEAVE_BOTH},
    {"one counts, one gives", 2, setup_count, thread, finish, WEAVE_BOTH},
    {"two defer, one gives", 3, setup_three, thread, finish, WEAVE_BOTH},
    {"one each", 3, setup_counts, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"rt_chore_note", "&rt_chores", WEAVE_ANY, "a hint, for whoever may block next"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"chain_push", "while (", WEAVE_NEVER},
    {"big_deferred_give", "if ((h->big_flags", WEAVE_ALWAYS},
    {"big_deferred_each", "if (first == NULL", WEAVE_ALWAYS},
};

WEAVE_MAIN("deferred regions")
