/* SPDX-License-Identifier: MIT */
/*
 * A local of main is freed.
 */
#include "crime.h"

int main(void) {
    char local[64] = "on the stack";
    char *p = (char *)(((uintptr_t)local + 15) & ~(uintptr_t)15);

    crime_expect_stranger("Q04", "stack-pointer", p);
    crime_free(p);
    return local[0];
}
