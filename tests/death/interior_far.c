/* SPDX-License-Identifier: MIT */
/*
 * An address far inside a region of more than a GiB is freed, where other records are responsible than at its start.
 */
#include "crime.h"

#define GIB ((size_t)1 << 30)

int main(void) {
    char *p = crime_alloc(GIB + GIB / 4);

    crime_expect_any("Q02", "interior-pointer", p + GIB);
    crime_free(p + GIB);
    return 0;
}
