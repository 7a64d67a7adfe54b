/* SPDX-License-Identifier: MIT */
/*
 * A program whose clock_gettime is its own, as that of a library that is preloaded beside the allocator (libfaketime):
 * it allocates and frees, which an allocator that asked it for the time would meet in the middle of its own steps. The
 * allocator must not ask it, at whatever size of heap and regions, nor when the program ends.
 */
#include "check.h"
#include "heap.h"

#include <malloc.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { REGIONS_NR = 8 };

static unsigned asked_nr;

int clock_gettime(clockid_t clock, struct timespec *ret_time) {
    (void)clock;
    asked_nr++;
    free(malloc(HEAP_REGION_BYTES));
    *ret_time = (struct timespec){0};
    return 0;
}

__attribute__((destructor)) static void asked_check(void) {
    if (asked_nr != 0)
        _exit(1);
}

int main(void) {
    for (unsigned round = 0; round < 3; round++) {
        heap_rise_and_fall(REGIONS_NR);
        (void)malloc_trim(0);
    }
    CHECK_MSG(asked_nr == 0, "asked %u times", asked_nr);
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0 && asked_nr == 1);
    asked_nr = 0;
    return 0;
}
