/* SPDX-License-Identifier: MIT */
/*
 * A series of resident memory keeps the whole life of a process in its bounds: the first sample, the last, times that
 * go on at an even distance, and no more than there is room for, however long it gets.
 */
#include "../../bench/lib/rss_series.h"

#include <stdbool.h>

static unsigned wrong_nr;

static void check(bool holds, const char *what, uint64_t have) {
    if (holds)
        return;
    wrong_nr++;
    printf("%s: %llu\n", what, (unsigned long long)have);
}

/* Samples of one process, one each RSS_SERIES_MS; bytes say when. */
static void life_check(uint64_t samples_nr) {
    struct rss_series series = {0};

    for (uint64_t at = 0; at < samples_nr; at++)
        rss_series_add(&series, at * RSS_SERIES_MS, at + 1);
    rss_series_add(&series, samples_nr * RSS_SERIES_MS, 0);
    check(series.last_bytes == samples_nr, "the last is not what was seen last", series.last_bytes);
    check(series.nr > 0 && series.nr <= RSS_SERIES_MAX, "samples", series.nr);
    check(samples_nr > RSS_SERIES_MAX ? series.nr >= RSS_SERIES_MAX / 2 : series.nr == samples_nr, "kept", series.nr);
    check(series.samples[0].ms == 0, "begins late", series.samples[0].ms);
    check(series.samples[series.nr - 1].ms + 2u * series.period_ms > (samples_nr - 1) * RSS_SERIES_MS, "ends early",
          series.samples[series.nr - 1].ms);
    for (unsigned at = 0; at < series.nr; at++) {
        check(series.samples[at].ms == (uint64_t)at * series.period_ms, "time", series.samples[at].ms);
        check(series.samples[at].bytes == series.samples[at].ms / RSS_SERIES_MS + 1, "bytes", series.samples[at].bytes);
    }
}

int main(void) {
    static const uint64_t lives[] = {1, 2, RSS_SERIES_MAX, RSS_SERIES_MAX + 1, 1000, 100000};

    for (unsigned at = 0; at < sizeof(lives) / sizeof(lives[0]); at++)
        life_check(lives[at]);
    check(rss_of(getpid()) > 0, "this process has no memory", rss_of(getpid()));
    printf("%u wrong\n", wrong_nr);
    return wrong_nr != 0;
}
