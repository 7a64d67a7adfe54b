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
    page_fork_let_go();
    big_fork_let_go();
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

static pid_t fork_on_top(void) {
    page_fork_mark();
    big_fork_mark();
    page_fork_prepare(RT_FORK_ON_TOP);
    big_fork_prepare(RT_FORK_ON_TOP);
    pid_t child = fork();
    enum rt_fork_side side = child == 0 ? RT_FORK_CHILD : RT_FORK_PARENT;
    if (child == 0) {
        page_fork_lose();
        big_fork_lose();
    } else {
        page_fork_let_go();
        big_fork_let_go();
    }
    big_fork_done(side);
    if (child == 0)
        page_fork_child();
    page_fork_done(side);
    return child;
}

/* It forks as well: what the other fork has is left to it, and free in the child. */
static void handler_forks(struct sys_lock *mine) {
    unsigned others_nr = 0, still_nr = 0;
    for (unsigned i = 0; i < tiers_nr(); i++)
        others_nr += atomic_load(&tier_at(i)->held_by_fork);
    pid_t child = fork_on_top();
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

Test(on_top, of_the_lots, .init = start) { on_top_of(&rt_fork_locks[RT_FORK_LOCK_LOTS]); }
Test(on_top, of_a_tier, .init = start) { on_top_of(&tier_at(NODE_TIERS_NR - 1)->lock); }

/* --- two handlers that fork, each on top of a lock of its own --- */

static unsigned locks_nr(bool (*that)(struct sys_lock *lock)) {
    unsigned nr = 0;
    for (unsigned i = 0; i < tiers_nr(); i++)
        nr += that(&tier_at(i)->lock);
    for (unsigned i = 0; i < RT_FORK_LOCKS_NR; i++)
        nr += that(&rt_fork_locks[i]);
    return nr;
}

static unsigned lost_nr(void) { return locks_nr(sys_lock_is_lost); }

enum { WAITED = 17, PASSED = 18 };

/* Goes on below the handler, works, forks again, and ends. */
static _Noreturn void child_lives(struct sys_lock *mine, struct sys_lock *others) {
    alarm(HANGS_S);
    unsigned lost = lost_nr();
    MUST(sys_lock_is_mine(mine) && lost == sys_lock_is_lost(others));
    sys_lock_release(mine);
    MUST(run_alloc() != NULL);
    page_run_free(run_held, 1);
    (void)page_purge(0);
    (void)page_release();
    (void)lot_take(HPAGE_BYTES, HPAGE_BYTES, LOT_PLAIN);
    (void)lot_give(lot_held, HPAGE_BYTES, LOT_PLAIN);
    (void)big_tick(0, BIG_EVERYTHING);
    page_fork_prepare(RT_FORK_ALONE);
    big_fork_prepare(RT_FORK_ALONE);
    pid_t grandchild = fork();
    if (grandchild == 0) {
        alarm(HANGS_S);
        page_fork_lose();
        big_fork_lose();
        big_fork_done(RT_FORK_CHILD);
        page_fork_done(RT_FORK_CHILD);
        MUST(run_alloc() != NULL && lost_nr() == lost);
        _exit(0);
    }
    page_fork_let_go();
    big_fork_let_go();
    big_fork_done(RT_FORK_PARENT);
    page_fork_done(RT_FORK_PARENT);
    int status = -1;
    MUST(grandchild > 0 && waitpid(grandchild, &status, 0) == grandchild && status == 0);
    MUST(run_alloc() != NULL && lost_nr() == lost);
    _exit(lost == 0 ? WAITED : PASSED);
}

struct forker {
    struct sys_lock *mine, *others;
    pthread_barrier_t *both;
    bool passed;
};

static void *handler_forks_too(void *arg) {
    struct forker *f = arg;
    MUST(sys_lock_try(f->mine));
    (void)pthread_barrier_wait(f->both);
    pid_t child = fork_on_top();
    if (child == 0)
        child_lives(f->mine, f->others);
    int status = -1;
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && (WEXITSTATUS(status) == WAITED || WEXITSTATUS(status) == PASSED));
    f->passed = WEXITSTATUS(status) == PASSED;
    sys_lock_release(f->mine);
    return NULL;
}

static void both_fork(struct sys_lock *one, struct sys_lock *other) {
    pthread_barrier_t both;
    pthread_t threads[2];
    struct forker forkers[] = {{one, other, &both, false}, {other, one, &both, false}};
    cr_assert_eq(pthread_barrier_init(&both, NULL, 2), 0);
    for (unsigned i = 0; i < ARRAY_NR(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, handler_forks_too, &forkers[i]), 0);
    for (unsigned i = 0; i < ARRAY_NR(threads); i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_expect(forkers[0].passed || forkers[1].passed, "each waited for the other");
    all_is_free();
}

Test(on_top, of_two_tiers, .init = start) { both_fork(&tier_at(0)->lock, &tier_at(NODE_TIERS_NR - 1)->lock); }
Test(on_top, of_neighbouring_tiers, .init = start) { both_fork(&tier_at(2)->lock, &tier_at(1)->lock); }
Test(on_top, of_a_tier_and_the_lots, .init = start) { both_fork(&tier_at(0)->lock, &rt_fork_locks[RT_FORK_LOCK_LOTS]); }

/* --- forks within forks --- */

static unsigned mine_nr(void) { return locks_nr(sys_lock_is_mine); }

static void fork_begin(enum rt_fork_from from) {
    if (from == RT_FORK_ON_TOP) {
        page_fork_mark();
        big_fork_mark();
    }
    page_fork_prepare(from);
    big_fork_prepare(from);
}

static void fork_end(void) {
    page_fork_let_go();
    big_fork_let_go();
    big_fork_done(RT_FORK_PARENT);
    page_fork_done(RT_FORK_PARENT);
}

/* A handler forks while its thread does: what the outer fork holds stays its own. */
Test(on_top, of_a_fork, .init = start) {
    const unsigned all = tiers_nr() + RT_FORK_LOCKS_NR;
    fork_begin(RT_FORK_ALONE);
    cr_assert_eq(mine_nr(), all);
    fork_begin(RT_FORK_ON_TOP);
    fork_end();
    cr_assert_eq(mine_nr(), all, "the inner fork let go of the outer one's");
    fork_end();
    cr_assert_eq(mine_nr(), 0u);
    all_is_free();
}

static _Atomic(bool) lots_free, taken;

/* Has let go of the lots, and takes its time with the tiers. */
static void *fork_ends_slowly(void *unused) {
    enum { SLOWLY_MS = 100 };
    (void)unused;
    fork_begin(RT_FORK_ALONE);
    page_fork_let_go();
    big_fork_let_go();
    big_fork_done(RT_FORK_PARENT);
    atomic_store(&lots_free, true);
    while (!atomic_load(&taken))
        sys_yield();
    sys_sleep_ms(SLOWLY_MS);
    page_fork_done(RT_FORK_PARENT);
    return NULL;
}

/* A fork that lets go waits for nobody: its locks are waited for, on top of one that it has released as well. */
Test(on_top, of_what_a_fork_let_go, .init = start) {
    struct sys_lock *lots = &rt_fork_locks[RT_FORK_LOCK_LOTS];
    cr_assert_eq(pthread_create(&forker, NULL, fork_ends_slowly, NULL), 0);
    while (!atomic_load(&lots_free))
        sys_yield();
    cr_assert(sys_lock_try(lots));
    atomic_store(&taken, true);
    fork_begin(RT_FORK_ON_TOP);
    cr_expect_eq(mine_nr(), tiers_nr() + RT_FORK_LOCKS_NR, "a lock was left to a fork that does not wait");
    fork_end();
    cr_expect(sys_lock_is_mine(lots), "whoever is below the handler has it");
    sys_lock_release(lots);
    cr_assert_eq(pthread_join(forker, NULL), 0);
    all_is_free();
}
