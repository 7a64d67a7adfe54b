/* SPDX-License-Identifier: MIT */
/* Slabs under eight threads, without magazines in between: owners stamp objects and hand them on, sweeps retire and
 * purge meanwhile; at the end every object is back. */
#include "rt/usage.h"
#include "unit/alone.h"
#include "unit/core.h"
#include "unit/handover.h"

#include <pthread.h>
#include <string.h>

enum { MS = 500, HELD = 96, HELD_FEW = 3 };

static void *alloc(size_t size) {
    void *obj;
    return slab_take(slab_class_for(size), 0, 1, &obj + 1, NULL) == 1 ? obj : NULL;
}

static void give(void *p, size_t size) {
    (void)size;
    slab_give(&p, 1);
}

static void expect_all_back(void) {
    struct page_stats pages;
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        struct slab_class_stats st;
        slab_class_stats_get(cls, &st);
        cr_assert_eq(st.out_objs, 0u, "class %u: %lu objects are lost", slab_geometry[cls].size_bytes, st.out_objs);
        slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
        slab_class_stats_get(cls, &st);
        cr_assert_eq(st.slabs, 0u, "class %u: %lu slabs are lost", slab_geometry[cls].size_bytes, st.slabs);
        cr_assert_eq(st.purged_bytes, 0u);
    }
    page_stats_get(&pages);
    cr_assert_eq(pages.run_used_bytes, 0u);
    cr_assert_eq(pages.inside_purged_bytes, 0u);
    cr_assert_eq(atomic_load(&rt_usage_out_bytes), 0);
}

static const struct handover_ops mixed = {alloc, give, {16, 48, 64, 256, 1024, 8192}, HELD, MS};
/* Few objects to a slab: slabs are listed, claimed and retired all the time. */
static const struct handover_ops large = {alloc, give, {4096, 8192, 16384, 32768, 65536, 131072}, HELD_FEW, MS};
static const struct handover_ops single = {alloc, give, {64, 64, 64, 64, 64, 64}, HELD_FEW, MS};

static void sweep_all(void) {
    static unsigned turn;
    unsigned cls = 1 + turn++ % (SLAB_CLASSES_NR - 1);
    slab_sweep(cls, turn % 3 == 0 ? SLAB_KEEP_NONE : SLAB_KEEP_SOME, turn % 2 == 0 ? SLAB_PURGE_INSIDE : SLAB_PURGE_NO);
}

Test(slab_concurrent, alone, .init = core_start_slabs) {
    handover_run(&mixed, NULL);
    expect_all_back();
}

Test(slab_concurrent, with_sweeps, .init = core_start_slabs) {
    handover_run(&mixed, sweep_all);
    expect_all_back();
}

Test(slab_concurrent, few_objects_to_a_slab, .init = core_start_slabs) {
    handover_run(&large, sweep_all);
    expect_all_back();
}

Test(slab_concurrent, one_class, .init = core_start_slabs) {
    handover_run(&single, sweep_all);
    expect_all_back();
}

/* Each thread gives back so many at once, of different classes and slabs: few of each, and each by itself. What is left
 * at the end comes back then. */
enum { PENDING = 24, PENDING_THREADS = 64 };
static struct pending {
    void *objs[PENDING];
    unsigned nr;
} pending[PENDING_THREADS];
static _Atomic(unsigned) pending_threads;
static __thread struct pending *mine;

static void pending_flush(struct pending *p) {
    slab_give(p->objs, p->nr);
    p->nr = 0;
}

static void give_later(void *obj, size_t size) {
    (void)size;
    if (mine == NULL) {
        unsigned id = atomic_fetch_add(&pending_threads, 1);
        MUST(id < PENDING_THREADS);
        mine = &pending[id];
    }
    mine->objs[mine->nr++] = obj;
    if (mine->nr == PENDING)
        pending_flush(mine);
}

static const struct handover_ops later = {alloc, give_later, {16, 48, 64, 256, 1024, 8192}, HELD, MS};

Test(slab_concurrent, in_batches_with_few_of_each_slab, .init = core_start_slabs) {
    handover_run(&later, sweep_all);
    for (unsigned i = 0; i < atomic_load(&pending_threads); i++)
        pending_flush(&pending[i]);
    expect_all_back();
}

/* --- an object twice in one batch, while another CPU takes what was given --- */

enum { SMALL_BYTES = 16, GIVEN_FIRST = 40, BETWEEN = 54, TRIALS = 300, TRIALS_MS = 5000 };
static _Atomic(uintptr_t) wanted;
static atomic_bool taking, over;

static void *take_the_wanted(void *unused) {
    (void)unused;
    atomic_store(&taking, true);
    while (!atomic_load(&over)) {
        void *obj = alloc(SMALL_BYTES);
        if ((uintptr_t)obj == atomic_load(&wanted))
            break;
        if (obj != NULL)
            give(obj, SMALL_BYTES);
    }
    return NULL;
}

enum { STRANGER_BYTES = 700, STRANGERS = 60, STRANGERS_APART = 200, BATCH_MAX = STRANGERS + 2 };

/* Strangers, each of a slab of its own, so that the batch goes back one by one. */
static unsigned strangers_take(void **ret_objs) {
    unsigned cls = slab_class_for(STRANGER_BYTES);
    void *one;
    for (unsigned i = 0; i < STRANGERS * STRANGERS_APART; i++) {
        MUST(slab_take(cls, 0, 1, &one + 1, NULL) == 1);
        if (i % STRANGERS_APART == 0)
            ret_objs[i / STRANGERS_APART] = one;
    }
    return STRANGERS;
}

/* The first object of a slab, others, and the first again; that must be seen before the first time is known to others,
 * or the second is a free of what they hold. The others are the slab's own, or, as strange, none is. */
static void twice_beside_a_taker(void *strange) {
    _Static_assert(BATCH_MAX >= (int)BETWEEN + 2, "both kinds fit");
    unsigned cls = slab_class_for(SMALL_BYTES), taken = 0;
    static void *objs[GRANULE_BYTES / SMALL_BYTES];
    while (taken < ARRAY_NR(objs)) {
        taken += slab_take(cls, 0, ARRAY_NR(objs) - taken, objs + ARRAY_NR(objs) - taken, NULL);
        MUST(taken > 0);
    }
    char *base = (char *)round_down((uintptr_t)objs[0], GRANULE_BYTES);
    void *first[GIVEN_FIRST], *batch[BATCH_MAX];
    for (unsigned i = 0; i < GIVEN_FIRST; i++)
        first[i] = base + (size_t)(500 + i) * SMALL_BYTES;
    slab_give(first, GIVEN_FIRST); /* the slab is listed */
    unsigned between = strange != NULL ? strangers_take(batch + 1) : BETWEEN;
    for (unsigned i = 0; strange == NULL && i < between; i++)
        batch[1 + i] = base + (size_t)(600 + i) * SMALL_BYTES;
    batch[0] = batch[between + 1] = base;
    atomic_store(&wanted, (uintptr_t)base);
    pthread_t taker;
    MUST(pthread_create(&taker, NULL, take_the_wanted, NULL) == 0);
    while (!atomic_load(&taking)) {
    }
    slab_give(batch, between + 2);
    atomic_store(&over, true);
    MUST(pthread_join(taker, NULL) == 0);
}

static void expect_seen(void *strange) {
    char said[512];
    u64 end = handover_now_ms() + TRIALS_MS; /* an emulator makes a trial's processes at a fifth of a second each */
    for (unsigned i = 0; i < TRIALS && handover_now_ms() < end; i++) {
        int ended_by = alone_die(twice_beside_a_taker, strange, said, sizeof(said));
        cr_assert_eq(ended_by, SIGABRT, "trial %u: %s", i, said);
        cr_assert_not_null(strstr(said, "Q01 double-free"), "%s", said);
    }
}

Test(slab_concurrent, what_is_given_twice_at_once_is_seen, .init = core_start_slabs) { expect_seen(NULL); }
Test(slab_concurrent, and_among_strangers, .init = core_start_slabs) { expect_seen(&wanted); }
