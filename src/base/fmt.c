/* SPDX-License-Identifier: MIT */
/* Implementation of fmt.h: see there for what is promised. */
#include "base/fmt.h"

#include <stdarg.h>

struct fmt_buf fmt_init(char *text, size_t cap_bytes) {
    text[0] = '\0';
    return (struct fmt_buf){.text = text, .cap_bytes = cap_bytes, .len_bytes = 0};
}

void fmt_char(struct fmt_buf *b, char c) {
    if (b->len_bytes + 1 >= b->cap_bytes)
        return;
    b->text[b->len_bytes++] = c;
    b->text[b->len_bytes] = '\0';
}

void fmt_str(struct fmt_buf *b, const char *s) {
    while (*s != '\0')
        fmt_char(b, *s++);
}

static void fmt_radix(struct fmt_buf *b, u64 v, unsigned radix) {
    char digits[20];
    unsigned nr = 0;
    do {
        digits[nr++] = "0123456789abcdef"[v % radix];
        v /= radix;
    } while (v != 0);
    while (nr > 0)
        fmt_char(b, digits[--nr]);
}

void fmt_dec(struct fmt_buf *b, u64 v) { fmt_radix(b, v, 10); }

void fmt_hex(struct fmt_buf *b, u64 v) {
    fmt_str(b, "0x");
    fmt_radix(b, v, 16);
}

static void fmt_signed(struct fmt_buf *b, int v) {
    if (v < 0)
        fmt_char(b, '-');
    fmt_dec(b, v < 0 ? (u64)0 - (u64)v : (u64)v);
}

/* One conversion; f points behind the '%'. Returns the last character consumed. */
static const char *fmt_convert(struct fmt_buf *b, const char *f, va_list *args) {
    switch (*f) {
    case 's': fmt_str(b, va_arg(*args, const char *)); break;
    case 'c': fmt_char(b, (char)va_arg(*args, int)); break;
    case 'u': fmt_dec(b, va_arg(*args, unsigned)); break;
    case 'd': fmt_signed(b, va_arg(*args, int)); break;
    case 'p': fmt_hex(b, (u64)(uintptr_t)va_arg(*args, void *)); break;
    case 'l':
        f++;
        if (*f == 'x')
            fmt_hex(b, va_arg(*args, unsigned long));
        else
            fmt_dec(b, va_arg(*args, unsigned long));
        break;
    default: fmt_char(b, *f); break;
    }
    return f;
}

void fmt_printf(struct fmt_buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    for (const char *f = format; *f != '\0'; f++) {
        if (*f == '%' && f[1] != '\0')
            f = fmt_convert(b, f + 1, &args);
        else
            fmt_char(b, *f);
    }
    va_end(args);
}
