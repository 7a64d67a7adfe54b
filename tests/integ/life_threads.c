/* SPDX-License-Identifier: MIT */
/*
 * Thread start and thread exit: destructors of pthread keys and of thread-local objects that allocate, free what the
 * thread allocated and set their key again so that they run again; threads that end by return, by pthread_exit and
 * by cancellation; memory of ended threads freed by others; the smallest stacks.
 */
#include "check.h"
#include "oracle.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAVES = 25, THREADS = 8, KEYS = 4, LEGACY_BYTES = 777 };

/* glibc's registration for C++ thread_local destructors; they run before those of keys. */
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso_handle);
extern void *__dso_handle;

static pthread_key_t keys[KEYS];
static unsigned char *legacies[THREADS];
static struct pool pools[THREADS];

struct key_value {
    size_t key_nr, rounds_left;
    unsigned char payload[200];
};

static void key_destructor(void *value) {
    struct key_value *old = value, *next;

    for (size_t at = 0; at < sizeof old->payload; at++)
        CHECK(old->payload[at] == (unsigned char)old->key_nr);
    if (old->rounds_left > 0) {
        next = calloc(1, sizeof *next);
        CHECK(next != NULL);
        next->key_nr = old->key_nr;
        next->rounds_left = old->rounds_left - 1;
        memset(next->payload, (int)next->key_nr, sizeof next->payload);
        CHECK(pthread_setspecific(keys[old->key_nr], next) == 0);
    }
    free(old);
    free(realloc(malloc(100), 100000));
}

static void local_destructor(void *object) {
    unsigned char *bytes = object;

    CHECK(bytes[0] == 42 && bytes[4999] == 42);
    free(bytes);
    free(malloc(64));
}

static void values_set(void) {
    unsigned char *local = malloc(5000);

    CHECK(local != NULL);
    memset(local, 42, 5000);
    CHECK(__cxa_thread_atexit_impl(local_destructor, local, &__dso_handle) == 0);
    for (size_t i = 0; i < KEYS; i++) {
        struct key_value *value = malloc(sizeof *value);
        CHECK(value != NULL);
        value->key_nr = i;
        value->rounds_left = 3;
        memset(value->payload, (int)i, sizeof value->payload);
        CHECK(pthread_setspecific(keys[i], value) == 0);
    }
}

static void *thread_run(void *index) {
    size_t i = (size_t)index;

    values_set();
    pool_steps(&pools[i], 300);
    legacies[i] = malloc(LEGACY_BYTES);
    CHECK(legacies[i] != NULL);
    memset(legacies[i], (int)i, LEGACY_BYTES);
    if (i % 3 == 1)
        pthread_exit(NULL);
    if (i % 3 == 2) {
        CHECK(pthread_cancel(pthread_self()) == 0);
        pause();
    }
    return NULL;
}

static void legacy_retire(size_t i) {
    for (size_t at = 0; at < LEGACY_BYTES; at++)
        CHECK(legacies[i][at] == (unsigned char)i);
    free(legacies[i]);
}

static void wave_run(const pthread_attr_t *attributes) {
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], attributes, thread_run, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        legacy_retire(i);
        pool_drain(&pools[i]);
    }
}

int main(void) {
    pthread_attr_t small;

    CHECK(pthread_attr_init(&small) == 0);
    CHECK(pthread_attr_setstacksize(&small, (size_t)sysconf(_SC_THREAD_STACK_MIN) + 8192) == 0);
    for (size_t i = 0; i < KEYS; i++)
        CHECK(pthread_key_create(&keys[i], key_destructor) == 0);
    for (size_t i = 0; i < THREADS; i++)
        pool_init(&pools[i], 3, i, 0);
    for (int wave = 0; wave < WAVES; wave++)
        wave_run(wave % 2 ? &small : NULL);
    return 0;
}
