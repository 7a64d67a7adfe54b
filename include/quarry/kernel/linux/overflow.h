/* SPDX-License-Identifier: MIT */
/* Arithmetic that tells when it overflows; the size_ forms give SIZE_MAX then, which no allocation serves. */
#ifndef QUARRY_KERNEL_LINUX_OVERFLOW_H
#define QUARRY_KERNEL_LINUX_OVERFLOW_H

#include <linux/types.h>
#include <quarry/kmem.h>

#define check_add_overflow(a, b, ret) __builtin_add_overflow(a, b, ret)
#define check_sub_overflow(a, b, ret) __builtin_sub_overflow(a, b, ret)
#define check_mul_overflow(a, b, ret) __builtin_mul_overflow(a, b, ret)

static inline size_t size_mul(size_t a, size_t b) { return quarry_size_mul(a, b); }
static inline size_t size_add(size_t a, size_t b) { return quarry_size_add(a, b); }
/* SIZE_MAX as an operand means that it overflowed before. */
static inline size_t size_sub(size_t a, size_t b) {
    size_t difference;
    return a == SIZE_MAX || b == SIZE_MAX || __builtin_sub_overflow(a, b, &difference) ? SIZE_MAX : difference;
}
#define array_size(nr, size) size_mul(nr, size)
#define array3_size(a, b, c) size_mul(size_mul(a, b), c)

/* Bytes of the structure at p with nr elements in its last member, and of that member alone. */
#define flex_array_size(p, member, nr) size_mul(nr, sizeof(*(p)->member))
#define struct_size(p, member, nr) size_add(sizeof(*(p)), flex_array_size(p, member, nr))
#define struct_size_t(type, member, nr) struct_size((type *)NULL, member, nr)

#endif
