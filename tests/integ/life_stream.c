/* SPDX-License-Identifier: MIT */
/*
 * A stream's callback that allocates, under the lock of libc's list of streams (fflush(NULL)), while another thread's
 * fork waits for that lock and holds whatever the allocator has it hold. Both must end; parent and child go on in all
 * tiers.
 */
#include "check.h"
#include "oracle.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 60, SETTLE_MS = 300, STEPS = 300, SIZE_LIMIT = 300000, SMALL_NR = 300, SMALL_BYTES = 512 };

static _Atomic(int) inside, forking;
static struct pool pools[2];

/* More than magazines hold and slabs have free: a run is needed. */
static void callback_allocates(void) {
    static const size_t sizes[] = {700000, 90000, 5 << 20};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    unsigned char *held[SIZES];
    for (size_t i = 0; i < SIZES; i++) {
        held[i] = malloc(sizes[i]);
        CHECK(held[i] != NULL);
        held[i][0] = held[i][sizes[i] - 1] = (unsigned char)(i + 1);
    }
    for (size_t i = 0; i < SIZES; i++) {
        CHECK(held[i][0] == i + 1 && held[i][sizes[i] - 1] == i + 1);
        free(held[i]);
    }
    static void *small[SMALL_NR];
    for (size_t i = 0; i < SMALL_NR; i++)
        CHECK((small[i] = malloc(SMALL_BYTES)) != NULL);
    for (size_t i = 0; i < SMALL_NR; i++)
        free(small[i]);
    void *aligned = aligned_alloc(8192, 40000);
    CHECK(aligned != NULL);
    free(aligned);
}

static ssize_t stream_write(void *cookie, const char *text, size_t bytes) {
    (void)cookie, (void)text;
    if (atomic_exchange(&inside, 1) != 0)
        return (ssize_t)bytes; /* the child's, at its exit */
    while (atomic_load(&forking) == 0)
        usleep(1000);
    usleep(SETTLE_MS * 1000); /* from the handler to the lock of the list */
    callback_allocates();
    return (ssize_t)bytes;
}

static void fork_prepares(void) { atomic_store(&forking, 1); }

static void *flusher_run(void *unused) {
    CHECK(fflush(NULL) == 0);
    return unused;
}

int main(void) {
    pthread_t flusher;
    cookie_io_functions_t calls = {.write = stream_write};
    int status = -1;
    alarm(limit_seconds(LIMIT_SECONDS));
    for (size_t i = 0; i < 2; i++)
        pool_init(&pools[i], 3, i, SIZE_LIMIT);
    pool_steps(&pools[0], STEPS);
    FILE *stream = fopencookie(NULL, "w", calls);
    CHECK(stream != NULL && fputs("text", stream) >= 0 && pthread_atfork(fork_prepares, NULL, NULL) == 0);
    CHECK(pthread_create(&flusher, NULL, flusher_run, NULL) == 0);
    while (atomic_load(&inside) == 0)
        usleep(1000);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(limit_seconds(LIMIT_SECONDS));
        pool_steps(&pools[0], STEPS);
        pool_drain(&pools[0]);
        _exit(0);
    }
    pool_steps(&pools[1], STEPS);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(pthread_join(flusher, NULL) == 0 && fclose(stream) == 0);
    pool_drain(&pools[0]);
    pool_drain(&pools[1]);
    return 0;
}
