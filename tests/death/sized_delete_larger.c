/* SPDX-License-Identifier: MIT */
/*
 * operator delete(void *, size_t) says 4 MiB of an object of 40 bytes. Called by its mangled name: a C program will do.
 */
#include "crime.h"

int main(void) {
    void (*sized_delete)(void *, size_t);
    struct crowd crowd = crowd_gather(40, 4000);
    void *p = crime_alloc(40);

    symbol_get("_ZdlPvm", &sized_delete);
    CHECK(sized_delete != NULL);
    crime_expect_object("Q06", "sized-free-mismatch", p, p);
    sized_delete(p, 4 << 20);
    crowd_leave(&crowd);
    return 0;
}
