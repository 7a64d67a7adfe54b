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
/* Zeroed, size bytes of it. */
EXPORT void *quarry_core1_zalloc(size_t size);
/* align: a power of two up to 1 GiB. */
EXPORT void *quarry_core1_alloc_aligned(size_t align, size_t size);
/* Takes what any of the above gave, and NULL. */
EXPORT void quarry_core1_free(void *p);
/* One line on stderr, by write(2) alone. */
EXPORT void quarry_core1_warn(const char *line);

#endif
