/* SPDX-License-Identifier: MIT */
/*
 * An address at which nothing is mapped is freed.
 */
#include "crime.h"

#include <sys/mman.h>

int main(void) {
    char *p = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(p != MAP_FAILED && munmap(p, 1 << 20) == 0);
    crime_expect_stranger("Q03", "wild-pointer", p + (512 << 10));
    crime_free(p + (512 << 10));
    return 0;
}
