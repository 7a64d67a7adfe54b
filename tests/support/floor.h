/* SPDX-License-Identifier: MIT */
/*
 * What a process is left with when everything is given back, before a storm and after it: nothing may be lost, and
 * memory is flat. Owns the reading and the bounds. Called by the storms of tests/integ and tests/stress on the
 * preloaded library.
 */
#ifndef QUARRY_TESTS_FLOOR_H
#define QUARRY_TESTS_FLOOR_H

#include <stddef.h>
#include <stdint.h>

struct floor {
    uint64_t live_bytes, slabs, big_regions, resident_bytes; /* the allocator's own figures */
    size_t mappings;
};

/*
 * Called once before the first floor: so many threads live at the same time and end, so that what libc keeps for
 * threads that have ended (a record of each on the heap, with its stack) is there before and after. Stacks are made
 * small, else libc keeps a few only.
 */
void floor_threads(size_t thread_nr);

/* Everything the caller allocated must be freed, or the same be held before and after. Not while other threads run. */
struct floor floor_take(void);

/*
 * Fails unless live bytes and regions are exactly what they were. No more slabs and mappings, and no more memory, but
 * for what magazines may differ by: a few MiB for each CPU, so that of the pages nobody counts only a loss with every
 * so many calls is found; objects and regions that are lost are found by their exact figures. In the hardened mode, of
 * mappings alone. Where FOREIGN_PAGES is set, as under an emulator of programs, the kernel's page table is not of this
 * program's pages, and what it says is left out.
 */
void floor_check(const struct floor *before);

#endif
