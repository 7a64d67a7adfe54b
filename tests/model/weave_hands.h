/* SPDX-License-Identifier: MIT */
/* Regions that threads of a model have in hand: who begins with which, what each does with them, who has one in the
 * end. For models of one file each, which include it. */
#ifndef QUARRY_TESTS_WEAVE_HANDS_H
#define QUARRY_TESTS_WEAVE_HANDS_H

#include "page/page.h"

#include "weave.h"

enum { REGIONS_NR = 4 };

static struct hpage regions[REGIONS_NR];
static struct hand {
    struct hpage *region[REGIONS_NR];
    unsigned nr;
} hands[WEAVE_THREADS_MAX];
static const char *scripts[WEAVE_THREADS_MAX]; /* a letter for each step of a thread */

/* The first two threads have two regions each in the beginning. */
static void setup(const char *first, const char *second, const char *third) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    for (unsigned i = 0; i < REGIONS_NR; i++) {
        struct hand *hand = &hands[i % 2];
        hand->region[hand->nr++] = &regions[i];
    }
}

/* How often each region is in a hand. */
static void hands_count(unsigned ret_seen[REGIONS_NR]) {
    for (unsigned i = 0; i < REGIONS_NR; i++)
        ret_seen[i] = 0;
    for (const struct hand *h = hands; h < hands + WEAVE_THREADS_MAX; h++) {
        for (unsigned i = 0; i < h->nr; i++)
            ret_seen[h->region[i] - regions]++;
    }
}

#endif
