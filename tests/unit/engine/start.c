/* SPDX-License-Identifier: MIT */
/* The start: what libc is told when it is ready, where the heap could not start then. On a pretend system. */
#include "engine/start.h"

#include "engine/engine.h"
#include "engine/fast.h"
#include "engine/guard.h"
#include "fakes/fake.h"
#include "rt/options.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

static unsigned registered_nr;
static void (*prepare)(void), (*parent)(void), (*child)(void);

/* In the place of libc's, which each program has a copy of. */
int pthread_atfork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void)) {
    registered_nr++;
    prepare = before;
    parent = in_parent;
    child = in_child;
    return 0;
}

static void counted(void) { setenv("QUARRY_STATS", "text", 1); }
static void all_guarded(void) { setenv("QUARRY_GUARD", "1", 1); }

Test(start, registers_fork_handlers_without_starting) {
    engine_libc_ready();
    cr_expect_eq(registered_nr, 1u);
    cr_expect_not(engine_started());
}

Test(start, counting_starts_at_once, .init = counted) {
    engine_libc_ready();
    cr_expect_eq(registered_nr, 1u);
    cr_expect(engine_started());
}

/* No memory is to be had for a while; the heap starts with a later call, and then a fork must find its handlers. */
Test(start, that_fails_leaves_the_fork_handlers_behind, .init = counted) {
    fake_fail(FAKE_COMMIT, 1, 1000);
    engine_libc_ready();
    cr_expect_gt(fake_failed_nr(FAKE_COMMIT), 0u);
    cr_expect_not(engine_started());
    cr_assert_eq(registered_nr, 1u);
    prepare(); /* a fork before the start */
    parent();
    fake_fail(FAKE_COMMIT, 0, 0);
    void *p = engine_alloc_slow(100);
    cr_assert_not_null(p);
    cr_expect(engine_started());
    prepare();
    parent();
    engine_free_slow(p);
    prepare();
    child();
    p = engine_alloc_slow(100);
    cr_expect_not_null(p, "in the child");
    engine_free_slow(p);
}

static bool was_ready[4];
static unsigned closed_nr;
static void look_at_closing(enum fake_call call) {
    if (call == FAKE_READ_ONLY && closed_nr < ARRAY_NR(was_ready))
        was_ready[closed_nr++] = engine_started();
}

/* A fork as the seal's system call returns would let the child start anew, and write to what cannot be written to. */
Test(start, is_over_before_its_tables_are_sealed) {
    fake_fail(FAKE_READ_ONLY, 2, 1); /* the tests write to them; the first closes the page map's beginning */
    fake_calling = look_at_closing;
    engine_seal();
    cr_expect_eq(closed_nr, 0u, "nothing has started");
    cr_assert(engine_ready());
    fake_calling = NULL;
    cr_assert_eq(closed_nr, 2u);
    cr_expect_not(was_ready[0]);
    cr_expect(was_ready[1]);
}

/* Guarding each allocation was asked for before there was a heap: no magazine is asked once there is one. */
Test(start, that_fails_guards_all_the_same, .init = all_guarded) {
    fake_fail(FAKE_COMMIT, 1, 1000);
    engine_libc_ready();
    cr_assert_not(engine_started());
    fake_fail(FAKE_COMMIT, 0, 0);
    void *p = engine_alloc_unguarded(100, ENGINE_ANY_CONTENT); /* which fills a magazine */
    cr_assert_not_null(p);
    cr_expect_null(engine_malloc_fast(100));
    engine_free_slow(p);
    p = engine_alloc_slow(100);
    cr_expect(guard_has(p));
    engine_free_slow(p);
}

/* A thread looked at the clock, and another, that looked later, ticked first: no second tick, nor one with the time
 * that was. */
Test(start, time_that_goes_back_is_no_tick) {
    enum { TICK_MS = 100, LOOKS = 1024 };
    cr_assert(engine_ready());
    for (unsigned i = 0; i < LOOKS; i++)
        engine_tick_maybe(); /* the first look only begins */
    fake_clock_advance_ms(TICK_MS);
    for (unsigned i = 0; i < LOOKS; i++)
        engine_tick_maybe();
    cr_assert_eq(engine_ticks_nr, 1u);
    fake_clock_advance_ms(-(u64)(TICK_MS / 2));
    for (unsigned i = 0; i < LOOKS; i++)
        engine_tick_maybe();
    cr_expect_eq(engine_ticks_nr, 1u);
    fake_clock_advance_ms(TICK_MS / 2 + TICK_MS);
    for (unsigned i = 0; i < LOOKS; i++)
        engine_tick_maybe();
    cr_expect_eq(engine_ticks_nr, 2u);
}
