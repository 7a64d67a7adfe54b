/* SPDX-License-Identifier: MIT */
/*
 * Where the accounts of a process lie, for another process that reads them out of its memory (`quarry explain PID`): a
 * constant that a reader finds by its magic number in the process's data and believes when it knows its own address.
 * Nothing is copied or kept for the reader, so nothing is older than the reading; the process does not take part.
 */
#ifndef QUARRY_OBS_VIEW_H
#define QUARRY_OBS_VIEW_H

#include "big/area.h"
#include "big/kept.h"
#include "buddy/block.h"
#include "mag/region.h"
#include "page/tier.h"
#include "slab/class.h"

#define OBS_VIEW_MAGIC ((u64)0x1773697672617571) /* "quarvis" */

/* Counts up with every change of what a field means that changes no size or place. */
enum { OBS_VIEW_MEANING = 3 };

/* Changes when a struct that is read does, or what it means, whatever the version says. */
#define OBS_VIEW_LAYOUT                                                                                                \
    ((u32)(sizeof(struct slab_class) + offsetof(struct slab_class, out_objs) * 3 + sizeof(struct mag_region) * 5 +     \
           offsetof(struct mag_region, slot) * 7 + sizeof(struct page_tier) * 11 +                                     \
           offsetof(struct page_tier, free_backed_granules) * 13 + sizeof(struct hpage) * 17 +                         \
           offsetof(struct hpage, big_bytes) * 19 + sizeof(struct chunk) * 23 + sizeof(struct rt_meta) * 29 +          \
           SLAB_CLASSES_NR * 31 + SLAB_IDS_NR * 37 + sizeof(struct buddy_block) * 41 +                                 \
           offsetof(struct buddy_block, free) * 43 + PAGE_NODES_MAX * 47 + OBS_VIEW_MEANING * 53 + KEPT_NR * 59 +      \
           (KEPT_SIZE_SHIFT + KEPT_SIZE_BITS * 3 + KEPT_SLACK_BITS * 5) * 61))

/* How every such constant begins; that of libquarry-kmem is kmem/view.h. */
struct obs_view_head {
    u64 magic;
    const void *self;
    u32 bytes, layout; /* of the constant; a checksum of what it leads to */
    char version[16];
};

struct obs_view {
    struct obs_view_head head;
    const struct rt_meta *meta;
    const struct slab_geometry *geometry;
    struct slab_class *const *classes; /* by node: a row of SLAB_CLASSES_NR */
    struct page_tier *const *tiers;    /* by node: NODE_TIERS_NR of them */
    const _Atomic(unsigned) *nodes_nr;
    const struct page_nodes_view *nodes;
    _Atomic(u64) *const *remote_frees; /* as mag_remote_matrix */
    const _Atomic(unsigned) *ids_end;
    const struct slab_made_view *made;
    const struct mag_regions_view *regions;
    const struct mag_depots_view *depots;
    const _Atomic(u16) *magazine_caps; /* objects of a magazine at most, by id below SLAB_SLOT_IDS_NR */
    const struct buddy_view *buddy;
    const struct page_reserve_view *reserve;
    const _Atomic(u64) *big_held_bytes, *big_held_nr, *big_kept, *hugetlb_regions_bytes; /* big_kept: KEPT_NR */
    const _Atomic(s64) *usage_bytes;
};

#endif
