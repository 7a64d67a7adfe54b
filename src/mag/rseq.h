/* SPDX-License-Identifier: MIT */
/* Chooses the per-CPU primitives of this architecture. */
#ifndef QUARRY_MAG_RSEQ_H
#define QUARRY_MAG_RSEQ_H

#if QUARRY_RSEQ && defined(__x86_64__)
#include "mag/rseq_x86_64.h"
#elif QUARRY_RSEQ && defined(__aarch64__)
#include "mag/rseq_aarch64.h"
#else
#include "mag/rseq_none.h"
#endif

#endif
