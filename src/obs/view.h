/* SPDX-License-Identifier: MIT */
/*
 * Where the accounts of a process lie, for another process that reads them out of its memory (`quarry explain PID`): a
 * constant that a reader finds by its magic number in the process's data and believes when it knows its own address.
 * Nothing is copied or kept for the reader, so nothing is older than the reading; the process does not take part.
 */
#ifndef QUARRY_OBS_VIEW_H
#define QUARRY_OBS_VIEW_H

#include "mag/region.h"
#include "page/tier.h"
#include "slab/class.h"

#define OBS_VIEW_MAGIC ((u64)0x1773697672617571) /* "quarvis" */

/* Changes when a struct that is read does, whatever the version says. */
#define OBS_VIEW_LAYOUT                                                                                                \
    ((u32)(sizeof(struct slab_class) + offsetof(struct slab_class, out_objs) * 3 + sizeof(struct mag_region) * 5 +     \
           offsetof(struct mag_region, slot) * 7 + sizeof(struct page_tier) * 11 +                                     \
           offsetof(struct page_tier, free_backed_granules) * 13 + sizeof(struct hpage) * 17 +                         \
           offsetof(struct hpage, big_bytes) * 19 + sizeof(struct chunk) * 23 + sizeof(struct rt_meta) * 29 +          \
           SLAB_CLASSES_NR * 31))

struct obs_view {
    u64 magic;
    const struct obs_view *self;
    u32 bytes, layout; /* of this struct; OBS_VIEW_LAYOUT */
    char version[16];
    const struct rt_meta *meta;
    const struct slab_geometry *geometry;
    struct slab_class (**classes)[SLAB_CLASSES_NR];
    struct page_tier **tiers;
    const unsigned *nodes_nr;
    const struct mag_regions_view *regions;
    const struct mag_depots_view *depots;
    const _Atomic(u64) *big_live_bytes, *big_regions;
    const _Atomic(s64) *usage_bytes;
};

#endif
