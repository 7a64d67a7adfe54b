/* SPDX-License-Identifier: MIT */
/* The metadata pool: blocks are zeroed, apart and aligned; it ends where its reservation does, and survives refused
 * commits. On a pretend system. */
#include "rt/meta.h"
#include "fakes/fake.h"
#include "rt/context.h"

#include <criterion/criterion.h>
#include <string.h>

static void start(void) { cr_assert_eq(rt_meta_init(), 0); }

/* Else each process had 2 MiB of them, where hugepages come unasked. A system without any refuses. */
Test(meta, no_hugepages_come, .init = start) { cr_expect_eq(fake_calls_nr(FAKE_NOHUGE), 1u); }
Test(meta, and_where_there_are_none_it_starts_too) {
    fake_fail(FAKE_NOHUGE, 1, 1);
    start();
    cr_expect_eq(fake_failed_nr(FAKE_NOHUGE), 1u);
    cr_expect_not_null(rt_meta_alloc(64, 16));
}

Test(meta, blocks_are_zeroed_apart_and_aligned, .init = start) {
    char *end = NULL;
    for (size_t i = 0; i < 3000; i++) {
        size_t bytes = 1 + i * 7 % 3000, align = (size_t)1 << (i % 13);
        char *p = rt_meta_alloc(bytes, align);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % align, 0u, "%zu bytes at %zu: %p", bytes, align, (void *)p);
        cr_assert(end == NULL || p >= end, "two blocks overlap");
        for (size_t b = 0; b < bytes; b++)
            cr_assert_eq(p[b], 0);
        memset(p, 0xff, bytes);
        end = p + bytes;
    }
}

Test(meta, a_reference_leads_back, .init = start) {
    for (int i = 0; i < 100; i++) {
        void *p = rt_meta_alloc(48, 16);
        cr_expect_neq(rt_meta_ref(p), 0u, "0 means none");
        cr_expect_eq(rt_meta_at(rt_meta_ref(p)), p);
    }
}

Test(meta, it_ends_with_its_reservation) {
    fake_limit(64 * MIB);
    cr_assert_eq(rt_meta_init(), 0);
    size_t got = 0;
    while (got <= rt_meta.reserved_bytes && rt_meta_alloc(64 * KIB, 16) != NULL)
        got += 64 * KIB;
    cr_expect_leq(got, rt_meta.reserved_bytes);
    cr_expect_gt(got + 2 * 64 * KIB, rt_meta.reserved_bytes);
    cr_expect_null(rt_meta_alloc(SIZE_MAX, 16));
    cr_expect_null(rt_meta_alloc(SIZE_MAX / 2, 4096));
    cr_expect_not_null(rt_meta_alloc(16, 16), "small blocks still fit");
}

Test(meta, a_refused_commit_is_a_refused_block, .init = start) {
    size_t step = rt_meta.committed_bytes;
    fake_fail(FAKE_COMMIT, 1, 1);
    cr_expect_null(rt_meta_alloc(2 * step, 16));
    cr_expect_eq(fake_failed_nr(FAKE_COMMIT), 1u);
    char *p = rt_meta_alloc(2 * step, 16);
    cr_assert_not_null(p);
    memset(p, 1, 2 * step);
}

/* No commit, which would be a system call; what is committed is served, and the lack is noted for others. */
Test(meta, an_atomic_context_commits_nothing, .init = start) {
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    u64 committed = rt_meta.committed_bytes;
    while (rt_meta_alloc(4096, 16) != NULL)
        cr_assert_leq(rt_meta.used_bytes, committed);
    cr_expect_eq(rt_meta.committed_bytes, committed);
    cr_expect_not_null(rt_meta_alloc(16, 16), "small blocks still fit");
    cr_expect_eq(atomic_load(&rt_chores), (u32)RT_CHORE_RESERVE);
    rt_context_leave(before);
    cr_expect(rt_meta_headroom(0, 64 * KIB));
    before = rt_context_enter(RT_ATOMIC);
    for (int i = 0; i < 8; i++)
        cr_expect_not_null(rt_meta_alloc(4096, 16));
    rt_context_leave(before);
    cr_expect_not_null(rt_meta_alloc(1 * MIB, 16));
}

/* Who may block leaves the room alone: it would be gone when it is needed, whatever memory there is in the reserve. */
Test(meta, room_for_atomic_contexts_is_theirs, .init = start) {
    enum { ROOM = 64 * (int)KIB, BLOCK = 1000, BLOCKS_NR = 5000 };
    cr_expect(rt_meta_headroom(0, ROOM));
    for (int i = 0; i < BLOCKS_NR; i++) {
        cr_assert_not_null(rt_meta_alloc(BLOCK, 16));
        cr_assert_geq(rt_meta.committed_bytes - rt_meta.used_bytes, ROOM, "after %d blocks", i);
    }
    /* Also at the end, where no more is to be had. */
    while (rt_meta_alloc(MIB, 16) != NULL)
        continue;
    while (rt_meta_alloc(BLOCK, 16) != NULL)
        continue;
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    for (int i = 0; i < ROOM / 1024; i++)
        cr_assert_not_null(rt_meta_alloc(1024, 16), "block %d of the room", i);
    rt_context_leave(before);
}

/* The reserve's filling asks for room after whatever was cut: each new piece was paid for by what came out of the one
 * before. */
Test(meta, room_near_a_node_costs_in_proportion_to_what_is_cut, .init = start) {
    enum { BLOCK = 4096, BLOCKS_NR = 4000, FIRST_PIECE = 64 * KIB };
    size_t room = 4 * MIB;
    rt_meta_near(1, 5);
    u64 before = rt_meta.used_bytes;
    for (unsigned i = 0; i < BLOCKS_NR; i++)
        cr_assert(rt_meta_alloc_near(1, BLOCK, 16) != NULL && rt_meta_headroom(1, room), "no room after %u", i);
    cr_expect_leq(rt_meta.used_bytes - before, 2 * (BLOCKS_NR * (u64)BLOCK + room) + FIRST_PIECE);
    enum rt_context context = rt_context_enter(RT_ATOMIC);
    for (before = rt_meta.used_bytes; room > 0; room -= BLOCK)
        cr_assert_eq(fake_node_preferred(rt_meta_alloc_near(1, BLOCK, 16)), 5);
    rt_context_leave(context);
    cr_expect_eq(rt_meta.used_bytes, before);
}
