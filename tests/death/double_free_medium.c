/* SPDX-License-Identifier: MIT */
/*
 * A 4 KiB object freed twice.
 */
#include "crime.h"

int main(void) {
    struct crowd crowd = crowd_gather(4096, 600);
    void *p = crime_alloc(4096);

    crime_expect_object("Q01", "double-free", p, p);
    crime_free(p);
    crime_free(p);
    crowd_leave(&crowd);
    return 0;
}
