/* SPDX-License-Identifier: MIT */
/* What is in a trace, for people: bench_play --info. */
#ifndef BENCH_REPLAY_INFO_H
#define BENCH_REPLAY_INFO_H

#include <stdbool.h>

#include "trace.h"

/* Reads all of the trace and prints, unless it has a problem (coder->problem): then it is false. */
bool info_print(struct trace_coder *coder);

#endif
