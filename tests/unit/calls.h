/* SPDX-License-Identifier: MIT */
/* malloc and free as front/ puts them together from the engine, for tests that link no libc names. Not inlined: a
 * compiler that knows the size warns of the table the fast path does not use for it. */
#ifndef QUARRY_TESTS_UNIT_CALLS_H
#define QUARRY_TESTS_UNIT_CALLS_H

#include "engine/fast.h"

static NOINLINE void *alloc(size_t size) {
    void *p = engine_malloc_fast(size);
    return p != NULL ? p : engine_alloc_slow(size);
}

static NOINLINE void give(void *p) {
    if (!engine_free_fast(p))
        engine_free_slow(p);
}

#endif
