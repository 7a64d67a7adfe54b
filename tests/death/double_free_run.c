/* SPDX-License-Identifier: MIT */
/*
 * A 64 KiB object freed twice.
 */
#include "crime.h"

int main(void) {
    struct crowd crowd = crowd_gather(64 << 10, 100);
    void *p = crime_alloc(64 << 10);

    crime_expect_any("Q01", "double-free", p);
    crime_free(p);
    crime_free(p);
    crowd_leave(&crowd);
    return 0;
}
