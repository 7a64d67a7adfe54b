/* SPDX-License-Identifier: MIT */
/*
 * What the recorder's two files share: record.c, which wraps the functions of C and writes the raw file, offers
 * record_cxx.c, which wraps the operators of C++, the ways to note a call. All are for the calling thread, and must not
 * be called by signal handlers.
 */
#ifndef BENCH_REPLAY_RECORD_H
#define BENCH_REPLAY_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

#define EXPORT __attribute__((visibility("default")))
/* An address that no object has; NULL is a value that free() takes. */
#define NO_OBJECT ((const void *)UINTPTR_MAX)

/* False while dlsym() looks for the allocator, which may itself allocate. */
bool record_ready(void);

/* ns of CLOCK_MONOTONIC, for the time a call began. */
uint64_t record_now_ns(void);

/*
 * Around a call that is passed on and returns an object. The second notes the birth, unless the call has come back to
 * us and was noted as the one it became, or failed. Returns object.
 */
void record_birth_begin(void);
void *record_birth(enum trace_op op, uint64_t time_ns, void *object, size_t size, size_t align);

/* Around a call that is passed on and frees object, NULL included. False when its death is noted already: it is the
 * same call come back. The second takes what the first returned. */
bool record_death_begin(const void *object);
void record_death_end(bool began);

#endif
