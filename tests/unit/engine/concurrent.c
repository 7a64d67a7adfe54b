/* SPDX-License-Identifier: MIT */
/*
 * The engine's entry points under eight threads: objects of all classes come by malloc, calloc, aligned and by realloc
 * in both directions, are handed on with what their owner wrote, and go by free and sized free, while the main thread
 * empties magazines and depot, or takes back all there is with its address space. When all is back none is out. Under
 * ThreadSanitizer the magazines are the reference ones.
 */
#include "big/big.h"
#include "engine/engine.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/leftover.h"
#include "rt/usage.h"
#include "sys/sys.h"
#include "unit/handover.h"

#include <criterion/criterion.h>

enum { MS = 500, REGIONS_MS = 2500, HELD = 32, ALIGN_BYTES = 256 };

/* By what the thread did before, so that all ways meet all sizes. */
static _Thread_local unsigned turn;

static void *alloc(size_t size) {
    void *p;
    switch (turn++ % 4) {
    case 0: return engine_alloc_slow(size);
    case 1: return engine_memalign(ALIGN_BYTES, size);
    case 2: return engine_realloc(engine_alloc_slow(size / 2), size);
    default:
        p = engine_calloc(size / 16, 16);
        MUST(p != NULL && ((u64 *)p)[0] == 0 && ((u64 *)p)[size / 16 * 2 - 1] == 0);
        return engine_realloc(p, size);
    }
}

static void give(void *p, size_t size) {
    MUST(engine_usable(p) >= size);
    switch (turn++ % 3) {
    case 0: engine_free_slow(p); break;
    case 1: engine_free_sized(p, engine_usable(p), 0); break; /* it may have come aligned */
    default: engine_free_slow(engine_realloc(p, size / 3)); break;
    }
}

static void empty(void) {
    mag_drain(MAG_DRAIN_ALL);
    mag_depot_trim(MAG_DRAIN_ALL);
}

static void reclaim(void) { (void)engine_reclaim(); }

/* Without barriers the magazines of other CPUs keep what they have. */
static bool may_drain(void) {
    ptrdiff_t offset;
    return sys_rseq_probe(&offset) == SYS_RSEQ_NONE ||
           (sys_membarrier_register() == SYS_BARRIER_READY && sys_membarrier_rseq() == 0);
}

static void expect_none_out(void) {
    (void)engine_trim(0);
    if (!may_drain())
        return;
    cr_expect_eq(rt_usage_out_get(), 0, "%ld bytes are out", (long)rt_usage_out_get());
}

static void start(void) { cr_assert(engine_ready()); }

static const struct handover_ops small = {alloc, give, {16, 48, 64, 200, 600, 1024}, HELD, MS};
/* Far apart, so that some of them use one another's mappings again and others are unmapped for want of room. */
static const struct handover_ops regions = {
    alloc, give, {100000, 2200000, 2600000, 3500000, 5000000, 9000000}, 4, REGIONS_MS};
static const struct handover_ops all = {alloc, give, {32, 1000, 5000, 40000, 300000, 700000}, HELD, MS};

Test(engine_concurrent, small_objects, .init = start) {
    handover_run(&small, NULL);
    expect_none_out();
}

Test(engine_concurrent, all_classes, .init = start) {
    handover_run(&all, NULL);
    expect_none_out();
}

Test(engine_concurrent, all_classes_while_emptied, .init = start) {
    handover_run(&all, empty);
    expect_none_out();
}

/* Addresses go from one to another by the cache, by lots, and by the kernel. */
Test(engine_concurrent, regions_while_reclaimed, .init = start) {
    handover_run(&regions, reclaim);
    expect_none_out();
    cr_expect_eq(big_live_bytes_racy(), 0u);
    (void)engine_reclaim();
    cr_expect_eq(rt_leftover_bytes(), 0u);
}
