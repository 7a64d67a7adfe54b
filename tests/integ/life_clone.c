/* SPDX-License-Identifier: MIT */
/*
 * Children of clone with CLONE_VM and without CLONE_VFORK: they allocate in our memory while we do, on our thread's own
 * thread-local area (`beside') or on one the program made up (`settls'), while threads are busy. The two cannot be told
 * apart by their thread pointer, so nobody may wait for what the other has, and nothing may be handed out twice.
 * `first' does it before anything was allocated, several times over, because a process starts once: both must be served
 * at once. `failed' makes calls that the kernel refuses, which may leave no id stopped.
 *
 * Parent and child share errno where they share the thread pointer, so here nothing looks at it.
 */
#include "check.h"
#include "deny.h"
#include "oracle.h"
#include "thread_pointer.h"
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <quarry/quarry.h>
#pragma weak quarry_stat

enum {
    ROUNDS = 40,
    STEPS = 1500,
    OBJECTS = 128,
    WORKERS = 4,
    SIZE_LIMIT = 60000,
    STACK_BYTES = 256 << 10,
    STARTS = 32,
    PAIRS = 20000,
    REFUSALS_MAX = 1000,
    REFUSED_PAUSE_NS = 1000000,
};

static atomic_int met; /* of parent and child, who has come so far */

static void meet(int nr) {
    atomic_fetch_add(&met, 1);
    while (atomic_load(&met) < nr)
        sched_yield();
}

/* --- what both do --- */

struct actor {
    struct rng rng;
    struct object objects[OBJECTS];
};

static struct actor actors[2];

/* A conflict with the twin over a lock that both seem to hold ends in a refusal, and the twin may have to get a CPU
 * before it is over. */
static void *memory_get(void *old, size_t size) {
    struct timespec pause = {0, REFUSED_PAUSE_NS};
    void *memory = realloc(old, size);
    for (unsigned i = 0; memory == NULL && i < REFUSALS_MAX; i++) {
        nanosleep(&pause, NULL);
        memory = realloc(old, size);
    }
    return memory;
}

/* malloc and realloc alone: an aligned allocation may fail on top of the page lock, which both may seem to hold. */
static void actor_step(struct actor *actor) {
    struct object *o = &actor->objects[rng_below(&actor->rng, OBJECTS)];
    if (o->memory != NULL && rng_below(&actor->rng, 4) != 0) {
        object_retire(o);
        return;
    }
    size_t size = 1 + rng_below(&actor->rng, rng_below(&actor->rng, 8) == 0 ? SIZE_LIMIT : 700);
    if (o->memory != NULL)
        object_check(o);
    unsigned char *memory = memory_get(o->memory, size);
    CHECK_MSG(memory != NULL, "%zu bytes refused", size);
    o->memory = memory;
    o->size = size;
    object_stamp(o, rng_next(&actor->rng));
}

static void actor_run(struct actor *actor, uint64_t seed) {
    actor->rng.state = seed;
    meet(2);
    for (unsigned i = 0; i < STEPS; i++)
        actor_step(actor);
    for (unsigned i = 0; i < OBJECTS; i++)
        object_retire(&actor->objects[i]);
}

static int child_run(void *seed) {
    actor_run(&actors[1], (uintptr_t)seed);
    return 0;
}

static void child_wait(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_MSG(status == 0, "a child ended with wait status %#x", (unsigned)status);
}

static char *stack_top(void) {
    static char *stack;
    if (stack == NULL)
        stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    return stack + STACK_BYTES;
}

static void round_run(uintptr_t seed, int flags, void *tls) {
    atomic_store(&met, 0);
    pid_t child = clone(child_run, stack_top(), CLONE_VM | SIGCHLD | flags, (void *)(2 * seed), NULL, tls, NULL);
    CHECK(child > 0);
    actor_run(&actors[0], 2 * seed + 1);
    child_wait(child);
}

/* --- a thread pointer of the child's own --- */

#if defined(__x86_64__)
/* The static block lies below the thread pointer, libc's record of the thread above it, up to the end of the stack; its
 * first and third word are its own address. */
enum { BELOW_BYTES = 16 << 10, ABOVE_BYTES = 4 << 10 };

static void *tls_copy(void) {
    static _Alignas(4096) char made_up[BELOW_BYTES + ABOVE_BYTES];
    const char *tp = thread_pointer();
    size_t above = ABOVE_BYTES - ((uintptr_t)tp & (ABOVE_BYTES - 1));
    char *at = made_up + BELOW_BYTES;
    memcpy(made_up, tp - BELOW_BYTES, BELOW_BYTES + above);
    memcpy(at, &(uintptr_t){(uintptr_t)at}, sizeof(uintptr_t));
    memcpy(at + 2 * sizeof(uintptr_t), &(uintptr_t){(uintptr_t)at}, sizeof(uintptr_t));
    return at;
}
#else
static void *tls_copy(void) { check_skip("where libc keeps what of a thread is known for x86-64 only"); }
#endif

/* --- the cases --- */

static void *rounds_run(void *flags) {
    for (unsigned i = 0; i < ROUNDS; i++)
        round_run(i, (int)(intptr_t)flags, flags != NULL ? tls_copy() : NULL);
    return NULL;
}

/* In a thread, whose area is at the end of its stack. */
static void beside(int flags) {
    pthread_t thread;
    workers_start(WORKERS, 21, SIZE_LIMIT, POOL_ENOMEM_FATAL);
    CHECK(pthread_create(&thread, NULL, rounds_run, (void *)(intptr_t)flags) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    workers_stop();
}

static void first(const char *self) {
    for (unsigned i = 0; i < STARTS; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            (void)execl(self, self, "start", (char *)NULL);
            _exit(1);
        }
        child_wait(child);
    }
}

static uint64_t without_id(void) {
    uint64_t before = 0, after = 0;
    CHECK(quarry_stat("fallback_ops", &before) == 0);
    for (unsigned i = 0; i < PAIRS; i++)
        free(opaque(malloc(100)));
    CHECK(quarry_stat("fallback_ops", &after) == 0);
    return after - before;
}

static void clone_refused(int flags) {
    errno = 0;
    CHECK(clone(child_run, stack_top(), CLONE_VM | CLONE_THREAD | SIGCHLD | flags, NULL) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(clone(NULL, stack_top(), CLONE_VM | SIGCHLD | flags, NULL) == -1 && errno == EINVAL);
}

/* Its own frame, as in life_vfork.c. */
static __attribute__((noinline)) void vfork_refused(void) {
    errno = 0;
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    CHECK(child == -1 && errno == EAGAIN);
}

/* A thread without a CPU number always does without an id; nor does it come to one here. */
static void failed(void) {
    bool usual = without_id() < PAIRS / 2;
    clone_refused(CLONE_VFORK);
    CHECK_MSG(!usual || without_id() < PAIRS / 2, "a refused clone has left an id stopped");
    CHECK(actors[1].rng.state == 0); /* no child ever ran */
    clone_refused(0);
    round_run(1, 0, NULL);
    CHECK_MSG(without_id() > PAIRS, "per-CPU magazines are in use beside a child that may be in them");
}

static void denied(void) {
    bool usual = without_id() < PAIRS / 2;
#if defined(__x86_64__)
    deny_syscall(SYS_vfork, EAGAIN);
#else
    deny_syscall(SYS_clone, EAGAIN);
#endif
    vfork_refused();
    vfork_refused();
    CHECK_MSG(!usual || without_id() < PAIRS / 2, "a refused vfork has left an id stopped");
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (strcmp(argv[1], "start") == 0)
        round_run(1, 0, NULL);
    else if (strcmp(argv[1], "first") == 0)
        first(argv[0]);
    else if (strcmp(argv[1], "beside") == 0)
        beside(0);
    else if (strcmp(argv[1], "settls") == 0)
        beside(CLONE_SETTLS);
    else if (strcmp(argv[1], "failed") == 0)
        failed();
    else if (strcmp(argv[1], "denied") == 0)
        denied();
    else
        check_fail(__FILE__, __LINE__, "no case %s", argv[1]);
    return 0;
}
