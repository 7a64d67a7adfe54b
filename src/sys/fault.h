/* SPDX-License-Identifier: MIT */
/* Faults, looked at before they end the program, for libquarry-kmem alone. */
#ifndef QUARRY_SYS_FAULT_H
#define QUARRY_SYS_FAULT_H

#include "base/types.h"

enum { SYS_FAULT_REGS_NR = 32 };
struct sys_fault {
    u64 address; /* 0 where the machine does not say, as for an address no process can have */
    u64 stack_pointer;
    u64 regs[SYS_FAULT_REGS_NR]; /* those of the instruction that failed */
    unsigned regs_nr;
};

/* From now on fn is called, in a signal handler, when SIGSEGV is about to end the program; then it does. False: the
 * program has a handler of its own. */
bool sys_fault_watch(void (*fn)(const struct sys_fault *fault));
/* Copies memory that may not be there; returns how much was. */
size_t sys_memory_read(void *to, u64 from, size_t bytes);

#endif
