/* SPDX-License-Identifier: MIT */
/* A program that names no function of malloc's: what it allocates the C library allocates for it. link.py looks at the
 * report of who served that. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    const char *copy = strdup(argv[argc - 1]);
    return copy == NULL || puts("little") < 0;
}
