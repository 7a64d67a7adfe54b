/* SPDX-License-Identifier: MIT */
/* Gathers every layer's accounts into one struct. Contract in obs.h. */
#include "big/big.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "obs/obs.h"
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

void obs_collect(struct obs_stats *ret_stats) {
    *ret_stats = (struct obs_stats){0};
    if (!engine_ready())
        return;
    collect_slabs(ret_stats);
    collect_mag(ret_stats);
    collect_pages(ret_stats);
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
