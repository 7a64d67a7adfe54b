/* SPDX-License-Identifier: MIT */
/*
 * A signal handler on top of a lock's holder while another thread forks: the fork has some of the locks that it holds,
 * and waits for the holder, who is below the handler. Whatever the handler wants then waits for none of the others, and
 * so ends: it is refused, or done otherwise. This thread stands for the holder and for the handler on top of it, which
 * are one to the locks.
 */
#include "big/big.h"
#include "big/lot.h"
#include "page/node.h"
#include "page/tier.h"
#include "rt/options.h"
#include "unit/alone.h"

#include <criterion/criterion.h>
#include <pthread.h>

enum { HANGS_S = 60 };

static pthread_t forker;
static _Atomic(bool) prepared, go_on;
static void *run_held, *lot_held;

static void *fork_elsewhere(void *unused) {
    (void)unused;
    page_fork_prepare(RT_FORK_ALONE);
    big_fork_prepare(RT_FORK_ALONE);
    atomic_store(&prepared, true);
    while (!atomic_load(&go_on))
        sys_yield();
    big_fork_done(RT_FORK_PARENT);
    page_fork_done(RT_FORK_PARENT);
    return NULL;
}

static void *run_alloc(void) {
    enum page_content content;
    return page_run_alloc(0, 1, 1, &content);
}

static void start(void) {
    rt_options_read(NULL, NULL);
    rt_opt.thp = OPT_THP_NEVER;
    cr_assert_eq(rt_meta_init(), 0);
    cr_assert_eq(page_init(), 0);
    cr_assert_not_null(run_held = run_alloc());
    cr_assert_not_null(lot_held = lot_take(HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN));
    alarm(HANGS_S);
}

static bool is_held(const struct sys_lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) != 0;
}

/* Until the fork waits for the lock, which this thread has: the kernel's part of it is told by the bit. */
static void fork_begins(struct sys_lock *mine) {
    cr_assert(sys_lock_try(mine));
    cr_assert_eq(pthread_create(&forker, NULL, fork_elsewhere, NULL), 0);
    while ((atomic_load(&mine->word) & SYS_LOCK_WAITED) == 0)
        sys_yield();
}

static void fork_ends(struct sys_lock *mine) {
    cr_expect_not(atomic_load(&prepared));
    sys_lock_release(mine);
    while (!atomic_load(&prepared))
        sys_yield();
    for (unsigned i = 0; i < tiers_nr(); i++)
        cr_expect(is_held(&tier_at(i)->lock));
    atomic_store(&go_on, true);
    cr_assert_eq(pthread_join(forker, NULL), 0);
}

static void all_is_free(void) {
    for (unsigned i = 0; i < tiers_nr(); i++)
        MUST(!is_held(&tier_at(i)->lock) && !atomic_load(&tier_at(i)->held_by_fork));
    for (unsigned i = 0; i < RT_FORK_LOCKS_NR; i++)
        MUST(!is_held(&rt_fork_locks[i]));
    MUST(run_alloc() != NULL && lot_take(HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN) != NULL);
}

/* Frees, trims, and what needs a lock that the fork has. */
static void handler_works(void) {
    cr_expect(page_is_busy_here());
    cr_expect_null(run_alloc());
    (void)page_purge(0);
    (void)page_release();
    (void)lot_give(lot_held, HPAGE_BYTES, LOT_PLAIN);
    (void)lot_take(HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN);
    (void)lot_extend(lot_held, HPAGE_BYTES, LOT_PLAIN);
    (void)big_release();
    (void)big_tick(0, BIG_EVERYTHING);
    page_nodes_open(PAGE_OPEN_WAIT);
    page_run_free(run_held, 1);
}

/* It forks as well: what the other fork has is left to it, and free in the child. */
static void handler_forks(struct sys_lock *mine) {
    unsigned others_nr = 0, still_nr = 0;
    for (unsigned i = 0; i < tiers_nr(); i++)
        others_nr += atomic_load(&tier_at(i)->held_by_fork);
    page_fork_prepare(RT_FORK_ON_TOP);
    big_fork_prepare(RT_FORK_ON_TOP);
    pid_t child = fork();
    enum rt_fork_side side = child == 0 ? RT_FORK_CHILD : RT_FORK_PARENT;
    big_fork_done(side);
    page_fork_done(side);
    if (child == 0) {
        alarm(HANGS_S);
        MUST(sys_lock_is_mine(mine)); /* whoever is below the handler goes on */
        sys_lock_release(mine);
        all_is_free();
        _exit(0);
    }
    int status = -1;
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x", (unsigned)status);
    for (unsigned i = 0; i < tiers_nr(); i++)
        still_nr += atomic_load(&tier_at(i)->held_by_fork);
    cr_expect_eq(still_nr, others_nr, "the other fork had %u tiers, now %u", others_nr, still_nr);
}

static void on_top_of(struct sys_lock *mine) {
    fork_begins(mine);
    handler_forks(mine);
    handler_works();
    fork_ends(mine);
    all_is_free();
}

Test(on_top, of_the_cache, .init = start) { on_top_of(&rt_fork_locks[RT_FORK_LOCK_CACHE]); }
Test(on_top, of_the_lots, .init = start) { on_top_of(&rt_fork_locks[RT_FORK_LOCK_LOTS]); }
Test(on_top, of_a_tier, .init = start) { on_top_of(&tier_at(NODE_TIERS_NR - 1)->lock); }
