/* SPDX-License-Identifier: MIT */
/* Formatting without stdio: against snprintf, and at the buffer's end. */
#include "base/fmt.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const u64 numbers[] = {
    0, 1, 9, 10, 15, 16, 99, 100, 255, 4096, 65535, 4294967295u, 4294967296u, 0x7fffffffffffffffu, 0xffffffffffffffffu};

Test(fmt, numbers_are_written_as_printf_does) {
    for (size_t i = 0; i < ARRAY_NR(numbers); i++) {
        char got[64], want[64];
        struct fmt_buf b = fmt_init(got, sizeof(got));
        fmt_dec(&b, numbers[i]);
        fmt_char(&b, ' ');
        fmt_hex(&b, numbers[i]);
        snprintf(want, sizeof(want), "%lu 0x%lx", numbers[i], numbers[i]);
        cr_expect_str_eq(got, want);
        cr_expect_eq(b.len_bytes, strlen(want));
    }
}

Test(fmt, every_conversion) {
    char got[256], want[256];
    struct fmt_buf b = fmt_init(got, sizeof(got));
    void *p = (void *)0x7f0012345678;
    fmt_printf(&b, "%s|%c|%u|%d|%d|%d|%lu|%lx|%p|%%", "text", 'x', 4294967295u, -1, (int)-2147483647 - 1, 42,
               (u64)1 << 63, (u64)255, p);
    snprintf(want, sizeof(want), "text|x|4294967295|-1|-2147483648|42|%lu|0xff|%p|%%", (u64)1 << 63, p);
    cr_expect_str_eq(got, want);
}

Test(fmt, output_is_cut_at_the_end_and_terminated) {
    for (size_t cap = 1; cap <= 24; cap++) {
        char got[32], want[32];
        memset(got, '#', sizeof(got));
        struct fmt_buf b = fmt_init(got, cap);
        fmt_printf(&b, "%s-%lu-%p", "abcdef", (u64)123456, (void *)0xbeef);
        snprintf(want, cap, "abcdef-123456-0xbeef");
        cr_expect_str_eq(got, want);
        cr_expect_eq(b.len_bytes, strlen(want));
        cr_expect_eq(got[cap], '#', "written beyond %zu bytes", cap);
    }
}

Test(fmt, a_percent_sign_at_the_end_stands_for_itself) {
    char got[8];
    struct fmt_buf b = fmt_init(got, sizeof(got));
    const char *format = "100%"; /* not a literal: the compiler knows better */
    fmt_printf(&b, format, 0);
    cr_expect_str_eq(got, "100%");
}
