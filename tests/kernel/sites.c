/* SPDX-License-Identifier: MIT */
/*
 * A program for `quarry allocinfo`: allocates at places it knows, says which and how much, and waits until stdin ends;
 * each byte on stdin lets it free some and say it again. With "plain" nothing but an area. Run by sites.py.
 */
#include "check.h"

#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PLACES_MAX = 8, OBJS_MAX = 2000, SMALL_BYTES = 100, ZEROED_NR = 3, ZEROED_BYTES = 40, OBJECT_BYTES = 200 };

static struct place {
    const char *function;
    int line;
    size_t bytes; /* of one */
    size_t calls;
    void *objs[OBJS_MAX];
} places[PLACES_MAX];
static unsigned places_nr;

/* What a call of function in this line gave. */
static void keep(const char *function, int line, size_t bytes, void *p) {
    struct place *place = places;
    CHECK(p != NULL);
    while (place->function != NULL && strcmp(place->function, function) != 0)
        place++;
    if (place->function == NULL) {
        CHECK(++places_nr < PLACES_MAX);
        *place = (struct place){.function = function, .line = line, .bytes = bytes};
    }
    CHECK(place->line == line && place->bytes == bytes && place->calls < OBJS_MAX);
    place->objs[place->calls++] = p;
}

static __attribute__((noinline)) void small_take(void) {
    int line = __LINE__ + 1;
    void *p = kmalloc(SMALL_BYTES, GFP_KERNEL);
    keep(__func__, line, kmalloc_size_roundup(SMALL_BYTES), p);
}

/* By several inline functions of the headers. */
static __attribute__((noinline)) void zeroed_take(void) {
    int line = __LINE__ + 1;
    void *p = kcalloc(ZEROED_NR, ZEROED_BYTES, GFP_KERNEL);
    keep(__func__, line, kmalloc_size_roundup((size_t)ZEROED_NR * ZEROED_BYTES), p);
}

/* By a function of the library: the place is this one. */
static __attribute__((noinline)) void copy_take(void) {
    int line = __LINE__ + 1;
    void *p = kstrdup("a name", GFP_KERNEL);
    keep(__func__, line, kmalloc_size_roundup(strlen("a name") + 1), p);
}

/* A place of its own, though it is inlined, in both. */
static inline __attribute__((always_inline)) void object_take(struct kmem_cache *s) {
    int line = __LINE__ + 1;
    void *p = kmem_cache_alloc(s, GFP_KERNEL);
    keep(__func__, line, kmem_cache_size(s), p);
}
static __attribute__((noinline)) void object_take_by(struct kmem_cache *s) { object_take(s); }
static __attribute__((noinline)) void object_take_too(struct kmem_cache *s, int number) {
    CHECK(number > 0);
    object_take(s);
}

static __attribute__((noinline)) void area_take(void) {
    int line = __LINE__ + 1;
    void *p = vmalloc(100000);
    keep(__func__, line, 25 * (size_t)4096, p);
}

static void places_print(void) {
    for (const struct place *place = places; place->function != NULL; place++) {
        if (place->calls != 0)
            dprintf(STDOUT_FILENO, "place %s %d %zu %zu\n", place->function, place->line, place->bytes * place->calls,
                    place->calls);
    }
    dprintf(STDOUT_FILENO, "end\n");
}

/* Of each place but the areas' half. */
static void some_free(void) {
    for (struct place *place = places; place->function != NULL; place++) {
        for (size_t left = place->calls / 2; place->calls > left && strcmp(place->function, "area_take") != 0;)
            kfree(place->objs[--place->calls]);
    }
}

static void all_take(void) {
    struct kmem_cache *s = kmem_cache_create("objects", OBJECT_BYTES, 0, SLAB_STORE_USER, NULL);
    CHECK(s != NULL);
    for (int i = 1; i <= OBJS_MAX / 2; i++) {
        object_take_by(s);
        object_take_too(s, i);
    }
    for (int i = 0; i < OBJS_MAX / 2; i++)
        small_take();
    for (int i = 0; i < 7; i++) {
        zeroed_take();
        copy_take();
    }
}

int main(int argc, char **argv) {
    char byte;
    CHECK(sysconf(_SC_PAGESIZE) == 4096);
    if (argc == 1 || strcmp(argv[1], "plain") != 0)
        all_take();
    area_take();
    area_take();
    places_print();
    while (read(STDIN_FILENO, &byte, 1) > 0) {
        some_free();
        places_print();
    }
    _exit(0);
}
