/* SPDX-License-Identifier: MIT */
/*
 * Memory of glibc's own malloc, taken from libc.so itself, is freed by ours, twice: the first is named, both are
 * left alone, and the program goes on.
 */
#include "crime.h"

#include <dlfcn.h>
#include <string.h>

int main(void) {
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    char *first = foreign_alloc(libc, 100), *second = foreign_alloc(libc, 5000);

    strcpy(first, "theirs");
    crime_expect_stranger("Q05", "foreign-pointer", first);
    crime_free(first);
    crime_free(second);
    CHECK(!strcmp(first, "theirs"));
    crime_free(crime_alloc(100));
    return 0;
}
