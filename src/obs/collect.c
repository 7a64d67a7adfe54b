/* SPDX-License-Identifier: MIT */
/* Gathers every layer's accounts into one struct. Contract in obs.h. */
#include "big/big.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "obs/backing.h"
#include "obs/obs.h"
#include "obs/process.h"
#include "page/page.h"
#include "slab/slab.h"

static void collect_slabs(struct obs_stats *s) {
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        const struct slab_geometry *g = &slab_geometry[cls];
        struct slab_class_stats st;
        slab_class_stats_get(cls, &st);
        u64 held = st.slabs * g->granules * GRANULE_BYTES, out = st.out_objs * g->size_bytes;
        u64 tail = st.slabs * (g->granules * GRANULE_BYTES - (u64)g->nobj * g->size_bytes);
        s->slabs += st.slabs;
        s->slab_tail_bytes += tail;
        s->slab_purged_bytes += st.purged_bytes;
        s->live_bytes += out;
        s->slab_free_bytes += held - MIN(held, out + tail + st.purged_bytes);
    }
}

static void collect_mag(struct obs_stats *s) {
    struct mag_stats m;
    mag_stats_get(&m);
    s->cached_bytes = m.cached_bytes;
    s->depot_bytes = m.depot_bytes;
    s->live_bytes -= MIN(s->live_bytes, m.cached_bytes + m.depot_bytes);
    s->ids = m.ids;
    s->slow_allocs = m.slow_allocs;
    s->slow_frees = m.slow_frees;
    s->refills = m.refills;
    s->flushes = m.flushes;
    s->depot_gets = m.depot_gets;
    s->depot_puts = m.depot_puts;
    s->drains = m.drains;
    s->fallback_ops = m.fallback_ops;
}

static void collect_pages(struct obs_stats *s) {
    struct page_stats p;
    struct big_stats b;
    page_stats_get(&p);
    big_stats_get(&b);
    s->run_free_bytes = p.run_free_bytes;
    s->huge_bytes = p.huge_bytes;
    s->purged_bytes_total = p.purged_bytes_total;
    s->purges = p.purges;
    s->big_live_bytes = b.live_bytes;
    s->big_cached_bytes = b.cached_bytes;
    s->big_regions = b.regions;
    s->live_bytes += b.live_bytes;
    s->committed_bytes = p.committed_bytes + b.live_bytes + b.cached_bytes;
    s->backed_bytes = page_backed_bytes_racy() + b.live_bytes + b.cached_bytes;
}

/* A moment is still enough when what moved while it was read is less than one part in STILL_PART; a program that does
 * not rest for so long is shown at the stillest moment of TRIES_NR. */
enum { TRIES_NR = 16, STILL_PART = 256 };

static u64 minus(u64 a, u64 b) { return a - MIN(a, b); }
static u64 apart(u64 a, u64 b) { return MAX(a, b) - MIN(a, b); }

/* What was counted, less what the kernel says is not there, beside what the kernel says of the whole. The counted parts
 * and the pages have no source in common, so that a part left out shows as a difference. */
static void sums_add(struct obs_stats *s, const struct obs_backing *b) {
    u64 counted = s->live_bytes + s->cached_bytes + s->depot_bytes + s->slab_free_bytes + s->slab_tail_bytes +
                  s->run_free_bytes + s->big_cached_bytes;
    s->heap_resident_bytes = b->heap_bytes;
    s->meta_resident_bytes = b->meta_bytes;
    s->unasked_bytes = b->unasked_bytes;
    s->untouched_bytes = minus(b->unbacked_bytes, s->slab_purged_bytes);
    s->not_ours_bytes = minus(s->kernel_anon_bytes, b->heap_bytes + b->meta_bytes);
    s->accounted_bytes =
        minus(counted + s->meta_resident_bytes + s->unasked_bytes + s->not_ours_bytes, s->untouched_bytes);
    s->difference_bytes = apart(s->accounted_bytes, s->kernel_anon_bytes);
}

static void counters_collect(struct obs_stats *s) {
    *s = (struct obs_stats){0};
    collect_slabs(s);
    collect_mag(s);
    collect_pages(s);
}

/* The counters and the kernel's figure; false when the kernel does not say. */
static bool collect_moment(struct obs_stats *s) {
    counters_collect(s);
    return obs_anonymous_read(&s->kernel_anon_bytes);
}

static u64 motion_bytes(const struct obs_stats *a, const struct obs_stats *b) {
    return apart(a->live_bytes, b->live_bytes) + apart(a->backed_bytes, b->backed_bytes) +
           apart(a->kernel_anon_bytes, b->kernel_anon_bytes);
}

/* The kernel's page table takes a while to read, and the program goes on: read before and after, and keep the reading
 * during which least moved. How well the sums agree has no say in it. */
static void collect_still(struct obs_stats *ret_stats) {
    struct obs_stats before, after;
    u64 least = UINT64_MAX;
    for (int tries = 0; tries < TRIES_NR && least > ret_stats->kernel_anon_bytes / STILL_PART; tries++) {
        struct obs_backing b;
        bool known = collect_moment(&before);
        obs_backing_read(&b);
        if (!known || !b.known) {
            before.kernel_anon_bytes = 0;
            *ret_stats = before;
            return;
        }
        (void)collect_moment(&after);
        /* The records that were walked against the counters: a region between two owners is in one of them only. */
        u64 walked = minus(b.heap_bytes + b.unbacked_bytes, b.unasked_bytes + after.slab_purged_bytes);
        u64 motion = motion_bytes(&before, &after) + apart(walked, after.backed_bytes);
        if (motion < least) {
            least = motion;
            *ret_stats = after;
            sums_add(ret_stats, &b);
        }
    }
}

void obs_collect(struct obs_stats *ret_stats, enum obs_depth depth) {
    *ret_stats = (struct obs_stats){0};
    if (!engine_ready())
        return;
    if (depth == OBS_KERNEL)
        collect_still(ret_stats);
    else
        counters_collect(ret_stats);
    ret_stats->meta_bytes = atomic_load_explicit(&rt_meta.used_bytes, memory_order_relaxed);
    ret_stats->limit_soft_bytes = rt_opt.limit_soft;
    ret_stats->limit_hard_bytes = rt_opt.limit_hard;
    ret_stats->limit_soft_hits = atomic_load_explicit(&engine_soft_hits, memory_order_relaxed);
    ret_stats->limit_hard_hits = atomic_load_explicit(&engine_hard_hits, memory_order_relaxed);
    ret_stats->ticks = atomic_load_explicit(&engine_ticks_nr, memory_order_relaxed);
    ret_stats->calls_malloc = atomic_load_explicit(&engine_calls[ENGINE_CALL_MALLOC], memory_order_relaxed);
    ret_stats->calls_calloc = atomic_load_explicit(&engine_calls[ENGINE_CALL_CALLOC], memory_order_relaxed);
    ret_stats->calls_realloc = atomic_load_explicit(&engine_calls[ENGINE_CALL_REALLOC], memory_order_relaxed);
    ret_stats->calls_memalign = atomic_load_explicit(&engine_calls[ENGINE_CALL_MEMALIGN], memory_order_relaxed);
    ret_stats->calls_free = atomic_load_explicit(&engine_calls[ENGINE_CALL_FREE], memory_order_relaxed);
    s64 peak = atomic_load_explicit(&engine_peak_bytes, memory_order_relaxed);
    ret_stats->peak_live_bytes = MAX((u64)peak, ret_stats->live_bytes);
}
