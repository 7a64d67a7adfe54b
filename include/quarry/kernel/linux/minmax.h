/* SPDX-License-Identifier: MIT */
/* The lesser and the greater, each argument evaluated once. One signed and one unsigned do not compile, as in the
 * kernel: -1 would be the greater of the two; but for a constant that is not negative. C++ has functions of these
 * names, which a macro would hide: not there. */
#ifndef QUARRY_KERNEL_LINUX_MINMAX_H
#define QUARRY_KERNEL_LINUX_MINMAX_H
#pragma GCC system_header /* of an unsigned -1 no compiler is to say that it is not below 1 */

#define QUARRY_IS_SIGNED(x) ((__typeof__((x) + 0))(-1) < (__typeof__((x) + 0))1)
#define QUARRY_IS_NATURAL(x) (__builtin_choose_expr(__builtin_constant_p(x), (x), -1) >= 0 && QUARRY_IS_SIGNED(x))
#define QUARRY_COMPARABLE(x, y)                                                                                        \
    _Static_assert(__builtin_choose_expr(QUARRY_IS_SIGNED(x) == QUARRY_IS_SIGNED(y), 1,                                \
                                         QUARRY_IS_NATURAL(x) || QUARRY_IS_NATURAL(y)),                                \
                   "one is signed, one is not: min_t() and max_t() say the type")
#define QUARRY_CHOSEN(type_x, x, type_y, y, op)                                                                        \
    __extension__({                                                                                                    \
        type_x quarry_x_ = (type_x)(x);                                                                                \
        type_y quarry_y_ = (type_y)(y);                                                                                \
        quarry_x_ op quarry_y_ ? quarry_x_ : quarry_y_;                                                                \
    })
#define QUARRY_CHOSEN_SAFELY(x, y, op)                                                                                 \
    __extension__({                                                                                                    \
        QUARRY_COMPARABLE(x, y);                                                                                       \
        QUARRY_CHOSEN(__typeof__(x), x, __typeof__(y), y, op);                                                         \
    })

#ifndef __cplusplus
#ifndef min
#define min(x, y) QUARRY_CHOSEN_SAFELY(x, y, <)
#define max(x, y) QUARRY_CHOSEN_SAFELY(x, y, >)
#endif
#ifndef min_t
#define min_t(type, x, y) QUARRY_CHOSEN(type, x, type, y, <)
#define max_t(type, x, y) QUARRY_CHOSEN(type, x, type, y, >)
#endif
#ifndef clamp
#define clamp(value, lo, hi) min(max(value, lo), hi)
#define clamp_t(type, value, lo, hi) min_t(type, max_t(type, value, lo), hi)
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
