/* SPDX-License-Identifier: MIT */
/*
 * A program linked against the library, for secure_env.py to run as itself and set-user-ID: says whether the kernel
 * called the start secure, and whether the library serves it.
 */
#include "check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

int main(void) {
    Dl_info where;
    void *p = malloc(100), *symbol = dlsym(RTLD_DEFAULT, "malloc");

    CHECK(p != NULL && symbol != NULL && dladdr(symbol, &where) != 0);
    CHECK_MSG(strstr(where.dli_fname, "quarry") != NULL, "malloc comes from %s", where.dli_fname);
    free(p);
    printf("secure %lu\n", getauxval(AT_SECURE));
    return 0;
}
