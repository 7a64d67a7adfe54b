/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says about this process: resident bytes, mappings, accountable bytes, what threads wait for. Owns the
 * reading of /proc/self into a stack buffer, so that measuring does not allocate. Called by tests that bound memory.
 */
#ifndef QUARRY_TESTS_PROC_H
#define QUARRY_TESTS_PROC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

size_t proc_resident_bytes(void);
/* Anonymous memory as smaps_rollup has it: exact, where the line above is not. */
size_t proc_anonymous_bytes(void);
size_t proc_mapping_nr(void);
/* Bytes of mappings the kernel charges against its commit limit (VmFlags "ac" in smaps). */
size_t proc_accountable_bytes(void);
/* What a thread of this process waits for, on stderr: its state, where in the kernel, and the system call it is in. In
 * a signal handler too. */
void proc_thread_print(int tid);

#ifdef __cplusplus
}
#endif
#endif
