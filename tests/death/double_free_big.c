/* SPDX-License-Identifier: MIT */
/*
 * A 4 MiB object, a mapping of its own, freed twice in a row.
 */
#include "crime.h"

int main(void) {
    void *p = crime_alloc(4 << 20);

    crime_expect_any("Q01", "double-free", p);
    crime_free(p);
    crime_free(p);
    return 0;
}
