/* SPDX-License-Identifier: MIT */
/*
 * QUARRY_LIMIT_HARD under pages and areas: threads take and touch them until they get NULL, twice, freeing all between.
 * Anonymous memory stays within the limit and what program and stacks have, most of the limit is served, and
 * there is service again after the frees. Set the limit of 64 MiB in the driver.
 */
#include "check.h"
#include "proc.h"

#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_NR = 4, ROUNDS_NR = 2, HELD_NR = 4000, REFUSALS_NR = 20 };
#define LIMIT_BYTES ((size_t)64 << 20)
/* Stacks, program and libc, which quarry does not limit. */
#define OTHERS_BYTES ((size_t)3 << 20)

static atomic_size_t served_bytes;
static pthread_barrier_t full;

struct held {
    char *p;
    unsigned order;
};

static char *take(unsigned order, bool area) {
    return area ? vmalloc(PAGE_SIZE << order) : (char *)__get_free_pages(GFP_KERNEL | __GFP_NOWARN, order);
}

static void give(const struct held *h) {
    if (is_vmalloc_addr(h->p))
        vfree(h->p);
    else
        free_pages((unsigned long)h->p, h->order);
}

static void *thread_run(void *arg) {
    static struct held all[THREADS_NR][HELD_NR];
    struct held *held = all[(uintptr_t)arg];
    unsigned seed = (unsigned)(uintptr_t)arg + 1;
    for (int round = 0; round < ROUNDS_NR; round++) {
        size_t nr = 0, bytes = 0;
        for (int refusals = 0; refusals < REFUSALS_NR && nr < HELD_NR;) {
            unsigned order = (unsigned)rand_r(&seed) % 8;
            char *p = take(order, rand_r(&seed) % 8 == 0);
            refusals += p == NULL;
            if (p == NULL)
                continue;
            held[nr++] = (struct held){p, order};
            memset(p, 1, PAGE_SIZE << order);
            bytes += PAGE_SIZE << order;
            size_t anonymous = nr % 16 == 0 ? proc_anonymous_bytes() : 0;
            CHECK_MSG(anonymous <= LIMIT_BYTES + OTHERS_BYTES, "%zu bytes of anonymous memory", anonymous);
        }
        atomic_fetch_add(&served_bytes, bytes);
        pthread_barrier_wait(&full);
        size_t served = atomic_load(&served_bytes);
        CHECK_MSG(served > LIMIT_BYTES / 4 * 3 && served < LIMIT_BYTES, "round %d served %zu bytes", round, served);
        while (nr > 0)
            give(&held[--nr]);
        if (pthread_barrier_wait(&full) == PTHREAD_BARRIER_SERIAL_THREAD)
            atomic_store(&served_bytes, 0);
        pthread_barrier_wait(&full);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS_NR];
    pthread_barrier_init(&full, NULL, THREADS_NR);
    for (uintptr_t i = 0; i < THREADS_NR; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    for (int i = 0; i < THREADS_NR; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
