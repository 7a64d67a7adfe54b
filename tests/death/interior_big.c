/* SPDX-License-Identifier: MIT */
/*
 * A page-aligned pointer inside a 4 MiB object, a mapping of its own, is freed.
 */
#include "crime.h"

int main(void) {
    char *p = crime_alloc(4 << 20);

    crime_expect_any("Q02", "interior-pointer", p + (1 << 20));
    crime_free(p + (1 << 20));
    return 0;
}
