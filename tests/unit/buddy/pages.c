/* SPDX-License-Identifier: MIT */
/* Pages from one thread, on a pretend system: aligned, never two owners, buddies merge whatever the order of frees, the
 * accounts to the byte, memory that goes back and reads as zeros, misuse named, and every system call failing. */
#include "big/big.h"
#include "buddy/block.h"
#include "buddy/buddy.h"
#include "fakes/fake.h"
#include "rt/context.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <string.h>

enum { HELD_MAX = 700, CHURN = 30000 };

static struct held {
    struct buddy_page *page;
    unsigned order;
    u8 stamp;
} held[HELD_MAX];
static unsigned held_nr;
static u64 seed = 2024;

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
}

static size_t bytes_of(unsigned order) { return sys_page_bytes() << order; }

static struct buddy_stats stats(void) {
    struct buddy_stats st;
    buddy_stats_get(&st);
    return st;
}

static void stamp_pages(const struct held *h) {
    for (unsigned i = 0; i < 1u << h->order; i++)
        h->page->addr[i * sys_page_bytes()] = h->page->addr[(i + 1) * sys_page_bytes() - 1] = (char)h->stamp;
}

static bool stamped(const struct held *h) {
    for (unsigned i = 0; i < 1u << h->order; i++) {
        if ((u8)h->page->addr[i * sys_page_bytes()] != h->stamp ||
            (u8)h->page->addr[(i + 1) * sys_page_bytes() - 1] != h->stamp)
            return false;
    }
    return true;
}

/* Each byte is the one before it: by memcmp, because emulators run it as fast as any loop they can. */
static bool zeroed(const char *p, size_t bytes) { return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0; }

static bool hold(unsigned order, unsigned flags) {
    struct buddy_page *page = buddy_alloc(order, flags);
    if (page == NULL)
        return false;
    cr_assert_eq((uintptr_t)page->addr % bytes_of(order), 0u, "order %u at %p", order, (void *)page->addr);
    cr_assert_eq(buddy_page_of(page->addr), page);
    cr_assert_eq(buddy_page_of(page->addr + bytes_of(order) - 1), page + (((size_t)1 << order) - 1));
    cr_assert_eq(buddy_order(page), order);
    cr_assert_eq(buddy_refs_racy(page), 1u);
    cr_assert((flags & BUDDY_ZERO) == 0 || zeroed(page->addr, bytes_of(order)), "order %u is not zeroed", order);
    held[held_nr] = (struct held){page, order, (u8)(1 + held_nr % 250)};
    stamp_pages(&held[held_nr++]);
    return true;
}

static void let_go(unsigned i) {
    cr_assert(stamped(&held[i]), "pages of order %u were written by another's owner", held[i].order);
    buddy_free(held[i].page, held[i].order);
    held[i] = held[--held_nr];
}

static u64 held_bytes(void) {
    u64 bytes = 0;
    for (unsigned i = 0; i < held_nr; i++)
        bytes += held[i].order <= block_order() ? bytes_of(held[i].order) : 0;
    return bytes;
}

/* Live is what is held, and the free blocks of all orders are the rest of the blocks. */
static void check_accounts(void) {
    struct buddy_stats st = stats();
    u64 free_bytes = 0;
    for (unsigned order = 0; order <= block_order(); order++)
        free_bytes += st.free_nr[order] * bytes_of(order);
    cr_assert_eq(st.live_bytes, held_bytes());
    cr_assert_eq(st.live_bytes + free_bytes, st.blocks * HPAGE_BYTES);
}

/* Small orders mostly, as programs ask for them. */
static unsigned random_order(u64 r, unsigned max) {
    unsigned order = bits_lowest(r | (u64)1 << max);
    return r >> 60 == 0 ? max : order;
}

static void churn(unsigned rounds, unsigned order_max) {
    for (unsigned round = 0; round < rounds; round++) {
        u64 r = alone_random(&seed);
        if (held_nr < HELD_MAX && (r % 8 < 4 || held_nr == 0))
            cr_assert(hold(random_order(r >> 3, order_max), (unsigned)(r >> 50 & (BUDDY_ZERO | BUDDY_COMPOUND))));
        else
            let_go((unsigned)(r / 4096 % held_nr));
        if (round % 128 == 0)
            check_accounts();
    }
}

static void let_all_go(void) {
    while (held_nr > 0)
        let_go((unsigned)(alone_random(&seed) % held_nr));
}

/* All blocks are whole again, and gone when asked. */
static void expect_nothing_left(void) {
    struct page_stats pages;
    struct buddy_stats st = stats();
    cr_expect_eq(st.free_nr[block_order()], st.blocks);
    buddy_tick(sys_clock_ms(), BUDDY_EVERYTHING);
    cr_expect_eq(stats().blocks, 0u);
    page_stats_get(&pages);
    cr_expect_eq(pages.run_used_bytes, 0u);
    cr_expect_eq(pages.inside_purged_bytes, 0u);
    cr_expect_eq(atomic_load(&rt_usage_out_bytes), 0);
}

Test(pages, never_two_owners_and_all_merge, .init = start) {
    churn(CHURN, 6);
    let_all_go();
    expect_nothing_left();
    churn(CHURN / 10, block_order());
    let_all_go();
    expect_nothing_left();
}

Test(pages, ticks_and_trims_in_between_change_nothing_for_the_owner, .init = start) {
    for (int i = 0; i < 60; i++) {
        churn(200, 5);
        fake_clock_advance_ms(700);
        buddy_tick(sys_clock_ms(), i % 7 == 0 ? BUDDY_EVERYTHING : BUDDY_OLD);
        check_accounts();
    }
    let_all_go();
    expect_nothing_left();
}

Test(pages, orders_above_a_block_are_mappings, .init = start) {
    struct big_stats big;
    for (unsigned order = block_order() + 1; order <= BUDDY_ORDER_MAX; order++) {
        cr_assert(hold(order, BUDDY_ZERO));
        cr_expect_null(buddy_alloc(order, BUDDY_AT_HAND));
        let_go(0);
    }
    cr_expect_null(buddy_alloc(BUDDY_ORDER_MAX + 1, 0));
    big_stats_get(&big);
    cr_expect_eq(big.live_bytes, 0u);
}

Test(pages, the_smallest_free_block_is_split, .init = start) {
    struct buddy_page *all = buddy_alloc(5, 0);
    struct buddy_page *next = buddy_alloc(5, 0);
    cr_expect_eq(next->addr, all->addr + bytes_of(5), "the other half of the split");
    struct buddy_page *one = buddy_alloc(0, 0);
    cr_expect_eq(one->addr, all->addr + bytes_of(6), "the next smallest");
    buddy_free(all, 5);
    cr_expect_eq(buddy_alloc(1, 0)->addr, one->addr + bytes_of(1), "the rest of one's block, not all's");
    cr_expect_eq(buddy_alloc(4, 0)->addr, one->addr + bytes_of(4));
    cr_expect_eq(buddy_alloc(5, 0)->addr, all->addr);
}

Test(pages, nothing_is_asked_of_the_system_at_hand, .init = start) {
    cr_expect_null(buddy_alloc(0, BUDDY_AT_HAND), "there is no block yet");
    cr_assert(hold(0, 0));
    unsigned got = 0;
    for (int call = 0; call < FAKE_CALLS_NR; call++)
        fake_fail((enum fake_call)call, 1, 1000000);
    while (buddy_alloc(0, BUDDY_AT_HAND) != NULL)
        got++;
    cr_expect_eq(got, (1u << block_order()) - 1, "all of the block, and no more");
    for (int call = 0; call < FAKE_CALLS_NR; call++)
        cr_expect_eq(fake_failed_nr((enum fake_call)call), 0u, "%s", fake_call_name((enum fake_call)call));
}

/* --- the reserve --- */

enum { RESERVE_PAGES = 64 };

static void start_reserve(void) {
    start();
    rt_opt.reserve = RESERVE_PAGES * sys_page_bytes();
    atomic_store(&rt_chores, 0);
    buddy_reserve_fill();
    cr_assert_eq(stats().reserve_bytes, rt_opt.reserve);
}

static void expect_reserve_whole(void) {
    cr_expect_eq(stats().reserve_bytes, rt_opt.reserve);
    cr_expect_eq(stats().live_bytes, 0u);
    cr_expect_eq(stats().free_bytes, 0u);
    cr_expect_eq(stats().unbacked_bytes, HPAGE_BYTES - rt_opt.reserve);
}

static unsigned take_all(unsigned order) {
    unsigned got = 0;
    for (unsigned flags = BUDDY_AT_HAND | BUDDY_RESERVE; hold(order, flags | (got % 2 ? BUDDY_ZERO : 0)); got++)
        flags |= BUDDY_STRICT;
    return got;
}

Test(pages, the_reserve_is_in_memory_for_whom_it_is_alone, .init = start_reserve) {
    cr_expect_null(buddy_alloc(0, BUDDY_AT_HAND), "it is not for all");
    cr_expect_null(buddy_alloc(0, BUDDY_AT_HAND | BUDDY_RESERVE | BUDDY_DMA));
    cr_expect_eq(atomic_load(&rt_chores), 0u);
    for (int call = 0; call < FAKE_CALLS_NR; call++)
        fake_fail((enum fake_call)call, 1, 1000000);
    struct buddy_page *first = buddy_alloc(0, BUDDY_AT_HAND | BUDDY_RESERVE);
    cr_assert_not_null(first);
    cr_expect_eq(atomic_load(&rt_chores), (u32)RT_CHORE_RESERVE);
    cr_expect_eq(fake_resident_bytes(first->addr, sys_page_bytes()), sys_page_bytes(), "no page fault is left");
    buddy_free(first, 0);
    cr_expect_eq(take_all(0), (unsigned)RESERVE_PAGES, "all of it, and no more");
    cr_expect_null(buddy_alloc(0, BUDDY_AT_HAND | BUDDY_RESERVE));
    for (int call = 0; call < FAKE_CALLS_NR; call++)
        cr_expect_eq(fake_failed_nr((enum fake_call)call), 0u, "%s", fake_call_name((enum fake_call)call));
    cr_expect_eq(stats().live_bytes, held_bytes());
    let_all_go();
    expect_reserve_whole();
    buddy_tick(sys_clock_ms(), BUDDY_EVERYTHING);
    buddy_retire_due();
    expect_reserve_whole();
}

Test(pages, what_is_at_hand_comes_before_the_reserve, .init = start_reserve) {
    cr_assert(hold(0, 0));
    cr_assert(hold(0, BUDDY_AT_HAND | BUDDY_RESERVE | BUDDY_MOVABLE));
    cr_expect_eq(atomic_load(&rt_chores), 0u);
    cr_expect_eq(stats().reserve_bytes, rt_opt.reserve);
}

/* With half of it out it is as large as it was by new pages; what comes back of the old ones is nobody's. */
Test(pages, the_reserve_is_filled_again, .init = start_reserve) {
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < RESERVE_PAGES / 2 - 1; i++)
            cr_assert(hold(0, BUDDY_AT_HAND | BUDDY_RESERVE));
        buddy_reserve_fill();
        cr_expect_eq(stats().reserve_bytes, rt_opt.reserve - (RESERVE_PAGES / 2 - 1) * sys_page_bytes(), "not yet");
        cr_assert(hold(0, BUDDY_AT_HAND | BUDDY_RESERVE));
        fake_fail(FAKE_COMMIT, 1, 1000000);
        buddy_reserve_fill();
        if (fake_failed_nr(FAKE_COMMIT) != 0)
            cr_expect_eq(stats().reserve_bytes, rt_opt.reserve / 2, "what little is left stays");
        fake_fail(FAKE_COMMIT, 0, 0);
        buddy_reserve_fill();
        cr_expect_eq(stats().reserve_bytes, rt_opt.reserve);
        cr_expect_eq(stats().live_bytes, held_bytes());
        cr_expect_eq(stats().blocks, 2u, "%lu blocks", stats().blocks);
        let_all_go();
        buddy_tick(sys_clock_ms(), BUDDY_EVERYTHING);
        cr_expect_eq(stats().blocks, 1u);
        expect_reserve_whole();
    }
}

Test(pages, a_reserve_of_any_size, .init = start) {
    static const u64 pages[] = {1, 3, 700, 2000};
    for (unsigned i = 0; i < ARRAY_NR(pages); i++) {
        rt_opt.reserve = pages[i] * sys_page_bytes();
        buddy_reserve_fill();
        cr_expect_geq(stats().reserve_bytes, rt_opt.reserve);
        cr_expect_lt(stats().reserve_bytes, 2 * rt_opt.reserve);
        u64 has = stats().reserve_bytes;
        buddy_reserve_fill();
        cr_expect_eq(stats().reserve_bytes, has, "there is enough");
    }
}

Test(pages, the_reserve_is_there_at_the_hard_limit, .init = start_reserve) {
    cr_assert(hold(0, 0));
    rt_opt.limit_hard = atomic_load(&rt_meta.used_bytes) + (u64)rt_usage_get();
    cr_expect_null(buddy_alloc(0, 0));
    cr_expect_eq(take_all(0), (unsigned)RESERVE_PAGES);
    buddy_reserve_fill(); /* cannot, and loses nothing */
    cr_expect_eq(stats().reserve_bytes, 0u);
    rt_opt.limit_hard = 0;
    buddy_reserve_fill();
    cr_expect_eq(stats().reserve_bytes, rt_opt.reserve);
}

static void limit_comes(enum fake_call call) {
    if (call == FAKE_NOHUGE) /* of the step of a run that is admitted, and whose pages are not */
        rt_opt.limit_hard = 1;
}

Test(pages, a_block_that_is_refused_is_none_of_the_reserve, .init = start) {
    rt_opt.reserve = RESERVE_PAGES * sys_page_bytes();
    rt_opt.limit_hard = GIB;
    fake_calling = limit_comes;
    buddy_reserve_fill();
    fake_calling = NULL;
    cr_assert_eq(rt_opt.limit_hard, 1u);
    cr_expect_eq(stats().blocks, 0u);
    rt_opt.limit_hard = GIB;
    buddy_reserve_fill();
    cr_expect_eq(stats().blocks, 1u);
    expect_reserve_whole();
}

Test(pages, memory_counts_when_it_is_taken_and_goes_back, .init = start) {
    cr_assert(hold(3, 0));
    s64 with_block = rt_usage_get();
    cr_expect_eq(with_block, (s64)bytes_of(3), "a block costs nothing before its pages are used");
    cr_assert(hold(4, 0));
    cr_assert(hold(4, 0));
    cr_expect_eq(rt_usage_get(), with_block + 2 * (s64)bytes_of(4));
    char *last = held[2].page->addr;
    let_go(1);
    let_go(1);
    cr_expect_eq(rt_usage_get(), with_block + 2 * (s64)bytes_of(4), "free pages hold memory");
    cr_expect_eq(stats().free_bytes, 2 * bytes_of(4));
    fake_clock_advance_ms(rt_opt.purge_delay - 10);
    buddy_tick(sys_clock_ms(), BUDDY_OLD);
    cr_expect_neq(fake_resident_bytes(last, bytes_of(4)), 0u, "not that soon");
    fake_clock_advance_ms(20);
    buddy_tick(sys_clock_ms(), BUDDY_OLD);
    cr_expect_eq(fake_resident_bytes(last, bytes_of(4)), 0u);
    cr_expect_eq(rt_usage_get(), with_block);
    cr_expect(stamped(&held[0]));
    let_go(0);
    expect_nothing_left();
}

Test(pages, a_refused_purge_loses_nothing, .init = start) {
    cr_assert(hold(2, 0));
    cr_assert(hold(2, 0));
    let_go(1);
    fake_fail(FAKE_PURGE, 1, 1);
    buddy_tick(sys_clock_ms(), BUDDY_EVERYTHING);
    cr_expect_eq(fake_failed_nr(FAKE_PURGE), 1u);
    cr_expect_eq(stats().free_bytes, bytes_of(2));
    check_accounts();
    cr_assert(hold(2, BUDDY_ZERO));
    let_all_go();
    expect_nothing_left();
}

Test(pages, the_hard_limit_is_kept, .init = start) {
    cr_assert(hold(0, 0));
    rt_opt.limit_hard = atomic_load(&rt_meta.used_bytes) + (u64)rt_usage_get() + bytes_of(4);
    unsigned got = 0;
    while (hold(0, 0))
        got++;
    cr_expect_eq(got, 16u);
    cr_expect_null(buddy_alloc(2, 0));
    let_go(3);
    cr_expect(hold(0, 0), "a page that holds memory already is not counted again");
    check_accounts();
}

/* Each system call of the first allocations fails once. */
Test(pages, failing_system_calls_lose_nothing, .init = start) {
    for (unsigned nth = 1; nth < 6; nth++) {
        for (int call = 0; call < FAKE_CALLS_NR; call++) {
            fake_fail((enum fake_call)call, nth, 1);
            for (unsigned i = 0; i < 3 * HPAGE_BYTES / bytes_of(7); i++)
                (void)hold(7, 0);
            (void)hold(BUDDY_ORDER_MAX, 0);
            fake_fail((enum fake_call)call, 0, 0);
            check_accounts();
            let_all_go();
            expect_nothing_left();
            (void)page_release();
        }
    }
}

Test(pages, few_whole_blocks_are_kept, .init = start) {
    for (unsigned i = 0; i < 40; i++)
        cr_assert(hold(block_order(), 0));
    let_all_go();
    cr_expect_leq(stats().blocks, 3u);
    cr_expect_geq(stats().blocks, 1u);
    for (int i = 0; i < 4; i++) { /* as many are kept as so few blocks may */
        cr_assert(hold(0, 0));
        let_go(0);
    }
    u64 blocks = stats().blocks;
    unsigned commits = fake_calls_nr(FAKE_COMMIT);
    for (int i = 0; i < 100; i++) { /* around the edge nothing moves */
        cr_assert(hold(0, 0));
        let_go(0);
    }
    cr_expect_eq(stats().blocks, blocks);
    cr_expect_eq(fake_calls_nr(FAKE_COMMIT), commits);
}

Test(pages, references, .init = start) {
    struct buddy_page *page = buddy_alloc(0, 0);
    buddy_get(page);
    cr_expect_eq(buddy_refs_racy(page), 2u);
    buddy_free(page, 0);
    cr_expect_eq(buddy_refs_racy(page), 1u);
    buddy_put(page);
    cr_expect_eq(stats().live_bytes, 0u);

    /* A reference to pages that are not compound keeps the first one only. */
    page = buddy_alloc(4, 0);
    buddy_get(page);
    buddy_free(page, 4);
    cr_expect_eq(stats().live_bytes, bytes_of(0));
    buddy_put(page);
    cr_expect_eq(stats().live_bytes, 0u);

    /* To compound pages, all of them, and any page stands for the first. */
    page = buddy_alloc(4, BUDDY_COMPOUND);
    cr_expect_eq(buddy_head(page + 11), page);
    buddy_get(page + 11);
    cr_expect_eq(buddy_refs_racy(page + 3), 2u);
    buddy_free(page, 4);
    cr_expect_eq(stats().live_bytes, bytes_of(4));
    buddy_put(page + 5);
    cr_expect_eq(stats().live_bytes, 0u);
    cr_expect_eq(buddy_head(page + 11), page + 11);
}

Test(pages, split_pages_go_one_by_one, .init = start) {
    static const unsigned orders[] = {5, 8, BUDDY_ORDER_MAX};
    for (unsigned i = 0; i < ARRAY_NR(orders); i++) {
        struct buddy_page *page = buddy_alloc(orders[i], 0);
        buddy_split(page, orders[i]);
        for (unsigned k = 1u << orders[i]; k-- > 0;)
            buddy_free(page + k, 0);
    }
    struct big_stats big;
    big_stats_get(&big);
    cr_expect_eq(big.live_bytes, 0u);
    expect_nothing_left();
}

static void given(struct buddy_given g, u32 owner, u32 pages_nr) {
    cr_expect_eq(g.owner, owner);
    cr_expect_eq(g.pages_nr, pages_nr, "%u pages, not %u", g.pages_nr, pages_nr);
}

/* Who frees is told whose so many pages were: together they are those that were allocated. */
Test(pages, who_frees_is_told_the_owner, .init = start) {
    for (unsigned order = 0; order <= BUDDY_ORDER_MAX; order++) {
        struct buddy_page *page = buddy_alloc(order, 0);
        buddy_own(page, 7);
        given(buddy_free(page, order), 7, 1u << order);
        page = buddy_alloc(order, BUDDY_COMPOUND);
        given(buddy_put(page + (1u << order) - 1), 0, 1u << order); /* nobody's again */
        page = buddy_alloc(order, BUDDY_COMPOUND);
        buddy_own(page, UINT16_MAX);
        buddy_get(page);
        given(buddy_free(page, order), UINT16_MAX, 0);
        given(buddy_put(page), UINT16_MAX, 1u << order);
        page = buddy_alloc(order, 0);
        buddy_own(page, 8);
        buddy_get(page);
        given(buddy_free(page, order), 8, (1u << order) - 1);
        given(buddy_put(page), 8, 1);
    }
    struct buddy_page *page = buddy_alloc(5, 0);
    buddy_own(page, 9);
    buddy_split(page, 5);
    for (unsigned i = 0; i < 1u << 5; i++)
        given(i % 2 != 0 ? buddy_put(page + i) : buddy_free(page + i, 0), 9, 1);
    expect_nothing_left();
}

/* --- misuse --- */

static void twice(void *page) {
    buddy_free(page, 3);
    buddy_free(page, 3);
}
static void other_order(void *page) { buddy_free(page, 2); }
static void inside(void *page) { buddy_free((struct buddy_page *)page + 2, 0); }
static void put_free(void *page) {
    buddy_free(page, 3);
    buddy_put(page);
}
static void get_free(void *page) {
    buddy_free(page, 3);
    buddy_get(page);
}
static void after_return(void *page) {
    buddy_free(page, 3);
    buddy_tick(0, BUDDY_EVERYTHING);
    buddy_free(page, 3);
}

static void expect_abort(void (*crime)(void *), struct buddy_page *page, const char *want) {
    char said[1024];
    cr_expect_eq(alone_die(crime, page, said, sizeof(said)), SIGABRT, "no abort: %s", want);
    cr_expect_not_null(strstr(said, want), "want %s, got %s", want, said);
}

Test(pages, misuse_is_named, .init = start) {
    struct buddy_page *page = buddy_alloc(3, 0);
    expect_abort(twice, page, "quarry: error Q01 double-free: pointer ");
    expect_abort(other_order, page, "quarry: error Q08 wrong-order: pointer ");
    expect_abort(other_order, page, "; class 32768 slab pages; ");
    expect_abort(inside, page, "quarry: error Q02 interior-pointer: pointer ");
    expect_abort(put_free, page, "quarry: error Q01 double-free: pointer ");
    expect_abort(get_free, page, "quarry: error Q01 double-free: pointer ");
    expect_abort(after_return, page, "quarry: error Q01 double-free: pointer ");
}
