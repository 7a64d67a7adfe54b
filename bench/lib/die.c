/* SPDX-License-Identifier: MIT */
/*
 * The failing end of every bench program (see die.h). Owns no state; calls no measured code but malloc.
 */
#include "die.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *format, ...) {
    int saved_errno = errno;
    va_list args;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (saved_errno != 0)
        fprintf(stderr, ": %s", strerror(saved_errno));
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

void *alloc_or_die(unsigned long size_bytes) {
    void *object = malloc(size_bytes);

    if (object == NULL)
        die("malloc(%lu) failed", size_bytes);
    return object;
}
