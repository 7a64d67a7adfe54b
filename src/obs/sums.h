/* SPDX-License-Identifier: MIT */
/* How figures follow from each other, for whoever gathers them: collect.c of its own process, the quarry command of
 * another. Pure. */
#ifndef QUARRY_OBS_SUMS_H
#define QUARRY_OBS_SUMS_H

#include "obs/backing.h"
#include "obs/obs.h"
#include "slab/slab.h"

static inline u64 obs_minus(u64 a, u64 b) { return a - MIN(a, b); }
static inline u64 obs_apart(u64 a, u64 b) { return MAX(a, b) - MIN(a, b); }

/* One size class; below is the size of the next smaller one, 0 for none. */
static inline void obs_class_add(struct obs_stats *s, const struct slab_geometry *g, u32 below,
                                 const struct slab_class_stats *st) {
    u64 held = st->slabs * g->granules * GRANULE_BYTES, out = st->out_objs * g->size_bytes;
    u64 tail = st->slabs * (g->granules * GRANULE_BYTES - (u64)g->nobj * g->size_bytes);
    s->slabs += st->slabs;
    s->slab_tail_bytes += tail;
    s->slab_purged_bytes += st->purged_bytes;
    s->live_bytes += out;
    s->rounding_bytes += st->out_objs * (g->size_bytes - below) / 2;
    s->slab_free_bytes += obs_minus(held, out + tail + st->purged_bytes);
}

/* Objects counted as out that no program holds. The rounding estimate shrinks in proportion. */
static inline void obs_cached_take(struct obs_stats *s) {
    u64 live = obs_minus(s->live_bytes, s->cached_bytes + s->depot_bytes);
    s->rounding_bytes =
        s->live_bytes == 0 ? 0 : (u64)((double)s->rounding_bytes * (double)live / (double)s->live_bytes);
    s->live_bytes = live;
}

/* What was counted, less what the kernel says is not there, beside what the kernel says of the whole. The counted parts
 * and the pages have no source in common, so that a part left out shows as a difference. */
static inline void obs_sums_add(struct obs_stats *s, const struct obs_backing *b) {
    u64 counted = s->live_bytes + s->cached_bytes + s->depot_bytes + s->slab_free_bytes + s->slab_tail_bytes +
                  s->run_free_bytes + s->pages_free_bytes + s->big_cached_bytes;
    s->heap_resident_bytes = b->heap_bytes;
    s->meta_resident_bytes = b->meta_bytes;
    s->unasked_bytes = b->unasked_bytes;
    s->untouched_bytes = obs_minus(b->unbacked_bytes, s->slab_purged_bytes + s->pages_unbacked_bytes);
    s->not_ours_bytes = obs_minus(s->kernel_anon_bytes, b->heap_bytes + b->meta_bytes);
    s->accounted_bytes =
        obs_minus(counted + s->meta_resident_bytes + s->unasked_bytes + s->not_ours_bytes, s->untouched_bytes);
    s->difference_bytes = obs_apart(s->accounted_bytes, s->kernel_anon_bytes);
}

static inline u64 obs_motion_bytes(const struct obs_stats *a, const struct obs_stats *b) {
    return obs_apart(a->live_bytes, b->live_bytes) + obs_apart(a->backed_bytes, b->backed_bytes) +
           obs_apart(a->kernel_anon_bytes, b->kernel_anon_bytes);
}

/* The records that were walked against the counters: a region between two owners is in one of them only. */
static inline u64 obs_walk_motion_bytes(const struct obs_stats *s, const struct obs_backing *b) {
    u64 without = b->unasked_bytes + s->slab_purged_bytes + s->pages_unbacked_bytes;
    return obs_apart(obs_minus(b->heap_bytes + b->unbacked_bytes, without), s->backed_bytes);
}

#endif
