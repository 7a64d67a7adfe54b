/* SPDX-License-Identifier: MIT */
/*
 * Resident memory of another process over its life: samples with their times, at most RSS_SERIES_MAX of them. When
 * they are full every second one is dropped and the period doubles, so a program of any length gets a whole series.
 * Filled by who waits for the process (launch.c, ../real/measure.c); a header alone, because the latter is compiled
 * without the benches' library. One thread; allocates nothing.
 */
#ifndef BENCH_RSS_SERIES_H
#define BENCH_RSS_SERIES_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

enum { RSS_SERIES_MAX = 128, RSS_SERIES_MS = 20 };

struct rss_series {
    unsigned nr;
    unsigned period_ms;  /* least time between samples that are kept; 0 before the first */
    uint64_t last_bytes; /* of the last sample seen, kept or not; 0 when none was */
    struct {
        uint64_t ms;
        uint64_t bytes;
    } samples[RSS_SERIES_MAX];
};

/* Of a process, from statm; 0 when its memory is gone or was never there. */
static inline uint64_t rss_of(pid_t pid) {
    char path[64];
    char text[128];
    char *resident;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    strtoull(text, &resident, 10);
    return strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static inline void rss_series_thin(struct rss_series *series) {
    for (unsigned at = 0; at < RSS_SERIES_MAX / 2; at++)
        series->samples[at] = series->samples[2 * at];
    series->nr = RSS_SERIES_MAX / 2;
    series->period_ms *= 2;
}

/* One sample, ms after the start; those of 0 bytes are of a process that has ended and are left out. */
static inline void rss_series_add(struct rss_series *series, uint64_t ms, uint64_t bytes) {
    if (bytes == 0)
        return;
    if (series->period_ms == 0)
        series->period_ms = RSS_SERIES_MS;
    series->last_bytes = bytes;
    if (series->nr > 0 && ms < series->samples[series->nr - 1].ms + series->period_ms)
        return;
    if (series->nr == RSS_SERIES_MAX)
        rss_series_thin(series);
    series->samples[series->nr].ms = ms;
    series->samples[series->nr].bytes = bytes;
    series->nr++;
}

/* As a JSON list of [ms, bytes]. */
static inline int rss_series_write(FILE *file, const struct rss_series *series) {
    int written = fprintf(file, "[");

    for (unsigned at = 0; at < series->nr && written >= 0; at++)
        written = fprintf(file, "%s[%llu, %llu]", at > 0 ? ", " : "", (unsigned long long)series->samples[at].ms,
                          (unsigned long long)series->samples[at].bytes);
    return written >= 0 ? fprintf(file, "]") : written;
}

#endif
