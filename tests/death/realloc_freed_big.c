/* SPDX-License-Identifier: MIT */
/*
 * A freed 4 MiB object is given to realloc.
 */
#include "crime.h"

#include <stdlib.h>

int main(void) {
    void *p = crime_alloc(4 << 20);

    crime_expect_any("Q01", "double-free", p);
    crime_free(p);
    return opaque(realloc(opaque(p), 8 << 20)) == NULL;
}
