/* SPDX-License-Identifier: MIT */
/*
 * One magazine at a time. Its header word keeps, above the mark that ends a pop, the block's capacity, size and node;
 * while it lies in a stack the high half links it (rt/pool.h). Its trailer keeps, above the mark that ends a push, the
 * block's address.
 *
 *   [M1] Between header and trailer no word is odd, above the top neither: a push would take it for the trailer.
 * Objects are even; a block comes zeroed, and leaves for the pool of magazines without its trailer, because it may
 * return with another capacity.
 */
#include "base/bits.h"
#include "mag/region.h"
#include "rt/misuse.h"
#include "rt/options.h"
#include "rt/pool.h"

enum {
    HEADER_CAP_SHIFT = 8,
    HEADER_CAP_MASK = 0xfff,
    HEADER_SHIFT_SHIFT = 20,
    HEADER_SHIFT_MASK = 0xf,
    HEADER_NODE_SHIFT = 24,
    HEADER_NODE_MASK = PAGE_NODES_MAX - 1,
    LARGE_TIMES = 4 /* of what an id may hold in large objects, 4 MiB, that is a quarter for one class */
};

/* In slots of ids that have no magazine yet: empty and full at once, replaceable. */
u64 mag_null[2] = {MAG_WORD_END, MAG_WORD_END};

static unsigned block_shift(unsigned cap) {
    return MAX(bits_log2_up((cap + 2) * sizeof(u64)), (unsigned)MAG_SHIFT_MIN);
}

u64 mag_make(unsigned cap, unsigned node) {
    unsigned shift = block_shift(cap);
    u64 *w = rt_pool_get(RT_POOL_MAGAZINES, node, shift);
    if (w == NULL)
        return 0;
    /* Atomic, because a thread may still read the link that was here through an old head of the pool (rt/pool.c). */
    ref_store(&w[0], MAG_WORD_END | (u64)cap << HEADER_CAP_SHIFT | (u64)shift << HEADER_SHIFT_SHIFT |
                         (u64)node << HEADER_NODE_SHIFT);
    w[cap + 1] = (u64)w | MAG_WORD_END;
    return (u64)w;
}

unsigned mag_cap(u64 m_empty) {
    return (unsigned)(*(u64 *)m_empty >> HEADER_CAP_SHIFT) & HEADER_CAP_MASK;
} // NOLINT(performance-no-int-to-ptr)

/* A program that frees an odd address puts a word into a magazine that looks like its header. The real one agrees with
 * its place and trailer. */
static void header_check(const u64 *w) {
    unsigned cap = mag_cap((u64)w), shift = (unsigned)(*w >> HEADER_SHIFT_SHIFT) & HEADER_SHIFT_MASK;
    bool placed = ((u64)w & (((u64)1 << shift) - 1)) == 0 && shift >= MAG_SHIFT_MIN &&
                  (cap + 2) * sizeof(u64) <= (size_t)1 << shift;
    if (LIKELY(placed && w[cap + 1] == ((u64)w | MAG_WORD_END)))
        return;
    const void *p = (const void *)*w; // NOLINT(performance-no-int-to-ptr)
    struct slab_place place = slab_locate(p);
    rt_misuse(MISUSE_INTERIOR, p, place.cls == 0 ? 0 : slab_geometry_of(place.cls)->size_bytes, place.slab_state);
}

u64 *mag_header(u64 m) {
    u64 *w = (u64 *)m; // NOLINT(performance-no-int-to-ptr)
    /* A trailer knows. What only looks like one, an odd address that a program freed, hardly points just below. */
    u64 below = m - (w[1] & ~(u64)MAG_WORD_END);
    if (mag_is_full(m) && below <= MAG_CAP_MAX * sizeof(u64))
        w -= below / sizeof(u64);
    while ((*w & MAG_WORD_END) == 0)
        w--;
    if (QUARRY_CHECKS)
        header_check(w);
    return w;
}

unsigned mag_count(u64 m) { return (unsigned)((u64 *)m - mag_header(m)); } // NOLINT(performance-no-int-to-ptr)

/* The block may become something else while we look, so the walk is bounded and the words are read as they may be. */
unsigned mag_count_racy(u64 m) {
    unsigned nr = 0;
    while (nr < MAG_CAP_MAX && (ref_load((u64 *)m - nr) & MAG_WORD_END) == 0) // NOLINT(performance-no-int-to-ptr)
        nr++;
    return nr;
}

unsigned mag_count_guess(u64 m, unsigned cap) {
    return (unsigned)(m & (((u64)1 << block_shift(cap)) - 1)) / (unsigned)sizeof(u64);
}

unsigned mag_node(u64 m) {
    return slot_node(page_map_get((const void *)*(u64 *)m)); // NOLINT(performance-no-int-to-ptr)
}

void mag_unmake(u64 m) {
    if (m == 0 || mag_is_null(m))
        return;
    u64 *w = mag_header(m);
    w[mag_cap(m) + 1] = 0;
    rt_pool_put(RT_POOL_MAGAZINES, (unsigned)(w[0] >> HEADER_NODE_SHIFT) & HEADER_NODE_MASK, w,
                (unsigned)(w[0] >> HEADER_SHIFT_SHIFT) & HEADER_SHIFT_MASK);
}

void mag_flush(u64 m) {
    u64 *w = mag_header(m);
    slab_give((void *const *)(w + 1), (unsigned)((u64 *)m - w)); // NOLINT(performance-no-int-to-ptr)
    mag_unmake((u64)w);
}

_Atomic(u16) mag_class_cap[SLAB_SLOT_IDS_NR];

/* Small objects: as many as a magazine holds. Others: what magazine_bytes allows, one at least; of large ones, whose
 * slabs are one for each object or for a few, it allows more. */
unsigned mag_cap_for(size_t size_bytes) {
    size_t most = rt_opt.magazine_bytes * (size_bytes > MAG_LARGE_BYTES ? LARGE_TIMES : 1);
    return (unsigned)CLAMP(most / size_bytes, (size_t)1, (size_t)MAG_CAP_MAX);
}

void magazines_init(void) {
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
        atomic_store_explicit(&mag_class_cap[cls], (u16)mag_cap_for(slab_geometry[cls].size_bytes),
                              memory_order_relaxed);
}
