/* SPDX-License-Identifier: MIT */
/*
 * The system calls of src/sys/vm.c as the machine of weave.h runs them: place_call() is of weave_place.c. Found in
 * place of src/sys/call.h.
 */
#ifndef QUARRY_SYS_CALL_H
#define QUARRY_SYS_CALL_H

#include "base/types.h"

#include <sys/syscall.h>

/* from: what is unmapped or moved, to: where. Those of no place are not reached. */
long place_call(long nr, const void *from, const void *to);

#define SYS2(nr, addr, bytes) ((void)(bytes), place_call((nr), (addr), NULL))
#define SYS3(nr, addr, bytes, how) ((void)(bytes), (void)(how), place_call((nr), (addr), NULL))
#define SYS4(nr, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d), place_call((nr), NULL, NULL))
#define SYS6(nr, addr, b, c, d, to, f)                                                                                 \
    ((void)(b), (void)(c), (void)(d), (void)(f),                                                                       \
     place_call((nr), (const void *)(uintptr_t)(addr), (const void *)(uintptr_t)(to)))
#define SYS_RARE(args_nr, ...) SYS##args_nr(__VA_ARGS__)

#endif
