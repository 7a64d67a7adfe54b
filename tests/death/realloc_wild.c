/* SPDX-License-Identifier: MIT */
/*
 * A pointer to nothing is given to realloc.
 */
#include "crime.h"

#include <stdlib.h>

int main(void) {
    crime_expect_stranger("Q03", "wild-pointer", (void *)0x4141414141414140);
    return opaque(realloc(opaque((void *)0x4141414141414140), 100)) == NULL;
}
