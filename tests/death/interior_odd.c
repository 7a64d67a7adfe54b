/* SPDX-License-Identifier: MIT */
/*
 * A pointer one byte into a small object is freed: no allocator ever gave out an odd address.
 */
#include "crime.h"

int main(void) {
    struct crowd crowd = crowd_gather(80, 4000);
    char *p = crime_alloc(80);

    crime_expect_object("Q02", "interior-pointer", p + 1, p);
    crime_free(p + 1);
    crowd_leave(&crowd);
    return 0;
}
