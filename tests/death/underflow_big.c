/* SPDX-License-Identifier: MIT */
/*
 * Hardened: a byte before a 4 MiB object, a mapping of its own, is written. Whatever the program mapped meanwhile,
 * nothing of it is there. Usage: underflow_big DISTANCE
 */
#include "crime.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LARGE_BYTES = 4 << 20, OTHERS_NR = 100, OTHER_BYTES = 64 << 10 };

int main(int argc, char **argv) {
    CHECK(argc == 2);
    long distance = strtol(argv[1], NULL, 10);
    char *p = crime_alloc(LARGE_BYTES);
    for (int i = 0; i < OTHERS_NR; i++)
        CHECK(mmap(NULL, OTHER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    crime_expect_any("Q10", "out-of-bounds", p - distance);
    ((volatile char *)p)[-distance] = 1;
    return 0;
}
