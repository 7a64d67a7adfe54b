/* SPDX-License-Identifier: MIT */
/* Rounding: round_up() and round_down() to a power of two, roundup() and rounddown() to any number. */
#ifndef QUARRY_KERNEL_LINUX_MATH_H
#define QUARRY_KERNEL_LINUX_MATH_H

#ifndef DIV_ROUND_UP
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#endif
#ifndef round_up
#define round_up(x, y) ((((x)-1) | ((__typeof__(x))((y)-1))) + 1)
#define round_down(x, y) ((x) & ~((__typeof__(x))((y)-1)))
#endif
#ifndef roundup
#define roundup(x, y)                                                                                                  \
    __extension__({                                                                                                    \
        const __typeof__(y) quarry_to_ = (y);                                                                          \
        (((x) + (quarry_to_ - 1)) / quarry_to_) * quarry_to_;                                                          \
    })
#endif
#ifndef rounddown
#define rounddown(x, y)                                                                                                \
    __extension__({                                                                                                    \
        const __typeof__(x) quarry_of_ = (x);                                                                          \
        quarry_of_ - (quarry_of_ % (y));                                                                               \
    })
#endif

#endif
