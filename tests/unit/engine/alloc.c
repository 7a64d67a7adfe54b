/* SPDX-License-Identifier: MIT */
/* Allocation in every size: usable, aligned, apart; zeroed where asked even out of dirty memory; absurd sizes refused.
 * On the real system. */
#include "engine/engine.h"
#include "unit/alone.h"
#include "unit/calls.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

static const size_t sizes[] = {0,     1,      15,     16,      17,      100,     512,     513,
                               1023,  1024,   1025,   4096,    5000,    32767,   32768,   32769,
                               65536, 100000, 500000, 1048575, 1048576, 1048577, 3000000, 9000000};

Test(alloc, every_size_is_usable) {
    char *p[ARRAY_NR(sizes)];
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        p[i] = alloc(sizes[i]);
        cr_assert_not_null(p[i], "%zu bytes", sizes[i]);
        cr_assert_eq((uintptr_t)p[i] % 16, 0u);
        cr_assert_geq(engine_usable(p[i]), sizes[i]);
        cr_assert_eq(engine_good_size(sizes[i]), engine_usable(p[i]), "%zu bytes", sizes[i]);
        cr_assert_eq((int)engine_kind_of(p[i]), sizes[i] <= SLAB_OBJECT_MAX ? (int)ENGINE_SLAB : (int)ENGINE_BIG);
        memset(p[i], (int)i + 1, engine_usable(p[i]));
    }
    for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
        cr_assert(p[i][0] == (char)(i + 1) && p[i][engine_usable(p[i]) - 1] == (char)(i + 1), "%zu bytes", sizes[i]);
        give(p[i]);
    }
}

Test(alloc, absurd_sizes_are_refused) {
    cr_expect_null(engine_alloc_slow(SIZE_MAX));
    cr_expect_null(engine_alloc_slow((size_t)PTRDIFF_MAX + 1));
    cr_expect_null(engine_alloc_slow((size_t)PTRDIFF_MAX));
    cr_expect_null(engine_alloc_slow((size_t)1 << 48));
    cr_expect_null(engine_calloc(SIZE_MAX, 2));
    cr_expect_null(engine_calloc((size_t)1 << 33, (size_t)1 << 33));
    cr_expect_null(engine_memalign((size_t)1 << 47, 16));
    cr_expect_null(engine_memalign(64, SIZE_MAX));
    cr_expect_eq(engine_good_size(SIZE_MAX), 0u);
    cr_expect_not_null(engine_alloc_slow(1));
}

static bool all_zero(const char *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

/* All of one size at once, so that what is dirtied is what comes back. */
Test(alloc, calloc_is_zero_out_of_dirty_memory) {
    enum { MANY = 40 };
    void *p[MANY];
    for (size_t i = 1; i < ARRAY_NR(sizes); i++) {
        unsigned nr = sizes[i] > 1000000 ? 4 : MANY;
        for (int round = 0; round < 3; round++) {
            for (unsigned k = 0; k < nr; k++) {
                p[k] = engine_calloc(1, sizes[i]);
                cr_assert_not_null(p[k]);
                cr_assert(all_zero(p[k], sizes[i]), "%zu bytes, round %d", sizes[i], round);
            }
            for (unsigned k = 0; k < nr; k++) {
                memset(p[k], 0xa5, engine_usable(p[k]));
                give(p[k]);
            }
            if (round == 1)
                engine_trim(0);
        }
    }
}

/* Of the region alone: an emulator's own memory grows with what it knows of ours. */
static size_t resident_bytes(char *p, size_t bytes) {
    static unsigned char in_memory[64 * MIB / 4096];
    size_t page = sys_page_bytes(), nr = 0;
    char *start = p - (uintptr_t)p % page;
    cr_assert_eq(mincore(start, bytes, in_memory), 0);
    for (size_t i = 0; i < bytes / page; i++)
        nr += in_memory[i] & 1;
    return nr * page;
}

/* Memory the system gave just now is not cleared, and so not touched; what is used again is cleared as far as it was
 * used. */
Test(alloc, calloc_of_a_fresh_region_touches_nothing) {
    char *p = engine_calloc(1, 64 * MIB);
    cr_assert_not_null(p);
    cr_expect_leq(resident_bytes(p, 64 * MIB), 4 * MIB);
    cr_expect_eq(p[64 * MIB - 1], 0);
    give(p);
    p = engine_calloc(1, 3 * MIB);
    memset(p, 1, 3 * MIB);
    give(p);
    p = engine_calloc(1, 3 * MIB);
    cr_expect(all_zero(p, 3 * MIB), "a region out of the cache");
}

Test(alloc, calloc_multiplies) {
    char *p = engine_calloc(1000, 37);
    cr_assert_geq(engine_usable(p), 37000u);
    cr_expect(all_zero(p, 37000));
    cr_expect_not_null(engine_calloc(0, 10));
    cr_expect_not_null(engine_calloc(10, 0));
}

Test(alloc, alignment_up_to_128_mib_in_every_size) {
    for (size_t align = 16; align <= 128 * MIB; align *= 2) {
        for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
            char *p = engine_memalign(align, sizes[i]), *q = engine_memalign(align, sizes[i]);
            cr_assert(p != NULL && q != NULL && p != q);
            cr_assert_eq((uintptr_t)p % align, 0u, "%zu bytes at %zu: %p", sizes[i], align, (void *)p);
            cr_assert_eq((uintptr_t)q % align, 0u);
            cr_assert_geq(engine_usable(p), sizes[i]);
            if (sizes[i] > 0) {
                p[0] = p[sizes[i] - 1] = 1;
                q[0] = q[sizes[i] - 1] = 2;
                cr_assert(p[0] == 1 && p[sizes[i] - 1] == 1, "two aligned objects overlap");
            }
            give(p);
            give(q);
        }
    }
}

/* What is live never overlaps, whatever it was allocated as. */
Test(alloc, live_objects_never_overlap) {
    enum { LIVE = 600, ROUNDS = 60000 };
    static struct {
        u8 *p;
        size_t size;
        u8 stamp;
    } live[LIVE];
    u64 seed = 3;
    for (unsigned round = 0; round < ROUNDS; round++) {
        u64 r = alone_random(&seed);
        unsigned k = (unsigned)(r % LIVE);
        if (live[k].p != NULL) {
            cr_assert(live[k].p[0] == live[k].stamp && live[k].p[live[k].size - 1] == live[k].stamp, "%zu bytes at %p",
                      live[k].size, (void *)live[k].p);
            live[k].p[0] = live[k].p[live[k].size - 1] = 0;
            give(live[k].p);
            live[k].p = NULL;
            continue;
        }
        size_t size = 1 + (r >> 32) % ((size_t)1 << (4 + r / LIVE % 14));
        live[k].p = r / 16384 % 8 == 0 ? engine_memalign((size_t)16 << (r / 131072 % 8), size) : alloc(size);
        cr_assert_not_null(live[k].p);
        live[k].size = size;
        live[k].stamp = (u8)(1 + r % 255);
        live[k].p[0] = live[k].p[size - 1] = live[k].stamp;
    }
}
