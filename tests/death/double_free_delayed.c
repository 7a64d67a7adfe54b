/* SPDX-License-Identifier: MIT */
/*
 * A small object freed again after thousands of others went after it: the first free has long reached its slab.
 */
#include "crime.h"

int main(void) {
    struct crowd before = crowd_gather(64, 4000), after;
    void *p = crime_alloc(64);

    after = crowd_gather(64, 4000);
    crime_expect_released("Q01", "double-free", p);
    crime_free(p);
    crowd_leave(&before);
    crime_free(p);
    crowd_leave(&after);
    return 0;
}
