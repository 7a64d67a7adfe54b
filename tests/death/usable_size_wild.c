/* SPDX-License-Identifier: MIT */
/*
 * The size of an object that does not exist is asked for.
 */
#include "crime.h"

#include <malloc.h>

int main(void) {
    crime_expect_stranger("Q03", "wild-pointer", (void *)0x4141414141414140);
    return malloc_usable_size(opaque((void *)0x4141414141414140)) != 0;
}
