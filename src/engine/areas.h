/* SPDX-License-Identifier: MIT */
/* vmalloc areas as the rest of the engine is: started when needed, reclaiming when memory is out. Called by front/ for
 * libquarry-kmem. Thread-safe and async-signal-safe as engine.h says. */
#ifndef QUARRY_ENGINE_AREAS_H
#define QUARRY_ENGINE_AREAS_H

#include "big/area.h"

/* As big_area_alloc and big_area_resize; where memory is out all that can be given back is, and a second attempt made.
 * align up to 1 GiB. p of the others must be the start of an area; anything else is misuse. */
void *engine_area_alloc(size_t size, size_t align, unsigned flags, int node, const void *caller);
void *engine_area_resize(void *p, size_t size);
void engine_area_free(void *p);
/* Without system call. */
void engine_area_free_atomic(void *p);
size_t engine_area_bytes(const void *p);

#endif
