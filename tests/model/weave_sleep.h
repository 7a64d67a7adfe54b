/* SPDX-License-Identifier: MIT */
/* Threads of a model that sleep in the kernel, all on one word. For models of one file each, which include it. */
#ifndef QUARRY_TESTS_WEAVE_SLEEP_H
#define QUARRY_TESTS_WEAVE_SLEEP_H

#include "base/types.h"

#include "weave.h"

enum { SLEEPER_BITS = 4 };
/* The threads that sleep, by number plus 1, the first in the lowest bits. In the step before, as who holds the kernel's
 * lock of the futex sees it. */
static _Atomic(u64) sleepers;
static _Atomic(u64) system_calls; /* read by a call that does nothing else to memory: a step */

static u64 sleepers_get(void) { return atomic_load_explicit(&sleepers, memory_order_relaxed); }
static void sleepers_set(u64 next) { atomic_store_explicit(&sleepers, next, memory_order_relaxed); }
static void kernel_step(void) { (void)atomic_load_explicit(&system_calls, memory_order_relaxed); }

static unsigned sleeper_at(unsigned i) {
    return (unsigned)(sleepers_get() >> (i * SLEEPER_BITS)) & ((1u << SLEEPER_BITS) - 1);
}

/* Its place among them, or their number. */
static unsigned sleeper_find(unsigned self) {
    unsigned i = 0;
    while (sleeper_at(i) != 0 && sleeper_at(i) != self + 1)
        i++;
    return i;
}

static bool is_asleep(unsigned self) { return sleeper_at(sleeper_find(self)) != 0; }

static void sleeper_add(unsigned self) {
    sleepers_set(sleepers_get() | (u64)(self + 1) << (sleeper_find(self) * SLEEPER_BITS));
}

static void sleeper_remove(unsigned i) {
    u64 all = sleepers_get(), below = ((u64)1 << (i * SLEEPER_BITS)) - 1;
    sleepers_set((all & below) | (all >> SLEEPER_BITS & ~below));
}

static void sleepers_wake(u64 nr) {
    kernel_step();
    for (; nr > 0 && sleeper_at(0) != 0; nr--)
        sleeper_remove(0);
}

/* In setup. */
static void sleepers_start(void) { weave_count(&sleepers); }

#endif
