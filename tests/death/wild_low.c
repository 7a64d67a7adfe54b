/* SPDX-License-Identifier: MIT */
/*
 * A small number is freed, as a corrupted or never initialised pointer often is.
 */
#include "crime.h"

int main(void) {
    crime_expect_stranger("Q03", "wild-pointer", (void *)0x1230);
    crime_free((void *)0x1230);
    return 0;
}
