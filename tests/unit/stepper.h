/* SPDX-License-Identifier: MIT */
/*
 * For tests that take a child through its own instructions one at a time, and abort its restartable sequences where
 * they want: the tracer's side of ptrace, on x86-64 alone. A stop inside a sequence aborts it, unless the tracer has
 * cleared the thread's rseq_cs meanwhile. One child at a time.
 */
#ifndef QUARRY_TESTS_UNIT_STEPPER_H
#define QUARRY_TESTS_UNIT_STEPPER_H

#include "unit/alone.h"

#if defined(__x86_64__)

#include <errno.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static pid_t child;

static inline u64 peek(u64 addr) {
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, child, (void *)addr, NULL); // NOLINT(performance-no-int-to-ptr)
    MUST(errno == 0);
    return (u64)word;
}
static inline void poke(u64 addr, u64 word) {
    MUST(ptrace(PTRACE_POKEDATA, child, (void *)addr, (void *)word) == 0);
} // NOLINT

static inline struct user_regs_struct regs(void) {
    struct user_regs_struct r;
    MUST(ptrace(PTRACE_GETREGS, child, NULL, &r) == 0);
    return r;
}

static inline void step(void) {
    int status;
    MUST(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
    MUST(waitpid(child, &status, 0) == child);
    MUST(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
}

static inline void finish(int signal_nr) {
    int status;
    MUST(ptrace(PTRACE_CONT, child, NULL, (void *)(long)signal_nr) == 0); // NOLINT(performance-no-int-to-ptr)
    MUST(waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The kernel takes the thread out of the section at its next step. */
static inline void must_abort(u64 area_cs, u64 descriptor, u64 first, u64 bytes) {
    step();
    u64 ip = regs().rip;
    MUST(ip - first >= bytes);
    MUST(peek(area_cs) != descriptor);
}

/* Without aborts an operation must go wrong somewhere: else the disturbances are harmless and prove nothing. */
static inline void must_go_wrong(const char *operation, unsigned wrong_nr) {
    if (wrong_nr == 0)
        fprintf(stderr, "%s survives every disturbance without an abort\n", operation);
    MUST(wrong_nr > 0);
}

#endif
#endif
