/* SPDX-License-Identifier: MIT */
/* Tagged stacks and block pools, from one thread and from many: nothing pushed is lost, nothing popped twice, and a
 * block keeps what it may keep. */
#include "rt/pool.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

enum { BLOCKS = 64, THREADS = 8, ROUNDS = 40000 };

static void start(void) { cr_assert_eq(rt_meta_init(), 0); }

Test(pool, a_stack_gives_back_in_reverse_order, .init = start) {
    struct rt_stack stack = {0};
    u64 *blocks[BLOCKS];
    cr_expect_null(rt_stack_pop(&stack));
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = rt_meta_alloc(64, 64);
        blocks[i][0] = 0x1234 + i;
        blocks[i][1] = i;
        rt_stack_push(&stack, blocks[i]);
    }
    for (unsigned i = BLOCKS; i-- > 0;) {
        u64 *got = rt_stack_pop(&stack);
        cr_assert_eq(got, blocks[i]);
        cr_expect_eq(got[0] & 0xffffffff, 0x1234 + i, "the low half belongs to the block");
        cr_expect_eq(got[1], i);
    }
    cr_expect_null(rt_stack_pop(&stack));
}

Test(pool, a_list_is_taken_whole, .init = start) {
    struct rt_stack stack = {0};
    unsigned nr = 0;
    for (unsigned i = 0; i < BLOCKS; i++)
        rt_stack_push(&stack, rt_meta_alloc(64, 64));
    for (void *at = rt_stack_take_all(&stack); at != NULL; at = rt_stack_next(at))
        nr++;
    cr_expect_eq(nr, (unsigned)BLOCKS);
    cr_expect_null(rt_stack_pop(&stack));
    cr_expect_null(rt_stack_take_all(&stack));
}

Test(pool, the_tag_changes_with_every_operation, .init = start) {
    struct rt_stack stack = {0};
    void *block = rt_meta_alloc(64, 64);
    u64 before = atomic_load(&stack.head);
    rt_stack_push(&stack, block);
    u64 pushed = atomic_load(&stack.head);
    rt_stack_pop(&stack);
    u64 popped = atomic_load(&stack.head);
    cr_expect(before != pushed && pushed != popped && before != popped);
    rt_stack_push(&stack, block);
    cr_expect_neq(atomic_load(&stack.head), pushed, "the same block on top again must not look the same");
}

Test(pool, blocks_are_reused_by_kind_and_size, .init = start) {
    u8 *a = rt_pool_get(RT_POOL_BITMAPS, 0, 7);
    for (unsigned i = 0; i < 128; i++)
        cr_assert_eq(a[i], 0, "a new block is zeroed");
    cr_expect_eq((uintptr_t)a % 128, 0u);
    memset(a, 0x77, 128);
    rt_pool_put(RT_POOL_BITMAPS, 0, rt_pool_get(RT_POOL_BITMAPS, 0, 7), 7); /* what the link leads to */
    rt_pool_put(RT_POOL_BITMAPS, 0, a, 7);
    cr_expect_neq(rt_pool_get(RT_POOL_MAGAZINES, 0, 7), a, "a block became another kind");
    cr_expect_neq(rt_pool_get(RT_POOL_BITMAPS, 0, 6), a, "a block became another size");
    cr_expect_eq(rt_pool_get(RT_POOL_BITMAPS, 0, 7), a);
    for (unsigned i = 0; i < 128; i++)
        cr_assert_eq(a[i], i < 8 ? 0 : 0x77, "the first word is zero, and nothing else was written");
}

/* --- many threads --- */

static struct rt_stack shared[2];

/* Blocks wander between two stacks; whoever holds one writes its number into it and must find it there. */
static void *wander(void *arg) {
    u64 me = (u64)(uintptr_t)arg + 1, seed = me * 31337;
    for (unsigned i = 0; i < ROUNDS; i++) {
        u64 r = alone_random(&seed);
        u64 *block = rt_stack_pop(&shared[r % 2]);
        if (block == NULL)
            continue;
        MUST(block[1] == 0);
        block[1] = me;
        if (r % 64 == 0)
            (void)sched_yield();
        MUST(block[1] == me);
        block[1] = 0;
        rt_stack_push(&shared[r / 2 % 2], block);
    }
    return NULL;
}

Test(pool, many_threads_lose_nothing, .init = start) {
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < 6; i++)
        rt_stack_push(&shared[i % 2], rt_meta_alloc(64, 64));
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, wander, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    unsigned nr = 0;
    for (unsigned i = 0; i < 2; i++) {
        while (rt_stack_pop(&shared[i]) != NULL)
            nr++;
    }
    cr_expect_eq(nr, 6u);
}
