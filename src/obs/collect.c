/* SPDX-License-Identifier: MIT */
/* Gathers every layer's accounts into one struct. Contract in obs.h. */
#include "big/big.h"
#include "buddy/buddy.h"
#include "engine/guard.h"
#include "engine/pressure.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "obs/backing.h"
#include "obs/obs.h"
#include "obs/process.h"
#include "obs/sums.h"
#include "obs/view.h"
#include "rt/usage.h"
#include "sys/sys.h"

static void collect_slabs(struct obs_stats *s) {
    for (unsigned cls = 1; cls < slab_ids_end_get(); cls++) {
        const struct slab_geometry *g = slab_geometry_of(cls);
        struct slab_class_stats st;
        slab_class_stats_get(cls, &st);
        /* Objects of a made class have the size that was asked for. */
        obs_class_add(s, g, cls < SLAB_CLASSES_NR ? slab_geometry[cls - 1].size_bytes : g->size_bytes, &st);
    }
}

static void collect_mag(struct obs_stats *s) {
    struct mag_stats m;
    mag_stats_get(&m);
    s->cached_bytes = m.cached_bytes;
    s->depot_bytes = m.depot_bytes;
    obs_cached_take(s);
    s->ids = m.ids;
    s->slow_allocs = m.slow_allocs;
    s->slow_frees = m.slow_frees;
    s->refills = m.refills;
    s->flushes = m.flushes;
    s->depot_gets = m.depot_gets;
    s->depot_puts = m.depot_puts;
    s->nodes = page_nodes_nr();
    s->remote_frees = m.remote_frees;
    s->astray_objs = m.astray_objs;
    s->node_moves = m.node_moves;
    s->drains = m.drains;
    s->fallback_ops = m.fallback_ops;
}

static void collect_pages(struct obs_stats *s) {
    struct page_stats p;
    struct big_stats b;
    struct buddy_stats pages;
    page_stats_get(&p);
    buddy_stats_get(&pages);
    big_stats_get(&b);
    s->run_free_bytes = p.run_free_bytes + pages.reserve_bytes;
    s->huge_bytes = p.huge_bytes;
    s->hugetlb_bytes = p.hugetlb_bytes;
    s->purged_bytes_total = p.purged_bytes_total;
    s->purges = p.purges;
    s->page_lock_waits = p.lock_waits;
    s->page_lock_wait_ms = p.lock_wait_ms;
    s->collapses = p.collapses;
    s->big_live_bytes = b.live_bytes;
    s->big_cached_bytes = b.cached_bytes;
    s->big_regions = b.regions;
    s->pages_live_bytes = pages.live_bytes;
    s->pages_free_bytes = pages.free_bytes;
    s->pages_unbacked_bytes = pages.unbacked_bytes;
    s->live_bytes += b.live_bytes + pages.live_bytes;
    s->committed_bytes = p.committed_bytes + b.live_bytes + b.cached_bytes;
    s->backed_bytes = page_backed_bytes_racy() + b.live_bytes + b.cached_bytes;
}

/* A moment is still enough when what moved while it was read is less than one part in STILL_PART; a program that does
 * not rest for so long is shown at the stillest moment of TRIES_NR, or of as many as are over in so much of the asking
 * thread's time: a walk takes some ms for each GiB. */
enum { TRIES_NR = 16, STILL_PART = 256 };
#define TRIES_NS ((u64)50000000)

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

/* The kernel's page table takes a while to read, and the program goes on: read before and after, and keep the reading
 * during which least moved. How well the sums agree has no say in it. */
static void collect_still(struct obs_stats *ret_stats) {
    struct obs_stats before, after;
    u64 least = UINT64_MAX, start_ns = sys_clock_thread_ns();
    for (int tries = 0; tries < TRIES_NR && least > ret_stats->kernel_anon_bytes / STILL_PART; tries++) {
        if (tries != 0 && sys_clock_thread_ns() - start_ns >= TRIES_NS)
            return;
        struct obs_backing b;
        bool known = collect_moment(&before);
        obs_backing_read(&b);
        if (!known || !b.known) {
            before.kernel_anon_bytes = 0;
            *ret_stats = before;
            return;
        }
        (void)collect_moment(&after);
        u64 motion = obs_motion_bytes(&before, &after) + obs_walk_motion_bytes(&after, &b);
        if (motion < least) {
            least = motion;
            *ret_stats = after;
            obs_sums_add(ret_stats, &b);
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
    struct engine_pressure pressure;
    engine_pressure_get(&pressure);
    ret_stats->limit_soft_bytes = pressure.soft_bytes;
    ret_stats->limit_hard_bytes = pressure.hard_bytes;
    ret_stats->limit_soft_hits = atomic_load_explicit(&engine_soft_hits, memory_order_relaxed);
    ret_stats->limit_hard_hits = atomic_load_explicit(&engine_hard_hits, memory_order_relaxed);
    ret_stats->guard_objects = atomic_load_explicit(&guard_objects_nr, memory_order_relaxed);
    ret_stats->guard_samples = atomic_load_explicit(&guard_samples_nr, memory_order_relaxed);
    ret_stats->ticks = atomic_load_explicit(&engine_ticks_nr, memory_order_relaxed);
    ret_stats->calls_malloc = engine_calls_get(ENGINE_CALL_MALLOC);
    ret_stats->calls_calloc = engine_calls_get(ENGINE_CALL_CALLOC);
    ret_stats->calls_realloc = engine_calls_get(ENGINE_CALL_REALLOC);
    ret_stats->calls_memalign = engine_calls_get(ENGINE_CALL_MEMALIGN);
    ret_stats->calls_free = engine_calls_get(ENGINE_CALL_FREE);
    s64 peak = engine_peak_get();
    ret_stats->peak_live_bytes = MAX((u64)peak, ret_stats->live_bytes);
}

/* Not in collecting's way: only its address is in the process's data, for a reader from outside. */
extern const struct obs_view obs_view;
__attribute__((used)) const struct obs_view obs_view = {
    .head = {OBS_VIEW_MAGIC, &obs_view, sizeof(struct obs_view), OBS_VIEW_LAYOUT, QUARRY_VERSION_TEXT},
    .meta = &rt_meta,
    .geometry = slab_geometry,
    .classes = slab_classes,
    .tiers = page_node_tiers,
    .nodes_nr = &page_nodes_opened,
    .nodes = &page_nodes_view,
    .remote_frees = &mag_remote_matrix,
    .ids_end = &slab_ids_end,
    .made = &slab_made_view,
    .regions = &mag_regions_view,
    .depots = &mag_depots_view,
    .magazine_caps = mag_class_cap,
    .buddy = &buddy_view,
    .reserve = &page_reserve_view,
    .big_held_bytes = &big_held_bytes,
    .big_held_nr = &big_held_nr,
    .big_kept = kept_words,
    .hugetlb_regions_bytes = &page_hugetlb_regions_bytes,
    .usage_bytes = &rt_usage_bytes,
};
