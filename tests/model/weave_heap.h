/* SPDX-License-Identifier: MIT */
/*
 * For models of files that take records from the metadata pool: a small one, modelled, with what they ask of the class
 * tables. weave_heap_start() begins it in setup.
 */
#ifndef QUARRY_TESTS_MODEL_WEAVE_HEAP_H
#define QUARRY_TESTS_MODEL_WEAVE_HEAP_H

#include "rt/meta.h"
#include "slab/slab.h"

/* ids_end: ids of classes go up to there. */
void weave_heap_start(unsigned ids_end);

#endif
