/* SPDX-License-Identifier: MIT */
/*
 * The two ends of a process: a constructor that lets the engine read its options and register its fork handlers as soon
 * as libc runs, and what happens last of all: the report of option `stats` and the exit audit. Allocation needs
 * neither: it works before the one and after the other. Owns the descriptor the report goes to. Linked into a static
 * program by a reference in malloc.c.
 *
 * Nothing happens in a process that ends by _exit, exec or a signal: forked children that never reach exit() are
 * silent.
 */
#include "engine/engine.h"
#include "front/names.h"
#include "obs/obs.h"
#include "rt/options.h"

#include <errno.h>
#include <fcntl.h>
#include <features.h>

/* libc's; the destructor's way to run after every other one. */
extern int __cxa_atexit(void (*fn)(void *), void *arg, void *dso);

/* glibc goes on calling functions registered while it runs the last of them; musl drops them. */
#ifdef __GLIBC__
enum { ATEXIT_WORKS_AT_EXIT = 1 };
#else
enum { ATEXIT_WORKS_AT_EXIT = 0 };
#endif

enum { STDERR_FD = 2 };
/* Out of the way of programs that count on getting small numbers, below the usual limit of 1024. */
enum { REPORT_FD_MIN = 960, REPORT_FD_MIN_TIGHT = 16 };

/* A copy of stderr, made at the start because many programs close stderr before they end (all of coreutils do). -1:
 * none. */
static int report_fd = -1;
static int report_fd_flags;

static void report_fd_open(void) {
    int saved_errno = errno; /* 0 when main starts, says C */
    report_fd = fcntl(STDERR_FD, F_DUPFD_CLOEXEC, REPORT_FD_MIN);
    if (report_fd < 0)
        report_fd = fcntl(STDERR_FD, F_DUPFD_CLOEXEC, REPORT_FD_MIN_TIGHT);
    if (report_fd >= 0)
        report_fd_flags = fcntl(report_fd, F_GETFL);
    errno = saved_errno;
}

/* The program may have closed every descriptor and opened a file of its own under this number: never write into that. A
 * dup2 clears close-on-exec, and the lowest free number is hardly ever this one. */
static bool report_fd_ours(void) {
    return report_fd >= 0 && fcntl(report_fd, F_GETFD) == FD_CLOEXEC && fcntl(report_fd, F_GETFL) == report_fd_flags;
}

static void report(void) {
    if (!report_fd_ours())
        return;
    switch (rt_opt.stats) {
    case OPT_STATS_SHORT: obs_report_short(report_fd); break;
    case OPT_STATS_TEXT: obs_report_text(report_fd); break;
    case OPT_STATS_JSON: obs_report_json(report_fd); break;
    default: break;
    }
}

/* The report first: the audit empties the magazines the report counts, and may abort. */
static void end(void *unused) {
    (void)unused;
    report();
    if (rt_opt.exit_check)
        engine_exit_audit();
}

/* 101: before every constructor of the program itself in a static program, and before those of C++. */
__attribute__((constructor(101))) void front_start(void) {
    engine_libc_ready();
    engine_seal();
    if (rt_opt.stats != OPT_STATS_OFF)
        report_fd_open();
}

/* Our destructor runs among those of the other libraries, which still allocate and free. Registered from here, end()
 * runs when all of them, and all that atexit knew, are through. */
__attribute__((destructor(101))) static void front_end(void) {
    if (!ATEXIT_WORKS_AT_EXIT || __cxa_atexit(end, NULL, NULL) != 0)
        end(NULL);
}
