/* SPDX-License-Identifier: MIT */
/*
 * free_sized says 100 bytes of an object of 100,000.
 */
#include "crime.h"

int main(void) {
    void (*free_sized)(void *, size_t);
    void *p = crime_alloc(100000);

    symbol_get("free_sized", &free_sized);
    CHECK(free_sized != NULL);
    crime_expect_any("Q06", "sized-free-mismatch", p);
    free_sized(p, 100);
    return 0;
}
