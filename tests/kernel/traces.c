/* SPDX-License-Identifier: MIT */
/* A process with caches that keep users' stacks, for traces.py: says what it made, and waits for its stdin to end. */
#include "cases.h"
#include "kernel.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { FIRST_NR = 7, SECOND_NR = 3, AGAIN_NR = 5, ASKED = 40, ASKED_NR = 4 };

static struct kmem_cache *traced;
static void *objs[FIRST_NR + SECOND_NR];

static __attribute__((noinline)) void first_take(void) {
    for (int i = 0; i < FIRST_NR; i++)
        CHECK((objs[i] = kmem_cache_alloc(traced, GFP_KERNEL)) != NULL);
}

static __attribute__((noinline)) void *second_take(void *nothing) {
    for (int i = FIRST_NR; i < FIRST_NR + SECOND_NR; i++)
        CHECK((objs[i] = kmem_cache_alloc(traced, GFP_KERNEL)) != NULL);
    return nothing;
}

/* So that all the objects that are out then were freed here before. */
static __attribute__((noinline)) void all_give(void) {
    for (int i = 0; i < AGAIN_NR; i++)
        kmem_cache_free(traced, objs[i]);
}

static __attribute__((noinline)) void again_take(void) {
    for (int i = 0; i < AGAIN_NR; i++)
        CHECK((objs[i] = kmem_cache_alloc(traced, GFP_KERNEL)) != NULL);
}

static __attribute__((noinline)) void asked_take(void) {
    for (int i = 0; i < ASKED_NR; i++)
        CHECK(kmalloc(ASKED, GFP_KERNEL) != NULL);
}

int main(void) {
    pthread_t thread;
    char byte;
    traced = kmem_cache_create("traced", 100, 0, SLAB_STORE_USER | SLAB_NO_MERGE, NULL);
    struct kmem_cache *none = kmem_cache_create("none", 100, 0, SLAB_STORE_USER | SLAB_NO_MERGE, NULL);
    struct kmem_cache *plain = kmem_cache_create("plain", 100, 0, SLAB_NO_MERGE, NULL);
    CHECK(traced && none && plain && kmem_cache_alloc(plain, GFP_KERNEL) != NULL);
    first_take();
    CHECK(pthread_create(&thread, NULL, second_take, NULL) == 0 && pthread_join(thread, NULL) == 0);
    all_give();
    again_take();
    asked_take();
    printf("ready %d %zu\n", (int)getpid(), ksize(kmalloc(ASKED, GFP_KERNEL)));
    CHECK(fflush(stdout) == 0);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}
