/* SPDX-License-Identifier: MIT */
/*
 * The benches' histogram against the sorted samples themselves: every percentile is the sample's or at most a step of
 * its bucket above, the maximum is exact, and two histograms merged are one of both. Prints its seed.
 */
#include "../../bench/lib/hist.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES_NR = 20000, PARTS_NR = 2 };

static const double shares[] = {0, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
static uint64_t samples[SAMPLES_NR];
static struct hist parts[PARTS_NR];
static unsigned wrong_nr;

static void check(bool holds, const char *what, double share, uint64_t have, uint64_t want) {
    if (holds)
        return;
    wrong_nr++;
    printf("%s: share %g gives %llu, of %llu\n", what, share, (unsigned long long)have, (unsigned long long)want);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Of sorted samples: the least that the share does not exceed. */
static uint64_t exact(size_t nr, double share) {
    for (size_t at = 0; at < nr; at++)
        if ((double)(at + 1) >= share * (double)nr)
            return samples[at];
    return samples[nr - 1];
}

/* mask: how large the samples are. */
static void quantiles_check(const char *what, uint64_t mask, uint64_t *state) {
    for (size_t at = 0; at < SAMPLES_NR; at++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        samples[at] = (*state >> 32 | *state << 32) & mask >> (*state % 8);
        hist_add(&parts[at % PARTS_NR], samples[at]);
    }
    hist_merge(&parts[0], &parts[1]);
    qsort(samples, SAMPLES_NR, sizeof(samples[0]), compare);
    check(parts[0].nr == SAMPLES_NR, what, 1, parts[0].nr, SAMPLES_NR);
    for (size_t at = 0; at < sizeof(shares) / sizeof(shares[0]); at++) {
        uint64_t have = hist_quantile(&parts[0], shares[at]);
        uint64_t want = exact(SAMPLES_NR, shares[at]);

        check(have >= want && have - want <= want / HIST_STEPS, what, shares[at], have, want);
    }
    check(hist_quantile(&parts[0], 1) == samples[SAMPLES_NR - 1], what, 1, parts[0].max, samples[SAMPLES_NR - 1]);
    for (size_t part = 0; part < PARTS_NR; part++)
        parts[part] = (struct hist){0};
}

/* Where buckets meet. */
static void edges_check(void) {
    for (unsigned bit = 0; bit < 64; bit++) {
        for (uint64_t value = (UINT64_C(1) << bit) - (bit > 0); value <= UINT64_C(1) << bit; value++) {
            struct hist *hist = &parts[0];

            *hist = (struct hist){0};
            hist_add(hist, value);
            hist_add(hist, UINT64_MAX);
            uint64_t have = hist_quantile(hist, 0.5);
            check(have >= value && have - value <= value / HIST_STEPS, "edge", 0.5, have, value);
            check(hist_quantile(hist, 1) == UINT64_MAX, "edge", 1, hist_quantile(hist, 1), UINT64_MAX);
        }
    }
    parts[0] = (struct hist){0};
    check(hist_quantile(&parts[0], 0.5) == 0, "empty", 0.5, hist_quantile(&parts[0], 0.5), 0);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 20261123;
    uint64_t state = seed;

    printf("seed %llu\n", (unsigned long long)seed);
    edges_check();
    quantiles_check("all exact", 127, &state);
    quantiles_check("as latencies", (1 << 20) - 1, &state);
    quantiles_check("of 64 bits", UINT64_MAX, &state);
    printf("%u wrong\n", wrong_nr);
    return wrong_nr != 0;
}
