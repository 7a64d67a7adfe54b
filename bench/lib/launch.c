/* SPDX-License-Identifier: MIT */
/*
 * launch FD LIBRARY PROGRAM [WORD..]: runs one program with LIBRARY preloaded ("-": nothing) and writes what wait4()
 * says about it and the children it waited for, and its resident memory over time, as one line of JSON, to the open
 * descriptor FD. stdout and stderr are the program's. tools/bench starts every program through it, because ru_maxrss of
 * a process begins with the size its parent's copy had at execve(): some 20 MB under an interpreter, and below any
 * program that is measured under this one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "die.h"
#include "rss_series.h"

enum { EXIT_NO_PROGRAM = 127, BYTES_PER_KIB = 1024, FIRST_FREE_FD = 3, DECIMAL = 10, NS_PER_MS = 1000000 };

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

static int descriptor_parse(const char *word) {
    char *end = NULL;
    long number = strtol(word, &end, DECIMAL);

    if (*end != '\0' || number < FIRST_FREE_FD || number > INT_MAX)
        die("%s is not a descriptor", word);
    if (fcntl((int)number, F_SETFD, FD_CLOEXEC) != 0)
        die("descriptor %s", word);
    return (int)number;
}

__attribute__((noreturn)) static void child_exec(const char *library, char **command) {
    if (strcmp(library, "-") != 0 && setenv("LD_PRELOAD", library, 1) != 0)
        die("setenv");
    execv(command[0], command);
    perror(command[0]);
    _exit(EXIT_NO_PROGRAM);
}

static void usage_write(int report_fd, double wall_s, int status, const struct rusage *usage,
                        const struct rss_series *series) {
    FILE *report = fdopen(report_fd, "w");

    if (report == NULL)
        die("the report");
    int written =
        fprintf(report,
                "{\"exit_status\": %d, \"exit_signal\": %d, \"wall_s\": %.6f, \"user_s\": %.6f, \"system_s\": %.6f, "
                "\"peak_rss_bytes\": %ld, \"minor_faults\": %ld, \"major_faults\": %ld, \"voluntary_switches\": %ld, "
                "\"involuntary_switches\": %ld, \"rss_last_bytes\": %llu, \"rss_series\": ",
                WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0, wall_s,
                seconds(usage->ru_utime), seconds(usage->ru_stime), usage->ru_maxrss * BYTES_PER_KIB, usage->ru_minflt,
                usage->ru_majflt, usage->ru_nvcsw, usage->ru_nivcsw, (unsigned long long)series->last_bytes);

    if (written < 0 || rss_series_write(report, series) < 0 || fprintf(report, "}\n") < 0 || fclose(report) != 0)
        die("the report");
}

/* Until the child ends; looks at its memory in between. */
static int child_wait(pid_t child, uint64_t start_ns, const sigset_t *ended, struct rusage *ret_usage,
                      struct rss_series *series) {
    const struct timespec period = {.tv_nsec = RSS_SERIES_MS * (long)NS_PER_MS};
    int status = 0;

    for (;;) {
        pid_t got = wait4(child, &status, WNOHANG, ret_usage);
        if (got == child)
            return status;
        if (got < 0 && errno != EINTR)
            die("wait4");
        if (sigtimedwait(ended, NULL, &period) < 0 && errno == EAGAIN)
            rss_series_add(series, (clock_now_ns() - start_ns) / NS_PER_MS, rss_of(child));
    }
}

int main(int argc, char **argv) {
    static struct rss_series series;
    struct rusage usage;
    sigset_t ended, before;

    if (argc < 4)
        die("usage: FD LIBRARY PROGRAM [WORD..]");
    int report_fd = descriptor_parse(argv[1]);
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ended, &before);
    uint64_t start_ns = clock_now_ns();
    pid_t child = fork();

    if (child < 0)
        die("fork");
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        child_exec(argv[2], argv + 3);
    }
    int status = child_wait(child, start_ns, &ended, &usage, &series);
    usage_write(report_fd, (double)(clock_now_ns() - start_ns) / 1e9, status, &usage, &series);
    return 0;
}
