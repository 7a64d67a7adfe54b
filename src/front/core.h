/* SPDX-License-Identifier: MIT */
/*
 * What libquarry-kmem needs of the heap: the only names the two libraries share besides <quarry/quarry.h>. Private to
 * quarry, but exported, because there must be one heap: libquarry-kmem has no state of its own and calls libquarry. The
 * digit is the version: a change of meaning gets a new name, so that libraries of two builds do not link instead of
 * misunderstanding each other. docs/adr/0031 has the alternatives. No function touches errno.
 */
#ifndef QUARRY_FRONT_CORE_H
#define QUARRY_FRONT_CORE_H

#include "front/names.h"

/* malloc, but for errno: at multiples of the largest power of two that divides size, up to 2 MiB. */
EXPORT void *quarry_core1_alloc(size_t size);
/* An object that is at hand in this CPU's magazine, or NULL: no system call, no lock, no loop. */
EXPORT void *quarry_core1_alloc_at_hand(size_t size);
/* An object without system call or waiting, even on top of any code of quarry's: out of a magazine, the depot, slabs
 * that have room, or, with reserve, the reserve. NULL when there is none, and above the largest size class. */
EXPORT void *quarry_core1_alloc_atomic(size_t size, bool reserve);
/* From now on there is a reserve. */
EXPORT void quarry_core1_reserve_start(void);
/* What quarry_core1_alloc asks when memory is out: fn(size), in the thread that allocates, with nothing held. */
EXPORT void quarry_core1_alloc_failed(void *(*fn)(size_t size));
/* Zeroed, size bytes of it. */
EXPORT void *quarry_core1_zalloc(size_t size);
/* align: a power of two up to 1 GiB. */
EXPORT void *quarry_core1_alloc_aligned(size_t align, size_t size);
/* Takes what any of the above gave, and NULL. Never waits; no system call for an object of a size class: what is to be
 * given back to the system is left to the next allocation of anybody who may block. */
EXPORT void quarry_core1_free(void *p);
/* One line on stderr, by write(2) alone. */
EXPORT void quarry_core1_warn(const char *line);

#endif
