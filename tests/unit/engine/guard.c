/* SPDX-License-Identifier: MIT */
/*
 * Guarded objects: placed, counted, given back and taken in turn; what is wrong with one is told with both stacks; and
 * threads that hand them to each other lose none. On the real system. Stamps in the objects are the oracle.
 */
#include "engine/guard.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "engine/start.h"
#include "mag/mag.h"
#include "rt/context.h"
#include "rt/options.h"
#include "sys/sys.h"
#include "unit/alone.h"
#include "unit/engine/traders.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 8 };

static void start_every(unsigned slow_calls, unsigned slots) {
    cr_assert(engine_ready());
    rt_opt.guard = slow_calls;
    rt_opt.guard_slots = slots;
    engine_divert_allocs(); /* all of engine_alloc_slow()'s are slow, also where there are no ids */
    guard_arm();
}

/* Every slow call is guarded, in so few slots that each is used many times. */
static void start(unsigned slots) { start_every(1, slots); }

static u64 objects(void) { return atomic_load(&guard_objects_nr); }

Test(guard, off_until_it_is_armed) {
    void *p = engine_alloc_slow(100);
    cr_assert(!guard_has(p));
    cr_assert_eq(objects(), 0);
    engine_free_slow(p);
}

Test(guard, objects_are_exact_zeroed_and_at_an_edge) {
    const size_t page = sys_page_bytes();
    const size_t sizes[] = {0, 1, 15, 16, 17, 48, 100, 4000, page};
    unsigned starts = 0, ends = 0;
    start(SLOTS);
    for (unsigned round = 0; round < 64; round++) {
        for (size_t i = 0; i < ARRAY_NR(sizes); i++) {
            u8 *p = engine_alloc_slow(sizes[i]);
            size_t size = MAX(sizes[i], (size_t)1), at = (uintptr_t)p % page;
            cr_assert(guard_has(p));
            cr_assert_eq(engine_usable(p), size);
            cr_assert_eq((int)engine_kind_of(p), (int)ENGINE_SLAB);
            cr_assert_eq((uintptr_t)p % 16, 0);
            for (size_t k = 0; k < size; k++)
                cr_assert_eq(p[k], 0);
            memset(p, 0xff, size);
            starts += at == 0;
            ends += at + round_up(size, 16) == page;
            cr_assert(at == 0 || at + round_up(size, 16) == page);
            engine_free_slow(p);
            cr_assert_eq(engine_kind_of(p), ENGINE_NOT_OURS);
        }
    }
    cr_assert(starts > 100 && ends > 100, "%u at the start, %u at the end of their page", starts, ends);
    cr_assert_eq(objects(), 0);
}

Test(guard, calloc_realloc_and_sized_free_know_them) {
    start(SLOTS);
    u8 *p = engine_calloc(10, 10);
    cr_assert(guard_has(p));
    memset(p, 7, 100);
    cr_assert_eq(engine_realloc(p, 60), p, "smaller stays");
    p = engine_realloc(p, 200);
    cr_assert_eq(engine_usable(p), 200);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(p[i], 7);
    p = engine_realloc(p, 201);
    cr_assert_eq(engine_usable(p), 201, "no room is left for what would not be seen");
    engine_free_sized(p, 201, 0);
    void *big = engine_alloc_slow(sys_page_bytes() + 1), *plain = engine_alloc_unguarded(100, ENGINE_ANY_CONTENT);
    cr_assert(!guard_has(big) && !guard_has(plain));
    engine_free_slow(big);
    engine_free_slow(plain);
    cr_assert_eq(objects(), 0);
}

/* Slow calls until one is guarded, which is counted; the object is freed. */
static u64 calls_to_sample(void) {
    u64 nr = 1;
    void *p;
    while (!guard_has(p = engine_alloc_slow(100))) {
        engine_free_slow(p);
        nr++;
    }
    engine_free_slow(p);
    return nr;
}

Test(guard, one_of_so_many_by_chance_and_none_of_the_first) {
    enum { EVERY = 1000, SAMPLES = 20 };
    u64 nr[SAMPLES];
    bool alike = true;
    start_every(EVERY, SLOTS);
    for (unsigned i = 0; i < SAMPLES; i++) {
        nr[i] = calls_to_sample();
        cr_assert(nr[i] >= EVERY / 2 && nr[i] < EVERY / 2 + EVERY, "sample %u by call %lu", i, nr[i]);
        alike &= nr[i] == nr[0];
    }
    cr_assert(!alike);
    cr_assert_eq(atomic_load(&guard_samples_nr), SAMPLES);
}

Test(guard, a_call_that_cannot_be_guarded_leaves_it_to_the_next) {
    enum { EVERY = 10 };
    start_every(EVERY, SLOTS);
    for (unsigned i = 0; i < 3 * EVERY; i++)
        engine_free_slow(engine_alloc_slow(sys_page_bytes() + 1));
    cr_assert_eq(objects(), 0);
    cr_assert_eq(calls_to_sample(), 1);
}

/* --- the handler --- */

static void *handler_now(void) {
    struct sigaction now;
    cr_assert_eq(sigaction(SIGSEGV, NULL, &now), 0);
    return (void *)(uintptr_t)now.sa_handler; // NOLINT(performance-no-int-to-ptr)
}

static void nothing(int nr) { (void)nr; }

/* Runtimes look at their start whether somebody handles faults. */
Test(guard, a_handler_comes_with_the_first_object) {
    signal(SIGSEGV, SIG_DFL);
    start_every(10, SLOTS);
    cr_assert_eq(handler_now(), (void *)SIG_DFL);
    (void)calls_to_sample();
    cr_assert_neq(handler_now(), (void *)SIG_DFL);
    void *ours = handler_now();
    (void)calls_to_sample();
    cr_assert_eq(handler_now(), ours);
    signal(SIGSEGV, SIG_DFL);
}

static void stays(void (*theirs)(int)) {
    signal(SIGSEGV, theirs);
    start_every(10, SLOTS);
    (void)calls_to_sample();
    cr_assert_eq(handler_now(), (void *)(uintptr_t)theirs); // NOLINT(performance-no-int-to-ptr)
    signal(SIGSEGV, SIG_DFL);
}

Test(guard, a_handler_of_the_programs_stays) { stays(nothing); }
Test(guard, a_signal_that_is_ignored_stays_so) { stays(SIG_IGN); }

/* --- which calls --- */

/* On each CPU this process may use, one after the other. */
static unsigned on_each_cpu(void (*visit)(void)) {
    cpu_set_t mine;
    unsigned nr = 0;
    cr_assert_eq(sched_getaffinity(0, sizeof(mine), &mine), 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (!CPU_ISSET(cpu, &mine))
            continue;
        cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
        visit();
        nr++;
    }
    cr_assert_eq(sched_setaffinity(0, sizeof(mine), &mine), 0);
    return nr;
}

enum { STOCK = 200 };

static void stock_up(void) {
    void *p[STOCK];
    for (unsigned i = 0; i < STOCK; i++)
        cr_assert_not_null(p[i] = engine_alloc_slow(100));
    for (unsigned i = 0; i < STOCK; i++) {
        if (!engine_free_fast(p[i]))
            engine_free_slow(p[i]);
    }
}

static void is_guarded_here(void) {
    cr_assert_null(engine_malloc_fast(100));
    void *p = engine_alloc_slow(100);
    cr_assert(guard_has(p));
    engine_free_slow(p);
}

/* By cpu_id each CPU has magazines of its own, with objects from before the guard is armed: none of them is handed out
 * to a thread that comes there. */
Test(guard, every_allocation_is_one_on_whatever_cpu) {
    cr_assert_eq(setenv("QUARRY_PERCPU", "cpu_id", 1), 0);
    cr_assert(engine_ready());
    unsigned nr = on_each_cpu(stock_up);
    void *p = engine_malloc_fast(100);
    /* Without rseq nobody has a fast path. */
    cr_assert_eq(p != NULL, strcmp(mag_mode_name(), "cpu_id") == 0);
    engine_free_slow(p);
    start(SLOTS);
    cr_assert_eq(on_each_cpu(is_guarded_here), nr);
}

/* A slot that was freed is the last to be used again. */
Test(guard, slots_are_taken_in_turn) {
    void *p[SLOTS], *more;
    start(SLOTS);
    for (unsigned i = 0; i < SLOTS; i++)
        cr_assert(guard_has(p[i] = engine_alloc_slow(32)));
    more = engine_alloc_slow(32);
    cr_assert(more != NULL && !guard_has(more), "all in use: an object as any other");
    engine_free_slow(more);
    engine_free_slow(p[3]);
    engine_free_slow(p[5]);
    for (unsigned i = 0; i < 2; i++) {
        char *next = engine_alloc_slow(32), *was = p[i == 0 ? 3 : 5];
        cr_assert_eq(round_down((uintptr_t)next, sys_page_bytes()), round_down((uintptr_t)was, sys_page_bytes()));
    }
}

Test(guard, one_that_was_freed_is_closed_as_long_as_may_be) {
    uintptr_t pages[SLOTS];
    start(SLOTS);
    for (unsigned i = 0; i < SLOTS; i++) {
        void *p = engine_alloc_slow(32);
        pages[i] = round_down((uintptr_t)p, sys_page_bytes());
        engine_free_slow(p);
        for (unsigned k = 0; k < i; k++)
            cr_assert_neq(pages[k], pages[i]);
    }
}

Test(guard, frees_that_may_not_block_leave_the_page_to_others) {
    start(SLOTS);
    void *p = engine_alloc_slow(64);
    enum rt_context before = rt_context_enter(RT_ATOMIC);
    cr_assert_null(guard_alloc(64));
    guard_free(p);
    rt_context_leave(before);
    cr_assert_eq(guard_usable(p), 0);
    cr_assert_eq(objects(), 1);
    *(volatile char *)p = 1;                   /* open still */
    engine_free_slow(engine_alloc_slow(5000)); /* does the chores */
    cr_assert_eq(objects(), 0);
}

/* --- crimes --- */

enum crime { READ_FREED, WRITE_BEHIND, WRITE_BEFORE, FREE_TWICE, FREE_INSIDE, FREE_BESIDE, SPOIL, REALLOC_FREED };

static NOINLINE void commit(void *arg) {
    const enum crime crime = *(enum crime *)arg;
    const size_t page = sys_page_bytes();
    start(SLOTS);
    volatile char *p = engine_alloc_slow(40);
    switch (crime) {
    case READ_FREED:
        engine_free_slow((void *)p);
        (void)p[8];
        break;
    case WRITE_BEHIND: p[page] = 1; break;
    case WRITE_BEFORE: *((volatile char *)round_down((uintptr_t)p, page) - 1) = 1; break;
    case FREE_TWICE:
        engine_free_slow((void *)p);
        engine_free_slow((void *)p);
        break;
    case FREE_INSIDE: engine_free_slow((char *)p + 16); break;
    case FREE_BESIDE: engine_free_slow((char *)p - page); break;
    case SPOIL:
        p[40] ^= 1; /* in the rounding, or where the page goes on */
        engine_free_slow((void *)p);
        break;
    case REALLOC_FREED:
        engine_free_slow((void *)p);
        (void)engine_realloc((void *)p, 10);
        break;
    }
}

static unsigned count(const char *text, const char *what) {
    unsigned nr = 0;
    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        nr++;
    return nr;
}

Test(guard, crimes_are_told_with_their_stacks) {
    static const struct {
        enum crime crime;
        const char *line;
        bool freed;
    } crimes[] = {
        {READ_FREED, "quarry: error Q11 use-after-free: ", true},
        {WRITE_BEHIND, "quarry: error Q10 out-of-bounds: ", false},
        {WRITE_BEFORE, "quarry: error Q10 out-of-bounds: ", false},
        {FREE_TWICE, "quarry: error Q01 double-free: ", true},
        {FREE_INSIDE, "quarry: error Q02 interior-pointer: ", false},
        {FREE_BESIDE, "quarry: error Q03 wild-pointer: ", false},
        {SPOIL, "quarry: error Q12 overflow: ", false},
        {REALLOC_FREED, "quarry: error Q01 double-free: ", true},
    };
    char said[8192];
    for (size_t i = 0; i < ARRAY_NR(crimes); i++) {
        enum crime crime = crimes[i].crime;
        cr_assert_eq(alone_die(commit, &crime, said, sizeof(said)), SIGABRT, "crime %zu: %s", i, said);
        cr_assert_eq(strncmp(said, crimes[i].line, strlen(crimes[i].line)), 0, "crime %zu: %s", i, said);
        cr_assert_eq(count(said, " slab guarded;"), 1, "crime %zu: %s", i, said);
        cr_assert_eq(count(said, "\nquarry:   found by this thread:\n"), 1, "crime %zu: %s", i, said);
        if (crime != FREE_BESIDE)
            cr_assert_eq(count(said, "\nquarry:   allocated by this thread:\n"), 1, "crime %zu: %s", i, said);
        cr_assert_eq(count(said, "\nquarry:   freed by this thread:\n"), crimes[i].freed, "crime %zu: %s", i, said);
    }
}

/* Emulated machines take a second for each. */
#if defined(__x86_64__)
enum { RACES_NR = 40 };
#else
enum { RACES_NR = 4 };
#endif

/* Two threads free one object at the same moment: one of them always is the second. */
static _Atomic(unsigned) racers;

static void *race_free(void *p) {
    atomic_fetch_add(&racers, 1);
    while (atomic_load(&racers) != 2)
        continue;
    engine_free_slow(p);
    return NULL;
}

static void race(void *unused) {
    pthread_t thread;
    (void)unused;
    start(SLOTS);
    void *p = engine_alloc_slow(40);
    MUST(pthread_create(&thread, NULL, race_free, p) == 0);
    race_free(p);
    pthread_join(thread, NULL);
}

Test(guard, one_of_two_frees_at_once_is_told) {
    char said[8192];
    for (unsigned i = 0; i < RACES_NR; i++) {
        cr_assert_eq(alone_die(race, NULL, said, sizeof(said)), SIGABRT, "attempt %u: %s", i, said);
        cr_assert_not_null(strstr(said, "quarry: error Q01 double-free: "), "%s", said);
    }
}

/* A fault that is not ours ends the program as it would have. */
static volatile uintptr_t nowhere = 8;

#if !defined(__SANITIZE_ADDRESS__) /* which has a handler of its own */
static void fault_elsewhere(void *unused) {
    (void)unused;
    start(SLOTS);
    engine_free_slow(engine_alloc_slow(8));
    *(volatile char *)nowhere = 1; // NOLINT(performance-no-int-to-ptr)
}

static volatile sig_atomic_t handled;
static void own_handler(int nr) {
    handled = nr;
    _exit(42);
}

static void fault_with_handler(void *unused) {
    (void)unused;
    signal(SIGSEGV, own_handler);
    fault_elsewhere(NULL);
}

static void fault_sent(void *unused) {
    (void)unused;
    start(SLOTS);
    raise(SIGSEGV);
}

Test(guard, other_faults_go_where_they_went) {
    char said[1024];
    cr_assert_eq(alone_die(fault_elsewhere, NULL, said, sizeof(said)), SIGSEGV);
    cr_assert_null(strstr(said, "quarry"), "%s", said);
    cr_assert_eq(alone_die(fault_with_handler, NULL, said, sizeof(said)), 0, "the program's handler ends it by exit");
    cr_assert_eq(alone_die(fault_sent, NULL, said, sizeof(said)), SIGSEGV);
}
#endif

/* --- threads --- */

enum { ROUNDS = 4000, HELD = 64 };
static _Atomic(u64 *) shelf[HELD];

static void *trader(void *arg) {
    u64 seed = (u64)(uintptr_t)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        u64 r = alone_random(&seed);
        u64 *mine = engine_alloc_slow(8 * (1 + r % 20));
        for (u64 k = 0; k < 1 + r % 20; k++)
            mine[k] = (u64)(uintptr_t)mine + 1 + r % 20 + k * 3;
        mine[0] = 1 + r % 20;
        u64 *other = atomic_exchange(&shelf[(r >> 32) % HELD], mine);
        if (other == NULL)
            continue;
        for (u64 k = 1; k < other[0]; k++)
            MUST(other[k] == (u64)(uintptr_t)other + other[0] + k * 3);
        if ((r >> 40) % 4 == 0) {
            enum rt_context before = rt_context_enter(RT_ATOMIC);
            bool is_guarded = guard_has(other);
            if (is_guarded)
                guard_free(other);
            rt_context_leave(before);
            if (is_guarded)
                continue;
        }
        engine_free_slow(other);
    }
    return NULL;
}

Test(guard, threads_lose_and_share_none) {
    start(SLOTS);
    traders_run(trader, shelf, HELD);
    guard_close_due();
    cr_assert_eq(objects(), 0);
    /* Each slot served again and again; how often is up to when a thread that closes some gets its CPU. */
    cr_assert(atomic_load(&guard_samples_nr) > 10 * SLOTS, "%lu", (unsigned long)atomic_load(&guard_samples_nr));
    /* None is lost: all slots can be live at once again. */
    for (unsigned i = 0; i < SLOTS; i++)
        cr_assert(guard_has(engine_alloc_slow(1)));
}
