/* SPDX-License-Identifier: MIT */
/*
 * Starting: on the first call that needs it, wherever that comes from, by raw system calls and without libc. What needs
 * a running libc (fork handlers) comes from front/'s constructor, which reads the options but does not start: a process
 * that never allocates pays for no heap.
 */
#include "engine/start.h"

#include "base/bits.h"
#include "big/big.h"
#include "buddy/buddy.h"
#include "engine/engine.h"
#include "engine/guard.h"
#include "engine/harden.h"
#include "engine/pressure.h"
#include "engine/sealed.h"
#include "mag/mag.h"
#include "mag/tabs.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "sys/sys.h"

_Atomic(int) engine_state;
static struct sys_lock start_lock;
static bool seal_wanted; /* under the lock */

/* sealed.S */
extern HIDDEN char engine_sealed[], engine_sealed_end[];
_Static_assert(sizeof(struct mag_tabs) == SEALED_TABS_BYTES, "sealed.S");
_Static_assert(sizeof(struct rt_options) <= SEALED_OPTIONS_BYTES, "sealed.S");
_Static_assert(sizeof(struct slab_tables_rest) == SEALED_SIZES_BYTES, "sealed.S");
_Static_assert(sizeof(struct harden_key) == SEALED_KEY_BYTES, "sealed.S");
_Static_assert(sizeof(sys_clock_kernel) == SEALED_CLOCK_BYTES, "sealed.S");
_Static_assert(offsetof(struct rt_meta, map_end) == 0 && offsetof(struct rt_meta, map_ones) == 8 &&
                   offsetof(struct rt_meta, used_bytes) == SEALED_META_BYTES &&
                   sizeof(struct rt_meta) == SEALED_META_BYTES + SEALED_META_LEFT_BYTES,
               "sealed.S");

/* A string of options the program itself may define; the environment wins over it. */
extern const char *quarry_conf __attribute__((weak));

static void options_settle(void) {
    sys_clock_init();
    rt_options_read(&quarry_conf != NULL ? quarry_conf : NULL, sys_secure() ? NULL : sys_environ());
    if (rt_opt.cgroup) {
        rt_opt.limit_soft = rt_opt.limit_soft != 0 ? rt_opt.limit_soft : RT_LIMIT_NONE;
        rt_opt.limit_hard = rt_opt.limit_hard != 0 ? rt_opt.limit_hard : RT_LIMIT_NONE;
    }
    rt_opt.steps = 1u << bits_highest(MAX(rt_opt.steps, 1u));
    if (rt_opt.harden)
        harden_init();
    /* Counted calls are those that see every object, realloc among them. */
    engine_counting = rt_opt.stats != OPT_STATS_OFF || rt_opt.harden;
    if (engine_counting || rt_opt.zero)
        mag_divert();
    page_nodes_begin();
}

/* Where this fails the next call begins it anew: what was made before is kept or, a few KiB of the pool, made again. */
static bool start_all(void) {
    return (rt_meta.base != NULL || rt_meta_init() == 0) && page_init() == 0 && mag_init() == 0 &&
           engine_pressure_init();
}

/* Where that is refused all goes on as before. */
static void seal(void) {
    if (sys_page_bytes() == SEALED_PAGE_BYTES)
        (void)sys_vm_read_only(engine_sealed, (size_t)(engine_sealed_end - engine_sealed));
}

void engine_seal(void) {
    if (!sys_lock_acquire(&start_lock))
        return;
    seal_wanted = true;
    if (atomic_load_explicit(&engine_state, memory_order_relaxed) == ENGINE_READY)
        seal();
    sys_lock_release(&start_lock);
}

/* One thread starts; others wait for it. A signal handler on top of the starting thread gets nothing. Memory that is
 * out now may be there later: only the call that could not start fails. */
COLD bool engine_start(void) {
    if (!sys_lock_acquire(&start_lock))
        return false;
    int state = atomic_load_explicit(&engine_state, memory_order_relaxed);
    if (state == ENGINE_COLD)
        options_settle();
    if (state < ENGINE_READY) {
        state = start_all() ? ENGINE_READY : ENGINE_CONFIGURED;
        /* order: release: publishes everything made at start.                                  pairs: [engine.start] */
        atomic_store_explicit(&engine_state, state, memory_order_release);
        /* Not before: the child of a fork in between, by a handler or another thread, would start anew, and write. One
         * after the store has a heap, open where the thread that starts is not in it. */
        if (state == ENGINE_READY && seal_wanted)
            seal();
    }
    sys_lock_release(&start_lock);
    return state == ENGINE_READY;
}

/* --- fork --- */

/* Between prepare and the other handlers. Several threads may be there at once (glibc from 2.36 on), who then agree:
 * where nothing was started there is one thread, for making a second one allocates. */
static bool fork_holds;

static void fork_prepare(void) {
    if (!(fork_holds = engine_started()))
        return;
    enum rt_fork_from from = page_is_busy_here() ? RT_FORK_ON_TOP : RT_FORK_ALONE;
    if (from == RT_FORK_ON_TOP) {
        page_fork_mark();
        big_fork_mark();
    }
    page_fork_prepare(from);
    big_fork_prepare(from);
    page_hugetlb_fork_prepare();
}

static void fork_done(enum rt_fork_side side) {
    if (!fork_holds)
        return;
    if (side == RT_FORK_CHILD) {
        page_fork_lose();
        big_fork_lose();
    }
    page_hugetlb_forked(side);
    page_collapse_forked(side);
    if (side == RT_FORK_PARENT) {
        page_fork_let_go();
        big_fork_let_go();
    }
    big_fork_done(side);
    if (side == RT_FORK_CHILD)
        page_fork_child();
    page_fork_done(side);
}

static void fork_parent(void) { fork_done(RT_FORK_PARENT); }

static void fork_child(void) {
    fork_done(RT_FORK_CHILD);
    if (!sys_lock_is_mine(&start_lock)) /* whoever was starting meanwhile is not here, but below a handler that forks */
        sys_lock_reset(&start_lock);
    if (!fork_holds)
        return; /* the start begins anew */
    slab_fork_child();
    page_reserve_fork_child();
    mag_fork_child();
    engine_tick_fork_child();
    engine_pressure_fork_child();
    engine_background_start();
}

void engine_libc_ready(void) {
    if (sys_lock_acquire(&start_lock)) {
        if (atomic_load_explicit(&engine_state, memory_order_relaxed) == ENGINE_COLD) {
            options_settle();
            atomic_store_explicit(&engine_state, ENGINE_CONFIGURED, memory_order_relaxed);
        }
        sys_lock_release(&start_lock);
    }
    if (engine_counting)
        (void)engine_ready(); /* where that fails now a later call may start: what follows must be there then */
    sys_atfork(fork_prepare, fork_parent, fork_child);
    guard_arm();
    /* Where the start fails now there is no such thread, but in a child of a fork: a later call that makes it good is
     * any malloc, where libc may hold a lock that beginning a thread takes. The ticks of calls do its work. */
    if (rt_opt.background == OPT_BACKGROUND_ON && engine_ready())
        engine_background_start();
}

/* Before the start there is no magazine anybody could use at the same time, and no id; the child may start. */
int engine_vfork_enter(void) { return mag_vfork_enter(); }
void engine_vfork_leave(int id) { mag_vfork_leave(id); }

/* Whoever asks is about to have a twin with its thread pointer, and the start lock could not tell the two apart: the
 * second would get NULL, as a handler does. Where there is no memory to start with there is none for the twin either.
 */
void engine_percpu_off(void) {
    (void)engine_ready();
    mag_percpu_off();
}
void engine_divert_allocs(void) { mag_divert_allocs(); }
