/* SPDX-License-Identifier: MIT */
/*
 * The hardened mode guards objects by chance, too: of objects that are read right after their free, which shows zeros
 * elsewhere, one of some thousand ends the program there.
 */
#include "crime.h"

#include <stdlib.h>

/* Every call is a slow one, and of 7,500 at most one is guarded. */
enum { BYTES = 100, OBJECTS_MAX = 20000 };

int main(void) {
    void *first = crime_alloc(BYTES);
    crime_expect_one_of("Q11", "use-after-free", first);
    for (unsigned i = 0; i < OBJECTS_MAX; i++) {
        volatile char *p = crime_alloc(BYTES);
        crime_free((const void *)p);
        CHECK(*p == 0);
    }
    return 0;
}
