/* SPDX-License-Identifier: MIT */
/* Chooses the per-CPU sections of this architecture. */
#ifndef QUARRY_KMEM_PERCPU_OPS_H
#define QUARRY_KMEM_PERCPU_OPS_H

#if QUARRY_RSEQ && defined(__x86_64__)
#include "kmem/percpu_x86_64.h"
enum { PERCPU_HAS_SECTIONS = 1 };
#else
#include "kmem/percpu_none.h"
enum { PERCPU_HAS_SECTIONS = 0 };
#endif

#endif
