/* SPDX-License-Identifier: MIT */
/* Powers of two. Of 0 there are none: what rounds it is undefined, as in the kernel. */
#ifndef QUARRY_KERNEL_LINUX_LOG2_H
#define QUARRY_KERNEL_LINUX_LOG2_H

#include <linux/types.h>

static inline int ilog2(unsigned long n) { return (int)(8 * sizeof(n)) - 1 - __builtin_clzl(n); }
static inline bool is_power_of_2(unsigned long n) { return n != 0 && (n & (n - 1)) == 0; }
static inline unsigned long roundup_pow_of_two(unsigned long n) { return n <= 1 ? 1 : 2UL << ilog2(n - 1); }
static inline unsigned long rounddown_pow_of_two(unsigned long n) { return 1UL << ilog2(n); }
/* The least order whose power of two is not below n; 0 of 0. */
static inline int order_base_2(unsigned long n) { return n <= 1 ? 0 : ilog2(n - 1) + 1; }

#endif
