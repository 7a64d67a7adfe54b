/* SPDX-License-Identifier: MIT */
/*
 * QUARRY_LIMIT_HARD under 16 threads: each allocates random sizes and touches all of it until it gets NULL with ENOMEM,
 * twice, freeing all between. What the kernel says is anonymous memory stays within 1 % of the limit at all times, most
 * of the limit is served, and there is service again after the frees. Set the limit in the driver.
 */
#include "check.h"
#include "proc.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_NR = 16, ROUNDS_NR = 2, SIZE_MAX_SHIFT = 20 };

struct link {
    struct link *next;
};

static atomic_size_t served_bytes;
static atomic_int done_nr;
static pthread_barrier_t full;

static size_t random_size(unsigned *seed) {
    size_t size = (size_t)1 << (6 + (unsigned)rand_r(seed) % (SIZE_MAX_SHIFT - 5));
    return size + (unsigned)rand_r(seed) % size;
}

static void round_run(unsigned *seed) {
    struct link *head = NULL, *link;
    size_t size;

    errno = 0;
    while ((link = malloc(size = random_size(seed))) != NULL) {
        memset(link, 0x5a, size);
        link->next = head;
        head = link;
        atomic_fetch_add(&served_bytes, size);
        errno = 0;
    }
    CHECK_MSG(errno == ENOMEM, "NULL with errno %d", errno);
    pthread_barrier_wait(&full);
    while (head != NULL) {
        link = head->next;
        free(head);
        head = link;
    }
    pthread_barrier_wait(&full);
}

static void *thread_main(void *arg) {
    unsigned seed = (unsigned)(size_t)arg;

    for (int i = 0; i < ROUNDS_NR; i++)
        round_run(&seed);
    atomic_fetch_add(&done_nr, 1);
    return NULL;
}

/* The kernel adds up mappings one after the other, and what was freed in one and taken in another meanwhile is there
 * twice; its own count of pages may lag. What is really there is in both. */
static size_t over(size_t now, size_t start) { return now > start ? now - start : 0; }

int main(void) {
    size_t limit = (size_t)strtoull(getenv("QUARRY_LIMIT_HARD"), NULL, 10) << 20, most = 0;
    pthread_t threads[THREADS_NR];
    size_t start, start_resident;
    static char reserve[64 << 10];

    setvbuf(stdout, reserve, _IOFBF, sizeof reserve);
    pthread_barrier_init(&full, NULL, THREADS_NR);
    start = proc_anonymous_bytes();
    start_resident = proc_resident_bytes();
    for (size_t i = 0; i < THREADS_NR; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_main, (void *)(i + 1)) == 0);
    while (atomic_load(&done_nr) < THREADS_NR) {
        size_t now = over(proc_anonymous_bytes(), start), resident = over(proc_resident_bytes(), start_resident);
        now = resident < now ? resident : now;
        most = now > most ? now : most;
    }
    for (size_t i = 0; i < THREADS_NR; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_MSG(most <= limit + limit / 100, "%zu KiB of a limit of %zu KiB", most >> 10, limit >> 10);
    CHECK_MSG(served_bytes >= limit * ROUNDS_NR * 3 / 4, "only %zu KiB served in all", served_bytes >> 10);
    printf("service up to the limit\n");
    return 0;
}
