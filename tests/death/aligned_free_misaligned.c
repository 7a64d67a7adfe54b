/* SPDX-License-Identifier: MIT */
/*
 * free_aligned_sized claims an alignment that the object does not have.
 */
#include "crime.h"

int main(void) {
    void (*free_aligned_sized)(void *, size_t, size_t);
    void *p = crime_alloc_misaligned(208, 4096);

    symbol_get("free_aligned_sized", &free_aligned_sized);
    CHECK(free_aligned_sized != NULL);
    crime_expect_object("Q07", "bad-alignment", p, p);
    free_aligned_sized(p, 4096, 208);
    return 0;
}
