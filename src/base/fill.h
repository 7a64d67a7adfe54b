/* SPDX-License-Identifier: MIT */
/*
 * What lies around an object to show a write beside it. Each byte depends on its address and differs from its
 * neighbours, and all have the highest bit. So zeros and ASCII written there are always seen, and any other byte where
 * it is written twice in a row; a single one that is no ASCII goes unseen where it happens to be the one that is there,
 * which is one chance in 128. Pure functions, no state.
 */
#ifndef QUARRY_BASE_FILL_H
#define QUARRY_BASE_FILL_H

#include "base/types.h"

/* seed: a process's own, which shifts the bytes. */
static inline u8 fill_byte(u8 seed, const char *at) { return (u8)(0x80 | (seed + (uintptr_t)at)); }

static inline void fill_write(u8 seed, char *from, const char *to) {
    for (; from < to; from++)
        *from = (char)fill_byte(seed, from);
}

/* The first byte that is not as fill_write() left it, or NULL. */
static inline const char *fill_damage(u8 seed, const char *from, const char *to) {
    while (from < to && (u8)*from == fill_byte(seed, from))
        from++;
    return from < to ? from : NULL;
}

#endif
