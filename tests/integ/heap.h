/* SPDX-License-Identifier: MIT */
/* A heap that rises and falls through every size at which the allocator changes something, with large regions beside.
 */
#ifndef QUARRY_TESTS_HEAP_H
#define QUARRY_TESTS_HEAP_H

#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { HEAP_OBJECTS_NR = 60000, HEAP_OBJECT_BYTES = 1000, HEAP_REGION_BYTES = 24 << 20 };

static inline void *heap_written(size_t bytes) {
    void *p = malloc(bytes);
    CHECK(p != NULL);
    return memset(p, 1, bytes);
}

/* The regions one after the other. */
static inline void heap_rise_and_fall(unsigned regions_nr) {
    static void *objects[HEAP_OBJECTS_NR];
    for (unsigned i = 0; i < HEAP_OBJECTS_NR; i++)
        objects[i] = heap_written(HEAP_OBJECT_BYTES);
    for (unsigned i = 0; i < regions_nr; i++)
        free(heap_written(HEAP_REGION_BYTES));
    for (unsigned i = 0; i < HEAP_OBJECTS_NR; i++)
        free(objects[i]);
}

#endif
