/* SPDX-License-Identifier: MIT */
/*
 * The vocabulary every layer shares: fixed-width types, compiler attributes and the three units memory is counted in.
 * No state, no system calls. Included by every file.
 *
 *   page     what the kernel maps; 4 KiB or more, known only at run time (sys_page_bytes())
 *   granule  16 KiB: the unit of the page map and of slab sizes
 *   hpage    2 MiB: the unit of the hugepage filler
 */
#ifndef QUARRY_BASE_TYPES_H
#define QUARRY_BASE_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
__extension__ typedef unsigned __int128 u128;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
/* Whether a program misused its memory, where only that is asked. Without the build's option checks nobody asks: for
 * measuring what it costs (docs/security.md). */
#ifndef QUARRY_CHECKS
#define QUARRY_CHECKS 1
#endif
#define MISUSED(x) UNLIKELY(QUARRY_CHECKS && (x))
#define NOINLINE __attribute__((noinline))
#define COLD __attribute__((noinline, cold))
#define ALWAYS_INLINE inline __attribute__((always_inline))
/* On a declaration the fast path reads: one instruction instead of a detour through the GOT. */
#define HIDDEN __attribute__((visibility("hidden")))
/* An entry most programs spend their allocations in: from the start of a cache line it is fetched in the fewest lines.
 */
#define FAST_ENTRY __attribute__((aligned(CACHE_LINE)))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(x, lo, hi) MIN(MAX((x), (lo)), (hi))
#define ARRAY_NR(a) (sizeof(a) / sizeof((a)[0]))

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define GRANULE_SHIFT 14
#define GRANULE_BYTES ((size_t)1 << GRANULE_SHIFT)
#define HPAGE_SHIFT 21
#define HPAGE_BYTES ((size_t)1 << HPAGE_SHIFT)
#define HPAGE_GRANULES (HPAGE_BYTES / GRANULE_BYTES)
#define CACHE_LINE 64

/* x86-64 and aarch64 with 48-bit addresses: user space ends at 2^47 or 2^48. */
#define VA_BITS 48

static ALWAYS_INLINE size_t round_up(size_t x, size_t pow2) { return (x + pow2 - 1) & ~(pow2 - 1); }
static ALWAYS_INLINE size_t round_down(size_t x, size_t pow2) { return x & ~(pow2 - 1); }
static ALWAYS_INLINE bool is_pow2(size_t x) { return x != 0 && (x & (x - 1)) == 0; }

#endif
