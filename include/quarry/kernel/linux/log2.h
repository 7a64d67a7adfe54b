/* SPDX-License-Identifier: MIT */
/* Powers of two. Of 0 there are none: what rounds it is undefined, as in the kernel. Of constants they are constants,
 * in the sizes of arrays as well. */
#ifndef QUARRY_KERNEL_LINUX_LOG2_H
#define QUARRY_KERNEL_LINUX_LOG2_H

#include <linux/types.h>

#ifdef __cplusplus
#define QUARRY_CONSTANT constexpr
#else
#define QUARRY_CONSTANT inline
#endif

#define QUARRY_ILOG2(n) (63 - __builtin_clzll((unsigned long long)(n)))
/* | 1 changes no logarithm, and has 0's in what is not chosen. */
#define QUARRY_POW2_UP(n) ((n) <= 1 ? 1UL : 2UL << QUARRY_ILOG2(((n)-1) | 1))
#define QUARRY_ORDER(n) ((n) <= 1 ? 0 : QUARRY_ILOG2(((n)-1) | 1) + 1)

static QUARRY_CONSTANT unsigned long quarry_pow2_up(unsigned long n) { return QUARRY_POW2_UP(n); }
static QUARRY_CONSTANT int quarry_order(unsigned long n) { return QUARRY_ORDER(n); }

#ifdef __cplusplus
#define QUARRY_POW2_FORM(n, folded, called) called(n)
#else
#define QUARRY_POW2_FORM(n, folded, called) __builtin_choose_expr(__builtin_constant_p(n), folded(n), called(n))
#endif

#ifndef ilog2
#define ilog2(n) QUARRY_ILOG2(n)
#endif
#ifndef is_power_of_2
static QUARRY_CONSTANT bool is_power_of_2(unsigned long n) { return n != 0 && (n & (n - 1)) == 0; }
#endif
#ifndef roundup_pow_of_two
#define roundup_pow_of_two(n) QUARRY_POW2_FORM(n, QUARRY_POW2_UP, quarry_pow2_up)
#define rounddown_pow_of_two(n) (1UL << ilog2(n))
#endif
/* The least order whose power of two is not below n; 0 of 0. */
#ifndef order_base_2
#define order_base_2(n) QUARRY_POW2_FORM(n, QUARRY_ORDER, quarry_order)
#endif

#endif
