/* SPDX-License-Identifier: MIT */
/*
 * Memory of the malloc of another namespace, which has a libc of its own, is freed here: named once, left alone.
 */
#include "crime.h"

#include <dlfcn.h>
#include <string.h>

int main(void) {
    char *theirs = foreign_alloc(dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW), 300);

    strcpy(theirs, "theirs");
    crime_expect_stranger("Q05", "foreign-pointer", theirs);
    crime_free(theirs);
    CHECK(!strcmp(theirs, "theirs"));
    return 0;
}
