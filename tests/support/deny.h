/* SPDX-License-Identifier: MIT */
/*
 * Makes the kernel refuse system calls of this process and of everything it becomes, by a seccomp filter.
 * Owns the BPF program; the caller says which calls and which error. Called by tests/integ/life_seccomp.c.
 */
#ifndef QUARRY_TESTS_DENY_H
#define QUARRY_TESTS_DENY_H

#include <stddef.h>

/* Every thread of the process is bound. Skips the test when the kernel has no seccomp filters. */
void deny_syscall(long syscall_nr, int error);
void deny_syscalls(const long *syscall_nrs, size_t nr, int error);
/* The call ends the process by SIGSYS. */
void deny_deadly(long syscall_nr);
/* As docker and its like without privileges: what their profile reserves for capabilities fails with EPERM, clone3 and
 * all calls newer than the profile with ENOSYS. */
void deny_as_containers(void);

#endif
