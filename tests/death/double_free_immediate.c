/* SPDX-License-Identifier: MIT */
/*
 * One small object freed twice in a row; nothing else happens until exit.
 */
#include "crime.h"

int main(void) {
    void *p = crime_alloc(64);

    crime_expect_object("Q01", "double-free", p, p);
    crime_free(p);
    crime_free(p);
    return 0;
}
