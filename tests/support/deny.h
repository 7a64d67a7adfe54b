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
/* As sshd's child does before a login: few calls are left, the others end the process but for some that look at files,
 * which fail. Written down from the list of OpenSSH 9.2; what its threads-less kind never calls is not there. */
void deny_as_sshd(void);
/* As the default profiles of these runtimes do for a container without privileges: moby's of 2021 and later, where
 * clone3 and all calls newer than the profile fail with ENOSYS, and that of containers/common. */
void deny_as_docker(void);
void deny_as_podman(void);

#endif
