/* SPDX-License-Identifier: MIT */
/*
 * A global of the program is freed.
 */
#include "crime.h"

static char global[4096] = "in the program";

int main(void) {
    char *p = (char *)(((uintptr_t)global + 63) & ~(uintptr_t)63);

    crime_expect_stranger("Q03", "wild-pointer", p);
    crime_free(p);
    return 0;
}
