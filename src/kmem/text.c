/* SPDX-License-Identifier: MIT */
/* Text for the views, into a caller's buffer, without stdio. Owns nothing. */
#include "kmem/rows.h"

#include <string.h>

static void put(struct kmem_text *out, char c) {
    if (out->len + 1 < out->cap) {
        out->text[out->len] = c;
        out->text[out->len + 1] = '\0';
    }
    out->len++;
}

void kmem_text_str(struct kmem_text *out, const char *s) {
    if (out->len == 0 && out->cap > 0)
        out->text[0] = '\0';
    for (; *s != '\0'; s++)
        put(out, *s);
}

void kmem_text_left(struct kmem_text *out, const char *s, unsigned width) {
    size_t end = out->len + width;
    kmem_text_str(out, s);
    while (out->len < end)
        put(out, ' ');
}

static void number(struct kmem_text *out, u64 v, unsigned base, unsigned width, char fill) {
    char digits[24];
    unsigned nr = 0;
    do {
        digits[nr++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    for (; width > nr; width--)
        put(out, fill);
    while (nr > 0)
        put(out, digits[--nr]);
}

void kmem_text_dec(struct kmem_text *out, u64 v, unsigned width) { number(out, v, 10, width, ' '); }
void kmem_text_hex(struct kmem_text *out, u64 v, unsigned width) { number(out, v, 16, width, '0'); }
