/* SPDX-License-Identifier: MIT */
/*
 * Address space the kernel would not take back. munmap may be refused: where it would split a mapping and the process
 * has as many as vm.max_map_count allows, or by a sandbox. What was to be unmapped is then remembered, its memory given
 * back by other means where that works, and unmapping is tried again at ticks and trims. Used by page/ and big/ for
 * ranges that nobody else knows any more. Lock-free, thread-safe and async-signal-safe.
 */
#ifndef QUARRY_RT_LEFTOVER_H
#define QUARRY_RT_LEFTOVER_H

#include "base/types.h"

/* Unmaps [addr, addr + bytes), of which the first counted_bytes may hold memory and are counted in rt/usage.h: they are
 * subtracted there when the memory is gone, now or later. The caller must forget the range. */
void rt_release(void *addr, size_t bytes, size_t counted_bytes);

/* Tries again: until one is refused, or each of them once. */
enum rt_leftover_effort { RT_LEFTOVER_SOME, RT_LEFTOVER_ALL };
void rt_release_retry(enum rt_leftover_effort effort);

/* Address space that waits to be taken back. */
size_t rt_leftover_bytes(void);

#endif
