/* SPDX-License-Identifier: MIT */
/*
 * Memory of glibc's own malloc is given to realloc: it is named, the old object stays, and the content is either moved
 * to one of ours or the request refused with NULL.
 */
#include "crime.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char *theirs = foreign_alloc(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), 300), *moved;

    strcpy(theirs, "theirs");
    crime_expect_stranger("Q05", "foreign-pointer", theirs);
    moved = opaque(realloc(opaque(theirs), 5000));
    CHECK(!strcmp(opaque(theirs), "theirs"));
    CHECK(moved == NULL || !strcmp(moved, "theirs"));
    return 0;
}
