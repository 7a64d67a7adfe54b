/* SPDX-License-Identifier: MIT */
/*
 * Resident memory from /proc and mmap for the programs' own books (see mem.h). No state, no allocation, no stdio
 * streams: a FILE would be allocated by the library under test.
 */
#include "mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "die.h"

enum { PROC_TEXT_BYTES = 8192, PROC_PATH_BYTES = 64, BYTES_PER_KIB = 1024 };

static void proc_read(const char *path, char text[PROC_TEXT_BYTES]) {
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die("open %s", path);
    for (;;) {
        ssize_t got = read(fd, text + used, PROC_TEXT_BYTES - 1 - used);

        if (got < 0)
            die("read %s", path);
        if (got == 0)
            break;
        used += (size_t)got;
    }
    close(fd);
    text[used] = '\0';
}

/* The figure of one "Label:   123 kB" line, in bytes. */
static uint64_t proc_field_bytes(const char *text, const char *label) {
    const char *line = strstr(text, label);

    if (line == NULL)
        die("no %s in /proc", label);
    return strtoull(line + strlen(label), NULL, 10) * BYTES_PER_KIB;
}

uint64_t mem_rss_bytes(void) {
    char text[PROC_TEXT_BYTES];

    proc_read("/proc/self/smaps_rollup", text);
    return proc_field_bytes(text, "\nRss:");
}

uint64_t mem_rss_racy_bytes(void) {
    char text[PROC_TEXT_BYTES];
    char *resident;

    proc_read("/proc/self/statm", text);
    strtoull(text, &resident, 10);
    return strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t mem_peak_bytes(void) {
    char text[PROC_TEXT_BYTES];

    proc_read("/proc/self/status", text);
    return proc_field_bytes(text, "\nVmHWM:");
}

void mem_rollup_of(pid_t pid, struct mem_rollup *ret_rollup) {
    char path[PROC_PATH_BYTES];
    char text[PROC_TEXT_BYTES];

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    proc_read(path, text);
    ret_rollup->rss_bytes = proc_field_bytes(text, "\nRss:");
    ret_rollup->private_clean_bytes = proc_field_bytes(text, "\nPrivate_Clean:");
    ret_rollup->private_dirty_bytes = proc_field_bytes(text, "\nPrivate_Dirty:");
}

static void *map_anonymous(size_t bytes, int extra_flags) {
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | extra_flags, -1, 0);

    if (start == MAP_FAILED)
        die("mmap of %zu bytes", bytes);
    return start;
}

void *mem_map_touched(size_t bytes) { return map_anonymous(bytes, MAP_POPULATE); }

void *mem_map_lazy(size_t bytes) { return map_anonymous(bytes, MAP_NORESERVE); }

void mem_unmap(void *start, size_t bytes) {
    if (munmap(start, bytes) != 0)
        die("munmap");
}

uint64_t mem_over(uint64_t bytes, uint64_t start_bytes) { return bytes > start_bytes ? bytes - start_bytes : 0; }
