/* SPDX-License-Identifier: MIT */
/*
 * prctl, for what it tells: a program that forbids itself system calls says so by it, directly or through libseccomp,
 * and may be killed for the first call that its filter does not know. From then on nothing but what every allocator
 * takes is called (sys_prctl()). Who enters the kernel by syscall(2) alone is not seen.
 */
#include "front/names.h"
#include "sys/sys.h"

#include <errno.h>
#include <stdarg.h>

enum { ERRNO_MAX = 4095 };

int prctl(int op, ...) {
    unsigned long args[4];
    va_list list;
    va_start(list, op);
    for (unsigned i = 0; i < sizeof(args) / sizeof(args[0]); i++)
        args[i] = va_arg(list, unsigned long);
    va_end(list);
    long ret = sys_prctl(op, args);
    if (ret >= 0 || ret < -ERRNO_MAX)
        return (int)ret;
    errno = (int)-ret;
    return -1;
}
