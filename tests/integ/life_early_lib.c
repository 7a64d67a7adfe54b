/* SPDX-License-Identifier: MIT */
/*
 * A preloaded library whose constructor and destructor allocate: it may run before the allocator's own constructor,
 * or after its destructor. Gives life_early.c what it allocated.
 */
#include "life_early_lib.h"

#include <stdlib.h>
#include <string.h>

static void *blocks[EARLY_LIB_BLOCKS];

static size_t block_bytes(size_t i) { return (size_t)1 << (i % 22); }

__attribute__((constructor(101))) static void early_lib_init(void) {
    for (size_t i = 0; i < EARLY_LIB_BLOCKS; i++) {
        blocks[i] = malloc(block_bytes(i));
        if (blocks[i])
            memset(blocks[i], (int)i, block_bytes(i));
    }
    for (size_t i = 0; i < EARLY_LIB_BLOCKS; i += 3) {
        free(blocks[i]);
        blocks[i] = calloc(1, block_bytes(i));
        if (blocks[i])
            memset(blocks[i], (int)i, block_bytes(i));
    }
}

__attribute__((destructor(101))) static void early_lib_fini(void) {
    for (size_t i = 0; i < EARLY_LIB_BLOCKS; i++)
        free(blocks[i]);
}

void *early_lib_take(size_t i, size_t *ret_bytes) {
    void *block = blocks[i];

    blocks[i] = NULL;
    *ret_bytes = block_bytes(i);
    return block;
}
