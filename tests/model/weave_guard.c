/* SPDX-License-Identifier: MIT */
/*
 * The slots of guarded objects, src/engine/guard.c, explored (weave.h), with one or two slots: threads allocate, write
 * to what they got, free it, some of them twice or where no system call may be, and one closes what waits. A page is
 * open from one owner's allocation to his free and to nobody else; of two frees of an object one succeeds and the other
 * is reported, with the object's record as it was made; whoever finds the pool finds all of it.
 */
#include "engine/guard.h"

#include "engine/engine.h"
#include "engine/guard_pool.h"
#include "engine/start.h"
#include "rt/context.h"
#include "rt/usage.h"
#include "sys/sys.h"
#include "weave.h"
#include "weave_heap.h"

enum { PAGE_BYTES = 64, OBJECT_BYTES = 32, SLOTS_MAX = 2 };

static _Alignas(CACHE_LINE) char space[GRANULE_BYTES];
static u64 open_pages[2 * SLOTS_MAX + 1]; /* plain: who opens or closes one is alone with it [G1] */
static char *had[WEAVE_THREADS_MAX];      /* each thread's object; of a model with a crime both have the first's */
static u64 reports_nr[WEAVE_THREADS_MAX], frees_nr[WEAVE_THREADS_MAX], got_nr[WEAVE_THREADS_MAX];
static u64 maker;         /* of an object that is freed twice */
static unsigned pools_nr; /* plain: one thread makes the pool */
static enum { OPENS, REFUSES_TO_OPEN, REFUSES_TO_CLOSE } kernel;
static u64 closing[WEAVE_THREADS_MAX];
static _Atomic(char *) box; /* an object, from thread to thread as programs do that */
static jmp_buf ends[WEAVE_THREADS_MAX];
/* a allocate and write, f free, u ask for its size, g hand it over, r get what was, c close what waits, h whether the
 * space is the pool's, q whether the first slot's page has an object. */
static const char *scripts[WEAVE_THREADS_MAX];

_Atomic(int) engine_state;
_Atomic(s64) rt_usage_bytes, rt_usage_out_bytes;
_Atomic(u64) rt_usage_group_soft, rt_usage_group_hard;
_Atomic(u32) rt_chores;
__thread _Atomic(u8) rt_context_word;

/* --- what guard.c calls --- */

bool engine_start(void) { return true; }
void engine_divert_allocs(void) {}
void guard_explain(const struct sys_fault *fault) { (void)fault; }
bool sys_fault_watch(void (*fn)(const struct sys_fault *fault), enum sys_fault_chain chain) {
    (void)fn, (void)chain;
    return true;
}
u64 sys_thread_self(void) { return weave_self() + 1; }
u64 sys_clock_ns(void) { return 1; }
size_t sys_page_bytes(void) { return PAGE_BYTES; }
unsigned sys_stack_take(const void **addrs, unsigned max) {
    weave_must(max > 0);
    addrs[0] = space + weave_self();
    return 1;
}
void *sys_vm_reserve(size_t bytes, size_t align) {
    weave_must(bytes <= sizeof(space) && align <= GRANULE_BYTES && pools_nr++ == 0);
    return space;
}
static u64 *page_at(const void *p) { return &open_pages[((const char *)p - space) / PAGE_BYTES]; }
int sys_vm_commit(void *addr, size_t bytes) {
    weave_must(bytes == PAGE_BYTES);
    if (kernel == REFUSES_TO_OPEN)
        return -1;
    *page_at(addr) = 1;
    return 0;
}
int sys_vm_guard(void *addr, size_t bytes) {
    weave_must(bytes == PAGE_BYTES && *page_at(addr) == 1);
    weave_must(rt_may_block() || closing[weave_self()] != 0);
    if (kernel == REFUSES_TO_CLOSE)
        return -1;
    memset(addr, 0, bytes);
    *page_at(addr) = 0;
    return 0;
}

/* --- reports: the process ends, here the thread --- */

bool guard_settle(const struct guard_slot *slot) {
    u32 state;
    while ((state = atomic_load_explicit(&slot->state, memory_order_acquire)) == GUARD_CLOSING ||
           state == GUARD_OPENING)
        weave_wait();
    return state == GUARD_LIVE;
}
_Noreturn void guard_report(enum misuse_kind kind, const void *p, const struct guard_slot *slot,
                            const struct sys_fault *used) {
    unsigned self = weave_self();
    weave_must(kind == MISUSE_DOUBLE_FREE && used == NULL && p == had[self]);
    weave_must(slot->object == p && slot->size_bytes == OBJECT_BYTES);
    weave_must(slot->allocated.thread == maker && slot->freed.nr == 1 && slot->freed.thread != self + 1);
    reports_nr[self]++;
    longjmp(ends[self], 1);
}

/* --- threads --- */

static void allocate(unsigned self) {
    char *p = guard_alloc(OBJECT_BYTES);
    if (p == NULL)
        return;
    weave_must(*page_at(p) == 1);
    for (unsigned i = 0; i < OBJECT_BYTES; i += sizeof(u64)) {
        weave_must(*(u64 *)(void *)(p + i) == 0);
        *(u64 *)(void *)(p + i) = self + 1;
    }
    got_nr[self]++;
    had[self] = p;
}

static void release(unsigned self) {
    if (had[self] == NULL)
        return;
    guard_free(had[self]);
    frees_nr[self]++;
    had[self] = NULL;
}

static void hand_over(unsigned self) {
    atomic_store_explicit(&box, had[self], memory_order_release);
    had[self] = NULL;
}

static void close_due(unsigned self) {
    closing[self] = 1;
    guard_close_due();
    closing[self] = 0;
}

static void ask(void) {
    size_t bytes = guard_usable(space + PAGE_BYTES) + guard_usable(space + 2 * PAGE_BYTES - OBJECT_BYTES);
    weave_must(bytes == 0 || bytes == OBJECT_BYTES);
}

static void step(unsigned self, char what) {
    switch (what) {
    case 'a': allocate(self); break;
    case 'f': release(self); break;
    case 'u': weave_must(had[self] == NULL || guard_usable(had[self]) == OBJECT_BYTES); break;
    case 'g': hand_over(self); break;
    case 'r': had[self] = atomic_load_explicit(&box, memory_order_acquire); break;
    case 'c': close_due(self); break;
    case 'q': ask(); break;
    default: (void)guard_has(space + PAGE_BYTES); break;
    }
}

static void thread(unsigned self) {
    if (_setjmp(ends[self]) != 0)
        return;
    for (const char *at = scripts[self]; *at != 0; at++)
        step(self, *at);
}

static u64 sum(const u64 *nr) { return nr[0] + nr[1] + nr[2]; }

static void finish_slots(void) {
    u64 held = 0, open = 0;
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++)
        held += had[t] != NULL && reports_nr[t] == 0;
    if (sum(got_nr) - sum(frees_nr) != held)
        held++; /* it was handed over, and nobody came for it */
    weave_must(!rt_may_block() || atomic_load_explicit(&guard_objects_nr, memory_order_relaxed) == held);
    close_due(0);
    weave_must(sum(got_nr) - sum(frees_nr) == held);
    weave_must(atomic_load_explicit(&guard_objects_nr, memory_order_relaxed) == held);
    weave_must(rt_usage_get() == (s64)held * PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_NR(open_pages); i++)
        open += open_pages[i];
    weave_must(kernel == REFUSES_TO_CLOSE || open == held);
}
/* And each slot is to be had again. */
static void finish(void) {
    finish_slots();
    if (rt_may_block() && kernel != REFUSES_TO_OPEN) {
        for (u64 left = rt_opt.guard_slots - atomic_load_explicit(&guard_objects_nr, memory_order_relaxed); left > 0;
             left--)
            weave_must(guard_alloc(OBJECT_BYTES) != NULL);
    }
}
/* Of two frees of one object one is told. */
static void finish_crime(void) {
    weave_must(sum(frees_nr) == 1 && sum(reports_nr) == 1);
    finish();
}

/* held: objects of the first thread's, and whether the second takes the first for his own. */
enum holds { NOTHING, ONE, ONE_OF_TWO };
static void setup(const char *first, const char *second, const char *third, enum holds holds, unsigned slots_nr) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    atomic_store_explicit(&engine_state, ENGINE_READY, memory_order_relaxed);
    rt_opt.guard = 1;
    rt_opt.guard_slots = slots_nr;
    weave_heap_start(1);
    weave_count(&engine_state);
    weave_count(&guard_left);
    weave_count(&guard_samples_nr);
    weave_count(&rt_usage_bytes);
    weave_count(&rt_chores);
    atomic_store_explicit(&rt_context_word, RT_MAY_BLOCK, memory_order_relaxed);
    if (holds != NOTHING)
        allocate(0);
    maker = weave_self() + 1;
    if (holds == ONE_OF_TWO)
        had[1] = had[0];
}
static void setup_make(void) { setup("a", "hqca", "", NOTHING, 2); }
static void setup_one(void) { setup("af", "af", "", ONE, 1); }
static void setup_turns(void) { setup("fa", "auf", "", ONE, 1); }
static void setup_twice(void) { setup("f", "f", "", ONE_OF_TWO, 1); }
static void setup_two(void) { setup("fauf", "auf", "", ONE, 2); }
static void setup_refused(void) {
    setup("fa", "af", "", ONE, 1);
    kernel = REFUSES_TO_OPEN;
}
static void setup_dirty(void) {
    setup("f", "auf", "", ONE, 1);
    kernel = REFUSES_TO_CLOSE;
}
static void atomically(void) { atomic_store_explicit(&rt_context_word, RT_ATOMIC, memory_order_relaxed); }
static void setup_waits(void) {
    setup("f", "c", "", ONE, 1);
    atomically();
}
static void setup_closers(void) {
    setup("f", "c", "c", ONE, 1);
    atomically();
}
static void setup_waits_twice(void) {
    setup("f", "f", "c", ONE_OF_TWO, 1);
    atomically();
}
static void setup_hand_over(void) { setup("ag", "rf", "", NOTHING, 1); }
static void setup_three(void) { setup("f", "af", "af", ONE, 1); }

static const struct weave_model models[] = {
    {"two make the pool", 2, setup_make, thread, finish, WEAVE_BOTH},
    {"a slot goes from hand to hand", 2, setup_turns, thread, finish, WEAVE_BOTH},
    {"two want the only slot", 2, setup_one, thread, finish, WEAVE_BOTH},
    {"an object is handed over", 2, setup_hand_over, thread, finish, WEAVE_BOTH},
    {"an object is freed twice", 2, setup_twice, thread, finish_crime, WEAVE_BOTH},
    {"two slots", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"a page is not to be had", 2, setup_refused, thread, finish, WEAVE_BOTH},
    {"a page stays open", 2, setup_dirty, thread, finish, WEAVE_BOTH},
    {"a slot waits and is closed", 2, setup_waits, thread, finish, WEAVE_BOTH},
    {"two close what waits", 3, setup_closers, thread, finish, WEAVE_BOTH},
    {"freed twice where it waits", 3, setup_waits_twice, thread, finish_crime, WEAVE_BOTH},
    {"three want the only slot", 3, setup_three, thread, finish, WEAVE_SC},
};

static const struct weave_excuse excuses[] = {
    {"random_next", "&random_state", WEAVE_ANY, "chance"},
    {"pool_make", "&random_state", WEAVE_ANY, "chance"},
    {"interval_start", "&guard_left", WEAVE_ANY, "chance: which is guarded next"},
    {"slot_take", "&pool->next", WEAVE_SPLIT, "two then look at one slot, and one gets it"},
    {"guard_alloc", "&guard_samples_nr", WEAVE_ANY, "a figure"},
    {"rt_chore_note", "&rt_chores", WEAVE_ANY, "a hint, for whoever may block next"},
    {"engine_ready", "&engine_state", WEAVE_NO_ACQUIRE, "it was started before all threads"},
    {"pool_get", "store &guard_pool", WEAVE_LATE, "who comes meanwhile finds no pool"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"guard_free", "if (!is_object", WEAVE_NEVER},    {"guard_close_due", "if (slot_pass", WEAVE_ALWAYS},
    {"slot_take", "if (slot_pass", WEAVE_ALWAYS},     {"slot_open", "if (slot->dirty", WEAVE_NEVER},
    {"guard_alloc", "if (!slot_open", WEAVE_NEVER},   {"guard_free", "if (rt_may_block", WEAVE_NEVER},
    {"guard_free", "if (rt_may_block", WEAVE_ALWAYS}, {"pool_get", "if (pool != NULL", WEAVE_NEVER},
};

WEAVE_MAIN("guarded objects")
