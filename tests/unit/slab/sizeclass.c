/* SPDX-License-Identifier: MIT */
/* The size classes: every size finds the smallest class that fits, for each number of steps; the arithmetic on offsets
 * is exact; objects lie as their size promises. */
#include "base/bits.h"
#include "quarry/kmem_class.h"
#include "rt/options.h"
#include "slab/slab.h"

#include <criterion/criterion.h>

static struct slab_class_tables tables;
static const unsigned steps_allowed[] = {1, 2, 4, 8};

static size_t class_bytes(unsigned cls) { return slab_geometry[cls].size_bytes; }

/* With n steps, between a power of two b and 2 b the sizes b + k b / n. */
static bool enabled(unsigned cls, unsigned steps) {
    size_t size = class_bytes(cls), below = 16;
    while (below * 2 <= size)
        below *= 2;
    for (unsigned k = 0; k < steps; k++) {
        if (size * steps == below * steps + k * below)
            return true;
    }
    return false;
}

static void use_steps(unsigned steps) {
    rt_options_read(NULL, NULL);
    rt_opt.steps = steps;
    slab_classes_init(&tables);
}

Test(sizeclass, every_size_finds_the_smallest_class_that_fits) {
    for (size_t i = 0; i < ARRAY_NR(steps_allowed); i++) {
        unsigned steps = steps_allowed[i], want = 1;
        use_steps(steps);
        for (size_t size = 0; size <= SLAB_OBJECT_MAX; size++) {
            while (class_bytes(want) < size || !enabled(want, steps))
                want++;
            unsigned got = slab_class_for(size);
            cr_assert_eq(got, want, "%u steps, %zu bytes: class of %zu, not %zu", steps, size, class_bytes(got),
                         class_bytes(want));
            if (size <= SLAB_SMALL_MAX)
                cr_assert_eq(tables.small[size], want * PAGE_SLOT_BYTES, "%u steps, %zu bytes", steps, size);
        }
    }
}

/* The public header's arithmetic, for the compiler. */
Test(sizeclass, the_header_finds_the_same_class) {
    use_steps(8);
    for (size_t size = 1; size <= QUARRY_CLASS_SIZE_MAX; size++)
        cr_assert_eq(quarry_class_of_size(size), slab_class_for(size), "size %zu", size);
    cr_expect_eq(QUARRY_CLASS_SIZE_MAX, (unsigned)SLAB_MEDIUM_MAX);
}

Test(sizeclass, one_step_gives_powers_of_two) {
    use_steps(1);
    for (size_t size = 1; size <= SLAB_OBJECT_MAX; size = size * 5 / 4 + 1) {
        size_t bytes = class_bytes(slab_class_for(size));
        cr_expect(is_pow2(bytes) && (bytes < 2 * size || bytes == 16), "%zu bytes got %zu", size, bytes);
    }
}

/* The table has at most 4 steps for small sizes, where 16 bytes are one, and for large ones, where it lacks some of 8.
 */
static size_t steps_at(size_t size, unsigned steps) { return size > 14 * KIB ? MIN(steps, 4u) : steps; }

Test(sizeclass, waste_falls_with_steps) {
    /* With n steps a size just above one class is rounded up by at most one part in n + 1 of the next. */
    for (size_t i = 0; i < ARRAY_NR(steps_allowed); i++) {
        use_steps(steps_allowed[i]);
        for (size_t size = 513; size <= SLAB_OBJECT_MAX; size++) {
            size_t bytes = class_bytes(slab_class_for(size)), parts = steps_at(size, steps_allowed[i]) + 1;
            cr_assert_leq((bytes - size) * parts, bytes + parts, "%zu bytes got %zu", size, bytes);
        }
    }
}

Test(sizeclass, the_index_of_an_offset_is_exact) {
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        const struct slab_geometry *g = &slab_geometry[cls];
        size_t index = 0, in_object = 0;
        for (size_t offset = 0; offset < g->granules * GRANULE_BYTES; offset++) {
            cr_assert_eq(slab_index(g, offset), index, "class %zu, offset %zu", class_bytes(cls), offset);
            if (++in_object == g->size_bytes) {
                in_object = 0;
                index++;
            }
        }
    }
}

Test(sizeclass, slabs_are_made_of_whole_objects_naturally_aligned) {
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        const struct slab_geometry *g = &slab_geometry[cls];
        size_t slab = g->granules * GRANULE_BYTES, used = (size_t)g->nobj * g->size_bytes;
        size_t natural = g->size_bytes & -(size_t)g->size_bytes;
        cr_expect_leq(used, slab);
        cr_expect_lt(slab - used, MAX((size_t)g->size_bytes, GRANULE_BYTES), "class %u: one more object would fit",
                     g->size_bytes);
        cr_expect_leq((slab - used) * 10, slab, "class %u: %zu of %zu bytes are tail", g->size_bytes, slab - used,
                      slab);
        cr_expect_geq(g->align * GRANULE_BYTES, natural, "class %u", g->size_bytes);
        cr_expect(is_pow2(g->align) && g->granules % g->align == 0, "class %u", g->size_bytes);
        cr_expect(g->threshold >= 1 && g->threshold <= g->nobj, "class %u", g->size_bytes);
        cr_expect_geq((size_t)8 << g->bitmap_shift, g->nobj, "class %u: a bitmap too small", g->size_bytes);
        cr_expect(cls == 1 || class_bytes(cls - 1) < g->size_bytes, "class %u: not in order", g->size_bytes);
    }
    cr_expect_eq(class_bytes(SLAB_CLASS_MAX), SLAB_OBJECT_MAX);
}

/* First class that is enabled, large enough and divisible. */
static unsigned aligned_reference(size_t size, size_t align, unsigned steps) {
    for (unsigned cls = 1; cls <= SLAB_CLASS_MAX && align <= SLAB_ALIGN_MAX; cls++) {
        if (class_bytes(cls) >= MAX(size, (size_t)1) && class_bytes(cls) % align == 0 && enabled(cls, steps))
            return cls;
    }
    return 0;
}

Test(sizeclass, aligned_requests_get_a_class_whose_objects_are_aligned) {
    for (size_t i = 0; i < ARRAY_NR(steps_allowed); i++) {
        use_steps(steps_allowed[i]);
        for (size_t align = 1; align <= 2 * SLAB_ALIGN_MAX; align *= 2) {
            for (size_t size = 0; size <= SLAB_OBJECT_MAX + 1; size += 1 + size / 37) {
                unsigned cls = slab_class_aligned(size, align), want = aligned_reference(size, align, steps_allowed[i]);
                if (want == 0) {
                    cr_assert_eq(cls, 0u, "%zu bytes at %zu", size, align);
                    continue;
                }
                cr_assert_neq(cls, 0u, "%zu bytes at %zu", size, align);
                cr_assert(class_bytes(cls) >= size && class_bytes(cls) % align == 0, "%zu bytes at %zu: class %zu",
                          size, align, class_bytes(cls));
                cr_assert_geq(cls, want);
                cr_assert_leq(class_bytes(cls), 2 * class_bytes(want), "%zu bytes at %zu", size, align);
            }
        }
    }
}
