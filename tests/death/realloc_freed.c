/* SPDX-License-Identifier: MIT */
/*
 * A freed object is given to realloc, which moves it and frees it a second time.
 */
#include "crime.h"

#include <stdlib.h>

int main(void) {
    struct crowd before = crowd_gather(64, 4000), after;
    void *p = crime_alloc(64);

    after = crowd_gather(64, 4000);
    crime_expect_released("Q01", "double-free", p);
    crime_free(p);
    crowd_leave(&before);
    CHECK(opaque(realloc(opaque(p), 5000)) != NULL);
    crowd_leave(&after);
    return 0;
}
