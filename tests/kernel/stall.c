/* SPDX-License-Identifier: MIT */
/*
 * __GFP_NOFAIL at a hard limit of 64 MiB, for longer than it is patient in silence: each round reclaims, calls what is
 * registered and asks the shrinkers, and waits; the warning, of which there is one, is the driver's to read. With an
 * argument nobody is to be warned.
 */
#include "fill.h"
#include "kernel.h"

#include <linux/shrinker.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* Rounds that a shrinker's promises are believed without a pause, twice; then each sleeps 32 ms. */
enum { WAIT_MS = 6500, FEW_ROUNDS = 50, SLEEP_MS = 32, LARGE = 300000, WAITERS = 2 };

static atomic_ulong called, counts, scans;

static void reclaim(void *unused) {
    (void)unused;
    atomic_fetch_add(&called, 1);
}

/* Says that it freed something, each time, and did not. */
static unsigned long promise_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    atomic_fetch_add(&counts, 1);
    return 1;
}
static unsigned long promise_scan(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    atomic_fetch_add(&scans, 1);
    return 1;
}

static unsigned long now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

static gfp_t quiet;
static atomic_bool full;

static void *waiter(void *unused) {
    (void)unused;
    while (!atomic_load(&full))
        usleep(1000);
    void *p = kmalloc(opaque_size(LARGE), GFP_KERNEL | __GFP_NOFAIL | quiet);
    CHECK(p != NULL);
    kfree(p);
    return NULL;
}

int main(int argc, char **argv) {
    static struct shrinker promises = {
        .count_objects = promise_count, .scan_objects = promise_scan, .seeks = DEFAULT_SEEKS};
    pthread_t threads[WAITERS];
    (void)argv;
    quiet = argc > 1 ? __GFP_NOWARN : 0;
    CHECK(quarry_reclaim_register(reclaim, NULL) == 0 && register_shrinker(&promises, "promises") == 0);
    for (int i = 0; i < WAITERS; i++)
        CHECK(pthread_create(&threads[i], NULL, waiter, NULL) == 0);
    (void)take_all(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
    atomic_store(&called, 0);
    atomic_store(&scans, 0);
    unsigned long start_ms = now_ms();
    atomic_store(&full, true);
    usleep(WAIT_MS * 1000);
    unsigned long all_scans = atomic_load(&scans), all_calls = atomic_load(&called), waited_ms = now_ms() - start_ms;
    give_all();
    for (int i = 0; i < WAITERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    /* On a machine however busy each waiter comes to some rounds in that time, and to no more than it sleeps between.
     */
    CHECK_MSG(all_scans > FEW_ROUNDS / 2 && all_calls > FEW_ROUNDS / 2, "%lu scans, %lu callbacks", all_scans,
              all_calls);
    unsigned long rounds_most = WAITERS * (FEW_ROUNDS + waited_ms / SLEEP_MS);
    CHECK_MSG(all_scans <= 2 * rounds_most, "%lu scans in %lu ms: it spins", all_scans, waited_ms);
    return 0;
}
