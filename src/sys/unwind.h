/* SPDX-License-Identifier: MIT */
/*
 * Who called whom, by the unwind tables that compilers write for C++ exceptions (.eh_frame), so that no frame pointers
 * are needed. For reports: a stack may end early where a function has no table, or one this does not read.
 */
#ifndef QUARRY_SYS_UNWIND_H
#define QUARRY_SYS_UNWIND_H

#include "base/types.h"

/* Numbers of registers as the tables have them; the last is the return address of x86-64. */
enum { SYS_FRAME_REGS_NR = 33 };

struct sys_frame {
    u64 regs[SYS_FRAME_REGS_NR];
    u64 pc;
};

/* Return addresses from this function's caller on, at most max; those inside the library this is part of are left out
 * at the top, unless it is part of the program itself. Returns how many. No system call, no lock, no memory but 4 KiB
 * of stack: async-signal-safe. 0 where the C library cannot find the tables without a lock (before glibc 2.35; musl).
 */
unsigned sys_stack_take(const void **addrs, unsigned max);
/* The same from registers that were interrupted: the first address is pc itself. */
unsigned sys_stack_take_from(const struct sys_frame *frame, const void **addrs, unsigned max);

#endif
