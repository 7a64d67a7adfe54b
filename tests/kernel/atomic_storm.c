/* SPDX-License-Identifier: MIT */
/*
 * SIGALRM 20,000 times a second, whose handler is a driver's receive path: it takes a packet by kmalloc(GFP_ATOMIC) and
 * gives an earlier one back by kfree, on top of whatever the interrupted thread is doing. The threads do everything
 * that allocates: malloc of all sizes, realloc, kmalloc, trimming. No deadlock, nothing handed out twice, nothing lost:
 * at the end as many bytes are out as at the beginning.
 */
#include "atomic.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    THREADS = 6,
    WARM_MS = 100,
    RUN_MS = 2500,
    SOAK_MS = 60000,
    ALARM_US = 50,
    ALARMS_MIN = 5000,
    SOAK_ALARMS_MIN = 200000,
    REFUSED_MAX_PCT = 10, /* the threads refill the reserve as often as they run */
    PACKETS_PER_ALARM = 3
};

static struct pool pools[THREADS];
static struct box boxes[THREADS], packets[THREADS];
static _Thread_local struct box *mine;
static atomic_ulong alarms_nr;
static atomic_int stopping;

static void on_alarm(int signal_nr) {
    int saved = errno;
    (void)signal_nr;
    atomic_fetch_add_explicit(&alarms_nr, 1, memory_order_relaxed);
    for (int i = 0; mine != NULL && i < PACKETS_PER_ALARM; i++)
        box_step(mine, GFP_ATOMIC);
    CHECK(errno == saved);
}

static void alarm_block(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static void *thread_run(void *index) {
    size_t i = (size_t)index;
    mine = &packets[i];
    alarm_block(SIG_UNBLOCK);
    for (unsigned long round = 1; !atomic_load_explicit(&stopping, memory_order_relaxed); round++) {
        pool_steps(&pools[i], 32);
        for (int step = 0; step < 32; step++)
            box_step(&boxes[i], step % 4 ? GFP_KERNEL : GFP_NOIO | __GFP_ZERO);
        if (round % 512 == 0)
            malloc_trim(0);
    }
    alarm_block(SIG_BLOCK);
    mine = NULL;
    pool_drain(&pools[i]);
    box_empty(&boxes[i]);
    box_empty(&packets[i]);
    return NULL;
}

/* For so long, and until so many alarms came: where others work they come seldom. */
static uint64_t storm(unsigned ms, unsigned long alarms_min) {
    struct itimerval every = {{0, ALARM_US}, {0, ALARM_US}}, never = {{0, 0}, {0, 0}};
    pthread_t threads[THREADS];
    uint64_t out = 0;
    atomic_store(&stopping, 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    do
        usleep(ms * 1000);
    while (atomic_load(&alarms_nr) < alarms_min);
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    quarry_trim(0);
    CHECK(quarry_stat("live_bytes", &out) == 0);
    return out;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    unsigned long served = 0, refused = 0, kernel_refused = 0;
    alarm_block(SIG_BLOCK); /* threads begin so, and main stays so */
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        pool_init(&pools[i], 5, i, 0);
        boxes[i] = (struct box){.rng = {i + 1}, .large = 100000};
        packets[i] = (struct box){.rng = {i + 100}, .large = 9000};
    }
    uint64_t before = storm(WARM_MS, 0);
    bool soak = getenv("SOAK") != NULL;
    unsigned long alarms_min = soak ? SOAK_ALARMS_MIN : ALARMS_MIN;
    uint64_t after = storm(soak ? SOAK_MS : RUN_MS, alarms_min);
    for (size_t i = 0; i < THREADS; i++) {
        served += packets[i].served;
        refused += packets[i].refused;
        kernel_refused += boxes[i].refused;
    }
    CHECK_MSG(after == before, "%lu bytes were out before, %lu after", (unsigned long)before, (unsigned long)after);
    CHECK_MSG(kernel_refused == 0, "GFP_KERNEL was refused %lu times", kernel_refused);
    CHECK_MSG(served + refused >= alarms_min * PACKETS_PER_ALARM, "only %lu packets came", served + refused);
    CHECK_MSG(refused * 100 <= (served + refused) * REFUSED_MAX_PCT, "%lu packets served, %lu refused", served,
              refused);
    printf("%lu signals, %lu packets served, %lu refused\n", atomic_load(&alarms_nr), served, refused);
    return 0;
}
