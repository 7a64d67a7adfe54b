/* SPDX-License-Identifier: MIT */
/*
 * Barriers against each other: each thread gives objects of a cache of its own to kfree_rcu and destroys the cache,
 * which waits for them by a barrier. None may be out then, although batches are shared by all threads of a CPU, and
 * whoever fills one has it in hand when others ask: what is out is reported on stderr, where the test wants nothing.
 * Handlers on top of it all do the same without barriers. For some seconds, and 20 rounds at least: what a machine does
 * in that time depends on what else it does.
 */
#include "check.h"
#include "oracle.h"

#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS_MIN = 20, SECONDS = 2, SOAK_SECONDS = 120, OBJECTS_MAX = 20000 };
enum { ALARM_US = 100, ALARM_OBJECTS = 5 };

struct waiter {
    uint64_t stamp;
    struct rcu_head rcu;
    char more[96];
};

static struct kmem_cache *alarm_cache;
static const char *const names[THREADS] = {"pusher-0", "pusher-1", "pusher-2", "pusher-3"};
static time_t end_s;
static atomic_ulong freed_nr;

static void on_alarm(int signal_nr) {
    (void)signal_nr;
    for (int i = 0; i < ALARM_OBJECTS; i++) {
        struct waiter *o = kmem_cache_alloc(alarm_cache, GFP_ATOMIC);
        if (o != NULL)
            kfree_rcu(o, rcu);
    }
}

static void *pusher(void *index) {
    struct rng rng = {(size_t)index + 1};
    for (size_t round = 0; round < ROUNDS_MIN || time(NULL) < end_s; round++) {
        struct kmem_cache *cache =
            kmem_cache_create(names[(size_t)index], sizeof(struct waiter), 0, SLAB_NO_MERGE, NULL);
        size_t nr = 1 + rng_below(&rng, OBJECTS_MAX);
        CHECK(cache != NULL);
        for (size_t i = 0; i < nr; i++) {
            struct waiter *o = kmem_cache_alloc(cache, GFP_KERNEL);
            CHECK(o != NULL);
            o->stamp = i;
            kfree_rcu(o, rcu);
        }
        kmem_cache_destroy(cache);
        atomic_fetch_add(&freed_nr, nr);
    }
    return NULL;
}

int main(void) {
    struct itimerval every = {{0, ALARM_US}, {0, ALARM_US}}, never = {{0, 0}, {0, 0}};
    pthread_t threads[THREADS];
    end_s = time(NULL) + (getenv("SOAK") != NULL ? SOAK_SECONDS : SECONDS);
    CHECK((alarm_cache = kmem_cache_create("alarms", sizeof(struct waiter), 0, SLAB_NO_MERGE, NULL)) != NULL);
    struct waiter *first = kmem_cache_alloc(alarm_cache, GFP_KERNEL);
    CHECK(first != NULL);
    kfree_rcu(first, rcu); /* a handler on top of the very first use would find nothing ready */
    CHECK(signal(SIGALRM, on_alarm) != SIG_ERR && setitimer(ITIMER_REAL, &every, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, pusher, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    kmem_cache_destroy(alarm_cache);
    printf("%lu objects\n", atomic_load(&freed_nr));
    return 0;
}
