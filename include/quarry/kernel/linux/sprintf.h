/* SPDX-License-Identifier: MIT */
/* Text that is printed into memory of kmalloc. What a format may have is said by the C library's printf: none of the
 * kernel's own forms of %p. */
#ifndef QUARRY_KERNEL_LINUX_SPRINTF_H
#define QUARRY_KERNEL_LINUX_SPRINTF_H

#include <linux/slab.h>
#include <linux/string.h>
#include <stdarg.h>
#include <stdio.h>

/* NULL without memory, and for a format the C library refuses. */
static inline __attribute__((__format__(__printf__, 2, 0))) char *kvasprintf(gfp_t flags, const char *format,
                                                                             va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = len < 0 ? NULL : (char *)kmalloc((size_t)len + 1, flags);
    if (text != NULL)
        (void)vsnprintf(text, (size_t)len + 1, format, args);
    return text;
}
static inline __attribute__((__format__(__printf__, 2, 3))) char *kasprintf(gfp_t flags, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = kvasprintf(flags, format, args);
    va_end(args);
    return text;
}
/* For kfree_const(): a format without conversions, and what "%s" prints, as kstrdup_const() copies it. */
static inline __attribute__((__format__(__printf__, 2, 0))) const char *
kvasprintf_const(gfp_t flags, const char *format, va_list args) {
    if (strchr(format, '%') == NULL)
        return kstrdup_const(format, flags);
    if (strcmp(format, "%s") == 0)
        return kstrdup_const(va_arg(args, const char *), flags);
    return kvasprintf(flags, format, args);
}

#endif
