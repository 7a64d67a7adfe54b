/* SPDX-License-Identifier: MIT */
/* Faults, looked at before whoever else wants them does. */
#ifndef QUARRY_SYS_FAULT_H
#define QUARRY_SYS_FAULT_H

#include "sys/unwind.h"

enum { SYS_FAULT_REGS_NR = 32 };
enum sys_access { SYS_ACCESS_UNKNOWN, SYS_ACCESS_READ, SYS_ACCESS_WRITE };
struct sys_fault {
    u64 address; /* 0 where the machine does not say, as for an address no process can have */
    u64 stack_pointer;
    u64 regs[SYS_FAULT_REGS_NR]; /* those of the instruction that failed */
    unsigned regs_nr;
    enum sys_access access;
    struct sys_frame frame;
};

/*
 * From now on fn is called, in a signal handler, when SIGSEGV is about to go where it went before: the program's own
 * handler, or its end. That is put back then, and the instruction fails again; so nothing is between the program and
 * its handler but the first fault, and there is one call of fn at most. A handler the program sets later is in front,
 * and is left alone. One that it sets at this very moment is put back: a fault until then may pass it by, and of two
 * that it sets meanwhile the first may be the one that stays. Any thread may call this, at any time.
 *
 * chain: over a handler that is there, too; else only where there is none, or the ally's.
 * False: not watched, nor later by another's call. SIGSEGV that is ignored stays so.
 */
enum sys_fault_chain { SYS_FAULT_ALONE, SYS_FAULT_CHAIN };
bool sys_fault_watch(void (*fn)(const struct sys_fault *fault), enum sys_fault_chain chain);
/* Whether a signal's action (sa_sigaction) is that handler, in which nobody allocates, or the ally's. */
bool sys_fault_is_ours(uintptr_t action);
/* The other of our two libraries is the one that holds `ally`, which stays loaded: once. Threads that ask meanwhile may
 * not be told of it yet. */
void sys_fault_ally(const void *ally);
/* Copies memory that may not be there; returns how much was. */
size_t sys_memory_read(void *to, u64 from, size_t bytes);

#endif
