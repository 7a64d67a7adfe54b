/* SPDX-License-Identifier: MIT */
/*
 * Reading of histograms (see hist.h). No state.
 */
#include "hist.h"

/* The largest value of a bucket; undoes hist_bucket(). */
static uint64_t bucket_end(size_t bucket) {
    if (bucket < HIST_STEPS)
        return bucket;
    size_t shift = bucket / HIST_STEPS - 1;
    uint64_t highest_bits = bucket - shift * HIST_STEPS;

    return ((highest_bits + 1) << shift) - 1;
}

void hist_merge(struct hist *hist, const struct hist *other) {
    for (size_t bucket = 0; bucket < HIST_BUCKETS; bucket++)
        hist->counts[bucket] += other->counts[bucket];
    hist->nr += other->nr;
    if (other->max > hist->max)
        hist->max = other->max;
}

uint64_t hist_quantile(const struct hist *hist, double share) {
    double wanted = share * (double)hist->nr;
    uint64_t seen = 0;

    for (size_t bucket = 0; bucket < HIST_BUCKETS; bucket++) {
        seen += hist->counts[bucket];
        if (seen > 0 && (double)seen >= wanted)
            return bucket_end(bucket) < hist->max ? bucket_end(bucket) : hist->max;
    }
    return hist->max;
}
