/* SPDX-License-Identifier: MIT */
/*
 * Histogram of latencies or other whole numbers, for percentiles far out without a table of all samples. Buckets are
 * exact up to 127 and then 64 to every power of two, so that a percentile is at most 1.6 % above the sample it stands
 * for; the maximum is exact. The storage belongs to the caller, is zero at the start and never grows. One thread writes
 * a histogram; several threads keep one each and hist_merge() joins them afterwards.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stddef.h>
#include <stdint.h>

enum { HIST_STEP_SHIFT = 6, HIST_STEPS = 1 << HIST_STEP_SHIFT, HIST_BUCKETS = (64 - HIST_STEP_SHIFT + 1) * HIST_STEPS };

struct hist {
    uint64_t nr;
    uint64_t max;
    uint64_t counts[HIST_BUCKETS];
};

/* The bucket's index: the power of two above the exact range, then the highest bits below it. */
static inline size_t hist_bucket(uint64_t value) {
    if (value < HIST_STEPS)
        return (size_t)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HIST_STEP_SHIFT;
    return ((size_t)shift << HIST_STEP_SHIFT) + (size_t)(value >> shift);
}

static inline void hist_add(struct hist *hist, uint64_t value) {
    hist->counts[hist_bucket(value)]++;
    hist->nr++;
    if (value > hist->max)
        hist->max = value;
}

/* Adds all samples of other, which stays as it is. */
void hist_merge(struct hist *hist, const struct hist *other);

/* The least value that at least this share (0..1) of all samples do not exceed, up to its bucket's end; 0 if empty. */
uint64_t hist_quantile(const struct hist *hist, double share);

#endif
