/* SPDX-License-Identifier: MIT */
/* Size classes: the geometry of each, and the tables from a size to its class. */
#include "base/bits.h"
#include "rt/options.h"
#include "slab/slab.h"

/* Largest power of two dividing size. */
#define LOWBIT(size) ((size) & -(size))
/* The bitmap's words: next power of two, so that blocks of few sizes serve all classes. */
#define BITMAP_SHIFT(nobj) ((nobj) <= 64 ? 3 : (nobj) <= 128 ? 4 : (nobj) <= 256 ? 5 : (nobj) <= 512 ? 6 : 7)
#define ALIGN_GRANULES(size) (LOWBIT(size) <= GRANULE_BYTES ? 1 : LOWBIT(size) / GRANULE_BYTES)
/*
 * A full slab is listed again once an eighth of it is free (at most 16 objects): listing at the first free would make
 * refills gather one object from each of many slabs, and hand the cache line just freed by one CPU to another at once.
 */
#define THRESHOLD(nobj) ((nobj) / 8 < 1 ? 1 : (nobj) / 8 > 16 ? 16 : (nobj) / 8)

const struct slab_geometry slab_geometry[SLAB_CLASSES_NR] = {
#define CLASS(index, size, granules_nr, objs_nr)                                                                       \
    [index] = {.size_bytes = (size),                                                                                   \
               .recip = SLAB_RECIP(size),                                                                              \
               .nobj = (objs_nr),                                                                                      \
               .threshold = THRESHOLD(objs_nr),                                                                        \
               .granules = (granules_nr),                                                                              \
               .align = ALIGN_GRANULES(size),                                                                          \
               .bitmap_shift = BITMAP_SHIFT(objs_nr)},
#include "slab/sizeclass.def"
#undef CLASS
};

_Static_assert((unsigned)SLAB_CLASSES_NR < (unsigned)SLAB_BARE,
               "classes and other kinds of granules share the page map");

#define CLASS(index, size, granules, nobj)                                                                             \
    _Static_assert((size_t)(granules)*GRANULE_BYTES >= (size_t)(size) * (nobj) && (granules) <= HPAGE_GRANULES &&      \
                       (nobj) <= 1024,                                                                                 \
                   "slab geometry");
#include "slab/sizeclass.def"
#undef CLASS

/* With n steps per doubling allowed, a class is used if its size is a multiple of an n-th of the power of two below it.
 */
static bool class_enabled(unsigned cls) {
    u32 size = slab_geometry[cls].size_bytes;
    u32 below = (u32)1 << (bits_log2_up(size) - 1);
    return is_pow2(size) || size % (below / rt_opt.steps) == 0;
}

unsigned slab_class_for(size_t size) {
    if (size <= SLAB_SMALL_MAX)
        return slab_tables_rest.classes->small[size] / PAGE_SLOT_BYTES;
    return size <= SLAB_MEDIUM_MAX ? slab_tables_rest.classes->medium[(size - 1) >> SLAB_MEDIUM_SHIFT] / PAGE_SLOT_BYTES
                                   : slab_tables_rest.large[(size - 1) >> SLAB_LARGE_SHIFT];
}

unsigned slab_class_aligned(size_t size, size_t align) {
    size = round_up(MAX(size, 1), align);
    if (size > SLAB_OBJECT_MAX || align > SLAB_ALIGN_MAX)
        return 0;
    /* Sizes of classes are multiples of the step between them, a power of two: none need be passed over. */
    return slab_class_for(size);
}

void slab_classes_init(struct slab_class_tables *fill) {
    unsigned cls = 1;
    slab_tables_rest.classes = fill;
    for (size_t size = 0; size <= SLAB_OBJECT_MAX;) {
        while (slab_geometry[cls].size_bytes < size || !class_enabled(cls))
            cls++;
        if (size <= SLAB_SMALL_MAX)
            fill->small[size] = (u16)(cls * PAGE_SLOT_BYTES);
        else if (size <= SLAB_MEDIUM_MAX)
            fill->medium[(size - 1) >> SLAB_MEDIUM_SHIFT] = (u16)(cls * PAGE_SLOT_BYTES);
        else
            slab_tables_rest.large[(size - 1) >> SLAB_LARGE_SHIFT] = (u8)cls;
        size += size < SLAB_SMALL_MAX    ? 1
                : size < SLAB_MEDIUM_MAX ? (size_t)1 << SLAB_MEDIUM_SHIFT
                                         : (size_t)1 << SLAB_LARGE_SHIFT;
    }
}
