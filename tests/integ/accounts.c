/* SPDX-License-Identifier: MIT */
/*
 * The accounts against the kernel, at random moments while threads allocate objects and regions of mixed sizes and
 * touch only part of them: the sum of the parts is the kernel's figure within 2 %, each part that is large is needed
 * for that, and what is called not ours is no more than stacks and data can be. And mallinfo2's at the end. Usage:
 * accounts [SEED].
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../include/quarry/quarry.h"
#pragma weak quarry_report

enum { THREADS_NR = 4, SLOTS_NR = 4000, SNAPSHOTS_NR = 24, REPORT_BYTES = 8192, BAR_PARTS = 50 };
/* A thread that is stopped in the middle of a call, between two owners of a region, can spoil a reading. */
enum { MISSES_MAX = 3 };
/* Four stacks, the program and libc. */
#define NOT_OURS_MAX_BYTES (8u << 20)

static atomic_bool stop;
static uint64_t seed;

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static size_t random_size(uint64_t *state) {
    uint64_t r = random_next(state);
    if (r % 1000 == 0)
        return (1u << 20) + (r >> 20) % (2u << 20);
    if (r % 50 == 0)
        return (r >> 20) % (200u << 10);
    return 1 + (r >> 20) % 2000;
}

static void slot_renew(char **slot, uint64_t *state) {
    size_t size = random_size(state);
    free(*slot);
    *slot = malloc(size);
    if (*slot == NULL)
        abort();
    memset(*slot, 1, random_next(state) % 4 == 0 ? size / 2 : size);
}

static void *worker(void *arg) {
    uint64_t state = (seed + 1 + (uintptr_t)arg) * 0x9E3779B97F4A7C15u;
    static char *all[THREADS_NR][SLOTS_NR];
    char **slots = all[(uintptr_t)arg];
    while (!atomic_load(&stop)) {
        for (int i = 0; i < 50; i++)
            slot_renew(&slots[random_next(&state) % SLOTS_NR], &state);
        usleep(500);
    }
    return NULL;
}

static uint64_t figure(const char *report, const char *name) {
    char key[64];
    snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = strstr(report, key);
    if (at == NULL) {
        printf("no figure %s\n", name);
        exit(1);
    }
    return strtoull(at + strlen(key), NULL, 10);
}

static void report_take(char *report) {
    int fd = memfd_create("report", 0);
    if (fd < 0 || quarry_report(fd, QUARRY_JSON) != 0)
        abort();
    ssize_t got = pread(fd, report, REPORT_BYTES - 1, 0);
    report[got < 0 ? 0 : got] = '\0';
    close(fd);
}

static uint64_t apart(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/* 1 when the bar is missed, or holds although a part of more than twice the bar is left out. */
static int snapshot_check(const char *report) {
    static const char *const parts[] = {"live_bytes",      "cached_bytes",     "depot_bytes",         "slab_free_bytes",
                                        "slab_tail_bytes", "run_free_bytes",   "meta_resident_bytes", "unasked_bytes",
                                        "not_ours_bytes",  "big_cached_bytes", "pages_free_bytes"};
    enum { PARTS_NR = sizeof(parts) / sizeof(parts[0]) };
    uint64_t kernel = figure(report, "kernel_anon_bytes"), bar = kernel / BAR_PARTS, sum = 0;
    for (int i = 0; i < PARTS_NR; i++)
        sum += figure(report, parts[i]);
    sum -= figure(report, "untouched_bytes");
    if (figure(report, "accounted_bytes") != sum) {
        printf("accounted_bytes is not the sum of its parts, %llu: %s\n", (unsigned long long)sum, report);
        exit(1);
    }
    int bad = kernel == 0 || apart(sum, kernel) > bar || figure(report, "not_ours_bytes") > NOT_OURS_MAX_BYTES;
    for (int i = 0; i < PARTS_NR; i++) {
        uint64_t part = figure(report, parts[i]);
        bad |= part > 2 * bar && apart(sum - part, kernel) <= bar;
    }
    if (bad)
        printf("sum %llu, kernel %llu: %s\n", (unsigned long long)sum, (unsigned long long)kernel, report);
    return bad;
}

/* With nobody calling: what mallinfo2 counts is what the kernel says of the heap and what was never written of it,
 * within 2 %, and its parts are those of the report. */
static int mallinfo_check(void) {
    static const char *const others[] = {"big_cached_bytes", "slab_tail_bytes"};
    char report[REPORT_BYTES];
    struct mallinfo2 m = mallinfo2();
    report_take(report);
    uint64_t sum = m.arena + m.hblkhd;
    uint64_t kernel = figure(report, "kernel_anon_bytes") - figure(report, "not_ours_bytes") +
                      figure(report, "untouched_bytes") - figure(report, "unasked_bytes");
    uint64_t rest = m.fordblks - figure(report, "cached_bytes") - figure(report, "depot_bytes") -
                    figure(report, "slab_free_bytes") - figure(report, "run_free_bytes");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        rest -= figure(report, others[i]);
    int bad = apart(sum, kernel) > kernel / BAR_PARTS || rest != 0 || m.arena != m.uordblks + m.fordblks;
    if (bad)
        printf("mallinfo2 %llu, kernel %llu, rest %lld: %s\n", (unsigned long long)sum, (unsigned long long)kernel,
               (long long)rest, report);
    return bad;
}

/* Of regions that were freed one after another, some are kept. */
static void regions_leave(void) {
    enum { TURNS = 4, REGION_BYTES = 6 << 20 };
    for (int i = 0; i < TURNS; i++) {
        char *p = malloc(REGION_BYTES);
        if (p == NULL)
            abort();
        memset(p, 1, REGION_BYTES);
        free(p);
    }
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS_NR];
    char report[REPORT_BYTES];
    int bad = 0;
    if (access("/proc/self/pagemap", R_OK) != 0 || access("/proc/self/smaps_rollup", R_OK) != 0)
        return 77;
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    uint64_t state = seed * 2 + 1;
    for (uintptr_t i = 0; i < THREADS_NR; i++)
        pthread_create(&threads[i], NULL, worker, (void *)i);
    for (int i = 0; i < SNAPSHOTS_NR; i++) {
        usleep((useconds_t)(20000 + random_next(&state) % 100000));
        report_take(report);
        bad += snapshot_check(report);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS_NR; i++)
        pthread_join(threads[i], NULL);
    regions_leave();
    return bad > MISSES_MAX || mallinfo_check();
}
