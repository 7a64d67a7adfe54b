/* SPDX-License-Identifier: MIT */
/*
 * The heap in hugepages of a real pool, which hugetlb.py makes; options hugetlb=on and thp_after=2M.
 *
 *   hugetlb full           a pool larger than the heap: nearly all of it is there, and all of that goes back
 *   hugetlb short          a smaller one: it is used up, and the rest is ordinary memory
 *   hugetlb none           an empty one
 *   hugetlb fork           children when the pool is used up: both sides write to all that they share
 *   hugetlb fork_threads   children while other threads write
 *   hugetlb handler        children of a signal handler on top of allocations; the pool has room for both sides
 */
#include "check.h"
#include "oracle.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <quarry/quarry.h>
#pragma weak quarry_stat

enum { OBJECTS_NR = 48000, OBJECT_BYTES = 1000, FORKS_NR = 12, THREADS_NR = 3, WRITER_OBJECTS = 4000, TRIALS_NR = 40 };
#define MIB ((size_t)1 << 20)
#define HPAGE_BYTES (2 * MIB)
#define REGION_BYTES (16 * MIB)
#define SHORT_BYTES (9 * HPAGE_BYTES)

static struct object objects[OBJECTS_NR], region;

/* Kibibytes of a line of smaps_rollup, in bytes. */
static size_t rollup_bytes(const char *key) {
    char line[256], format[64];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    CHECK(file != NULL);
    snprintf(format, sizeof(format), "%s: %%zu", key);
    while (fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, format, &kib);
    (void)fclose(file);
    return kib << 10;
}

static size_t pool_bytes(void) { return rollup_bytes("Private_Hugetlb"); }

static size_t stat_bytes(const char *name) {
    uint64_t value = 0;
    CHECK(quarry_stat(name, &value) == 0);
    return (size_t)value;
}

static void object_get(struct object *o, size_t size, uint64_t stamp) {
    o->memory = malloc(size);
    o->size = size;
    CHECK(o->memory != NULL);
    memset(o->memory, (int)stamp, size);
    object_stamp(o, stamp);
}

static void heap_fill(void) {
    for (unsigned i = 0; i < OBJECTS_NR; i++)
        object_get(&objects[i], OBJECT_BYTES, i + 1);
    object_get(&region, REGION_BYTES, 7);
}

static void heap_check(void) {
    for (unsigned i = 0; i < OBJECTS_NR; i++)
        object_check(&objects[i]);
    object_check(&region);
}

static void heap_drop(void) {
    for (unsigned i = 0; i < OBJECTS_NR; i++)
        object_retire(&objects[i]);
    object_retire(&region);
}

static void stamps_renew(uint64_t add) {
    for (unsigned i = 0; i < OBJECTS_NR; i++) {
        memset(objects[i].memory, (int)add, objects[i].size);
        object_stamp(&objects[i], i + add);
    }
    object_stamp(&region, add);
}

static void run_full(void) {
    heap_fill();
    size_t live = (size_t)OBJECTS_NR * OBJECT_BYTES + REGION_BYTES, pool = pool_bytes();
    printf("%zu MiB live, %zu MiB in the pool, %zu MiB by our account\n", live / MIB, pool / MIB,
           stat_bytes("hugetlb_bytes") / MIB);
    CHECK(pool + 3 * HPAGE_BYTES >= live);
    CHECK(pool == stat_bytes("hugetlb_bytes"));
    /* What became free in parts stays, and is used again. */
    for (unsigned i = 0; i < OBJECTS_NR; i += 2)
        object_retire(&objects[i]);
    CHECK(malloc_trim(0) >= 0);
    CHECK(pool_bytes() + 2 * HPAGE_BYTES >= pool);
    for (unsigned i = 0; i < OBJECTS_NR; i += 2)
        object_get(&objects[i], OBJECT_BYTES, i + 2);
    heap_check();
    CHECK(pool_bytes() <= pool + 2 * HPAGE_BYTES);
    /* A region that grows leaves the pool, with what it holds. */
    region.memory = realloc(region.memory, 2 * REGION_BYTES);
    CHECK(region.memory != NULL && pool_bytes() + REGION_BYTES <= pool + 2 * HPAGE_BYTES);
    free(region.memory);
    object_get(&region, REGION_BYTES, 9);
    heap_drop();
    CHECK(malloc_trim(0) == 1);
    printf("%zu MiB in the pool when all is free\n", pool_bytes() / MIB);
    CHECK(pool_bytes() <= HPAGE_BYTES);
    CHECK(pool_bytes() == stat_bytes("hugetlb_bytes"));
}

static void run_short(void) {
    heap_fill();
    printf("%zu MiB in the pool\n", pool_bytes() / MIB);
    CHECK(pool_bytes() == SHORT_BYTES);
    heap_check();
    heap_drop();
    (void)malloc_trim(0);
    CHECK(pool_bytes() <= HPAGE_BYTES);
}

static void run_none(void) {
    heap_fill();
    CHECK(pool_bytes() == 0 && stat_bytes("hugetlb_bytes") == 0);
    heap_check();
    heap_drop();
}

/* Everything is looked at, written, dropped, and allocated again, as a child that goes on would. */
static void child_run(unsigned round) {
    heap_check();
    CHECK(stat_bytes("hugetlb_bytes") == 0);
    stamps_renew(round + 100);
    heap_check();
    heap_drop();
    (void)malloc_trim(0);
    heap_fill();
    heap_check();
    _exit(0);
}

static void children_wait(unsigned nr) {
    for (unsigned i = 0; i < nr; i++) {
        int status = 0;
        CHECK(wait(&status) > 0);
        CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with status %#x", (unsigned)status);
    }
}

/* The parent writes to all it shares at once, which takes pages from a child that still needs them. */
static void run_fork(void) {
    heap_fill();
    CHECK(pool_bytes() == SHORT_BYTES);
    for (unsigned round = 0; round < FORKS_NR; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            child_run(round);
        stamps_renew(round);
        heap_check();
        children_wait(1);
    }
    CHECK(pool_bytes() == SHORT_BYTES);
    printf("%u children\n", (unsigned)FORKS_NR);
    heap_drop();
}

static atomic_bool stop;

static void *writer(void *arg) {
    static struct object all[THREADS_NR][WRITER_OBJECTS];
    struct object *mine = all[(uintptr_t)arg];
    uint64_t stamp = 0;
    for (unsigned i = 0; i < WRITER_OBJECTS; i++)
        object_get(&mine[i], OBJECT_BYTES, ++stamp);
    while (!atomic_load(&stop)) {
        struct object *o = &mine[++stamp % WRITER_OBJECTS];
        object_retire(o);
        object_get(o, OBJECT_BYTES, stamp);
    }
    for (unsigned i = 0; i < WRITER_OBJECTS; i++)
        object_retire(&mine[i]);
    return NULL;
}

/* The pool has pages for what is written meanwhile. */
static void run_fork_threads(void) {
    pthread_t threads[THREADS_NR];
    heap_fill();
    for (uintptr_t i = 0; i < THREADS_NR; i++)
        CHECK(pthread_create(&threads[i], NULL, writer, (void *)i) == 0); // NOLINT(performance-no-int-to-ptr)
    for (unsigned round = 0; round < FORKS_NR; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            child_run(round);
        children_wait(1);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS_NR; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    heap_check();
    heap_drop();
}

static struct {
    volatile sig_atomic_t done, in_child;
    volatile int status;
} handled;

static void handler_fork(int signal_nr) {
    (void)signal_nr;
    if (handled.done)
        return;
    handled.done = 1;
    pid_t child = fork();
    int status = -1;
    if (child == 0) {
        handled.in_child = 1;
        return;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    handled.status = status;
}

/* Filled and emptied until the signal comes; the child goes on in the middle of it, and fills all once more. */
static void handler_trial(suseconds_t after_us) {
    struct itimerval timer = {{0, 0}, {0, after_us}};
    CHECK(signal(SIGALRM, handler_fork) != SIG_ERR && setitimer(ITIMER_REAL, &timer, NULL) == 0);
    while (!handled.done) {
        heap_fill();
        heap_check();
        heap_drop();
        (void)malloc_trim(0);
    }
    if (handled.in_child) {
        heap_fill();
        heap_check();
        heap_drop();
    }
    _exit(handled.status == 0 ? 0 : 1);
}

/* Each in a process that has not forked yet. */
static void run_handler(void) {
    for (unsigned i = 0; i < TRIALS_NR; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            handler_trial(300 + 1511 * (suseconds_t)i);
        children_wait(1);
    }
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"full", run_full},
                 {"short", run_short},
                 {"none", run_none},
                 {"fork", run_fork},
                 {"fork_threads", run_fork_threads},
                 {"handler", run_handler}};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (argc == 2 && strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    }
    check_fail(__FILE__, __LINE__, "usage: hugetlb full|short|none|fork|fork_threads|handler");
}
