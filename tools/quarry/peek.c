/* SPDX-License-Identifier: MIT */
/*
 * The accounts of a running process, put together as obs/collect.c does of its own: the heap's counters, what the
 * kernel says of each page, and the kernel's sum by /proc/PID/smaps_rollup. How the process is read is target.c's.
 */
#include "peek.h"

#include "buddies.h"
#include "classes.h"
#include "obs/sums.h"
#include "quarry.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    TRIES_NR = 8,
    STILL_PART = 256, /* as obs/collect.c */
    NODES_MAX = 64,
    RESERVE_BLOCKS_MAX = 1 << 16,
};

/* --- counters --- */

static unsigned nodes_nr(const struct target *t) {
    unsigned nr = 0;
    return target_peek(t, &nr, t->view.nodes_nr, sizeof(nr)) ? MIN(nr, (unsigned)NODES_MAX) : 0;
}

static bool slabs_read(const struct target *t, struct obs_stats *s) {
    static struct classes classes;
    if (!classes_read(t, &classes) || !classes_read_more(t, &classes))
        return false;
    for (unsigned cls = 1; cls < classes.nr; cls++) {
        const struct class_figures *c = &classes.by_id[cls];
        /* Objects of a made class have the size that was asked for. */
        const struct class_figures *below = cls < SLAB_CLASSES_NR ? c - 1 : c;
        obs_class_add(s, &c->geometry, below->geometry.size_bytes, &c->stats);
        s->cached_bytes += c->magazine_objs * c->geometry.size_bytes;
        s->depot_bytes += c->depot_objs * c->geometry.size_bytes;
    }
    return true;
}

/* As page_reserve_bytes_racy(). */
static u64 reserve_bytes(const struct target *t) {
    struct page_reserve_view reserve;
    unsigned nr = 0;
    u64 granules = 0, word;
    if (!target_peek(t, &reserve, t->view.reserve, sizeof(reserve)) ||
        !target_peek(t, &nr, reserve.blocks_nr, sizeof(nr)))
        return 0;
    for (unsigned node = 0; node < nodes_nr(t); node++) {
        const char *blocks = target_peek_pointer(t, (const char *)reserve.blocks_at + node * sizeof(void *));
        for (unsigned i = 0; blocks != NULL && i < MIN(nr, (unsigned)RESERVE_BLOCKS_MAX); i++) {
            if (target_peek(t, &word, blocks + i * reserve.stride_bytes, sizeof(word)))
                granules += bits_count((u32)word);
        }
    }
    return granules * GRANULE_BYTES;
}

/* As big_stats_get(), but for the regions that are freed and not kept. */
static void regions_read(const struct target *t, struct obs_stats *s) {
    u64 kept[KEPT_NR] = {0};
    (void)target_peek(t, &s->big_live_bytes, t->view.big_held_bytes, sizeof(u64));
    (void)target_peek(t, &s->big_regions, t->view.big_held_nr, sizeof(u64));
    (void)target_peek(t, kept, t->view.big_kept, sizeof(kept));
    for (unsigned i = 0; i < KEPT_NR; i++) {
        s->big_live_bytes = obs_minus(s->big_live_bytes, kept_word_bytes(kept[i]));
        s->big_regions = obs_minus(s->big_regions, kept[i] != 0);
    }
}

static void pages_read(const struct target *t, struct obs_stats *s) {
    static struct page_tier tier;
    struct buddy_stats blocks;
    s64 usage = 0;
    u64 pages = 0;
    buddies_read(t, &blocks);
    regions_read(t, s);
    (void)target_peek(t, &usage, t->view.usage_bytes, sizeof(usage));
    (void)target_peek(t, &s->hugetlb_bytes, t->view.hugetlb_regions_bytes, sizeof(u64));
    s->run_free_bytes = reserve_bytes(t) + blocks.reserve_bytes;
    for (unsigned i = 0; i < nodes_nr(t) * NODE_TIERS_NR; i++) {
        const struct page_tier *tiers = target_peek_pointer(t, &t->view.tiers[i / NODE_TIERS_NR]);
        if (tiers == NULL || !target_peek(t, &tier, &tiers[i % NODE_TIERS_NR], sizeof(tier)))
            continue;
        s->run_free_bytes += (tier.free_backed_granules + tier.hugetlb_free_granules) * GRANULE_BYTES;
        s->hugetlb_bytes += tier.hugetlb_bytes;
        pages += obs_minus(tier.backed_granules_racy * GRANULE_BYTES, tier.inside_purged_bytes);
    }
    s->pages_live_bytes = blocks.live_bytes;
    s->pages_free_bytes = blocks.free_bytes;
    s->pages_unbacked_bytes = blocks.unbacked_bytes;
    s->live_bytes += s->big_live_bytes + blocks.live_bytes;
    s->big_cached_bytes = obs_minus((u64)MAX(usage, 0), pages + s->big_live_bytes);
    s->backed_bytes = pages + s->big_live_bytes + s->big_cached_bytes;
}

static bool kernel_read(const struct target *t, struct obs_stats *s) {
    char path[64], line[256];
    u64 kib = 0, pool_kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)t->pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "Anonymous: %" SCNu64, &kib);
        (void)sscanf(line, "Private_Hugetlb: %" SCNu64, &pool_kib);
    }
    if (file != NULL)
        fclose(file);
    s->kernel_anon_bytes = (kib + pool_kib) * KIB;
    return kib != 0;
}

static bool counters_read(const struct target *t, struct obs_stats *s) {
    *s = (struct obs_stats){0};
    if (!slabs_read(t, s))
        return false;
    obs_cached_take(s);
    pages_read(t, s);
    return kernel_read(t, s);
}

/* --- pages, as obs/backing.c of its own process --- */

static void runs_add(const struct target *t, const struct hpage *h, struct obs_backing *b) {
    u64 entries[TARGET_ENTRIES_NR];
    size_t nr = target_entries_read(t, entries, h->addr, HPAGE_BYTES / t->page_bytes);
    for (size_t i = 0; i < nr; i++) {
        unsigned granule = (unsigned)(i * t->page_bytes / GRANULE_BYTES);
        bool backed = (h->backed[granule / 64] >> granule % 64 & 1) != 0, memory = target_entry_has_memory(entries[i]);
        b->heap_bytes += memory ? t->page_bytes : 0;
        b->unbacked_bytes += backed && !memory ? t->page_bytes : 0;
        b->unasked_bytes += memory && !backed ? t->page_bytes : 0;
    }
}

static void region_add(const struct target *t, const struct hpage *h, struct obs_backing *b) {
    size_t rest_bytes = hpage_big_end_bytes(h, h->big_bytes) - h->big_bytes;
    u64 memory = target_memory_bytes(t, h->addr, h->big_bytes);
    u64 rest = target_memory_bytes(t, h->addr + h->big_bytes, rest_bytes);
    b->heap_bytes += memory + rest;
    b->unasked_bytes += rest;
    b->unbacked_bytes += obs_minus(h->big_bytes, memory);
}

static void chunk_add(const struct target *t, const struct chunk *at, size_t idx, void *arg) {
    static struct hpage hpages[CHUNK_HPAGES];
    struct obs_backing *b = arg;
    if (!target_hpages_read(t, at, hpages))
        return;
    for (const struct hpage *h = hpages; h < hpages + CHUNK_HPAGES; h++) {
        if (h->state == HPAGE_RUNS) {
            runs_add(t, h, b);
        } else if (h->state == HPAGE_BIG) {
            region_add(t, h, b);
        }
    }
    b->meta_bytes += target_memory_bytes(t, rt_meta_map(&t->meta) + idx * CHUNK_GRANULES, CHUNK_GRANULES * sizeof(u32));
}

/* Freed regions that are kept have no record that says so: they count as they are accounted. */
static void backing_read(const struct target *t, struct obs_backing *b, u64 big_cached_bytes) {
    *b = (struct obs_backing){.known = true};
    b->meta_bytes += target_chunks_each(t, chunk_add, b);
    b->heap_bytes += big_cached_bytes;
    b->meta_bytes += target_memory_bytes(t, t->meta.base, t->meta.used_bytes);
}

/* --- all of it --- */

bool peek_collect(struct target *t, struct obs_stats *ret_stats) {
    struct obs_stats before, after;
    struct obs_backing b;
    u64 least = UINT64_MAX;
    *ret_stats = (struct obs_stats){0};
    for (int tries = 0; tries < TRIES_NR && least > ret_stats->kernel_anon_bytes / STILL_PART; tries++) {
        bool read = counters_read(t, &before);
        if (!target_is_same(t))
            return false;
        backing_read(t, &b, before.big_cached_bytes);
        if (!read || !counters_read(t, &after))
            continue;
        u64 motion = obs_motion_bytes(&before, &after) + obs_walk_motion_bytes(&after, &b);
        if (motion < least) {
            least = motion;
            *ret_stats = after;
            obs_sums_add(ret_stats, &b);
        }
    }
    return target_is_same(t) && least != UINT64_MAX;
}
