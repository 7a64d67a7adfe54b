/* SPDX-License-Identifier: MIT */
/*
 * Allocation before anything is initialised: in the program's preinit array, which runs before every
 * constructor of every library, in the constructor of a library preloaded before or after the allocator, and in
 * early constructors of the program. All of that memory is checked and freed from main().
 */
#include "check.h"
#include "life_early_lib.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { PREINIT_BLOCKS = 64, CTOR_BLOCKS = 300 };

static unsigned char *preinit_blocks[PREINIT_BLOCKS];
static unsigned char *ctor_blocks[CTOR_BLOCKS];

static size_t preinit_bytes(size_t i) { return 1 + i * i * 37; }

static void blocks_preinit(void) {
    for (size_t i = 0; i < PREINIT_BLOCKS; i++) {
        preinit_blocks[i] = i % 2 ? malloc(preinit_bytes(i)) : memalign(64, preinit_bytes(i));
        CHECK(preinit_blocks[i] != NULL);
        memset(preinit_blocks[i], (int)i, preinit_bytes(i));
        free(malloc(3 << 20));
    }
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = blocks_preinit;

__attribute__((constructor(101))) static void blocks_construct(void) {
    for (size_t i = 0; i < CTOR_BLOCKS; i++) {
        ctor_blocks[i] = realloc(malloc(1 + i), 1 + i * 100);
        CHECK(ctor_blocks[i] != NULL);
        memset(ctor_blocks[i], (int)i, 1 + i * 100);
    }
    errno = 4711;
    free(NULL);
    CHECK(errno == 4711);
}

static void block_retire(unsigned char *block, size_t bytes, unsigned char value) {
    CHECK(block != NULL && malloc_usable_size(block) >= bytes);
    for (size_t at = 0; at < bytes; at++)
        CHECK_MSG(block[at] == value, "byte %zu of %zu is %#x, expected %#x", at, bytes, block[at], value);
    free(block);
}

int main(void) {
    for (size_t i = 0; i < PREINIT_BLOCKS; i++)
        block_retire(preinit_blocks[i], preinit_bytes(i), (unsigned char)i);
    for (size_t i = 0; i < CTOR_BLOCKS; i++)
        block_retire(ctor_blocks[i], 1 + i * 100, (unsigned char)i);
    for (size_t i = 0; i < EARLY_LIB_BLOCKS; i += 2) {
        size_t bytes;
        unsigned char *block = early_lib_take(i, &bytes);
        block_retire(block, bytes, (unsigned char)i);
    }
    return 0;
}
