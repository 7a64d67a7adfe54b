/* SPDX-License-Identifier: MIT */
/*
 * What life_early.c takes from the library preloaded beside the allocator.
 */
#ifndef QUARRY_TESTS_LIFE_EARLY_LIB_H
#define QUARRY_TESTS_LIFE_EARLY_LIB_H

#include <stddef.h>

enum { EARLY_LIB_BLOCKS = 200 };

/* Block i as the constructor filled it, with bytes of value i; the caller frees it. */
void *early_lib_take(size_t i, size_t *ret_bytes);

#endif
