/* SPDX-License-Identifier: MIT */
/*
 * Makes the kernel refuse one system call of this process and of everything it becomes, by a seccomp filter.
 * Owns the BPF program; the caller says which call and which error. Called by tests/integ/seccomp.c.
 */
#ifndef QUARRY_TESTS_DENY_H
#define QUARRY_TESTS_DENY_H

/* Every thread of the process is bound. Skips the test when the kernel has no seccomp filters. */
void deny_syscall(long syscall_nr, int error);

#endif
