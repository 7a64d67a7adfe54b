/* SPDX-License-Identifier: MIT */
/*
 * One line of JSON in a static buffer, written whole by json_close() (see json.h). Keys and names are the programs' own
 * and need no escapes. Linked into every bench program.
 */
#include "json.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "die.h"
#include "mem.h"

enum { LINE_BYTES = 8192 };

static char line[LINE_BYTES];
static size_t line_used;

__attribute__((format(printf, 1, 0))) static void line_add_va(const char *format, va_list args) {
    int written = vsnprintf(line + line_used, sizeof(line) - line_used, format, args);

    if (written < 0 || (size_t)written >= sizeof(line) - line_used)
        die("result line is longer than %d bytes", LINE_BYTES);
    line_used += (size_t)written;
}

__attribute__((format(printf, 1, 2))) static void line_add(const char *format, ...) {
    va_list args;

    va_start(args, format);
    line_add_va(format, args);
    va_end(args);
}

/* The file that supplies malloc to this program. */
static const char *malloc_origin(void) {
    Dl_info info;
    void *symbol = dlsym(RTLD_DEFAULT, "malloc");

    if (symbol == NULL || dladdr(symbol, &info) == 0 || info.dli_fname == NULL)
        die("cannot tell where malloc comes from");
    const char *slash = strrchr(info.dli_fname, '/');
    return slash != NULL ? slash + 1 : info.dli_fname;
}

void json_open(const char *program) {
    line_used = 0;
    line_add("{\"program\": \"%s\", \"malloc_from\": \"%s\"", program, malloc_origin());
}

void json_u64(uint64_t value, const char *key_format, ...) {
    va_list args;

    line_add(", \"");
    va_start(args, key_format);
    line_add_va(key_format, args);
    va_end(args);
    line_add("\": %llu", (unsigned long long)value);
}

void json_f64(double value, const char *key_format, ...) {
    va_list args;

    line_add(", \"");
    va_start(args, key_format);
    line_add_va(key_format, args);
    va_end(args);
    line_add("\": %.4f", value);
}

void json_close(void) {
    if (strstr(line, "\"rss_end_bytes\"") == NULL)
        json_u64(mem_rss_bytes(), "rss_end_bytes");
    line_add("}\n");
    if (write(STDOUT_FILENO, line, line_used) != (ssize_t)line_used)
        die("write of the result");
}
