/* SPDX-License-Identifier: MIT */
/* The lesser and the greater, each argument evaluated once. One signed and one unsigned do not compile, as in the
 * kernel: -1 would be the greater of the two; but for a constant that is not negative. C++ has functions named min,
 * max, clamp and swap, which macros would hide: there they are C++'s. */
#ifndef QUARRY_KERNEL_LINUX_MINMAX_H
#define QUARRY_KERNEL_LINUX_MINMAX_H
#pragma GCC system_header /* of an unsigned -1 no compiler is to say that it is not below 1 */

#define QUARRY_CHOSEN(type, x, y, op)                                                                                  \
    __extension__({                                                                                                    \
        type quarry_x_ = (type)(x);                                                                                    \
        type quarry_y_ = (type)(y);                                                                                    \
        quarry_x_ op quarry_y_ ? quarry_x_ : quarry_y_;                                                                \
    })
#ifndef min_t
#define min_t(type, x, y) QUARRY_CHOSEN(type, x, y, <)
#define max_t(type, x, y) QUARRY_CHOSEN(type, x, y, >)
#endif
#ifndef clamp_t
#define clamp_t(type, value, lo, hi) min_t(type, max_t(type, value, lo), hi)
#endif

#ifndef __cplusplus
/* 1 of what is signed, 0 of what is not, 2 of pointers and what else is compared with its like alone. */
#define QUARRY_SIGN(of)                                                                                                \
    _Generic((of) + 0, int : 1, long : 1, long long : 1, unsigned : 0, unsigned long : 0, unsigned long long : 0,      \
             default : 2)
/* x, whose value is in of, is a constant that is not negative. */
#define QUARRY_IS_NATURAL(x, of) (QUARRY_SIGN(of) == 1 && __builtin_choose_expr(__builtin_constant_p(x), (x), -1) >= 0)
#define QUARRY_COMPARABLE(x, x_of, y, y_of)                                                                            \
    _Static_assert(__builtin_choose_expr(QUARRY_SIGN(x_of) == QUARRY_SIGN(y_of), 1,                                    \
                                         QUARRY_IS_NATURAL(x, x_of) || QUARRY_IS_NATURAL(y, y_of)),                    \
                   "one is signed, one is not: min_t() and max_t() say the type")
#define QUARRY_CHOSEN_SAFELY(x, y, op)                                                                                 \
    __extension__({                                                                                                    \
        __auto_type quarry_x_ = (x);                                                                                   \
        __auto_type quarry_y_ = (y);                                                                                   \
        QUARRY_COMPARABLE(x, quarry_x_, y, quarry_y_);                                                                 \
        quarry_x_ op quarry_y_ ? quarry_x_ : quarry_y_;                                                                \
    })
#ifndef min
#define min(x, y) QUARRY_CHOSEN_SAFELY(x, y, <)
#define max(x, y) QUARRY_CHOSEN_SAFELY(x, y, >)
#endif
#ifndef clamp
#define clamp(value, lo, hi)                                                                                           \
    __extension__({                                                                                                    \
        __auto_type quarry_value_ = (value);                                                                           \
        __auto_type quarry_lo_ = (lo);                                                                                 \
        __auto_type quarry_hi_ = (hi);                                                                                 \
        QUARRY_COMPARABLE(value, quarry_value_, lo, quarry_lo_);                                                       \
        QUARRY_COMPARABLE(value, quarry_value_, hi, quarry_hi_);                                                       \
        quarry_value_<quarry_lo_ ? quarry_lo_ : quarry_value_> quarry_hi_ ? quarry_hi_ : quarry_value_;                \
    })
#endif
#ifndef swap
#define swap(a, b)                                                                                                     \
    do {                                                                                                               \
        __typeof__(a) quarry_was_ = (a);                                                                               \
        (a) = (b);                                                                                                     \
        (b) = quarry_was_;                                                                                             \
    } while (0)
#endif
#endif

#endif
