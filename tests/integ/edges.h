/* SPDX-License-Identifier: MIT */
/*
 * What the edge cases share: the sizes that stand for each tier of the allocator, and a prototype for every case
 * function that edges.def names. Included by edges.c and edges_*.c.
 */
#ifndef QUARRY_TESTS_EDGES_H
#define QUARRY_TESTS_EDGES_H

#include "check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One size for each way an allocation can be served: magazine, longer class, page run, mapping. */
#define SIZE_SMALL ((size_t)48)
#define SIZE_MEDIUM ((size_t)5000)
#define SIZE_RUN ((size_t)100000)
#define SIZE_BIG ((size_t)(3 << 20) + 1000)

#define TOO_LARGE_FIRST ((size_t)PTRDIFF_MAX + 1)
/* Within PTRDIFF_MAX, beyond what any address space of today holds. */
#define TOO_LARGE_REAL ((size_t)1 << 57)

#define EDGE(scope, name, function, argument) void function(size_t argument_of_case);
#include "edges.def"
#undef EDGE

/* Whether quarry is the process's malloc. */
bool edge_on_quarry(void);
/* Calls malloc and requires memory. */
void *edge_alloc(size_t size);
/* NULL with ENOMEM: the answer to every impossible request. Clear errno before the call. */
void edge_refused(const void *p);
void edge_fill(void *p, size_t size, unsigned seed);
void edge_verify(const void *p, size_t size, unsigned seed);
void edge_aligned(const void *p, size_t alignment);

#endif
