/* SPDX-License-Identifier: MIT */
/*
 * free_sized says 100,000 bytes of an object of 100.
 */
#include "crime.h"

int main(void) {
    void (*free_sized)(void *, size_t);
    struct crowd crowd = crowd_gather(100, 4000);
    void *p = crime_alloc(100);

    symbol_get("free_sized", &free_sized);
    CHECK(free_sized != NULL);
    crime_expect_object("Q06", "sized-free-mismatch", p, p);
    free_sized(p, 100000);
    crowd_leave(&crowd);
    return 0;
}
