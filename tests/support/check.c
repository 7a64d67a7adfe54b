/* SPDX-License-Identifier: MIT */
/*
 * Failure and skip lines by write(2) alone, so that they come out of a signal handler, a vfork child or a
 * process whose heap is broken. See check.h.
 */
#include "check.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *repeat_command;

static void line_write(int fd, const char *text, size_t length) {
    while (length) {
        ssize_t done = write(fd, text, length);
        if (done <= 0)
            return;
        text += done;
        length -= (size_t)done;
    }
}

static void line_print(int fd, const char *prefix, const char *format, va_list args) {
    char line[1024];
    int used = snprintf(line, sizeof line, "%s", prefix);
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    size_t length = strlen(line);

    (void)more;
    line[length++] = '\n';
    line_write(fd, line, length);
}

void check_fail(const char *file, int line, const char *format, ...) {
    char prefix[256];
    const char *base = strrchr(file, '/');
    va_list args;

    snprintf(prefix, sizeof prefix, "FAILED %.120s:%d: ", base ? base + 1 : file, line);
    va_start(args, format);
    line_print(STDERR_FILENO, prefix, format, args);
    va_end(args);
    if (repeat_command) {
        line_write(STDERR_FILENO, "repeat: ", 8);
        line_write(STDERR_FILENO, repeat_command, strlen(repeat_command));
        line_write(STDERR_FILENO, "\n", 1);
    }
    _exit(1);
}

void check_skip(const char *format, ...) {
    va_list args;

    va_start(args, format);
    line_print(STDOUT_FILENO, "", format, args);
    va_end(args);
    _exit(EXIT_SKIP);
}

unsigned limit_seconds(unsigned seconds) {
    const char *patience = getenv("PATIENCE");
    return seconds * (patience != NULL ? (unsigned)strtoul(patience, NULL, 10) : 1);
}

void check_repeat_set(const char *command) { repeat_command = command; }

void *opaque(const void *p) {
    void *q;

    memcpy(&q, &p, sizeof q);
    __asm__ volatile("" : "+r"(q) : : "memory");
    return q;
}

size_t opaque_size(size_t n) {
    __asm__ volatile("" : "+r"(n));
    return n;
}

void symbol_get(const char *name, void *ret_function_pointer) {
    void *symbol = dlsym(RTLD_DEFAULT, name);

    memcpy(ret_function_pointer, &symbol, sizeof symbol);
}
