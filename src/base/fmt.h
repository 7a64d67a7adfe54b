/* SPDX-License-Identifier: MIT */
/*
 * Formatting into a caller's buffer without libc's stdio, for reports written while the allocator may be half started,
 * in a signal handler, or about to abort. Output is cut at the buffer's end and always NUL-terminated.
 * Async-signal-safe.
 */
#ifndef QUARRY_BASE_FMT_H
#define QUARRY_BASE_FMT_H

#include "base/types.h"

struct fmt_buf {
    char *text;
    size_t cap_bytes; /* including the NUL */
    size_t len_bytes;
};

struct fmt_buf fmt_init(char *text, size_t cap_bytes);
void fmt_str(struct fmt_buf *b, const char *s);
void fmt_char(struct fmt_buf *b, char c);
void fmt_dec(struct fmt_buf *b, u64 v);
void fmt_hex(struct fmt_buf *b, u64 v); /* with 0x */
/* printf subset: %s %c %u (unsigned) %d (int) %lu (u64) %lx (u64, with 0x) %p %% */
void fmt_printf(struct fmt_buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
