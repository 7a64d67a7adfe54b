/* SPDX-License-Identifier: MIT */
/*
 * measure: runs one program on the allocator named by BENCH_PRELOAD and writes what it took, as members of a JSON
 * object, to a file. Time, faults and switches are those of the program and of every child it waited for, from wait4().
 * Memory is the peak resident set of the largest of these processes; with --family it is the sum of the proportional
 * sets of the program and its descendants, sampled ten times a second, for servers whose processes share memory. What
 * was resident over time goes with it.
 *
 *   BENCH_PRELOAD=[LIBRARY] measure [--family] FIGURES PROGRAM [ARGUMENT...]
 *
 * LD_PRELOAD is set for the program alone. It is an error when the library never appears among the program's mappings:
 * the dynamic linker itself only warns. The kernel starts a program's peak at the peak of the process it was spawned
 * from, which is why this is a small C program and not a shell. SIGTERM and SIGINT are passed on. Exits as the program
 * does.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "../lib/rss_series.h"

enum { NS_PER_MS = 1000000, CONFIRM_MS = 5, FAMILY_MS = 100, MS_PER_S = 1000, FAILED = 125 };

struct watch {
    pid_t pid;
    const char *preload; /* canonical path of the library, NULL for none */
    bool confirmed;      /* the library was seen in the program */
    bool family;
    uint64_t family_peak_bytes;
    double start_s;
    struct rss_series series;
};

static double now_s(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static FILE *proc_open(pid_t pid, const char *name) {
    char path[128];

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re"); /* NULL when the process is gone */
}

static bool proc_maps(pid_t pid, const char *library) {
    FILE *maps = proc_open(pid, "maps");
    char line[PATH_MAX + 128];
    bool found = false;

    if (maps == NULL)
        return false;
    while (!found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, library) != NULL;
    fclose(maps);
    return found;
}

static uint64_t proc_pss_bytes(pid_t pid) {
    FILE *rollup = proc_open(pid, "smaps_rollup");
    char line[256];
    unsigned long pss_kib = 0;

    if (rollup == NULL)
        return 0;
    while (fgets(line, sizeof line, rollup) != NULL)
        if (sscanf(line, "Pss: %lu kB", &pss_kib) == 1)
            break;
    fclose(rollup);
    return (uint64_t)pss_kib * 1024;
}

static uint64_t sum(uint64_t a, uint64_t b) { return a + b; }

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* What one says of each of the program and its descendants, joined. */
static uint64_t family_bytes(pid_t pid, uint64_t (*one)(pid_t), uint64_t (*join)(uint64_t, uint64_t)) {
    char name[64];
    uint64_t bytes = one(pid);
    int child;

    snprintf(name, sizeof name, "task/%d/children", (int)pid);
    FILE *children = proc_open(pid, name);
    if (children == NULL)
        return bytes;
    while (fscanf(children, "%d", &child) == 1)
        bytes = join(bytes, family_bytes(child, one, join));
    fclose(children);
    return bytes;
}

static void watch_look(struct watch *watch) {
    if (!watch->confirmed)
        watch->confirmed = proc_maps(watch->pid, watch->preload);
    uint64_t bytes =
        watch->family ? family_bytes(watch->pid, proc_pss_bytes, sum) : family_bytes(watch->pid, rss_of, larger);
    if (watch->family && bytes > watch->family_peak_bytes)
        watch->family_peak_bytes = bytes;
    rss_series_add(&watch->series, (uint64_t)((now_s() - watch->start_s) * MS_PER_S), bytes);
}

/* Until the program ends; returns its wait status. What is looked for decides how often this process wakes: the sets of
 * a family take a walk of all their page tables. */
static int watch_wait(struct watch *watch, const sigset_t *signals, struct rusage *ret_usage) {
    int status;

    while (wait4(watch->pid, &status, WNOHANG, ret_usage) != watch->pid) {
        long look_ms = !watch->confirmed ? CONFIRM_MS : watch->family ? FAMILY_MS : RSS_SERIES_MS;
        struct timespec period = {.tv_nsec = look_ms * NS_PER_MS};
        int got = sigtimedwait(signals, NULL, &period);

        if (got == SIGTERM || got == SIGINT)
            kill(watch->pid, got);
        else if (got < 0 && errno == EAGAIN)
            watch_look(watch);
    }
    return status;
}

/* The program must not inherit the signals blocked here. */
static pid_t spawn(char **command) {
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid;

    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int error = posix_spawnp(&pid, command[0], NULL, &attributes, command, environ);
    if (error != 0) {
        errno = error;
        err(FAILED, "%s", command[0]);
    }
    posix_spawnattr_destroy(&attributes);
    return pid;
}

/* Puts the library into LD_PRELOAD, or takes the variable away; returns its canonical path or NULL. */
static const char *preload_set(void) {
    static char path[PATH_MAX];
    const char *library = getenv("BENCH_PRELOAD");

    unsetenv("LD_PRELOAD");
    if (library == NULL || library[0] == '\0')
        return NULL;
    if (realpath(library, path) == NULL)
        err(FAILED, "BENCH_PRELOAD: %s", library);
    setenv("LD_PRELOAD", library, 1);
    return path;
}

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

static void figures_write(const char *path, const struct watch *watch, const struct rusage *usage, double wall_s) {
    FILE *file = fopen(path, "we");
    uint64_t peak_bytes = watch->family ? watch->family_peak_bytes : (uint64_t)usage->ru_maxrss * 1024;

    if (file == NULL)
        err(FAILED, "%s", path);
    fprintf(file, "\"wall_s\": %.6f, \"user_s\": %.6f, \"sys_s\": %.6f, ", wall_s, seconds(usage->ru_utime),
            seconds(usage->ru_stime));
    fprintf(file, "\"peak_bytes\": %llu, \"faults\": %ld, \"switches\": %ld, ", (unsigned long long)peak_bytes,
            usage->ru_minflt + usage->ru_majflt, usage->ru_nvcsw + usage->ru_nivcsw);
    /* A family ends one by one: the last that was seen of it says nothing. */
    if (!watch->family && watch->series.nr > 0)
        fprintf(file, "\"rss_last_bytes\": %llu, ", (unsigned long long)watch->series.last_bytes);
    fprintf(file, "\"rss_series\": ");
    rss_series_write(file, &watch->series);
    if (fclose(file) != 0)
        err(FAILED, "%s", path);
}

int main(int argc, char **argv) {
    struct watch watch = {.family = argc > 1 && strcmp(argv[1], "--family") == 0};
    struct rusage usage;
    sigset_t signals;
    char **words = argv + 1 + (watch.family ? 1 : 0);

    if (argc - (words - argv) < 2)
        errx(FAILED, "usage: measure [--family] FIGURES PROGRAM [ARGUMENT...]");
    watch.preload = preload_set();
    watch.confirmed = watch.preload == NULL;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    watch.start_s = now_s();
    watch.pid = spawn(words + 1);
    int status = watch_wait(&watch, &signals, &usage);
    double wall_s = now_s() - watch.start_s;

    if (WIFSIGNALED(status))
        errx(FAILED, "%s: signal %d", words[1], WTERMSIG(status));
    if (WEXITSTATUS(status) == 0 && !watch.confirmed)
        errx(FAILED, "%s never mapped %s", words[1], watch.preload);
    figures_write(words[0], &watch, &usage, wall_s);
    return WEXITSTATUS(status);
}
