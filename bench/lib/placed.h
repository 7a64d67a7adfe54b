/* SPDX-License-Identifier: MIT */
/*
 * A short loop runs up to a fifth faster or slower by where its code lies in a cache line, and that is not the
 * allocator's doing. So a loop that is timed is built PLACES_NR times, 16 bytes further each time, and the timed blocks
 * take turns.
 *
 *   static ALWAYS_INLINE uint64_t run(size_t size, uint64_t nr) { .. the loop .. }
 *   PLACED(run, uint64_t, (size_t size, uint64_t nr), (size, nr))
 *
 * makes run_at[PLACES_NR], functions like run.
 */
#ifndef QUARRY_BENCH_PLACED_H
#define QUARRY_BENCH_PLACED_H

enum { PLACES_NR = 4 };

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* The no-operations come first in the function, once for each call. */
#define PLACED_ONE(name, bytes, type, params, args)                                                                    \
    __attribute__((noinline, aligned(64), patchable_function_entry(bytes, 0))) static type name##_##bytes params {     \
        return name args;                                                                                              \
    }

#define PLACED(name, type, params, args)                                                                               \
    PLACED_ONE(name, 0, type, params, args)                                                                            \
    PLACED_ONE(name, 16, type, params, args)                                                                           \
    PLACED_ONE(name, 32, type, params, args)                                                                           \
    PLACED_ONE(name, 48, type, params, args)                                                                           \
    static type(*const name##_at[PLACES_NR]) params = {name##_0, name##_16, name##_32, name##_48};

#endif
