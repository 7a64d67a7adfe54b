/* SPDX-License-Identifier: MIT */
/*
 * The system calls of src/sys/lock.c as the machine of weave.h runs them: futex_call() is of weave_lock.c. Found in
 * place of src/sys/call.h. A waiter tries once before it sleeps: each further try is the same step.
 */
#ifndef QUARRY_SYS_CALL_H
#define QUARRY_SYS_CALL_H

#include "base/types.h"

#include <sys/syscall.h>

enum { SYS_SPINS = 1 };
static inline void sys_relax(void) {}

/* value: what is expected there, or how many are woken. */
long futex_call(void *word, int operation, u64 value);

#define SYS0(nr) ((long)0)
#define SYS_RARE(args_nr, ...) SYS##args_nr(__VA_ARGS__)
#define SYS3(nr, word, operation, value) futex_call((word), (operation), (value))
#define SYS4(nr, word, operation, value, timeout) ((void)(timeout), SYS3(nr, word, operation, value))

#endif
