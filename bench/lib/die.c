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

static void complain(const char *format, va_list args, int error) {
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    if (error != 0)
        fprintf(stderr, ": %s", strerror(error));
    fputc('\n', stderr);
}

void die(const char *format, ...) {
    int saved_errno = errno;
    va_list args;

    va_start(args, format);
    complain(format, args, saved_errno);
    va_end(args);
    exit(EXIT_FAILURE);
}

void die_of_usage(const char *format, ...) {
    va_list args;

    va_start(args, format);
    complain(format, args, 0);
    va_end(args);
    exit(EXIT_USAGE);
}

void *alloc_or_die(unsigned long size_bytes) {
    void *object = malloc(size_bytes);

    if (object == NULL)
        die("malloc(%lu) failed", size_bytes);
    return object;
}
