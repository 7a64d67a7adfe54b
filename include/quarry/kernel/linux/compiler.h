/* SPDX-License-Identifier: MIT */
/* What the compiler is told. */
#ifndef QUARRY_KERNEL_LINUX_COMPILER_H
#define QUARRY_KERNEL_LINUX_COMPILER_H

#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#if !defined(barrier) && !defined(__cplusplus) /* C++20 has a class of that name */
#define barrier() __asm__ volatile("" : : : "memory")
#endif
/* One access, of the whole of a scalar, whoever else writes to it. */
#ifndef READ_ONCE
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value)                                                                                           \
    do {                                                                                                               \
        *(volatile __typeof__(x) *)&(x) = (value);                                                                     \
    } while (0)
#endif

#endif
