/* SPDX-License-Identifier: MIT */
/*
 * As double_free_delayed, but the second free is the last call of the program: only a look at exit can find it.
 */
#include "crime.h"

int main(void) {
    struct crowd crowd = crowd_gather(200, 3000);
    void *p = crime_alloc(200);

    crime_expect_released("Q01", "double-free", p);
    crime_free(p);
    crowd_leave(&crowd);
    crime_free(p);
    return 0;
}
