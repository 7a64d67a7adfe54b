/* SPDX-License-Identifier: MIT */
/* Page map and chunk table: what any address is. Written by whoever owns the granules concerned, read by everyone. */
#include "page/page.h"

#include "base/bits.h"
#include "page/node.h"
#include "sys/sys.h"

/*
 * Most of the chunk table was never written, and reading it would give it page tables and, in the accounts, pages that
 * look like memory. So a bit for each part of it says whether there is a chunk. A part is a page, of the table's 2 MiB.
 */
enum { PARTS_SHIFT = 9, PARTS_WORDS = (1 << PARTS_SHIFT) / 64 };
static _Atomic(u64) parts[PARTS_WORDS];

static unsigned part_shift(void) {
    unsigned table_shift = bits_log2_up(rt_meta.chunks_mask + 1);
    return table_shift - MIN(table_shift, (unsigned)PARTS_SHIFT);
}

/* relaxed: who does not see the bit yet misses the chunk, as if it had come a moment earlier. */
static void part_mark(u64 chunk_idx) {
    u64 part = chunk_idx >> part_shift();
    atomic_fetch_or_explicit(&parts[part / 64], (u64)1 << part % 64, memory_order_relaxed);
}

static void part_each(u64 part, void (*fn)(void *arg, struct chunk *c), void *arg) {
    for (u64 i = part << part_shift(); i < (part + 1) << part_shift(); i++) {
        struct chunk *c = chunk_of((const void *)(i << CHUNK_SHIFT)); // NOLINT(performance-no-int-to-ptr)
        if (c != NULL)
            fn(arg, c);
    }
}

void chunks_each(void (*fn)(void *arg, struct chunk *c), void *arg) {
    for (unsigned w = 0; w < PARTS_WORDS; w++) {
        for (u64 bits = atomic_load_explicit(&parts[w], memory_order_relaxed); bits != 0; bits &= bits - 1)
            part_each((u64)w * 64 + bits_lowest(bits), fn, arg);
    }
}

/* relaxed: an object's address reaches another thread only through the program's own synchronisation, which also
 * carries this store. */
void page_map_set(const void *addr, size_t granules_nr, unsigned value) {
    const char *p = addr;
    for (size_t i = 0; i < granules_nr; i++)
        __atomic_store_n(&rt_meta.map_end[page_map_index(p + i * GRANULE_BYTES)], (u32)value * PAGE_SLOT_BYTES,
                         __ATOMIC_RELAXED);
}

static int chunk_make(const void *addr, unsigned node) {
    _Atomic(meta_ref_t) *slot = &rt_meta.chunks[((uintptr_t)addr >> CHUNK_SHIFT) & rt_meta.chunks_mask];
    if (atomic_load_explicit(slot, memory_order_relaxed) != 0)
        return 0;
    struct chunk *c = rt_meta_alloc_near(node, sizeof(struct chunk), sys_page_bytes());
    if (c == NULL)
        return -1;
    part_mark((u64)(slot - rt_meta.chunks));
    meta_ref_t none = 0;
    /* order: release, relaxed on failure: publishes the chunk. Of two makers the second loses, and its records with it,
     * which cost address space alone.                                                               pairs:
     * [chunk.publish] */
    (void)atomic_compare_exchange_strong_explicit(slot, &none, rt_meta_ref(c), memory_order_release,
                                                  memory_order_relaxed);
    return 0;
}

/* A page of the map is of 16 MiB: those at the ends may be others' as well. The first is this one's, which is used from
 * its beginning on. */
static void map_place_near(const void *addr, size_t bytes, unsigned node) {
    s64 first = page_map_index(addr);
    s64 end = MIN(first + (s64)(bytes >> GRANULE_SHIFT), (s64)0);
    uintptr_t from = round_down((uintptr_t)(rt_meta.map_end + first), sys_page_bytes());
    uintptr_t to = round_down((uintptr_t)(rt_meta.map_end + end), sys_page_bytes());
    if (from < to)
        page_place_near((void *)from, to - from, page_node_id(node)); // NOLINT(performance-no-int-to-ptr)
}

/* A chunk that exists has all of its part of the map writable, because the map is made writable in larger pieces. */
static bool chunk_is_covered(const void *addr, size_t bytes) {
    return chunk_of(addr) != NULL && chunk_of((const char *)addr + bytes - 1) != NULL && bytes <= CHUNK_BYTES;
}

int chunk_cover(const void *addr, size_t bytes) { return chunk_cover_near(addr, bytes, 0); }

int chunk_cover_near(const void *addr, size_t bytes, unsigned node) {
    uintptr_t end = (uintptr_t)addr + bytes;
    if (chunk_is_covered(addr, bytes))
        return 0;
    if (rt_meta_map_commit(addr, bytes) != 0)
        return -1;
    if (node != 0)
        map_place_near(addr, bytes, node);
    for (uintptr_t p = round_down((uintptr_t)addr, CHUNK_BYTES); p < end; p += CHUNK_BYTES) {
        if (chunk_make((const void *)p, node) != 0)
            return -1;
    }
    return 0;
}
