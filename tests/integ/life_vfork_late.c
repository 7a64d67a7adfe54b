/* SPDX-License-Identifier: MIT */
/*
 * Children of vfork where the allocator knows least: on an id that no thread allocated on before (fresh), and children
 * that fork, so that a process begins whose thread-local area shows an id of which the kernel does not know: before the
 * first allocation (first) and after it (forked). Threads of the id's real owner allocate at the same time; each object
 * is stamped and must be as it was left. Without the parts of mag/ that look at this, objects are handed out twice.
 */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    OBJECTS = 16,
    ROUNDS = 200,
    BYTES = 100,
    RUN_MS = 1000,
    THREADS = 3,
    DOUBLED = 42,
    CPU_FIRST = 0,
    CPU_FRESH = 1
};

static atomic_int going;

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* False: an object was not as it was left. */
static int round_run(uint64_t id, uint64_t tick) {
    uint64_t *objects[OBJECTS];
    for (unsigned i = 0; i < OBJECTS; i++) {
        objects[i] = malloc(opaque_size(BYTES));
        objects[i][0] = id;
        objects[i][BYTES / sizeof(uint64_t) - 1] = tick + i;
    }
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (objects[i][0] != id || objects[i][BYTES / sizeof(uint64_t) - 1] != tick + i)
            return 0;
        free(objects[i]);
    }
    return 1;
}

static int work(uint64_t id) {
    uint64_t tick = 0;
    for (long end = now_ms() + RUN_MS; now_ms() < end;) {
        for (unsigned i = 0; i < ROUNDS; i++, tick += OBJECTS) {
            if (!round_run(id, tick))
                return DOUBLED;
        }
    }
    return 0;
}

static void *thread_main(void *id) {
    while (!atomic_load(&going))
        sched_yield();
    return (void *)(intptr_t)work((uintptr_t)id);
}

static int join(pthread_t thread) {
    void *status;
    CHECK(pthread_join(thread, &status) == 0);
    return (int)(intptr_t)status;
}

static int status_of(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

/* --- fresh --- */

static void *fresh_thread(void *id) {
    CHECK(pin(CPU_FRESH));
    return thread_main(id);
}

static __attribute__((noinline)) void fresh_child(void) {
    free(malloc(opaque_size(BYTES)));
    atomic_store(&going, 1);
    _exit(work(1));
}

static void fresh(void) {
    pthread_t thread;
    if (!pin(CPU_FIRST) || !pin(CPU_FRESH) || !pin(CPU_FIRST))
        check_skip("two CPUs are needed");
    free(malloc(opaque_size(BYTES)));
    CHECK(pthread_create(&thread, NULL, fresh_thread, (void *)2) == 0);
    CHECK(pin(CPU_FRESH));
    pid_t child = vfork();
    if (child == 0)
        fresh_child();
    CHECK(child > 0);
    CHECK(status_of(child) == 0);
    CHECK(join(thread) == 0);
}

/* --- first, forked --- */

static void all_work(void) {
    pthread_t threads[THREADS];
    int wrong = 0;
    atomic_store(&going, 1);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_main, (void *)(i + 2)) == 0);
    wrong += work(1) != 0;
    for (unsigned i = 0; i < THREADS; i++)
        wrong += join(threads[i]) != 0;
    _exit(wrong);
}

static __attribute__((noinline)) void forking_child(void) {
    pid_t child = fork();
    if (child == 0)
        all_work();
    _exit(status_of(child));
}

static void forked(void) {
    pid_t child = vfork();
    if (child == 0)
        forking_child();
    CHECK(child > 0);
    CHECK(status_of(child) == 0);
}

int main(int argc, char **argv) {
    CHECK_MSG(argc == 2, "usage: life_vfork_late fresh|first|forked");
    if (strcmp(argv[1], "fresh") == 0) {
        fresh();
    } else {
        if (strcmp(argv[1], "forked") == 0)
            free(malloc(opaque_size(BYTES)));
        forked();
    }
    return 0;
}
