/* SPDX-License-Identifier: MIT */
/*
 * Grace periods for slabs of SLAB_TYPESAFE_BY_RCU (src/kmem/grace.c), explored (weave.h): threads that find that slabs
 * would go back, or shrink a cache, the thread that waits and calls back, forks, memory that is refused, and handlers
 * that fork in the midst of each call that it makes. There are two wholly free slabs, one of which a class may keep.
 * The heap's calls are one at a time; a slab goes back only after a grace period that began when it was marked; when
 * all is quiet what was wanted has gone, and what is wanted then goes, too.
 */
#include "kmem/rcu.h"

#include "kmem/cache.h"
#include "sys/sys.h"
#include "weave.h"

enum { CYCLES_NR = 12, CYCLE_WORDS = 4, MANY = 1, FEW = 2, BOTH = MANY | FEW };

/* As quarry_core1_alloc() gives them; each once. */
static u64 cycles[CYCLES_NR][CYCLE_WORDS];
static _Atomic(unsigned) cycles_nr;
static _Atomic(unsigned) refusals; /* so many of them are refused first */

/* The heap's: touched by one at a time, or there is a race. By bit. */
static unsigned marked;
static bool in_heap;
static unsigned heap_by;
static _Atomic(unsigned) empties; /* wholly free slabs */
static _Atomic(unsigned) waited;  /* marked when a grace period began that is over */

static void (*_Atomic wanted)(void);
static _Atomic(struct quarry_rcu_head *) pushed[CYCLES_NR]; /* in order */
static _Atomic(unsigned) pushed_nr;
static unsigned called_nr;  /* by the thread that calls back, or at the end */
static unsigned parents_nr; /* of them, in a child: those of the parent, whose grace period may have begun long ago */

/* What a thread does: w finds that slabs would go back, s shrinks, T waits for grace periods and calls back as long as
 * there are others, f forks, and its child goes on; h: from then on a handler may come in the midst of each call, and
 * fork, and its child shrinks before it goes on. */
static const char *scripts[WEAVE_THREADS_MAX];
static bool handler_due[WEAVE_THREADS_MAX];
static _Atomic(unsigned) running; /* threads but T */
static _Atomic(bool) is_child;

bool kmem_rcu_prepare(void) { return true; }
bool kmem_rcu_thread_runs(void) { return true; }
void quarry_synchronize_rcu(void) {}
void quarry_core1_grace_wanted(void (*fn)(void)) { atomic_store_explicit(&wanted, fn, memory_order_relaxed); }

static void heap_enter(void) {
    weave_must(!in_heap);
    heap_by = weave_self();
    in_heap = true;
}

static bool child_begin(void) {
    if (!weave_fork())
        return false;
    handler_due[weave_self()] = false;
    atomic_store_explicit(&is_child, true, memory_order_relaxed);
    parents_nr = atomic_load_explicit(&pushed_nr, memory_order_relaxed);
    in_heap = in_heap && heap_by == weave_self(); /* what another was in the midst of the heap mends */
    kmem_grace_fork_child();
    return true;
}

static void shrink(void) {
    atomic_fetch_or_explicit(&empties, BOTH, memory_order_relaxed);
    kmem_grace_shrink();
}

static void want(void) {
    atomic_fetch_or_explicit(&empties, MANY, memory_order_relaxed);
    atomic_load_explicit(&wanted, memory_order_relaxed)();
}

static void handler_maybe(void) {
    if (handler_due[weave_self()] && child_begin())
        shrink();
}

void *quarry_core1_alloc(size_t size) {
    weave_must(size <= sizeof(cycles[0]));
    if (atomic_load_explicit(&refusals, memory_order_relaxed) > 0) {
        atomic_fetch_sub_explicit(&refusals, 1, memory_order_relaxed);
        return NULL;
    }
    unsigned i = atomic_fetch_add_explicit(&cycles_nr, 1, memory_order_relaxed);
    weave_must(i < CYCLES_NR);
    handler_maybe();
    return cycles[i];
}
void quarry_core1_free(void *p) {
    (void)p;
    handler_maybe();
}

unsigned quarry_core1_grace_begin(bool all) {
    heap_enter();
    unsigned free_now = atomic_load_explicit(&empties, memory_order_relaxed);
    unsigned now = free_now & (all ? BOTH : MANY);
    marked = marked | now;
    handler_maybe();
    in_heap = false;
    return (unsigned)__builtin_popcount(marked);
}
void quarry_core1_grace_end(void) {
    heap_enter();
    unsigned going = marked & atomic_load_explicit(&empties, memory_order_relaxed);
    weave_must((going & ~atomic_load_explicit(&waited, memory_order_relaxed)) == 0);
    marked = 0;
    handler_maybe();
    in_heap = false;
    atomic_fetch_and_explicit(&empties, ~going, memory_order_relaxed);
    atomic_fetch_and_explicit(&waited, ~going, memory_order_relaxed);
}

void quarry_call_rcu(struct quarry_rcu_head *head, void (*func)(struct quarry_rcu_head *head)) {
    head->func = func;
    handler_maybe();
    unsigned i = atomic_fetch_add_explicit(&pushed_nr, 1, memory_order_relaxed);
    weave_must(i < CYCLES_NR);
    atomic_store_explicit(&pushed[i], head, memory_order_release);
    handler_maybe();
}

/* A grace period for the next callback, which is over at once; then it is called. */
static bool call_next(void) {
    struct quarry_rcu_head *head =
        called_nr == CYCLES_NR ? NULL : atomic_load_explicit(&pushed[called_nr], memory_order_acquire);
    if (head == NULL && called_nr < parents_nr) { /* the parent's, and not pushed here */
        called_nr = called_nr + 1;
        return true;
    }
    if (head == NULL)
        return false;
    called_nr = called_nr + 1;
    if (called_nr > parents_nr)
        atomic_fetch_or_explicit(&waited, marked, memory_order_relaxed);
    head->func(head);
    return true;
}

static void calls(void) {
    for (;;) {
        bool alone = atomic_load_explicit(&running, memory_order_acquire) == 0;
        if (call_next())
            continue;
        if (alone || atomic_load_explicit(&is_child, memory_order_relaxed))
            return;
        weave_wait();
    }
}

static bool calls_back(unsigned t) {
    const char *at = scripts[t];
    while (*at != 0 && *at != 'T')
        at++;
    return *at != 0;
}

static void thread(unsigned self) {
    bool parent = true;
    for (const char *at = scripts[self]; *at != 0 && parent; at++) {
        weave_forget((u64)(at - scripts[self]) * 2 + handler_due[self]);
        switch (*at) {
        case 'w': want(); break;
        case 's': shrink(); break;
        case 'T': calls(); break;
        case 'h': handler_due[self] = true; break;
        default: parent = child_begin(); break; /* the child does the rest */
        }
    }
    if (!calls_back(self))
        atomic_fetch_sub_explicit(&running, 1, memory_order_release);
}

static bool any_shrinks(void) {
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        for (const char *at = scripts[t]; *at != 0 && *at != 'f'; at++) {
            if (*at == 's')
                return true;
        }
    }
    return false;
}

static void finish(void) {
    while (call_next())
        continue;
    if (any_shrinks() && !atomic_load_explicit(&is_child, memory_order_relaxed))
        weave_must((atomic_load_explicit(&empties, memory_order_relaxed) & FEW) == 0);
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++)
        handler_due[t] = false;
    shrink();
    while (call_next())
        continue;
    weave_must(atomic_load_explicit(&empties, memory_order_relaxed) == 0);
}

static void setup(const char *const texts[WEAVE_THREADS_MAX]) {
    bool forks = false;
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        if (*texts[t] != 0 && !calls_back(t))
            atomic_fetch_add_explicit(&running, 1, memory_order_relaxed);
        forks = forks || *texts[t] == 'f' || *texts[t] == 'h';
    }
    weave_count(&cycles_nr);
    weave_count(&refusals);
    weave_count(&is_child);
    weave_count(&wanted);
    weave_forks(forks ? CYCLES_NR * CYCLES_NR : 0);
    weave_must(kmem_grace_prepare());
}

#define SETUP(name, ...)                                                                                               \
    static void setup_##name(void) { setup((const char *const[WEAVE_THREADS_MAX]){__VA_ARGS__}); }
SETUP(two, "s", "s", "")
SETUP(called, "ws", "T", "")
SETUP(beside, "s", "w", "T")
SETUP(fork, "fs", "s", "T")
SETUP(handler, "hw", "T", "")
SETUP(handler_called, "s", "hT", "")
SETUP(asked_again, "sw", "T", "")
/* The shrink is left to who asks next. */
static void setup_refused(void) {
    setup_asked_again();
    atomic_store_explicit(&refusals, 1, memory_order_relaxed);
}

static const struct weave_model models[] = {
    {"two threads shrink", 2, setup_two, thread, finish, WEAVE_BOTH},
    {"a shrink beside the callback", 2, setup_called, thread, finish, WEAVE_BOTH},
    {"no memory for a shrink", 2, setup_refused, thread, finish, WEAVE_BOTH},
    {"a handler forks in the midst of asking", 2, setup_handler, thread, finish, WEAVE_BOTH},
    {"a handler forks in the callback", 2, setup_handler_called, thread, finish, WEAVE_BOTH},
    {"one shrinks, one wants, one calls back", 3, setup_beside, thread, finish, WEAVE_SC},
    {"a fork beside a shrink and the callback", 3, setup_fork, thread, finish, WEAVE_SC},
};

static const struct weave_excuse excuses[] = {
    {"kmem_grace_fork_child", "&generation", WEAVE_SPLIT, "the child has one thread"},
    {"kmem_grace_fork_child", "&asked", WEAVE_LATE, "the child has one thread"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"grace_over", "if (!asked_take", WEAVE_NEVER},
    {"grace_wanted", "if (asked_take", WEAVE_ALWAYS},
    {"kmem_grace_fork_child", "if (atomic_load", WEAVE_NEVER},
    {"kmem_grace_fork_child", "if (atomic_load", WEAVE_ALWAYS},
};

WEAVE_MAIN("grace periods")
