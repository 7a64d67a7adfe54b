/* SPDX-License-Identifier: MIT */
/*
 * Private to the per-CPU files of kmem/: which copy of a per-CPU variable is this thread's, and where the copies lie.
 * Contract towards programs: <quarry/kmem_percpu.h>. It knows nothing of the heap's magazines, which choose their CPU
 * by themselves.
 *
 *   copy 0 of everything    copy 1                  ...  copy cpus_nr: of threads the kernel tells no CPU number
 *   base                    base + 1 << SHIFT            base + cpus_nr << SHIFT
 *
 * The distance between copies is the same everywhere, so the copy of an address is found by its number alone.
 */
#ifndef QUARRY_KMEM_PERCPU_PRIVATE_H
#define QUARRY_KMEM_PERCPU_PRIVATE_H

#include "kmem/kmem.h"
#include "sys/sys.h"

/* No module of programs: it has no variables of its own. */
#define QUARRY_PERCPU_NO_MODULE
#pragma GCC visibility push(default)
#include "quarry/kmem_percpu.h"
#pragma GCC visibility pop

enum { PERCPU_COPY_SHIFT = 18, PERCPU_LOCK_SHIFT = 6 };
#define PERCPU_COPY_BYTES ((size_t)1 << PERCPU_COPY_SHIFT)

/* A lock of each copy, on a cache line of its own. Word: as in struct sys_lock. */
struct percpu_lock {
    _Alignas(CACHE_LINE) struct sys_lock lock;
};
_Static_assert(sizeof(struct percpu_lock) == (size_t)1 << PERCPU_LOCK_SHIFT, "found by shifting the CPU number");

struct percpu {
    bool rseq;             /* restartable sequences work here */
    u32 cpus_nr;           /* CPUs the kernel may ever number */
    ptrdiff_t rseq_offset; /* of the thread's rseq area from its thread pointer; with rseq alone */
    struct percpu_lock *locks;
};
extern HIDDEN struct percpu percpu;

/* --- percpu_cpu.c --- */

/* Fills percpu, once; false when memory is out. */
bool percpu_start(void);
/* Copies of each variable: one for each CPU, and one for threads without a CPU number. */
static inline u32 percpu_copies_nr(void) { return percpu.cpus_nr + 1; }
/* This thread's copy is nobody else's until the put. Nests. Returns the copy's number. */
unsigned percpu_get(void);
void percpu_put(void);
/* 0 while this thread holds no copy. */
extern HIDDEN __thread volatile u64 percpu_held_word;
/* The copy this thread holds, or would use now: then stale on return. */
unsigned percpu_number_racy(void);

/* --- percpu_area.c --- */

/* Address of copy 0, of what alloc_percpu gave or of a variable of a loaded module. Ends the program for any other. */
uintptr_t percpu_base(const void *p);
void percpu_area_fork_child(void);

#endif
