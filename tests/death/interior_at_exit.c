/* SPDX-License-Identifier: MIT */
/*
 * A pointer 16 bytes into a 32-byte object is freed by the last call of the program.
 */
#include "crime.h"

int main(void) {
    char *p = crime_alloc(32);

    crime_expect_object("Q02", "interior-pointer", p + 16, p);
    crime_free(p + 16);
    return 0;
}
