/* SPDX-License-Identifier: MIT */
/* Arithmetic that tells when it overflows; the size_ forms give SIZE_MAX then, which no allocation serves. */
#ifndef QUARRY_KERNEL_LINUX_OVERFLOW_H
#define QUARRY_KERNEL_LINUX_OVERFLOW_H
#pragma GCC system_header /* of an unsigned value no compiler is to say that it is not below 0 */

#include <linux/types.h>
#include <quarry/kmem.h>

#define check_add_overflow(a, b, ret) __builtin_add_overflow(a, b, ret)
#define check_sub_overflow(a, b, ret) __builtin_sub_overflow(a, b, ret)
#define check_mul_overflow(a, b, ret) __builtin_mul_overflow(a, b, ret)

/* *ret is value << shift, or value where there is no such shift; true where bits are lost, or the sign, or there are no
 * such bits. */
#define check_shl_overflow(value, shift, ret)                                                                          \
    __extension__({                                                                                                    \
        __typeof__(value) quarry_value_ = (value);                                                                     \
        long long quarry_shift_ = (shift);                                                                             \
        __typeof__(*(ret)) *quarry_ret_ = (ret);                                                                       \
        bool quarry_known_ = quarry_shift_ >= 0 && quarry_shift_ < 8 * (long long)sizeof(*quarry_ret_);                \
        int quarry_by_ = quarry_known_ ? (int)quarry_shift_ : 0;                                                       \
        *quarry_ret_ = (__typeof__(*(ret)))((unsigned long long)quarry_value_ << quarry_by_);                          \
        !quarry_known_ || quarry_value_ < 0 || *quarry_ret_ < 0 ||                                                     \
            (__typeof__(value))(*quarry_ret_ >> quarry_by_) != quarry_value_;                                          \
    })
/* Whether the type, or that of a variable, has no such value. No constant, not even of constants. */
#define overflows_type(value, type)                                                                                    \
    __extension__({                                                                                                    \
        __typeof__(type) quarry_fits_;                                                                                 \
        __builtin_add_overflow(value, 0, &quarry_fits_);                                                               \
    })

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
