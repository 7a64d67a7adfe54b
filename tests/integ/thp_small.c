/* SPDX-License-Identifier: MIT */
/* A heap below thp_after, filled; how many page faults that took, for thp_small.py. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { OBJECTS_NR = 24000, OBJECT_BYTES = 1000 };

static long faults(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_minflt;
}

int main(void) {
    static void *objects[OBJECTS_NR];
    memset(objects, 1, sizeof(objects));
    long before = faults();
    for (unsigned i = 0; i < OBJECTS_NR; i++) {
        objects[i] = malloc(OBJECT_BYTES);
        CHECK(objects[i] != NULL);
        memset(objects[i], 1, OBJECT_BYTES);
    }
    printf("faults %ld\n", faults() - before);
    for (unsigned i = 0; i < OBJECTS_NR; i++)
        free(objects[i]);
    return 0;
}
