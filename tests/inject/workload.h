/* SPDX-License-Identifier: MIT */
/* The workload of refuse.c, in which calls of the system fail. */
#ifndef QUARRY_TESTS_INJECT_WORKLOAD_H
#define QUARRY_TESTS_INJECT_WORKLOAD_H

#include "oracle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* --- refuse.c --- */

/* Whether the answer just given may be NULL; asked once for each. */
bool may_be_null(void);
/* Without mremap an area cannot move. */
bool moves_are_refused(void);
/* This process is a child whose calls nobody counts. */
void work_child(void);

/* --- workload.c --- */

extern bool work_squeezes; /* memory is out by the workload's own limit */

void work_start(void);
/* All stages in turn, up to the one before which there is enough. */
void work(bool (*enough)(void));
void work_mixed(uint64_t seed);
/* Each tier once more; who calls it knows that there is memory, and nothing is NULL. */
void work_served(void);

/* NULL is judged. */
bool work_granted(const void *p);
void work_object_get(struct object *o, size_t size, uint64_t stamp);
size_t work_space_bytes(void);

#endif
