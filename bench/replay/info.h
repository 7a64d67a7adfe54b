/* SPDX-License-Identifier: MIT */
/* What is in a trace, for people and tests: bench_play --info and --list. */
#ifndef BENCH_REPLAY_INFO_H
#define BENCH_REPLAY_INFO_H

#include <stdbool.h>

#include "trace.h"

/* Reads all of the trace and prints, unless it has a problem (coder->problem): then it is false. */
bool info_print(struct trace_coder *coder);

/* Prints each call as it is read: thread, ns, call, object given or "-", size, alignment, object returned or "-". */
bool list_print(struct trace_coder *coder);

#endif
