/* SPDX-License-Identifier: MIT */
/*
 * What the test library says of its system calls, and which of them it refuses: one rule, told by one thread. Shared by
 * the judge inside the library (judge.c) and the programs that run on it, which find it by inject_get().
 */
#ifndef QUARRY_TESTS_INJECT_H
#define QUARRY_TESTS_INJECT_H

#include <stdatomic.h>
#include <stddef.h>

enum { INJECT_CALLS_MAX = 4096 };
/* In the place of a number: every call that gets memory, gives it back, waits, opens a file or is a barrier. */
enum { INJECT_ANY = 100000 };

struct inject {
    _Atomic(long) nr;         /* the system call concerned, or INJECT_ANY; -1: none */
    _Atomic(int) error;       /* positive */
    _Atomic(unsigned) first;  /* of the calls from the arming on, counted from 1; 0: none is refused */
    _Atomic(unsigned) many;   /* how many from that one on */
    _Atomic(unsigned) calls;  /* calls of this number since the arming */
    _Atomic(unsigned) denied; /* of them, those refused */
    /* Called within each of these calls, with its number, before it is judged: the rule may change now, and time that
     * passes does not for the library. Runs in the midst of the allocator. NULL: nobody. */
    void (*_Atomic before)(unsigned call);
    /* Another call that fails meanwhile, each every-th time, from the arming on. 0: none. */
    _Atomic(long) beside_nr;
    _Atomic(unsigned) beside_every, beside_calls;
    /* For each of these calls, where the library made it: an address as the library was linked. */
    _Atomic(unsigned long) sites[INJECT_CALLS_MAX];
};

__attribute__((visibility("default"))) struct inject *inject_get(void);
/* Address space the library has and does not use: kept between regions, or known to be lost. */
__attribute__((visibility("default"))) size_t inject_spare_bytes(void);

#endif
