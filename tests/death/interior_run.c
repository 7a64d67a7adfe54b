/* SPDX-License-Identifier: MIT */
/*
 * A page-aligned pointer inside a 256 KiB object is freed.
 */
#include "crime.h"

int main(void) {
    char *p = crime_alloc(256 << 10);

    crime_expect_any("Q02", "interior-pointer", p + (64 << 10));
    crime_free(p + (64 << 10));
    return 0;
}
