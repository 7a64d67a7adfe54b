/* SPDX-License-Identifier: MIT */
/*
 * Option harden: exact sizes, zeros, chance and delay; each kind of damage is told by its line; threads that hand
 * objects to each other find them as they were left. On the real system. Stamps in the objects are the oracle.
 */
#include "engine/harden.h"

#include "engine/atomic.h"
#include "engine/engine.h"
#include "engine/most.h"
#include "engine/start.h"
#include "rt/usage.h"
#include "sys/sys.h"
#include "unit/alone.h"
#include "unit/engine/traders.h"

#include <criterion/criterion.h>
#include <string.h>

const char *quarry_conf = "harden:on";

static const size_t sizes[] = {0, 1, 8, 15, 16, 17, 56, 57, 1000, 1024, 4096, 70000, 1 << 20, (1 << 20) + 1, 5 << 20};

static void all_zero(const u8 *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        cr_assert_eq(p[i], 0, "byte %zu of %zu", i, bytes);
}

Test(harden, sizes_are_exact_and_memory_is_zeroed) {
    for (unsigned round = 0; round < 20; round++) {
        for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
            size_t bytes = MAX(sizes[i], (size_t)1);
            u8 *p = round % 2 != 0 ? engine_calloc(1, sizes[i]) : engine_alloc_slow(sizes[i]);
            cr_assert_not_null(p);
            cr_assert_eq(engine_usable(p), bytes);
            cr_assert_eq((uintptr_t)p % 16, 0);
            all_zero(p, round % 2 != 0 || bytes < MIB ? bytes : 0);
            memset(p, 0xee, bytes);
            if (round % 3 == 0)
                engine_free_sized(p, bytes, 0);
            else
                engine_free_slow(p);
        }
    }
}

Test(harden, alignment_and_realloc_hold) {
    for (size_t align = 16; align <= 4 * MIB; align *= 2) {
        u8 *p = engine_memalign(align, 100), *q;
        cr_assert_eq((uintptr_t)p % align, 0);
        cr_assert_eq(engine_usable(p), 100);
        memset(p, 9, 100);
        q = engine_realloc(p, 5000);
        cr_assert(q != p && engine_usable(q) == 5000);
        for (unsigned i = 0; i < 100; i++)
            cr_assert_eq(q[i], 9);
        q = engine_realloc(q, 50);
        cr_assert_eq(engine_usable(q), 50);
        engine_free_slow(q);
    }
}

/* The kernel API's objects keep what its callers rely on, and either side's free takes them. */
Test(harden, the_kernels_objects_are_whole_classes) {
    for (size_t size = 8; size <= 256 * KIB; size = size * 3 / 2) {
        size_t good = engine_good_size(size);
        void *p = engine_alloc_unguarded(size, ENGINE_ZEROED), *q = engine_alloc_atomic(size, RT_ATOMIC);
        cr_assert_eq(engine_usable(p), good);
        cr_assert_eq((uintptr_t)p % (good & -good), 0);
        all_zero(p, good);
        if (q != NULL)
            cr_assert_eq((uintptr_t)q % (good & -good), 0);
        engine_free_atomic(p);
        if (q != NULL)
            engine_free_slow(q);
    }
}

/* What is asked of a node is sealed as well. */
Test(harden, objects_of_a_node_are_sealed) {
    for (size_t size = 8; size <= 3 * MIB; size = size * 5 / 2) {
        u8 *p = engine_alloc_node(size, 0, ENGINE_NODE_NEAR);
        cr_assert_not_null(p);
        cr_assert_geq(engine_usable(p), size);
        memset(p, 0xee, size);
        p = engine_realloc(p, size + 1);
        cr_assert_geq(engine_usable(p), size + 1);
        cr_assert_eq(p[size - 1], 0xee);
        engine_free_slow(p);
    }
}

/* The same requests lie elsewhere relative to each other, and what was freed does not come back at once. */
Test(harden, addresses_are_chance_and_reuse_is_late) {
    enum { NR = 200 };
    char *p[NR];
    unsigned up = 0;
    for (unsigned i = 0; i < NR; i++)
        p[i] = engine_alloc_slow(48);
    for (unsigned i = 1; i < NR; i++)
        up += p[i] > p[i - 1];
    cr_assert(up < NR * 9 / 10, "%u of %u ascend", up, NR);
    engine_free_slow(p[7]);
    for (unsigned i = 0; i < NR; i++)
        cr_assert_neq(engine_alloc_slow(48), p[7]);
}

Test(harden, objects_up_to_a_kilobyte_are_shuffled) {
    cr_assert_eq(slab_geometry[SHUFFLED_CLASSES_NR - 1].size_bytes, 1 * KIB);
}

/* Pages that one size leaves behind are another's, with all that lay in them. */
Test(harden, sizes_take_over_each_others_pages) {
    enum { NR = 3000 };
    static char *p[NR];
    for (size_t size = 40; size < 3000; size = size * 5 / 3) {
        for (unsigned i = 0; i < NR; i++)
            memset(p[i] = engine_alloc_slow(size), 0x77, size);
        for (unsigned i = 0; i < NR; i++)
            engine_free_slow(p[i]);
        engine_exit_audit();
        for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++)
            slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
    }
}

/* --- crimes --- */

enum crime {
    FREE_TWICE,
    FREE_INSIDE,
    WRITE_BYTE_BEHIND,
    WRITE_SEAL,
    COPY_SEAL,
    WRITE_FREED,
    WRITE_FREED_LATE,
    WRONG_SIZE,
    WRONG_ALIGN,
    USE_FREED_REGION,
    WRITE_BEHIND_REGION,
    WRITE_REGION_TAIL,
    REALLOC_FREED,
};

static void commit(void *arg) {
    volatile char *p, *q;
    cr_assert(engine_ready());
    engine_libc_ready(); /* the watch over faults */
    p = engine_alloc_slow(40);
    q = engine_alloc_slow(40);
    switch (*(enum crime *)arg) {
    case FREE_TWICE:
        engine_free_slow((void *)p);
        engine_free_slow((void *)p);
        break;
    case FREE_INSIDE: engine_free_slow((char *)p + 16); break;
    case WRITE_BYTE_BEHIND:
        p = engine_alloc_slow(33);
        p[33] ^= 1;
        engine_free_slow((void *)p);
        break;
    case WRITE_SEAL:
        p[40] ^= 1;
        engine_free_slow((void *)p);
        break;
    case COPY_SEAL:
        memcpy((char *)p + 40, (const char *)q + 40, 8);
        engine_free_slow((void *)p);
        break;
    case WRITE_FREED:
        engine_free_slow((void *)p);
        p[3] = 1;
        engine_exit_audit();
        break;
    case WRITE_FREED_LATE:
        engine_free_slow((void *)p);
        p[39] = 1;
        for (unsigned i = 0; i < 20000; i++)
            engine_free_slow(engine_alloc_slow(40));
        break;
    case WRONG_SIZE: engine_free_sized((void *)p, 41, 0); break;
    case WRONG_ALIGN: engine_free_sized((uintptr_t)p % MIB != 0 ? (void *)p : (void *)q, 40, MIB); break;
    case USE_FREED_REGION:
        p = engine_alloc_slow(3 * MIB);
        engine_free_slow((void *)p);
        (void)p[MIB];
        break;
    case WRITE_BEHIND_REGION:
        p = engine_alloc_slow(3 * MIB);
        p[3 * MIB + sys_page_bytes()] = 1;
        break;
    case WRITE_REGION_TAIL:
        p = engine_alloc_slow(3 * MIB + 5);
        p[3 * MIB + 5] ^= 1;
        engine_free_slow((void *)p);
        break;
    case REALLOC_FREED:
        engine_free_slow((void *)p);
        (void)engine_realloc((void *)p, 80);
        break;
    }
}

Test(harden, crimes_are_told) {
    static const char *const lines[] = {
        [FREE_TWICE] = "Q01 double-free",
        [FREE_INSIDE] = "Q02 interior-pointer",
        [WRITE_BYTE_BEHIND] = "Q12 overflow",
        [WRITE_SEAL] = "Q12 overflow",
        [COPY_SEAL] = "Q12 overflow",
        [WRITE_FREED] = "Q13 write-after-free",
        [WRITE_FREED_LATE] = "Q13 write-after-free",
        [WRONG_SIZE] = "Q06 sized-free-mismatch",
        [WRONG_ALIGN] = "Q07 bad-alignment",
        [USE_FREED_REGION] = "Q11 use-after-free",
        [WRITE_BEHIND_REGION] = "Q10 out-of-bounds",
        [WRITE_REGION_TAIL] = "Q12 overflow",
        [REALLOC_FREED] = "Q01 double-free",
    };
    char said[8192], want[64];
    for (size_t i = 0; i < ARRAY_NR(lines); i++) {
        enum crime crime = (enum crime)i;
        snprintf(want, sizeof(want), "quarry: error %s: pointer 0x", lines[i]);
        cr_assert_eq(alone_die(commit, &crime, said, sizeof(said)), SIGABRT, "crime %zu: %s", i, said);
        cr_assert_eq(strncmp(said, want, strlen(want)), 0, "crime %zu: %s", i, said);
    }
}

/* Address space alone is kept back, of sixteen regions at most. */
Test(harden, retired_regions_hold_no_memory) {
    u64 before = rt_usage_total();
    for (unsigned i = 0; i < 100; i++) {
        char *p = engine_alloc_slow(8 * MIB);
        memset(p, 1, 8 * MIB);
        engine_free_slow(p);
    }
    cr_assert(rt_usage_total() < before + 8 * MIB, "%lu before, %lu now", (unsigned long)before,
              (unsigned long)rt_usage_total());
}

/* --- threads --- */

enum { ROUNDS = 20000, HELD = 256 };
static _Atomic(u64 *) shelf[HELD];

static void *trader(void *arg) {
    u64 seed = (u64)(uintptr_t)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        u64 r = alone_random(&seed), words = 1 + r % 40;
        u64 *mine = engine_alloc_slow(8 * words);
        MUST(mine != NULL && engine_usable(mine) == 8 * words);
        for (u64 k = 0; k < words; k++) {
            MUST(mine[k] == 0);
            mine[k] = (u64)(uintptr_t)mine + k;
        }
        u64 *other = atomic_exchange(&shelf[(r >> 32) % HELD], mine);
        if (other == NULL)
            continue;
        for (u64 k = 0; k < engine_usable(other) / 8; k++)
            MUST(other[k] == (u64)(uintptr_t)other + k);
        if (r >> 63 != 0)
            engine_free_atomic(other);
        else
            engine_free_slow(other);
    }
    return NULL;
}

Test(harden, threads_find_objects_as_they_were_left) {
    cr_assert(engine_ready());
    traders_run(trader, shelf, HELD);
    engine_exit_audit();
    cr_assert_eq(engine_live_get(), 0);
}
