/* SPDX-License-Identifier: MIT */
/*
 * free_aligned_sized gives the right alignment and a size far above the object's.
 */
#include "crime.h"

#include <malloc.h>

int main(void) {
    void (*free_aligned_sized)(void *, size_t, size_t);
    void *p = opaque(memalign(64, 128));

    symbol_get("free_aligned_sized", &free_aligned_sized);
    CHECK(p != NULL && free_aligned_sized != NULL);
    crime_expect_object("Q06", "sized-free-mismatch", p, p);
    free_aligned_sized(p, 64, 100000);
    return 0;
}
