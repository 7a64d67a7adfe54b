/* SPDX-License-Identifier: MIT */
/*
 * A pointer 16 bytes into a 48-byte object is freed.
 */
#include "crime.h"

int main(void) {
    struct crowd crowd = crowd_gather(48, 4000);
    char *p = crime_alloc(48);

    crime_expect_object("Q02", "interior-pointer", p + 16, p);
    crime_free(p + 16);
    crowd_leave(&crowd);
    return 0;
}
