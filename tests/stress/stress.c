/* SPDX-License-Identifier: MIT */
/*
 * Randomised stress of the preloaded allocator: many more threads than CPUs work on pools of stamped objects
 * (support/oracle.h) and hand objects to each other through shared mailboxes, while signal handlers, CPU migrations and
 * forks interrupt them on request. Owns the threads and the disturbances; the oracle finds the faults, and the figures
 * of before and after (support/floor.h) what was lost. The seed and the command that repeats the run are printed first.
 * Called by the driver, or by hand with --help.
 */
#include "check.h"
#include "floor.h"
#include "options.h"
#include "oracle.h"
#include "proc.h"
#include "timer.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_LIMIT = 256,
    MAILBOXES = 64,
    STEPS_PER_TURN = 200,
    HANDLER_STEPS = 3,
    HANDLER_SIZE_LIMIT = 20000,
    SIGNAL_EVERY_NS = 1000000,
    FORK_EVERY_NS = 30000000,
    CHILD_STEPS = 2000,
    CHILD_LIMIT_SECONDS = 20,
    /* DESIGN.md, bounds: at most 2,000 mappings; the threads' own stacks and guards come on top. */
    MAPPINGS_LIMIT = 2000,
};

/* What one thread sends another: freed, header and object, by whoever finds it. */
struct parcel {
    struct object object;
    size_t sender;
};

struct worker {
    pthread_t thread;
    struct pool pool;
    struct pool handler_pool;
    unsigned long handled_at; /* of the pool's steps */
    pid_t tid;
    unsigned long sent_nr, received_nr;
};

static struct options options;
static struct worker workers[THREADS_LIMIT];
static _Atomic(struct parcel *) mailboxes[MAILBOXES];
static atomic_int stopping;
static atomic_ulong signals_nr, forks_nr, hops_nr;
static _Thread_local struct worker *self;
static cpu_set_t allowed_cpus;

static void parcel_open(struct worker *worker, struct parcel *parcel) {
    if (!parcel)
        return;
    CHECK_MSG(parcel->sender < options.thread_nr, "a parcel came from thread %zu", parcel->sender);
    object_retire(&parcel->object);
    free(parcel);
    worker->received_nr++;
}

static void parcel_send(struct worker *worker, size_t index) {
    struct object object = pool_take(&worker->pool);
    struct parcel *parcel;

    if (!object.memory)
        return;
    parcel = malloc(sizeof *parcel);
    CHECK(parcel != NULL);
    parcel->object = object;
    parcel->sender = index;
    worker->sent_nr++;
    parcel_open(worker, atomic_exchange_explicit(&mailboxes[rng_below(&worker->pool.rng, MAILBOXES)], parcel,
                                                 memory_order_acq_rel));
}

/* The alarm of whoever runs this program, not a thread's timer: the run hangs. Says where each thread is. */
static void hang_end(void) {
    for (size_t i = 0; i < options.thread_nr; i++)
        proc_thread_print(workers[i].tid);
    proc_thread_print(getpid());
    (void)signal(SIGALRM, SIG_DFL);
    (void)raise(SIGALRM);
}

/* A thread that has come no further since the last signal is let run: where all is slow, handlers that take as long as
 * their timers would be all that ever runs. */
static void on_timer(int signal_nr) {
    int saved = errno;

    (void)signal_nr;
    if (!self) {
        hang_end();
        return;
    }
    atomic_fetch_add_explicit(&signals_nr, 1, memory_order_relaxed);
    if (self->pool.steps_nr != self->handled_at) {
        self->handled_at = self->pool.steps_nr;
        pool_steps(&self->handler_pool, HANDLER_STEPS);
    }
    errno = saved;
}

static void timer_stop(timer_t timer) {
    sigset_t blocked;

    CHECK(timer_delete(timer) == 0);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
}

/* To one CPU of those the process may use, so that the scheduler must move the thread at once. One that has gone
 * offline meanwhile is no choice. */
static void thread_hop(struct rng *rng) {
    cpu_set_t one;
    int cpu;

    do
        cpu = (int)rng_below(rng, CPU_SETSIZE);
    while (!CPU_ISSET((size_t)cpu, &allowed_cpus));
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0)
        atomic_fetch_add_explicit(&hops_nr, 1, memory_order_relaxed);
    else
        CHECK(errno == EINVAL);
}

static void *worker_run(void *argument) {
    struct worker *worker = argument;
    size_t index = (size_t)(worker - workers);
    timer_t timer = 0;

    self = worker;
    worker->tid = (pid_t)syscall(SYS_gettid);
    if (options.signals)
        timer = timer_start(SIGALRM, SIGNAL_EVERY_NS);
    do {
        pool_steps(&worker->pool, STEPS_PER_TURN);
        for (int i = 0; i < 8; i++)
            parcel_send(worker, index);
        if (options.affinity)
            thread_hop(&worker->pool.rng);
    } while (!atomic_load_explicit(&stopping, memory_order_relaxed));
    if (options.signals)
        timer_stop(timer);
    pool_drain(&worker->pool);
    pool_drain(&worker->handler_pool);
    return NULL;
}

/* The child has the forking thread alone, with copies of everybody's objects: its own must be whole. */
static void child_run(struct pool *pool) {
    signal(SIGALRM, SIG_DFL);
    alarm(limit_seconds(CHILD_LIMIT_SECONDS));
    pool_steps(pool, CHILD_STEPS);
    pool_drain(pool);
    _exit(0);
}

static void fork_once(struct pool *pool) {
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0)
        child_run(pool);
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child ended with wait status %#x%s",
              (unsigned)status, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    atomic_fetch_add(&forks_nr, 1);
}

static uint64_t now_ms(void) {
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A busy machine may give a thread nothing for as long as the whole test was to take. */
static bool disturbed_enough(void) {
    return (!options.signals || atomic_load(&signals_nr) > 0) && (!options.affinity || atomic_load(&hops_nr) > 0);
}

static void time_pass(uint64_t seed, uint64_t ms) {
    static struct pool pool;
    struct timespec pause = {0, FORK_EVERY_NS};
    uint64_t end_ms = now_ms() + ms;

    pool_init(&pool, seed, THREADS_LIMIT, 100000);
    do {
        nanosleep(&pause, NULL);
        pool_steps(&pool, STEPS_PER_TURN);
        if (options.forks)
            fork_once(&pool);
    } while (now_ms() < end_ms || !disturbed_enough());
    pool_drain(&pool);
}

/* In the end everything is freed. */
static void workers_run(uint64_t seed, uint64_t ms) {
    atomic_store(&stopping, 0);
    for (size_t i = 0; i < options.thread_nr; i++) {
        pool_init(&workers[i].pool, seed, i, 0);
        pool_init(&workers[i].handler_pool, seed, 1000 + i, HANDLER_SIZE_LIMIT);
        CHECK(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) == 0);
    }
    time_pass(seed, ms);
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < options.thread_nr; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    for (size_t i = 0; i < MAILBOXES; i++)
        parcel_open(&workers[0], atomic_exchange(&mailboxes[i], NULL));
}

/* Twice, so that there is something to compare with; the first part is short. */
static void storm_run(void) {
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    uint64_t ms = options.seconds * 1000;

    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(sched_getaffinity(0, sizeof allowed_cpus, &allowed_cpus) == 0);
    floor_threads(options.thread_nr);
    workers_run(options.seed + 1, ms / 4);
    struct floor before = floor_take();
    workers_run(options.seed, ms - ms / 4);
    floor_check(&before);
}

/* What was sent was received, and each disturbance asked for took place. */
static void balance_check(void) {
    unsigned long steps_nr = 0, sent_nr = 0, received_nr = 0;

    for (size_t i = 0; i < options.thread_nr; i++) {
        steps_nr += workers[i].pool.steps_nr;
        sent_nr += workers[i].sent_nr;
        received_nr += workers[i].received_nr;
    }
    printf("%lu steps, %lu parcels, %lu signals, %lu forks\n", steps_nr, sent_nr, atomic_load(&signals_nr),
           atomic_load(&forks_nr));
    CHECK_MSG(sent_nr == received_nr, "%lu parcels sent, %lu received", sent_nr, received_nr);
    CHECK(sent_nr > 0);
    CHECK(!options.signals || atomic_load(&signals_nr) > 0);
    CHECK(!options.forks || atomic_load(&forks_nr) > 0);
    CHECK(!options.affinity || atomic_load(&hops_nr) > 0);
    CHECK_MSG(proc_mapping_nr() <= MAPPINGS_LIMIT + 2 * options.thread_nr, "%zu mappings", proc_mapping_nr());
}

int main(int argc, char **argv) {
    options = options_parse(argc, argv, THREADS_LIMIT);
    options_print(&options, argv[0]);
    storm_run();
    balance_check();
    return 0;
}
