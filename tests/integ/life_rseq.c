/* SPDX-License-Identifier: MIT */
/*
 * Threads that lose their rseq registration while they run: the kernel then leaves mm_cid and cpu_id at values that
 * look like CPU 0's, or at -1, for good, and such a thread must not use the per-CPU path. Half of the threads
 * unregister, before their first allocation or in the middle; the oracle watches all.
 */
#include "check.h"
#include "oracle.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __aarch64__
#define RSEQ_SIGNATURE 0xd428bc00u
#else
#define RSEQ_SIGNATURE 0x53053053u
#endif

enum { THREADS = 8, STEPS = 150000, SIZE_LIMIT = 300, RSEQ_UNREGISTER = 1 };

static struct pool pools[THREADS];
static const ptrdiff_t *rseq_offset;
static const unsigned *rseq_size;

/* The length must be the registered one: 32 bytes, or more where libc knows of more features. */
static void rseq_unregister(void) {
    char *area = (char *)__builtin_thread_pointer() + *rseq_offset;

    for (unsigned bytes = 32; bytes <= 256; bytes += 32) {
        if (syscall(SYS_rseq, area, bytes, RSEQ_UNREGISTER, RSEQ_SIGNATURE) == 0)
            return;
    }
    check_fail(__FILE__, __LINE__, "unregistering failed with errno %d", errno);
}

/* glibc unregisters nothing at thread exit: the kernel forgets the thread with its registration. */
static void *thread_run(void *index) {
    size_t i = (size_t)index;

    if (i % 4 == 0)
        rseq_unregister();
    pool_steps(&pools[i], STEPS);
    if (i % 4 == 1)
        rseq_unregister();
    pool_steps(&pools[i], STEPS);
    pool_drain(&pools[i]);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];

    rseq_offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
    rseq_size = dlsym(RTLD_DEFAULT, "__rseq_size");
    if (!rseq_offset || !rseq_size || *rseq_size == 0)
        check_skip("this libc registers no rseq area");
    for (size_t i = 0; i < THREADS; i++) {
        pool_init(&pools[i], 9, i, SIZE_LIMIT);
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
