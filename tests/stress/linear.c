/* SPDX-License-Identifier: MIT */
/*
 * The whole allocator against its histories. Threads on two CPUs allocate, resize, free and pass objects on, timers
 * interrupt them with handlers that do the same, they hop between CPUs, and the main thread trims; each call is written
 * down with a ticket drawn before it and one after it, from one counter. From time to time all rest. Then
 *   - the judge (history.h) proves from the logs that no two objects were held at once that share an address;
 *   - the accounts are exact: live_bytes of the statistics is what the logs say is held, to the byte;
 *   - in the end nothing is held, and after a trim no slab and no region is left that was not there before: what was
 *     freed is not lost.
 * The judge himself is tried first, on histories made up. Usage: linear [--seed N] [--signals] [--affinity] --seconds N
 */
#include "check.h"
#include "history.h"
#include "options.h"
#include "oracle.h"
#include "timer.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_LIMIT = 8,
    CPUS_NR = 2,
    SLOTS_NR = 384,
    HANDLER_SLOTS_NR = 24,
    HANDLER_STEPS = 3,
    MAILBOXES_NR = 64,
    EVENTS_NR = 1 << 16, /* of a thread or its handler, in one round; who has written so many rests */
    STEPS_PER_HOP = 300,
    SIGNAL_EVERY_NS = 300000,
    ROUND_MS = 120,
    TRIM_EVERY_MS = 7,
    ROUNDS_MIN = 3,
    MARK_BYTES = sizeof(uint64_t),
};

struct slot {
    uint64_t *p;
    size_t bytes; /* usable */
};

/* A thread, or the handler on top of it: who can be in the middle of one call. */
struct actor {
    struct rng rng;
    struct slot *slots;
    size_t slots_nr, events_nr, size_limit;
    struct history_event *events;
};

struct worker {
    pthread_t thread;
    struct actor self, handler;
    struct slot slots[SLOTS_NR], handler_slots[HANDLER_SLOTS_NR];
};

static struct options options;
static struct worker workers[THREADS_LIMIT];
static _Atomic(uint64_t *) mailboxes[MAILBOXES_NR];
static pthread_barrier_t barrier;
/* What the threads do when they leave the barrier. */
static enum phase { WORK, DRAIN, END } phase;
static atomic_bool resting;
static _Atomic(uint64_t) tickets;
static _Atomic(uintptr_t) spoilt; /* an object whose contents are not its owner's; 0: none */
static atomic_ulong signals_nr, hops_nr, passed_nr, moved_nr;
static _Thread_local struct actor *handler;
static int (*stat_read)(const char *name, uint64_t *ret_value);

/* --- calls, as they are written down --- */

/* Nothing of the call moves across its tickets, and what happened before another thread's ticket is numbered before. */
static uint64_t ticket(void) { return atomic_fetch_add_explicit(&tickets, 1, memory_order_acq_rel); }

/* Mostly few sizes, so that threads meet; now and then all tiers. */
static size_t size_draw(struct actor *a) {
    static const size_t often[] = {16, 48, 64, 200, 512, 1024, 4000, 9000};
    static const size_t tiers[] = {1 << 10, 1 << 10, 32 << 10, 32 << 10, 256 << 10, 1 << 20, 3 << 20};
    size_t dice = rng_below(&a->rng, 100), size;
    if (dice < 70)
        return often[dice % 8];
    /* The larger, the fewer. */
    size = 1 + rng_below(&a->rng, tiers[dice < 99 ? dice % 4 : 4 + rng_below(&a->rng, 3)]);
    return size > a->size_limit ? 1 + size % a->size_limit : size;
}

static void *memory_ask(size_t size, size_t align, unsigned how) {
    switch (how) {
    case 0: return calloc(1, size);
    case 1: return memalign(align, size);
    case 2: return realloc(NULL, size);
    default: return malloc(size);
    }
}

/* The first word: another owner's is another, so who frees sees it. */
static uint64_t mark_of(const uint64_t *p) { return (uintptr_t)p * 0x9e3779b97f4a7c15u; }

/* That of another than its owner. The round ends here, so that the judge says since when. */
static void mark_check(const uint64_t *mark, const uint64_t *p) {
    if (*mark == mark_of(p))
        return;
    atomic_store(&spoilt, (uintptr_t)mark);
    atomic_store(&resting, true);
}

static void slot_take(struct slot *s, void *p) {
    s->p = p;
    s->bytes = malloc_usable_size(p);
    *s->p = mark_of(p);
}

static struct history_event *event_next(struct actor *a) { return &a->events[a->events_nr++]; }

static void slot_fill(struct actor *a, struct slot *s) {
    size_t size = size_draw(a), align = (size_t)16 << rng_below(&a->rng, 9);
    unsigned how = (unsigned)rng_below(&a->rng, 8);
    struct history_event *e = event_next(a);
    e->invoked = ticket();
    void *p = memory_ask(size, align, how);
    e->answered = ticket();
    CHECK_MSG(p != NULL, "out of memory at %zu bytes", size);
    CHECK(how != 0 || *(uint64_t *)p == 0 || size < MARK_BYTES);
    CHECK(how != 1 || ((uintptr_t)p & (align - 1)) == 0);
    slot_take(s, p);
    CHECK(s->bytes >= size && s->bytes >= MARK_BYTES);
    *e = (struct history_event){e->invoked, e->answered, 0, (uintptr_t)p, 0, s->bytes};
}

static void slot_resize(struct actor *a, struct slot *s) {
    size_t size = size_draw(a);
    struct slot was = *s;
    struct history_event *e = event_next(a);
    mark_check(s->p, s->p);
    e->invoked = ticket();
    void *p = realloc(s->p, size);
    e->answered = ticket();
    CHECK_MSG(p != NULL, "out of memory at %zu bytes", size);
    if (size >= MARK_BYTES)
        mark_check(p, was.p);
    slot_take(s, p);
    CHECK(s->bytes >= size);
    if (p != was.p)
        atomic_fetch_add_explicit(&moved_nr, 1, memory_order_relaxed);
    *e = (struct history_event){e->invoked, e->answered, (uintptr_t)was.p, (uintptr_t)p, was.bytes, s->bytes};
}

static void slot_free(struct actor *a, struct slot *s) {
    struct slot was = *s;
    if (was.p == NULL)
        return;
    struct history_event *e = event_next(a);
    mark_check(was.p, was.p);
    *was.p = 0;
    s->p = NULL;
    e->invoked = ticket();
    free(was.p);
    e->answered = ticket();
    *e = (struct history_event){e->invoked, e->answered, (uintptr_t)was.p, 0, was.bytes, 0};
}

/* Another's object in exchange for one of ours. */
static void slot_pass(struct actor *a, struct slot *s) {
    uint64_t *mine = s->p;
    s->p = NULL;
    /* The object's contents go with it. */
    uint64_t *got = atomic_exchange_explicit(&mailboxes[rng_below(&a->rng, MAILBOXES_NR)], mine, memory_order_acq_rel);
    if (got == NULL)
        return;
    atomic_fetch_add_explicit(&passed_nr, 1, memory_order_relaxed);
    s->bytes = malloc_usable_size(got);
    s->p = got;
}

static void actor_step(struct actor *a) {
    struct slot *s = &a->slots[rng_below(&a->rng, a->slots_nr)];
    size_t dice = rng_below(&a->rng, 16);
    if (dice == 0)
        slot_pass(a, s);
    else if (s->p == NULL)
        slot_fill(a, s);
    else if (dice < 4)
        slot_resize(a, s);
    else
        slot_free(a, s);
}

static bool actor_may(const struct actor *a) {
    return a->events_nr < EVENTS_NR && !atomic_load_explicit(&resting, memory_order_relaxed);
}

/* --- threads --- */

static void on_timer(int signal_nr) {
    int saved = errno;
    (void)signal_nr;
    for (int i = 0; i < HANDLER_STEPS && actor_may(handler); i++)
        actor_step(handler);
    atomic_fetch_add_explicit(&signals_nr, 1, memory_order_relaxed);
    errno = saved;
}

static void signals_set(int how) {
    sigset_t timer;
    sigemptyset(&timer);
    sigaddset(&timer, SIGALRM);
    CHECK(pthread_sigmask(how, &timer, NULL) == 0);
}

static cpu_set_t cpus;

static void thread_hop(struct rng *rng) {
    cpu_set_t one;
    size_t cpu;
    do
        cpu = rng_below(rng, CPU_SETSIZE);
    while (!CPU_ISSET(cpu, &cpus));
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one) == 0)
        atomic_fetch_add_explicit(&hops_nr, 1, memory_order_relaxed);
}

static void work(struct worker *w) {
    if (options.signals)
        signals_set(SIG_UNBLOCK);
    for (unsigned long step = 0; actor_may(&w->self); step++) {
        actor_step(&w->self);
        if (options.affinity && step % STEPS_PER_HOP == 0)
            thread_hop(&w->self.rng);
    }
    signals_set(SIG_BLOCK);
}

static void drain(struct worker *w) {
    for (size_t i = 0; i < SLOTS_NR; i++)
        slot_free(&w->self, &w->slots[i]);
    for (size_t i = 0; i < HANDLER_SLOTS_NR; i++)
        slot_free(&w->self, &w->handler_slots[i]);
    for (size_t i = 0; i < MAILBOXES_NR; i++) {
        uint64_t *p = atomic_exchange_explicit(&mailboxes[i], NULL, memory_order_acq_rel);
        struct slot left = {p, p != NULL ? malloc_usable_size(p) : 0};
        slot_free(&w->self, &left);
    }
}

static void *worker_run(void *argument) {
    struct worker *w = argument;
    timer_t timer = 0;
    handler = &w->handler;
    signals_set(SIG_BLOCK);
    if (options.signals)
        timer = timer_start(SIGALRM, SIGNAL_EVERY_NS);
    for (;;) {
        (void)pthread_barrier_wait(&barrier);
        (void)pthread_barrier_wait(&barrier);
        if (phase == END)
            break;
        if (phase == WORK)
            work(w);
        else
            drain(w);
    }
    if (options.signals)
        CHECK(timer_delete(timer) == 0);
    return NULL;
}

static void actor_make(struct actor *a, struct slot *slots, size_t slots_nr, uint64_t seed, size_t size_limit) {
    size_t bytes = (EVENTS_NR + SLOTS_NR + HANDLER_SLOTS_NR + MAILBOXES_NR) * sizeof(struct history_event);
    void *events = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(events != MAP_FAILED);
    *a =
        (struct actor){.rng = {seed}, .slots = slots, .slots_nr = slots_nr, .size_limit = size_limit, .events = events};
}

static void workers_start(void) {
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    for (size_t i = 0; i < options.thread_nr; i++) {
        struct worker *w = &workers[i];
        actor_make(&w->self, w->slots, SLOTS_NR, options.seed * 1000 + i, SIZE_MAX);
        actor_make(&w->handler, w->handler_slots, HANDLER_SLOTS_NR, options.seed * 1000 + 500 + i, 20000);
        CHECK(pthread_create(&w->thread, NULL, worker_run, w) == 0);
    }
}

/* --- rounds --- */

static uint64_t figure(const char *name) {
    uint64_t value;
    CHECK(stat_read(name, &value) == 0);
    return value;
}

static uint64_t now_ms(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The main thread keeps its hands off but for what takes other threads' magazines from them. */
static void round_pass(void) {
    struct timespec pause = {0, TRIM_EVERY_MS * 1000000L};
    for (uint64_t end_ms = now_ms() + ROUND_MS; now_ms() < end_ms;) {
        nanosleep(&pause, NULL);
        (void)malloc_trim(0);
    }
    atomic_store(&resting, true);
}

/* What the threads hold, by the logs, on top of what libc held at the start. */
static void accounts_check(uint64_t libc_bytes, const char *when) {
    uint64_t live = figure("live_bytes");
    CHECK_MSG(live == libc_bytes + history_held_bytes(),
              "%s %llu bytes are live, of which %zu in %zu objects by the logs, and %llu were at the start", when,
              (unsigned long long)live, history_held_bytes(), history_held_nr(), (unsigned long long)libc_bytes);
}

/* From one rest to the next. Returns how many events there were. */
static size_t round_run(enum phase what, uint64_t libc_bytes) {
    struct history_log logs[2 * THREADS_LIMIT];
    uint64_t first = atomic_load(&tickets);
    size_t nr = 0, events_nr = 0;
    phase = what;
    atomic_store(&resting, false);
    (void)pthread_barrier_wait(&barrier);
    if (what == WORK)
        round_pass();
    (void)pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < options.thread_nr; i++) {
        struct actor *both[] = {&workers[i].self, &workers[i].handler};
        for (size_t k = 0; k < 2; k++) {
            logs[nr++] = (struct history_log){both[k]->events, both[k]->events_nr};
            events_nr += both[k]->events_nr;
            both[k]->events_nr = 0;
        }
    }
    CHECK(atomic_load(&tickets) == first + 2 * events_nr);
    const char *fault = history_judge(logs, nr, first);
    CHECK_MSG(fault == NULL, "%s", fault);
    CHECK_MSG(atomic_load(&spoilt) == 0, "%#lx was written to by another", atomic_load(&spoilt));
    accounts_check(libc_bytes, what == WORK ? "at rest" : "in the end");
    return events_nr;
}

/* What is left when all is given back: slabs with objects of libc's own. */
struct floor {
    uint64_t live_bytes, slabs, big_regions;
};

static struct floor floor_take(void) {
    (void)malloc_trim(0);
    return (struct floor){figure("live_bytes"), figure("slabs"), figure("big_regions")};
}

static void floor_check(const struct floor *before) {
    struct floor now = floor_take();
    CHECK_MSG(now.slabs <= before->slabs, "%llu slabs are left, %llu were at the start", (unsigned long long)now.slabs,
              (unsigned long long)before->slabs);
    CHECK_MSG(now.big_regions == before->big_regions, "%llu regions are left, %llu were at the start",
              (unsigned long long)now.big_regions, (unsigned long long)before->big_regions);
}

/* Nothing that was asked for may be missing, however little a round is on a busy machine. */
static bool disturbed_enough(void) {
    return (!options.signals || atomic_load(&signals_nr) > 0) && (!options.affinity || atomic_load(&hops_nr) > 0) &&
           atomic_load(&passed_nr) > 0 && atomic_load(&moved_nr) > 0;
}

static void cpus_choose(void) {
    CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
    for (size_t cpu = 0, nr = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &cpus) && ++nr > CPUS_NR)
            CPU_CLR(cpu, &cpus);
    }
    CHECK(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
}

static void rounds_run(void) {
    uint64_t end_ms = now_ms() + options.seconds * 1000;
    size_t events_nr = 0, rounds_nr = 0;
    workers_start();
    (void)pthread_barrier_wait(&barrier);
    struct floor before = floor_take();
    while (rounds_nr < ROUNDS_MIN || now_ms() < end_ms || !disturbed_enough()) {
        events_nr += round_run(WORK, before.live_bytes);
        rounds_nr++;
    }
    events_nr += round_run(DRAIN, before.live_bytes);
    CHECK_MSG(history_held_nr() == 0, "%zu objects were never freed", history_held_nr());
    floor_check(&before);
    phase = END;
    (void)pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < options.thread_nr; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    printf("%zu rounds, %zu calls, %lu passed on, %lu signals, %lu hops\n", rounds_nr, events_nr,
           atomic_load(&passed_nr), atomic_load(&signals_nr), atomic_load(&hops_nr));
}

/* --- the judge himself --- */

#define EVENTS(...)                                                                                                    \
    (const struct history_event[]) { __VA_ARGS__ }

/* Two threads' histories of one call each, or two; tickets from 0. */
struct made_up {
    const char *name;
    const struct history_event *events[2];
    size_t nr[2];
    bool good;
};

/* A ticket, a ticket, what is given up, what is got, bytes of both. */
static const struct made_up made_up[] = {
    {"one after the other",
     {EVENTS({0, 1, 0, 0x1000, 0, 64}, {2, 5, 0x1000, 0, 64, 0}), EVENTS({3, 4, 0, 0x1000, 0, 64})},
     {2, 1},
     true},
    {"side by side", {EVENTS({0, 1, 0, 0x1000, 0, 64}), EVENTS({2, 3, 0, 0x1040, 0, 64})}, {1, 1}, true},
    {"one object twice", {EVENTS({0, 2, 0, 0x1000, 0, 64}), EVENTS({1, 3, 0, 0x1000, 0, 64})}, {1, 1}, false},
    {"the end of another", {EVENTS({0, 2, 0, 0x1000, 0, 80}), EVENTS({1, 3, 0, 0x1040, 0, 64})}, {1, 1}, false},
    {"the start of another", {EVENTS({0, 2, 0, 0x1000, 0, 64}), EVENTS({1, 3, 0, 0xfe0, 0, 48})}, {1, 1}, false},
    {"one inside another", {EVENTS({0, 2, 0, 0x1000, 0, 4096}), EVENTS({1, 3, 0, 0x1800, 0, 16})}, {1, 1}, false},
    {"before it was given up",
     {EVENTS({0, 1, 0, 0x1000, 0, 64}, {4, 5, 0x1000, 0, 64, 0}), EVENTS({2, 3, 0, 0x1000, 0, 64})},
     {2, 1},
     false},
    {"given up twice",
     {EVENTS({0, 1, 0, 0x1000, 0, 64}, {2, 3, 0x1000, 0, 64, 0}), EVENTS({4, 5, 0x1000, 0, 64, 0})},
     {2, 1},
     false},
    {"moved, and what it left is taken",
     {EVENTS({0, 1, 0, 0x1000, 0, 64}, {2, 5, 0x1000, 0x2000, 64, 64}), EVENTS({3, 4, 0, 0x1000, 0, 64})},
     {2, 1},
     true},
    {"moved onto itself", {EVENTS({0, 1, 0, 0x1000, 0, 64}, {2, 3, 0x1000, 0x1020, 64, 64}), NULL}, {2, 0}, false},
    {"grown in place over another",
     {EVENTS({0, 1, 0, 0x1000, 0, 64}, {4, 5, 0x1000, 0x1000, 64, 128}), EVENTS({2, 3, 0, 0x1040, 0, 64})},
     {2, 1},
     false},
    {"taken while it grows in place",
     {EVENTS({0, 1, 0, 0x1000, 0, 64}, {2, 5, 0x1000, 0x1000, 64, 128}), EVENTS({3, 4, 0, 0x1030, 0, 16})},
     {2, 1},
     false},
    {"taken behind it while it shrinks in place",
     {EVENTS({0, 1, 0, 0x1000, 0, 128}, {2, 5, 0x1000, 0x1000, 128, 64}), EVENTS({3, 4, 0, 0x1040, 0, 64})},
     {2, 1},
     true},
    {"a ticket twice", {EVENTS({0, 1, 0, 0x1000, 0, 64}), EVENTS({1, 2, 0, 0x2000, 0, 64})}, {1, 1}, false},
};

static void judge_try(void) {
    for (size_t i = 0; i < sizeof(made_up) / sizeof(made_up[0]); i++) {
        const struct made_up *m = &made_up[i];
        struct history_log logs[2] = {{m->events[0], m->nr[0]}, {m->events[1], m->nr[1]}};
        CHECK_MSG((history_judge(logs, 2, 0) == NULL) == m->good, "the judge is wrong: %s", m->name);
        history_forget();
    }
}

int main(int argc, char **argv) {
    judge_try();
    options = options_parse(argc, argv, THREADS_LIMIT);
    options_print(&options, argv[0]);
    symbol_get("quarry_stat", &stat_read);
    CHECK(stat_read != NULL);
    cpus_choose();
    CHECK(pthread_barrier_init(&barrier, NULL, (unsigned)options.thread_nr + 1) == 0);
    rounds_run();
    return 0;
}
