/* SPDX-License-Identifier: MIT */
/* Reads the words of the page allocator's blocks. What they mean is buddy/count.h's. */
#include "buddies.h"

#include "buddy/count.h"

#include <stdlib.h>

enum { BLOCKS_MAX = 1 << 17 };

/* The record of an address's granule in its chunk; NULL: there is none. */
static const struct page_desc *desc_of(const struct target *t, const char *addr) {
    meta_ref_t ref = 0;
    size_t chunk = ((uintptr_t)addr >> CHUNK_SHIFT) & t->meta.chunks_mask;
    if (!target_peek(t, &ref, (const void *)&t->meta.chunks[chunk], sizeof(ref)) || ref == 0)
        return NULL;
    const struct chunk *c = (const struct chunk *)(t->meta.base + ((size_t)ref << META_UNIT_SHIFT));
    return &c->descs[((uintptr_t)addr >> GRANULE_SHIFT) % CHUNK_GRANULES];
}

/* An unused block keeps an address that leads elsewhere by now. */
static bool block_in_use(const struct target *t, const struct buddy_block *at, const char *addr) {
    u32 entry = 0;
    s64 granule = rt_meta_map_index(&t->meta, (uintptr_t)addr);
    if (!target_peek(t, &entry, t->meta.map_end + granule, sizeof(entry)) ||
        entry / PAGE_SLOT_BYTES % PAGE_MAP_CLASSES != PAGE_MAP_PAGES)
        return false;
    const struct page_desc *desc = desc_of(t, addr);
    return desc != NULL && target_peek_pointer(t, &desc->words[0]) == at;
}

static void block_add(const struct target *t, meta_ref_t ref, u32 level, struct buddy_stats *s) {
    const struct buddy_block *at = (const struct buddy_block *)(t->meta.base + ((size_t)ref << META_UNIT_SHIFT));
    struct buddy_block b;
    u64 free[BLOCK_WORDS_MAX], backed[BLOCK_WORDS_MAX];
    unsigned page_shift = bits_lowest(t->page_bytes);
    if (ref == 0 || !target_peek(t, &b, at, sizeof(b)) || !block_in_use(t, at, b.addr))
        return;
    for (unsigned w = 0; w < BLOCK_WORDS_MAX; w++) {
        free[w] = b.free[w];
        backed[w] = b.backed[w];
    }
    s->blocks++;
    if ((level & LEVEL_RESERVE) != 0)
        buddy_count_reserve(s, free, backed, HPAGE_SHIFT - page_shift, page_shift);
    else
        buddy_count_add(s, free, backed, HPAGE_SHIFT - page_shift, page_shift);
}

void buddies_read(const struct target *t, struct buddy_stats *ret_stats) {
    struct buddy_view view;
    u32 nr = 0;
    *ret_stats = (struct buddy_stats){0};
    if (!target_peek(t, &view, t->view.buddy, sizeof(view)) ||
        !target_peek(t, &nr, (const void *)view.blocks_nr, sizeof(nr)))
        return;
    nr = MIN(nr, (u32)BLOCKS_MAX);
    meta_ref_t *refs = calloc(nr + 1, sizeof(*refs));
    u32 *levels = calloc(nr + 1, sizeof(*levels));
    if (refs != NULL && levels != NULL && target_peek(t, refs, (const void *)view.table, nr * sizeof(*refs)) &&
        target_peek(t, levels, (const void *)view.levels, nr * sizeof(*levels))) {
        for (u32 i = 0; i < nr; i++) {
            if ((levels[i] & LEVEL_DMA) == 0)
                block_add(t, refs[i], levels[i], ret_stats);
        }
    }
    free(refs);
    free(levels);
}
