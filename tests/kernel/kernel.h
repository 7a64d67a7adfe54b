/* SPDX-License-Identifier: MIT */
/* What the edge cases of the kernel API share: one function per case, in the file named after its family. */
#ifndef QUARRY_TESTS_KERNEL_H
#define QUARRY_TESTS_KERNEL_H

#include "check.h"

#include <linux/slab.h>
#include <linux/string.h>

/* Every byte of [from, to) of p is value. */
static inline bool bytes_are(const void *p, size_t from, size_t to, unsigned char value) {
    const unsigned char *at = (const unsigned char *)opaque(p);
    for (size_t i = from; i < to; i++) {
        if (at[i] != value)
            return false;
    }
    return true;
}

void kmalloc_ways(size_t zeroed);
void krealloc_edges(size_t unused);
void krealloc_copies(size_t unused);
void krealloc_grows(size_t size);
void krealloc_zeroes(size_t size);
void krealloc_keeps_on_failure(size_t unused);
void krealloc_aligns(size_t align);
void dup_strings(size_t unused);
void dup_constants(size_t unused);
void dup_memory(size_t unused);

#endif
