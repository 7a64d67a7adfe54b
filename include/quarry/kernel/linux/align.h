/* SPDX-License-Identifier: MIT */
/* Alignment to a power of two. */
#ifndef QUARRY_KERNEL_LINUX_ALIGN_H
#define QUARRY_KERNEL_LINUX_ALIGN_H

#include <stdint.h>

#ifndef ALIGN
#define ALIGN(x, a) (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#endif
#ifndef ALIGN_DOWN
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#endif
#ifndef IS_ALIGNED
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)
#endif
#ifndef PTR_ALIGN
#define PTR_ALIGN(p, a) ((__typeof__(p))ALIGN((uintptr_t)(p), (a)))
#define PTR_ALIGN_DOWN(p, a) ((__typeof__(p))ALIGN_DOWN((uintptr_t)(p), (a)))
#endif

#endif
