/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU variables under fire: 16 threads on few CPUs, moved about, each interrupted by a timer whose handler works on
 * the same variables. Every change is counted by its thread; at the end the copies must hold the sum. A section that
 * holds a copy changes two words one after the other, which nobody may see apart. Some threads have no CPU number.
 * Argument: how many of the threads give their rseq area up.
 */
#include "check.h"
#include "oracle.h"
#include "thread_pointer.h"
#include "timer.h"

#include <linux/percpu.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 16, RUN_MS = 1000, SOAK_MS = 60000, TIMER_NS = 100000, RSEQ_BYTES = 32, RSEQ_UNREGISTER = 1 };
#define RSEQ_SIGNATURE 0x53053053

extern const ptrdiff_t __rseq_offset __attribute__((weak));

struct words {
    long first, second; /* changed together by holders, alone by nobody */
    long counter;       /* by sections and holders, not by handlers: a holder's plain addition may lose those */
    long interrupts;    /* by sections and handlers */
};

static DEFINE_PER_CPU(struct words, words);
static DEFINE_PER_CPU(uint8_t, bytes);
static DEFINE_PER_CPU(long, swapped);
static DEFINE_PER_CPU(long, compared);
static long *dynamic;
static atomic_int stopping;

/* What a thread did, its handlers included. */
struct tally {
    _Atomic(long) counter, interrupts, bytes, swapped_in, compared, dynamic, pairs;
};
static struct tally tallies[THREADS];
static _Thread_local struct tally *tally;

static void told(_Atomic(long) *count, long nr) { atomic_fetch_add_explicit(count, nr, memory_order_relaxed); }

static void step_simple(void) {
    this_cpu_add(words.interrupts, 5);
    told(&tally->interrupts, 5);
    this_cpu_inc(bytes);
    told(&tally->bytes, 1);
    (void)this_cpu_inc_return(*dynamic);
    told(&tally->dynamic, 1);
}

/* What a swap takes out is put in again by addition: nothing of it may be lost or doubled. */
static void step_swap(void) {
    for (int i = 0; i < 8; i++) {
        long got = this_cpu_xchg(swapped, 1);
        told(&tally->swapped_in, 1);
        this_cpu_add(swapped, got);
    }
}

static void step_compare(void) {
    long seen = this_cpu_read(compared);
    if (this_cpu_cmpxchg(compared, seen, seen + 1) == seen)
        told(&tally->compared, 1);
}

static void hop(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % (unsigned)sysconf(_SC_NPROCESSORS_CONF), &set);
    (void)sched_setaffinity(0, sizeof(set), &set); /* a CPU this process may not use: it stays */
}

/* Moved to another CPU in between, the thread still works on the copy it holds, by pointer and by operation. */
static void step_hold(struct rng *rng) {
    struct words *w = get_cpu_ptr(&words);
    CHECK_MSG(w->first == w->second, "holders saw %ld and %ld", w->first, w->second);
    this_cpu_inc(words.first);
    w->counter = *(volatile long *)&w->counter + 3; /* plain: no section may come between */
    if (rng_below(rng, 16) == 0)
        hop((unsigned)rng_next(rng));
    else if (rng_below(rng, 16) == 0)
        sched_yield(); /* as if preempted just here */
    this_cpu_inc(words.second);
    CHECK_MSG(w->first == w->second, "a holder made %ld and %ld", w->first, w->second);
    put_cpu_ptr(&words);
    told(&tally->counter, 3);
    told(&tally->pairs, 1);
}

/* In a handler the interrupted code may be a holder, between its two words: that copy is not looked at. */
static void on_timer(int signal_nr) {
    (void)signal_nr;
    step_simple();
    step_swap();
    step_compare();
}

static void unregister(void) {
    CHECK(&__rseq_offset != NULL);
    char *area = thread_pointer() + __rseq_offset;
    CHECK(syscall(SYS_rseq, area, RSEQ_BYTES, RSEQ_UNREGISTER, RSEQ_SIGNATURE) == 0);
}

static void *thread_run(void *index) {
    struct rng rng = {(size_t)index + 1};
    sigset_t blocked;
    timer_t timer;
    tally = &tallies[(size_t)index];
    timer = timer_start(SIGRTMIN, TIMER_NS);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        switch (rng_below(&rng, 64)) {
        case 0: hop((unsigned)rng_next(&rng)); break;
        case 1 ... 8: step_hold(&rng); break;
        case 9 ... 16: step_swap(); break;
        case 17 ... 24: step_compare(); break;
        default:
            step_simple();
            this_cpu_inc(words.counter);
            told(&tally->counter, 1);
            break;
        }
    }
    CHECK(timer_delete(timer) == 0);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    return NULL;
}

static void *thread_run_unnumbered(void *index) {
    unregister();
    return thread_run(index);
}

#define COPIES_SUM(p)                                                                                                  \
    __extension__({                                                                                                    \
        long sum_ = 0;                                                                                                 \
        unsigned cpu_;                                                                                                 \
        for_each_possible_cpu(cpu_) sum_ += *per_cpu_ptr(p, cpu_);                                                     \
        sum_;                                                                                                          \
    })
#define TOLD_SUM(member)                                                                                               \
    __extension__({                                                                                                    \
        long sum_ = 0;                                                                                                 \
        for (int i_ = 0; i_ < THREADS; i_++)                                                                           \
            sum_ += atomic_load(&tallies[i_].member);                                                                  \
        sum_;                                                                                                          \
    })
#define CHECK_SUM(what, have, want) CHECK_MSG((have) == (want), what ": %ld, but %ld were done", have, want)

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    int unnumbered = argc > 1 ? atoi(argv[1]) : 0;
    pthread_t threads[THREADS];
    dynamic = alloc_percpu(long);
    CHECK(dynamic != NULL && sigaction(SIGRTMIN, &action, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, (int)i < unnumbered ? thread_run_unnumbered : thread_run, (void *)i) ==
              0);
    do
        usleep((getenv("SOAK") != NULL ? SOAK_MS : RUN_MS) * 1000);
    while (TOLD_SUM(counter) == 0 || TOLD_SUM(compared) == 0 ||
           TOLD_SUM(pairs) == 0); /* where others work it takes longer */
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_SUM("counter", COPIES_SUM(&words.counter), TOLD_SUM(counter));
    CHECK_SUM("interrupts", COPIES_SUM(&words.interrupts), TOLD_SUM(interrupts));
    CHECK_SUM("first", COPIES_SUM(&words.first), TOLD_SUM(pairs));
    CHECK_SUM("second", COPIES_SUM(&words.second), TOLD_SUM(pairs));
    CHECK_SUM("bytes", COPIES_SUM(&bytes) & 0xff, TOLD_SUM(bytes) & 0xff);
    CHECK_SUM("swapped", COPIES_SUM(&swapped), TOLD_SUM(swapped_in));
    CHECK_SUM("compared", COPIES_SUM(&compared), TOLD_SUM(compared));
    CHECK_SUM("dynamic", COPIES_SUM(dynamic), TOLD_SUM(dynamic));
    free_percpu(dynamic);
    return 0;
}
