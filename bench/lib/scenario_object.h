/* SPDX-License-Identifier: MIT */
/*
 * Objects that know what they are, for the scenario programs: the head holds size and tag, the last byte the tag again.
 * Whoever frees one names the tag it must have, so an object that was lost, handed out twice or written over ends the
 * program. Thread-safe as malloc is; an object belongs to whoever holds the pointer. Owns no state.
 */
#ifndef BENCH_SCENARIO_OBJECT_H
#define BENCH_SCENARIO_OBJECT_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "rand.h"

enum { OBJECT_MIN_BYTES = 16, OBJECT_MAX_BYTES = 1 << 30 };

struct object {
    uint32_t size_bytes;
    uint32_t tag;
};

static inline unsigned char *object_last(struct object *object) {
    return (unsigned char *)object + object->size_bytes - 1;
}

/* Stamps size_bytes at start, OBJECT_MIN_BYTES to OBJECT_MAX_BYTES, wherever they come from; only the ends are written.
 */
static inline struct object *object_stamp(void *start, size_t size_bytes, uint32_t tag) {
    struct object *object = (struct object *)start;

    object->size_bytes = (uint32_t)size_bytes;
    object->tag = tag;
    *object_last(object) = (unsigned char)tag;
    return object;
}

/* A new object; ends the program instead of returning NULL. */
static inline struct object *object_make(size_t size_bytes, uint32_t tag) {
    void *start = malloc(size_bytes);

    if (start == NULL)
        die("malloc(%zu) failed", size_bytes);
    return object_stamp(start, size_bytes, tag);
}

/* Writes the bytes between the stamps. */
static inline struct object *object_fill(struct object *object) {
    memset(object + 1, (unsigned char)object->tag, object->size_bytes - sizeof(*object));
    return object;
}

static inline void object_check(struct object *object, uint32_t tag) {
    if (object->tag != tag || *object_last(object) != (unsigned char)tag)
        die("object %u was lost or overwritten", tag);
}

static inline void object_free(struct object *object, uint32_t tag) {
    object_check(object, tag);
    free(object);
}

/*
 * A size in min..max, both included, min >= 1, max < 2^31: first one of the doublings of min, each as likely, then
 * uniform within it. Programs ask for many small objects and few large ones; a uniform draw would be large ones alone.
 */
static inline size_t size_draw(struct rand *rand, size_t min, size_t max) {
    size_t doublings = 0;

    while (min << (doublings + 1) <= max)
        doublings++;
    size_t low = min << rand_between(rand, 0, doublings);
    return rand_between(rand, low, 2 * low - 1 < max ? 2 * low - 1 : max);
}

#endif
