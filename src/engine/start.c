/* SPDX-License-Identifier: MIT */
/*
 * Starting: on the first call that needs it, wherever that comes from, by raw system calls and without libc. What needs
 * a running libc (fork handlers) follows from front/'s constructor.
 */
#include "engine/start.h"

#include "base/bits.h"
#include "big/big.h"
#include "engine/engine.h"
#include "mag/mag.h"
#include "rt/options.h"
#include "sys/sys.h"

_Atomic(int) engine_state;
static _Atomic(u64) starter;

/* A string of options the program itself may define; the environment wins over it. */
extern const char *quarry_conf __attribute__((weak));

static void options_settle(void) {
    rt_options_read(&quarry_conf != NULL ? quarry_conf : NULL, sys_secure() ? NULL : sys_environ());
    rt_opt.steps = 1u << bits_highest(MAX(rt_opt.steps, 1u));
    engine_counting = rt_opt.stats != OPT_STATS_OFF;
    if (engine_counting || rt_opt.zero)
        mag_divert();
}

static bool start_all(void) {
    options_settle();
    return rt_meta_init() == 0 && page_init() == 0 && mag_init() == 0;
}

/* One thread starts; others wait for it. A signal handler on top of the starting thread gets nothing. */
COLD bool engine_start(void) {
    int seen = ENGINE_COLD;
    if (atomic_compare_exchange_strong_explicit(&engine_state, &seen, ENGINE_STARTING, memory_order_relaxed,
                                                memory_order_relaxed)) {
        atomic_store_explicit(&starter, sys_thread_self(), memory_order_relaxed);
        bool ok = start_all();
        /* order: release: publishes everything made at start.                                     pairs: [engine.start]
         */
        atomic_store_explicit(&engine_state, ok ? ENGINE_READY : ENGINE_FAILED, memory_order_release);
        return ok;
    }
    while ((seen = atomic_load_explicit(&engine_state, memory_order_acquire)) == ENGINE_STARTING) {
        if (atomic_load_explicit(&starter, memory_order_relaxed) == sys_thread_self())
            return false;
        sys_sleep_ms(1);
    }
    return seen == ENGINE_READY;
}

static void fork_prepare(void) {
    page_fork_prepare();
    big_fork_prepare();
}

static void fork_parent(void) {
    big_fork_done();
    page_fork_done();
}

static void fork_child(void) {
    fork_parent();
    slab_fork_child();
    mag_fork_child();
    engine_tick_fork_child();
    engine_background_start();
}

void engine_libc_ready(void) {
    if (!engine_ready())
        return;
    sys_atfork(fork_prepare, fork_parent, fork_child);
    engine_background_start();
}

int engine_vfork_enter(void) { return engine_ready() ? mag_vfork_enter() : -1; }
void engine_vfork_leave(int id) { mag_vfork_leave(id); }
void engine_percpu_off(void) {
    if (engine_ready())
        mag_percpu_off();
}
