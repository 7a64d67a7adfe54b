/* SPDX-License-Identifier: MIT */
/* For unit tests that are programs of their own, without Criterion, because they fork, trace or raise signals: MUST
 * ends the program with the line that failed, SKIP with the status meson takes for "skipped". And a child that is
 * expected to die, for those of Criterion as well. */
#ifndef QUARRY_TESTS_UNIT_ALONE_H
#define QUARRY_TESTS_UNIT_ALONE_H

#include "base/types.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ALONE_FAILED = 1, ALONE_SKIPPED = 77 };

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition);                                 \
            _exit(ALONE_FAILED);                                                                                       \
        }                                                                                                              \
    } while (0)

#define SKIP(reason)                                                                                                   \
    do {                                                                                                               \
        fprintf(stderr, "skipped: %s\n", reason);                                                                      \
        exit(ALONE_SKIPPED);                                                                                           \
    } while (0)

/* xorshift64*: the same numbers in every run of one seed. */
static inline u64 alone_random(u64 *seed) {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

/* Runs crime(arg) in a child. Returns the signal that ended it (0: none), and what it wrote to stderr. */
static inline int alone_die(void (*crime)(void *arg), void *arg, char *ret_said, size_t cap_bytes) {
    int pipe_fds[2], status = 0;
    size_t len = 0;
    ssize_t got;
    MUST(pipe(pipe_fds) == 0);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        /* Criterion's handlers would report the expected end as a crash. */
        signal(SIGABRT, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        dup2(pipe_fds[1], STDERR_FILENO);
        crime(arg);
        _exit(0);
    }
    close(pipe_fds[1]);
    while (len + 1 < cap_bytes && (got = read(pipe_fds[0], ret_said + len, cap_bytes - 1 - len)) > 0)
        len += (size_t)got;
    ret_said[len] = '\0';
    close(pipe_fds[0]);
    MUST(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#endif
