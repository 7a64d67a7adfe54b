/* SPDX-License-Identifier: MIT */
/*
 * Nobody can run into the allocator's own memory from a mapping beside it: below and above it lies address space
 * without access. By the kernel's word, in a process that uses all tiers. Knows of that memory only that it holds the
 * one anonymous mapping of a process that is large and can be read alone: the page map.
 */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAPS_BYTES = 1 << 20, OBJECTS_NR = 4000, FENCE_MIN_BYTES = 64 << 10, MAP_MIN_BYTES = 256 << 10 };

struct mapping {
    uintptr_t start, end;
    char rights[8];
    int is_file;
};

static char text[MAPS_BYTES];
static void *objects[OBJECTS_NR];

static void heap_use(void) {
    for (int i = 0; i < OBJECTS_NR; i++) {
        objects[i] = malloc((size_t)(i * 37 % 3000));
        CHECK(objects[i] != NULL);
    }
    void *large = malloc(4 << 20);
    CHECK(large != NULL);
    memset(large, 1, 4 << 20);
    for (int i = 0; i < OBJECTS_NR; i += 3)
        free(objects[i]);
}

/* In one buffer that was there before: what is read does not change by being read. */
static void maps_read(void) {
    int fd = open("/proc/self/maps", O_RDONLY);
    size_t filled = 0;
    CHECK(fd >= 0);
    for (ssize_t got; (got = read(fd, text + filled, sizeof(text) - 1 - filled)) > 0;)
        filled += (size_t)got;
    CHECK(filled > 0 && filled < sizeof(text) - 1);
    (void)close(fd);
}

static int mapping_next(char **at, struct mapping *m) {
    unsigned long start, end, inode;
    if (**at == '\0' || sscanf(*at, "%lx-%lx %7s %*s %*s %lu", &start, &end, m->rights, &inode) != 4)
        return 0;
    m->start = start;
    m->end = end;
    m->is_file = inode != 0 || memchr(*at, '[', strcspn(*at, "\n")) != NULL;
    *at += strcspn(*at, "\n") + 1;
    return 1;
}

static int can_be_reached(const struct mapping *m) { return strncmp(m->rights, "---", 3) != 0; }
static size_t fence_bytes(const struct mapping *m) { return can_be_reached(m) ? 0 : (size_t)(m->end - m->start); }

int main(void) {
    struct mapping m, before = {0}, below = {0};
    int here = 0, fenced = 0;
    char *at = text;
    heap_use();
    maps_read();
    /* Mappings one behind the other that can be reached; what lies below and above them. */
    for (; mapping_next(&at, &m); before = m) {
        int goes_on = m.start == before.end && can_be_reached(&before);
        if (!goes_on && can_be_reached(&m))
            below = before.end == m.start ? before : (struct mapping){.rights = "rwx"};
        if (can_be_reached(&m) && !m.is_file && strncmp(m.rights, "r--p", 4) == 0 && m.end - m.start >= MAP_MIN_BYTES) {
            CHECK_MSG(fence_bytes(&below) >= FENCE_MIN_BYTES, "below: %s at %#lx", below.rights,
                      (unsigned long)m.start);
            here = 1;
        }
        if (here && !can_be_reached(&m)) {
            CHECK_MSG(m.start == before.end && fence_bytes(&m) >= FENCE_MIN_BYTES, "above: %#lx",
                      (unsigned long)m.start);
            here = 0;
            fenced++;
        }
    }
    CHECK_MSG(!here && fenced == 1, "%d stretches of the allocator's own", fenced);
    puts("fenced");
    return 0;
}
