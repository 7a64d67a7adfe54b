/* SPDX-License-Identifier: MIT */
/*
 * Line-wise reading of /proc/self files without stdio and without memory of its own. See proc.h.
 */
#include "proc.h"

#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef void (*line_fn)(const char *line, void *sum);

static void lines_each(const char *path, line_fn each, void *sum) {
    char buffer[8192];
    size_t held = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    CHECK_MSG(fd >= 0, "cannot open %s", path);
    while ((got = read(fd, buffer + held, sizeof buffer - held - 1)) > 0) {
        char *start = buffer, *end;
        held += (size_t)got;
        buffer[held] = '\0';
        while ((end = strchr(start, '\n')) != NULL) {
            *end = '\0';
            each(start, sum);
            start = end + 1;
        }
        held -= (size_t)(start - buffer);
        memmove(buffer, start, held);
    }
    close(fd);
}

static void statm_line(const char *line, void *sum) {
    unsigned long total_pages, resident_pages;

    CHECK(sscanf(line, "%lu %lu", &total_pages, &resident_pages) == 2);
    *(size_t *)sum = resident_pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void maps_line(const char *line, void *sum) {
    (void)line;
    *(size_t *)sum += 1;
}

struct accountable {
    size_t mapping_kib;
    size_t total_bytes;
};

static void smaps_line(const char *line, void *sum) {
    struct accountable *account = sum;

    if (!strncmp(line, "Size:", 5))
        CHECK(sscanf(line + 5, "%zu", &account->mapping_kib) == 1);
    else if (!strncmp(line, "VmFlags:", 8) && strstr(line + 8, " ac"))
        account->total_bytes += account->mapping_kib << 10;
}

static void rollup_line(const char *line, void *sum) {
    size_t kib;

    if (sscanf(line, "Anonymous: %zu", &kib) == 1)
        *(size_t *)sum = kib << 10;
}

size_t proc_anonymous_bytes(void) {
    size_t bytes = 0;

    lines_each("/proc/self/smaps_rollup", rollup_line, &bytes);
    CHECK(bytes != 0);
    return bytes;
}

size_t proc_resident_bytes(void) {
    size_t bytes = 0;

    lines_each("/proc/self/statm", statm_line, &bytes);
    CHECK(bytes != 0);
    return bytes;
}

size_t proc_mapping_nr(void) {
    size_t mappings = 0;

    lines_each("/proc/self/maps", maps_line, &mappings);
    CHECK(mappings != 0);
    return mappings;
}

size_t proc_accountable_bytes(void) {
    struct accountable account = {0, 0};

    lines_each("/proc/self/smaps", smaps_line, &account);
    return account.total_bytes;
}

void proc_thread_print(int tid) {
    static const char *const files[] = {"stat", "wchan", "syscall", "stack"};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64], text[2048];
        snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, files[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text);
        if (got > 0)
            dprintf(STDERR_FILENO, "thread %d %s: %.*s\n", tid, files[i], (int)got, text);
        if (fd >= 0)
            close(fd);
    }
}
