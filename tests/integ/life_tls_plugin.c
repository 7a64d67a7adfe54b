/* SPDX-License-Identifier: MIT */
/*
 * A library that allocates in its constructor and frees in its destructor, and has a large thread-local block of the
 * kind for which libc allocates in each thread that touches it. Loaded and unloaded by life_tls.c.
 */
#include <stdlib.h>
#include <string.h>

enum { OBJECTS = 40, LOCAL_BYTES = 20000, FILLING = 0x3c };

static _Thread_local char local[LOCAL_BYTES];
static char *objects[OBJECTS];

static size_t size_of(size_t i) { return i * i * i * 40 + 1; }

__attribute__((constructor)) static void objects_make(void) {
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = malloc(size_of(i));
        if (objects[i] == NULL)
            abort();
        memset(objects[i], FILLING, size_of(i));
    }
}

__attribute__((destructor)) static void objects_retire(void) {
    for (size_t i = 0; i < OBJECTS; i++) {
        if (objects[i][0] != FILLING || objects[i][size_of(i) - 1] != FILLING)
            abort();
        free(objects[i]);
    }
}

/* The thread's own block, zeros where it is new to this thread. */
char *local_get(size_t *ret_bytes);
char *local_get(size_t *ret_bytes) {
    *ret_bytes = sizeof(local);
    return local;
}
