/* SPDX-License-Identifier: MIT */
/*
 * The program's callbacks under memory pressure (src/engine/pressure.c), explored (weave.h), with two slots: threads
 * register, unregister, meet the limit and so call, and fork. Rounds come one after the other, and each sees what the
 * one before did. Nobody is called who has unregistered, and who has may take away what the callback used. At the end
 * who is registered is called, once a round; in the child of a fork, too, but for who was about to be.
 */
#include "engine/pressure.h"

#include "engine/engine.h"
#include "engine/start.h"
#include "rt/cgroup.h"
#include "rt/usage.h"
#include "sys/sys.h"
#include "weave.h"
#include "weave_heap.h"

_Atomic(s64) rt_usage_bytes, rt_usage_out_bytes;
_Atomic(u64) rt_usage_group_soft, rt_usage_group_hard;

/* What each thread's callback uses. */
static struct resource {
    u64 is_gone, calls_nr;
    bool leaves; /* when it is called, from there */
} resources[WEAVE_THREADS_MAX];
static u64 calls_nr; /* plain: of all callbacks, one at a time */
static _Atomic(bool) is_registered[WEAVE_THREADS_MAX];

/* What a thread does: r registers, u unregisters, h meets the limit, f forks, and its child does the rest. */
static const char *scripts[WEAVE_THREADS_MAX];
static bool is_child;
static unsigned forked_by;

/* --- what pressure.c calls --- */

bool engine_reclaim(void) { return false; }
size_t engine_trim(size_t pad_bytes) { return pad_bytes; }
void rt_cgroup_read(u64 heap_bytes, struct rt_cgroup *ret_cgroup) { (void)heap_bytes, (void)ret_cgroup; }
bool sys_calls_nobody(void) { return false; }
u64 sys_clock_ms(void) { return 0; }
void sys_sleep_ms(unsigned ms) {
    (void)ms;
    weave_wait();
}

/* --- threads --- */

static bool registered_get(unsigned t) { return atomic_load_explicit(&is_registered[t], memory_order_relaxed); }
static void registered_set(unsigned t, bool is) { atomic_store_explicit(&is_registered[t], is, memory_order_relaxed); }

static void callback(void *arg);

static void leave(unsigned of) {
    registered_set(of, false);
    weave_must(engine_reclaim_unregister(callback, &resources[of]) == 0);
    resources[of].is_gone = 1;
}

static void callback(void *arg) {
    struct resource *r = arg;
    weave_must(r->is_gone == 0);
    r->calls_nr++;
    calls_nr++;
    engine_pressure_hard(); /* calls nobody */
    if (r->leaves)
        leave((unsigned)(r - resources));
    weave_must(r->leaves || r->is_gone == 0);
}

static void enter(unsigned self) {
    resources[self].is_gone = 0;
    weave_must(engine_reclaim_register(callback, &resources[self]) == 0);
    registered_set(self, true);
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 'r': enter(self); break;
        case 'u': leave(self); break;
        case 'h': engine_pressure_hard(); break;
        default:
            if (!weave_fork())
                return;
            is_child = true;
            forked_by = self;
            engine_pressure_fork_child();
            break;
        }
        weave_forget((u64)(at - scripts[self]));
    }
}

static void finish(void) {
    u64 before[WEAVE_THREADS_MAX];
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++)
        before[t] = resources[t].calls_nr;
    engine_pressure_hard();
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        u64 called = resources[t].calls_nr - before[t];
        weave_must(called <= 1 && called >= registered_get(t));
        if (!is_child || t == forked_by)
            weave_must(called == registered_get(t));
    }
}

/* --- models --- */

/* registered, leaves: threads by bit. */
static void setup(unsigned registered, unsigned leaves, const char *const texts[WEAVE_THREADS_MAX]) {
    weave_heap_start(1);
    rt_opt.limit_hard = 1;
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        resources[t].leaves = (leaves >> t & 1) != 0;
        if ((registered >> t & 1) != 0)
            enter(t);
        weave_count(&is_registered[t]);
        if (*texts[t] == 'f')
            weave_forks(1);
    }
    weave_count(&engine_hard_hits);
}

enum { FIRST = 1, SECOND = 2, THIRD = 4 };
#define SETUP(name, registered, leaves, ...)                                                                           \
    static void setup_##name(void) { setup(registered, leaves, (const char *const[WEAVE_THREADS_MAX]){__VA_ARGS__}); }
SETUP(round, SECOND, 0, "h", "u", "")
SETUP(rounds, FIRST, 0, "h", "h", "")
SETUP(registers, 0, 0, "h", "ru", "")
SETUP(both_register, 0, 0, "ru", "ru", "")
SETUP(again, SECOND, 0, "h", "ur", "")
SETUP(leaves, SECOND, SECOND, "h", "h", "")
SETUP(taken_over, SECOND, 0, "h", "u", "r")
SETUP(round_ends, FIRST | THIRD, 0, "h", "h", "u")
SETUP(fork_round, FIRST | SECOND, 0, "fuh", "h", "")
SETUP(fork_leave, FIRST | SECOND, 0, "fhu", "ur", "")

static const struct weave_model models[] = {
    {"one unregisters beside a round", 2, setup_round, thread, finish, WEAVE_BOTH},
    {"two rounds", 2, setup_rounds, thread, finish, WEAVE_BOTH},
    {"one registers beside a round", 2, setup_registers, thread, finish, WEAVE_BOTH},
    {"two register and unregister", 2, setup_both_register, thread, finish, WEAVE_BOTH},
    {"one registers again beside a round", 2, setup_again, thread, finish, WEAVE_BOTH},
    {"a callback unregisters beside a round", 2, setup_leaves, thread, finish, WEAVE_BOTH},
    {"a fork beside a round", 2, setup_fork_round, thread, finish, WEAVE_BOTH},
    {"a fork beside who unregisters", 2, setup_fork_leave, thread, finish, WEAVE_BOTH},
    {"one unregisters beside two rounds", 3, setup_round_ends, thread, finish, WEAVE_SC},
    {"another takes the slot beside a round", 3, setup_taken_over, thread, finish, WEAVE_SC},
};

static const struct weave_excuse excuses[] = {
    {"engine_pressure_hard", "&engine_hard_hits", WEAVE_ANY, "a figure"},
    {"engine_pressure_fork_child", "&due_bytes", WEAVE_ANY, "a hint: when to look again"},
    {"engine_pressure_fork_child", "&running", WEAVE_LATE, "the child has one thread"},
    {"engine_pressure_fork_child", "&round_owner", WEAVE_LATE, "the child has one thread"},
    {"engine_reclaim_register", "&s->fn", WEAVE_LATE, "before the slot is live all the same"},
    {"slot_move", "&s->word", WEAVE_NO_ACQUIRE, "it swaps the very word that was read before, by acquire"},
    {"callbacks_run", "&round_owner", WEAVE_LATE, "who comes meanwhile leaves the round to this one"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"slot_call", "if (state_of", WEAVE_ALWAYS},
    {"wait_until_out", "if (round_is_mine", WEAVE_NEVER},
    {"wait_until_out", "while (atomic_load", WEAVE_NEVER},
};

WEAVE_MAIN("callbacks under pressure")
