/* SPDX-License-Identifier: MIT */
/* Pages under eight threads: owners stamp what they got and hand it on, while another purges and retires. At the end
 * every page is free, every block whole, and the hints are not below what there is. */
#include "buddy/block.h"
#include "buddy/buddy.h"
#include "rt/usage.h"
#include "unit/core.h"
#include "unit/handover.h"

enum { MS = 500, HELD = 96, HELD_FEW = 3 };

static unsigned order_of(size_t size) { return bits_log2_up((size + sys_page_bytes() - 1) / sys_page_bytes()); }

static void *alloc(size_t size) {
    struct buddy_page *page = buddy_alloc(order_of(size), size % 3 == 0 ? BUDDY_ZERO : 0);
    return page == NULL ? NULL : page->addr;
}

/* Some by another reference, which the free leaves. */
static void give(void *p, size_t size) {
    struct buddy_page *page = buddy_page_of(p);
    unsigned order = order_of(size);
    if (((uintptr_t)p >> 13) % 4 != 0) {
        buddy_free(page, order);
        return;
    }
    buddy_get(page);
    buddy_free(page, order);
    buddy_put(page);
}

static void expect_all_back(void) {
    struct buddy_stats st;
    buddy_stats_get(&st);
    cr_assert_eq(st.live_bytes, 0u, "%lu bytes are lost", st.live_bytes);
    cr_assert_eq(st.free_nr[block_order()], st.blocks);
    /* [B3]: what is free can be found. */
    for (u64 i = 0; i < st.blocks; i++)
        cr_assert_not_null(buddy_alloc(block_order(), BUDDY_AT_HAND), "block %lu of %lu is not found", i, st.blocks);
    cr_assert_null(buddy_alloc(0, BUDDY_AT_HAND));
}

static void expect_none_left(void) {
    struct page_stats pages;
    struct buddy_stats st;
    buddy_tick(0, BUDDY_EVERYTHING);
    buddy_stats_get(&st);
    page_stats_get(&pages);
    cr_assert_eq(st.blocks, 0u);
    cr_assert_eq(pages.run_used_bytes, 0u);
    cr_assert_eq(pages.inside_purged_bytes, 0u);
    cr_assert_eq(atomic_load(&rt_usage_out_bytes), 0);
}

static const struct handover_ops small = {alloc, give, {4096, 4096, 8192, 12288, 16384, 65536}, HELD, MS};
static const struct handover_ops mixed = {alloc, give, {4096, 16384, 131072, 262144, 524288, 1048576}, HELD_FEW, MS};
static const struct handover_ops large = {alloc, give, {524288, 1048576, 2097152, 524288, 2097152, 4096}, HELD_FEW, MS};
static const struct handover_ops single = {alloc, give, {4096, 4096, 4096, 4096, 4096, 4096}, HELD_FEW, MS};

/* --- [B3]: rounds of one step for each thread, on one block; between them what is free must be found --- */

enum { ROUND_THREADS = 3, ROUND_HELD = 600, ROUNDS_MS = 700, ROUND_STEPS = 3 };

static struct round {
    _Alignas(CACHE_LINE) _Atomic(u64) turn; /* rounds begun; UINT64_MAX: over */
    _Alignas(CACHE_LINE) _Atomic(u64) done[ROUND_THREADS];
} rounds;

struct round_held {
    struct buddy_page *page;
    unsigned order;
};

/* Of the orders that take bits of a word, whole words, and several. */
static void round_step(struct round_held *held, unsigned *held_nr, u64 r) {
    static const unsigned orders[] = {0, 0, 0, 5, 6, 6, 7, 7, 8};
    unsigned order = orders[r / 8 % ARRAY_NR(orders)];
    struct buddy_page *page = r % 2 == 0 && *held_nr < ROUND_HELD ? buddy_alloc(order, BUDDY_AT_HAND) : NULL;
    if (page != NULL) {
        held[(*held_nr)++] = (struct round_held){page, order};
    } else if (r % 2 == 1 && *held_nr > 0) {
        unsigned k = (unsigned)(r / 256 % *held_nr);
        buddy_free(held[k].page, held[k].order);
        held[k] = held[--*held_nr];
    }
}

static void *round_thread(void *arg) {
    u64 me = (u64)(uintptr_t)arg, seed = me * 31 + 7;
    static struct round_held all[ROUND_THREADS][ROUND_HELD];
    unsigned held_nr = 0;
    for (u64 turn = 1;; turn++) {
        u64 now;
        while ((now = atomic_load_explicit(&rounds.turn, memory_order_acquire)) < turn)
            sched_yield();
        if (now == UINT64_MAX)
            break;
        for (int i = 0; i < ROUND_STEPS; i++)
            round_step(all[me], &held_nr, alone_random(&seed));
        atomic_store_explicit(&rounds.done[me], turn, memory_order_release);
    }
    while (held_nr-- > 0)
        buddy_free(all[me][held_nr].page, all[me][held_nr].order);
    return NULL;
}

static void expect_found(u64 turn) {
    struct buddy_stats st;
    buddy_stats_get(&st);
    for (unsigned order = block_order() + 1; order-- > 0;) {
        if (st.free_nr[order] == 0)
            continue;
        struct buddy_page *page = buddy_alloc(order, BUDDY_AT_HAND);
        MUST(page != NULL || (fprintf(stderr, "round %lu: order %u is free and not found\n", turn, order), false));
        buddy_free(page, order);
        return;
    }
}

static void rounds_run(void (*meanwhile)(void)) {
    pthread_t threads[ROUND_THREADS];
    u64 turn = 0;
    struct buddy_page *one = buddy_alloc(0, 0); /* the block stays */
    for (uintptr_t i = 0; i < ROUND_THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, round_thread, (void *)i) == 0); // NOLINT(performance-no-int-to-ptr)
    for (u64 end = handover_now_ms() + ROUNDS_MS; handover_now_ms() < end;) {
        atomic_store_explicit(&rounds.turn, ++turn, memory_order_release);
        if (meanwhile != NULL)
            meanwhile();
        for (unsigned i = 0; i < ROUND_THREADS; i++) {
            while (atomic_load_explicit(&rounds.done[i], memory_order_acquire) != turn)
                sched_yield();
        }
        expect_found(turn);
    }
    atomic_store(&rounds.turn, UINT64_MAX);
    for (unsigned i = 0; i < ROUND_THREADS; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    buddy_free(one, 0);
    expect_all_back();
}

static void purge_all(void) { buddy_tick(0, BUDDY_EVERYTHING); }

Test(buddy_concurrent, what_is_free_is_found, .init = core_start_slabs) { rounds_run(NULL); }
Test(buddy_concurrent, what_is_free_is_found_after_purges, .init = core_start_slabs) { rounds_run(purge_all); }

static void purge(void) {
    static unsigned turn;
    buddy_tick(sys_clock_ms(), turn++ % 3 == 0 ? BUDDY_EVERYTHING : BUDDY_OLD);
}

/* --- the reserve: takers against each other, the filler and the purger --- */

static void *alloc_reserve(size_t size) {
    struct buddy_page *page = buddy_alloc(order_of(size), BUDDY_AT_HAND | BUDDY_RESERVE);
    return page == NULL ? alloc(size) : page->addr;
}

static const struct handover_ops reserve_small = {
    alloc_reserve, give, {4096, 4096, 8192, 12288, 16384, 65536}, HELD, MS};
static const struct handover_ops reserve_large = {
    alloc_reserve, give, {524288, 1048576, 262144, 524288, 4096, 4096}, HELD_FEW, MS};

static void fill_and_purge(void) {
    static unsigned turn;
    buddy_reserve_fill();
    buddy_tick(sys_clock_ms(), turn++ % 3 == 0 ? BUDDY_EVERYTHING : BUDDY_OLD);
}

/* All is given back, and all of the reserve is there, once. */
static void reserve_run(const struct handover_ops *ops, size_t reserve_bytes) {
    struct buddy_stats st;
    u64 taken = 0;
    rt_opt.purge_delay = 1;
    rt_opt.reserve = reserve_bytes;
    buddy_reserve_fill();
    handover_run(ops, fill_and_purge);
    buddy_reserve_fill();
    buddy_tick(0, BUDDY_EVERYTHING);
    buddy_stats_get(&st);
    cr_assert_eq(st.live_bytes, 0u, "%lu bytes are lost", st.live_bytes);
    cr_assert_eq(st.free_bytes, 0u);
    cr_assert_eq(st.reserve_bytes, rt_opt.reserve, "%lu bytes of %lu", st.reserve_bytes, rt_opt.reserve);
    cr_assert_eq(st.blocks, (rt_opt.reserve + HPAGE_BYTES - 1) / HPAGE_BYTES);
    while (buddy_alloc(0, BUDDY_AT_HAND | BUDDY_RESERVE) != NULL)
        taken += sys_page_bytes();
    cr_assert_eq(taken, rt_opt.reserve, "what is free is found");
}

Test(buddy_concurrent, the_reserve, .init = core_start_slabs) { reserve_run(&reserve_small, MIB); }
Test(buddy_concurrent, the_reserve_by_large_orders, .init = core_start_slabs) { reserve_run(&reserve_large, 4 * MIB); }

Test(buddy_concurrent, small_orders, .init = core_start_slabs) {
    handover_run(&small, NULL);
    expect_all_back();
}

Test(buddy_concurrent, one_page, .init = core_start_slabs) {
    handover_run(&single, NULL);
    expect_all_back();
}

Test(buddy_concurrent, mixed_orders, .init = core_start_slabs) {
    handover_run(&mixed, NULL);
    expect_all_back();
}

Test(buddy_concurrent, orders_of_several_words, .init = core_start_slabs) {
    handover_run(&large, NULL);
    expect_all_back();
}

Test(buddy_concurrent, with_purges, .init = core_start_slabs) {
    rt_opt.purge_delay = 1;
    handover_run(&small, purge);
    expect_none_left();
}

Test(buddy_concurrent, large_with_purges, .init = core_start_slabs) {
    rt_opt.purge_delay = 1;
    handover_run(&large, purge);
    expect_none_left();
}
