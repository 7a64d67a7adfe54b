/* SPDX-License-Identifier: MIT */
/*
 * Accounts gathered from every layer into one struct, and reports made from it. The fields are the rows of
 * obs/stats.def. Collecting walks every magazine and slab counter; it takes no lock the allocator's fast or slow path
 * needs for long, allocates nothing and may run in any thread.
 */
#ifndef QUARRY_OBS_OBS_H
#define QUARRY_OBS_OBS_H

#include "base/types.h"

struct obs_stats {
#define STAT(name, unit, doc) u64 name;
#include "obs/stats.def"
#undef STAT
};

enum obs_depth {
    OBS_COUNTERS, /* what quarry counts itself: microseconds; the figures asked of the kernel are 0 */
    OBS_KERNEL,   /* and what the kernel says of each page: some ms for each GiB, in a busy process up to 16 times or 50
                     ms */
};

/* A consistent-enough snapshot: each figure is exact at some moment during the call. */
void obs_collect(struct obs_stats *ret_stats, enum obs_depth depth);

/* Whether the figure at this offset of struct obs_stats needs OBS_KERNEL: those rows stand together in the table. */
static inline bool obs_asks_kernel(size_t offset) {
    return offset >= offsetof(struct obs_stats, meta_resident_bytes) &&
           offset <= offsetof(struct obs_stats, difference_bytes);
}

/* Writes the whole report to a file descriptor with write(2) alone. Async-signal-safe. */
void obs_report_text(int fd);
void obs_report_json(int fd);
/* What `tools/run` prints at the end: a few lines (calls by kind, peak live against peak RSS, hugepage share, per-CPU
 * mode). */
void obs_report_short(int fd);
/* malloc_info(3)'s XML, through a caller's sink so that no stdio is needed here. */
typedef void (*obs_sink_fn)(void *arg, const char *text, size_t bytes);
void obs_report_xml(obs_sink_fn sink, void *arg);

#endif
