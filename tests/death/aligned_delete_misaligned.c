/* SPDX-License-Identifier: MIT */
/*
 * operator delete(void *, align_val_t) claims an alignment that the object does not have.
 */
#include "crime.h"

int main(void) {
    void (*aligned_delete)(void *, size_t);
    void *p = crime_alloc_misaligned(208, 4096);

    symbol_get("_ZdlPvSt11align_val_t", &aligned_delete);
    CHECK(aligned_delete != NULL);
    crime_expect_object("Q07", "bad-alignment", p, p);
    aligned_delete(p, 4096);
    return 0;
}
