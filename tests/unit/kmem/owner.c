/* SPDX-License-Identifier: MIT */
/* Whose an object is, and what accounts are charged for, on slabs that are only addresses: places, vectors that are too
 * short, memory that is out; and threads that charge neighbours of one new slab at once. */
#include "kmem/account.h"
#include "kmem/gfp.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

/* --- the heap, pretended --- */

enum { SLABS = 40, SLAB_BYTES = 1 << 16 };
#define BASE ((uintptr_t)0x7f1234560000)

static unsigned objs_nr = 16; /* of each slab */
static _Atomic(bool) memory_out;
static _Atomic(long) blocks; /* that are allocated */

static void *zeros(size_t bytes) {
    void *p = atomic_load(&memory_out) ? NULL : calloc(1, bytes);
    atomic_fetch_add(&blocks, p != NULL);
    return p;
}

void *quarry_core1_zalloc(size_t size) { return zeros(size); }
void *quarry_core1_alloc_atomic(size_t size, bool reserve) {
    (void)reserve;
    return zeros(size);
}
void quarry_core1_free(void *p) {
    atomic_fetch_sub(&blocks, p != NULL);
    free(p);
}
bool kmem_gfp_has_reserve(quarry_gfp_t flags) { return (flags & QUARRY___GFP_HIGH) != 0; }
bool kmem_gfp_passes_limit(quarry_gfp_t flags) { return (flags & QUARRY___GFP_HIGH) != 0; }
bool kmem_accounted_start(void) { return true; }
/* Asked for where pages are not all of one size. */
unsigned quarry_page_shift(void) {
    enum { SMALLEST_PAGE_SHIFT = 12 };
    return SMALLEST_PAGE_SHIFT;
}

static void *object(unsigned slab, unsigned index) {
    return (void *)(BASE + (uintptr_t)slab * SLAB_BYTES + index * (SLAB_BYTES / objs_nr));
}

bool quarry_core1_debug_look(const void *p, struct quarry_core1_slab *ret_slab) {
    size_t at = (uintptr_t)p - BASE, slot = SLAB_BYTES / objs_nr;
    *ret_slab = (struct quarry_core1_slab){.base = (char *)(BASE + at / SLAB_BYTES * SLAB_BYTES),
                                           .slab_bytes = SLAB_BYTES,
                                           .slot_bytes = slot,
                                           .objs_nr = objs_nr,
                                           .index = (unsigned)(at % SLAB_BYTES / slot)};
    return true;
}

static bool give(void *p) {
    struct quarry_core1_slab slab;
    (void)quarry_core1_debug_look(p, &slab);
    return kmem_account_uncharge(&slab);
}

static void charged(const struct quarry_account *a, size_t objects, size_t bytes) {
    struct quarry_account_info info;
    quarry_account_info_get(a, &info);
    cr_assert_eq(info.objects, objects);
    cr_assert_eq(info.charged_bytes, bytes);
}

/* --- one thread --- */

Test(owner, each_object_is_its_accounts) {
    struct quarry_account *a = quarry_account_create("a", 0), *b = quarry_account_create("b", 0);
    for (unsigned i = 0; i < SLABS * objs_nr; i++) {
        (void)quarry_account_enter(i % 3 == 0 ? a : b);
        cr_assert(kmem_account_charge(object(i / objs_nr, i % objs_nr), QUARRY_GFP_KERNEL));
    }
    size_t of_a = (SLABS * objs_nr + 2) / 3, slot = SLAB_BYTES / objs_nr;
    charged(a, of_a, of_a * slot);
    charged(b, SLABS * objs_nr - of_a, (SLABS * objs_nr - of_a) * slot);
    for (unsigned i = 0; i < SLABS * objs_nr; i += 3)
        cr_assert(give(object(i / objs_nr, i % objs_nr)));
    charged(a, 0, 0);
    charged(b, SLABS * objs_nr - of_a, (SLABS * objs_nr - of_a) * slot);
    cr_expect_not(give(object(0, 0)), "it was given back before");
    cr_expect_not(give((void *)(BASE + ((uintptr_t)1 << 40))), "nothing was ever charged there");
}

/* A slab of more objects at a place where there was one of fewer, and the other way round. */
Test(owner, a_vector_serves_the_slabs_it_is_long_enough_for) {
    static const unsigned numbers[] = {16, 4, 64, 64, 32, 1024, 2};
    struct quarry_account *a = quarry_account_create("a", 0);
    (void)quarry_account_enter(a);
    long before = 0;
    for (unsigned i = 0; i < ARRAY_NR(numbers); i++) {
        objs_nr = numbers[i];
        for (unsigned index = 0; index < objs_nr; index++)
            cr_assert(kmem_account_charge(object(7, index), QUARRY_GFP_KERNEL));
        charged(a, objs_nr, SLAB_BYTES / objs_nr * objs_nr);
        for (unsigned index = 0; index < objs_nr; index++)
            cr_assert(give(object(7, index)));
        charged(a, 0, 0);
        cr_assert(before == 0 || atomic_load(&blocks) == before, "a vector was lost");
        before = atomic_load(&blocks);
    }
}

Test(owner, without_memory_nothing_is_charged) {
    struct quarry_account *a = quarry_account_create("a", 0);
    (void)quarry_account_enter(a);
    atomic_store(&memory_out, true);
    cr_expect_not(kmem_account_charge(object(1, 1), QUARRY_GFP_KERNEL));
    cr_expect_not(kmem_account_charge(object(1, 1), QUARRY_GFP_ATOMIC));
    charged(a, 0, 0);
    cr_expect_not(give(object(1, 1)));
    atomic_store(&memory_out, false);
    cr_expect(kmem_account_charge(object(1, 1), QUARRY_GFP_ATOMIC));
    charged(a, 1, SLAB_BYTES / objs_nr);
}

/* --- threads --- */

enum { THREADS = 4, ROUNDS = 100, AGAIN = 2, TENANTS = 3 };
/* One above leaves that have 2048 granules each. */
enum { LEVELS_MAX = 2 + 1 + ROUNDS / AGAIN * SLABS * (SLAB_BYTES / 16384) / 2048 };
static struct quarry_account *tenants[TENANTS];
static pthread_barrier_t together;

/* Neighbours in each slab belong to different threads, which come to a new slab at once. */
static void *thread_run(void *number) {
    unsigned me = (unsigned)(uintptr_t)number;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned first = round / AGAIN * SLABS; /* of slabs nobody used before, or that had other objects */
        for (unsigned i = 0; i < SLABS * objs_nr; i++) {
            (void)quarry_account_enter(tenants[(i + round) % TENANTS]);
            if (i % THREADS == me)
                cr_assert(kmem_account_charge(object(first + i / objs_nr, i % objs_nr), QUARRY_GFP_KERNEL));
        }
        (void)pthread_barrier_wait(&together);
        /* What another charged. */
        for (unsigned i = 0; i < SLABS * objs_nr; i++) {
            if (i % THREADS == (me + 1) % THREADS)
                cr_assert(give(object(first + i / objs_nr, i % objs_nr)));
        }
        if (pthread_barrier_wait(&together) == PTHREAD_BARRIER_SERIAL_THREAD)
            objs_nr = objs_nr == 256 ? 8 : objs_nr * 2;
        (void)pthread_barrier_wait(&together);
        if (me == 0) {
            for (unsigned t = 0; t < TENANTS; t++)
                charged(tenants[t], 0, 0);
        }
        (void)pthread_barrier_wait(&together);
    }
    return NULL;
}

Test(owner, neighbours_at_once) {
    pthread_t threads[THREADS];
    objs_nr = 8;
    for (unsigned i = 0; i < TENANTS; i++)
        tenants[i] = quarry_account_create("tenant", 0);
    (void)pthread_barrier_init(&together, NULL, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, thread_run, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    /* A vector for each slab, and the levels above: what losers of a race made is gone. */
    long left = atomic_load(&blocks) - (long)ROUNDS / AGAIN * SLABS;
    cr_expect(left >= 2 && left <= LEVELS_MAX, "%ld blocks besides the vectors", left);
}
