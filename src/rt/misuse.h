/* SPDX-License-Identifier: MIT */
/*
 * The one line a program gets that misuses memory, and the abort that follows. Called by whichever layer finds the
 * crime; knows nothing of slabs itself. Async-signal-safe.
 *
 *   quarry: error Q01 double-free: pointer 0x7f0000001230: an object that is free already; class 48 slab partial;
 * <hint>
 */
#ifndef QUARRY_RT_MISUSE_H
#define QUARRY_RT_MISUSE_H

#include "base/types.h"

enum misuse_kind {
    MISUSE_DOUBLE_FREE,
    MISUSE_INTERIOR,
    MISUSE_WILD,
    MISUSE_STACK,
    MISUSE_FOREIGN,
    MISUSE_SIZE,
    MISUSE_ALIGN,
    MISUSE_ORDER,
    MISUSE_INTERFACE,
    MISUSE_BOUNDS,
    MISUSE_USE_FREED,
    MISUSE_OVERFLOW,
    MISUSE_WRITE_FREED,
    MISUSE_KINDS_NR,
};

/* Prints the line and aborts. class_bytes 0: not known. slab_state NULL: no slab. */
_Noreturn void rt_misuse(enum misuse_kind kind, const void *p, size_t class_bytes, const char *slab_state);
/* MISUSE_SIZE, with both sizes. */
_Noreturn void rt_misuse_size(const void *p, size_t given_bytes, size_t usable_bytes);
/* The line alone, for those who say more before they abort. */
void rt_misuse_line(enum misuse_kind kind, const void *p, size_t class_bytes, const char *slab_state);
/* And for what a program survives. */
void rt_misuse_warn(enum misuse_kind kind, const void *p);

#endif
