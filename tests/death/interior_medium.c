/* SPDX-License-Identifier: MIT */
/*
 * A pointer 64 bytes into a 4 KiB object is freed.
 */
#include "crime.h"

int main(void) {
    struct crowd crowd = crowd_gather(4096, 600);
    char *p = crime_alloc(4096);

    crime_expect_object("Q02", "interior-pointer", p + 64, p);
    crime_free(p + 64);
    crowd_leave(&crowd);
    return 0;
}
