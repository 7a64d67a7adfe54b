/* SPDX-License-Identifier: MIT */
/*
 * See crime.h. The announcement is one write(2) before the crime: nothing is buffered when the process aborts.
 */
#include "crime.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *crime_alloc(size_t bytes) {
    void *p = opaque(malloc(opaque_size(bytes)));

    CHECK(p != NULL);
    return p;
}

/* The first of a slab may be aligned to anything; of its neighbours some are not. */
void *crime_alloc_misaligned(size_t bytes, size_t alignment) {
    for (int i = 0; i < 16; i++) {
        void *p = crime_alloc(bytes);
        if ((uintptr_t)p & (alignment - 1))
            return p;
    }
    check_fail(__FILE__, __LINE__, "16 objects of %zu bytes are all aligned to %zu", bytes, alignment);
}

void *foreign_alloc(void *libc, size_t bytes) {
    void *(*libc_malloc)(size_t);
    void *symbol, *p;

    CHECK(libc != NULL);
    symbol = dlsym(libc, "malloc");
    CHECK(symbol != NULL);
    memcpy(&libc_malloc, &symbol, sizeof libc_malloc);
    p = opaque(libc_malloc(bytes));
    CHECK(p != NULL);
    return p;
}

void crime_free(const void *p) { free(opaque(p)); }

static void announce(const char *id, const char *name, const void *p, const char *class_text) {
    dprintf(STDOUT_FILENO, "expect %s %s %p %s\n", id, name, p, class_text);
}

void crime_expect_object(const char *id, const char *name, const void *p, const void *object) {
    char text[32];

    snprintf(text, sizeof text, "%zu", malloc_usable_size(opaque(object)));
    announce(id, name, p, text);
}

void crime_expect_stranger(const char *id, const char *name, const void *p) { announce(id, name, p, "-"); }

void crime_expect_any(const char *id, const char *name, const void *p) { announce(id, name, p, "*"); }

void crime_expect_released(const char *id, const char *name, const void *p) {
    dprintf(STDOUT_FILENO, "expect %s %s %p %zu/-\n", id, name, p, malloc_usable_size(opaque(p)));
}

void crime_expect_one_of(const char *id, const char *name, const void *object) {
    dprintf(STDOUT_FILENO, "expect %s %s * %zu\n", id, name, malloc_usable_size(opaque(object)));
}

struct crowd crowd_gather(size_t bytes, size_t object_nr) {
    struct crowd crowd = {crime_alloc(object_nr * sizeof(void *)), object_nr};

    for (size_t i = 0; i < object_nr; i++)
        crowd.objects[i] = crime_alloc(bytes);
    return crowd;
}

void crowd_leave(struct crowd *crowd) {
    for (size_t i = 0; i < crowd->object_nr; i++)
        free(crowd->objects[i]);
    free(crowd->objects);
}
