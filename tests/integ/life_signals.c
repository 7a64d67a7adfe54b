/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers that allocate and free, 20,000 times a second and thread, interrupting threads that do nothing but
 * allocate and free. POSIX does not ask for it; quarry promises it. Two oracles watch: each thread's pool, and
 * each handler's own pool, of which every object may have been handed out in the middle of the other's malloc.
 */
#include "check.h"
#include "oracle.h"
#include "timer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 3,
    RUN_SECONDS = 1,
    HANDLER_STEPS = 4,
    TIMER_NS = 50000,
    HANDLER_SIZE_LIMIT = 40000,
    SIGNALS_MIN = 500
};

static struct pool thread_pools[THREADS];
static struct pool handler_pools[THREADS];
static _Thread_local struct pool *handler_pool;
static atomic_ulong signals_nr;
static atomic_int stopping;

static void on_timer(int signal_nr) {
    int saved = errno;

    (void)signal_nr;
    atomic_fetch_add_explicit(&signals_nr, 1, memory_order_relaxed);
    pool_steps(handler_pool, HANDLER_STEPS);
    errno = saved;
}

static void *thread_run(void *index) {
    size_t i = (size_t)index;
    sigset_t blocked;
    timer_t timer;

    handler_pool = &handler_pools[i];
    timer = timer_start(SIGRTMIN, TIMER_NS);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed))
        pool_steps(&thread_pools[i], 64);
    CHECK(timer_delete(timer) == 0);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    pool_drain(&thread_pools[i]);
    pool_drain(&handler_pools[i]);
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    pthread_t threads[THREADS];

    CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        pool_init(&thread_pools[i], 1, i, 0);
        pool_init(&handler_pools[i], 2, 100 + i, HANDLER_SIZE_LIMIT);
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    }
    do
        sleep(RUN_SECONDS);
    while (atomic_load(&signals_nr) <= SIGNALS_MIN); /* an emulated machine that is busy takes longer */
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
