/* SPDX-License-Identifier: MIT */
/*
 * Busy threads beside whatever a test does: each runs a pool of its own (oracle.h) until told to stop.
 * Called by the process life programs of tests/integ.
 */
#ifndef QUARRY_TESTS_WORKERS_H
#define QUARRY_TESTS_WORKERS_H

#include "oracle.h"

#include <stddef.h>
#include <stdint.h>

enum { WORKERS_LIMIT = 64 };

/* Returns when all of them run. */
void workers_start(size_t worker_nr, uint64_t seed, size_t size_limit, enum pool_enomem enomem);
/* Those started afterwards sleep so long after every 64 steps: where others wait for a CPU, as a test's children do. */
void workers_nap(unsigned us);
/* Every worker checks and frees what it holds. Fails when one of them never made a step. */
void workers_stop(void);

#endif
