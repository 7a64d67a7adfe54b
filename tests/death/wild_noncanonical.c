/* SPDX-License-Identifier: MIT */
/*
 * Text taken for a pointer is freed: no address of that form exists.
 */
#include "crime.h"

int main(void) {
    crime_expect_stranger("Q03", "wild-pointer", (void *)0x4141414141414140);
    crime_free((void *)0x4141414141414140);
    return 0;
}
