/* SPDX-License-Identifier: MIT */
/*
 * A real memory.max and memory.high (cgroup v2), met by a process with the option cgroup: it gets NULL with ENOMEM
 * where the kernel would end it, goes on being served from what it frees, and finds a limit that was raised. Each trial
 * is a process of its own in a group of its own, and the kernel is asked what happened there. That the limit ends who
 * does not ask is seen first. Owns the groups and the judging; makes groups in the guest only, which says so.
 *
 * guest: all
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define ROOT "/sys/fs/cgroup"
#define GROUP ROOT "/quarry"

enum { MAX_MIB = 48, RAISED_MIB = 96, HIGH_MIB = 24, SERVED_PERCENT = 50, THREADS = 4 };

/* --- the group --- */

static void file_write(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK_MSG(fd >= 0, "cannot open %s: errno %d", path, errno);
    CHECK_MSG(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s refuses %s: errno %d", path, text, errno);
    close(fd);
}

static void limit_set(const char *file, size_t mib) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%zu", mib * MIB);
    file_write(file, text);
}

/* The most that was charged, in KiB; kernels before 5.19 do not say. */
static unsigned long peak_kib(void) {
    unsigned long bytes = 0;
    FILE *file = fopen(GROUP "/memory.peak", "r");
    if (file == NULL || fscanf(file, "%lu", &bytes) != 1)
        bytes = 0;
    if (file != NULL)
        fclose(file);
    return bytes >> 10;
}

/* Of memory.events. */
static unsigned long event_nr(const char *name) {
    char word[64];
    unsigned long nr = 0, found = 0;
    FILE *file = fopen(GROUP "/memory.events", "r");
    CHECK(file != NULL);
    while (fscanf(file, "%63s %lu", word, &nr) == 2)
        found = strcmp(word, name) == 0 ? nr : found;
    fclose(file);
    return found;
}

/* The kernel's words about whom it ends would stand in the midst of what the tests say. */
#define CONSOLE "/proc/sys/kernel/printk"

static char console_before[64];

static void console_quieten(void) {
    FILE *file = fopen(CONSOLE, "r");
    CHECK(file != NULL && fgets(console_before, sizeof(console_before), file) != NULL);
    fclose(file);
    file_write(CONSOLE, "1");
}

static void console_restore(void) { file_write(CONSOLE, console_before); }

static void groups_start(void) {
    if (mount("cgroup2", ROOT, "cgroup2", 0, NULL) != 0 && errno != EBUSY)
        check_skip("no cgroup v2: errno %d", errno);
    int fd = open(ROOT "/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "+memory", 7) != 7)
        check_skip("no memory in cgroup v2: errno %d", errno);
    close(fd);
}

static void group_make(void) {
    CHECK(mkdir(GROUP, 0755) == 0);
    limit_set(GROUP "/memory.max", MAX_MIB);
}

/* Whoever was ended may be among its members for a moment yet. */
static void group_remove(void) {
    enum { TRIES = 100, PAUSE_US = 20000 };
    int rc = rmdir(GROUP);
    for (unsigned i = 0; rc != 0 && errno == EBUSY && i < TRIES; i++) {
        usleep(PAUSE_US);
        rc = rmdir(GROUP);
    }
    CHECK_MSG(rc == 0, "%s stays: errno %d", GROUP, errno);
}

/* --- in the group --- */

/* Whoever is held knows the one before: nothing but the heap grows. */
struct object {
    struct object *before;
    size_t size;
    unsigned char bytes[];
};

struct heap {
    struct object *last;
    size_t nr, bytes;
    size_t min_bytes, max_bytes; /* of an object */
};

static unsigned char fill_of(const struct heap *h) { return (unsigned char)(h->nr % 251); }

static bool heap_take(struct heap *h) {
    size_t size = h->min_bytes + h->nr * 7919 % (h->max_bytes - h->min_bytes + 1);
    errno = 0;
    struct object *obj = malloc(size);
    if (obj == NULL)
        return false;
    h->nr++;
    h->bytes += size;
    *obj = (struct object){.before = h->last, .size = size};
    memset(obj->bytes, fill_of(h), size - sizeof(*obj));
    h->last = obj;
    return true;
}

/* Takes and touches until there is no more. */
static void heap_fill(struct heap *h) {
    while (heap_take(h))
        CHECK_MSG(h->bytes <= 2 * MAX_MIB * MIB, "memory has no end: %zu bytes", h->bytes);
    CHECK_MSG(errno == ENOMEM, "NULL with errno %d", errno);
}

static void heap_drop(struct heap *h, size_t down_to) {
    while (h->nr > down_to) {
        struct object *obj = h->last;
        size_t length = obj->size - sizeof(*obj);
        CHECK(obj->bytes[0] == fill_of(h) && obj->bytes[length / 2] == fill_of(h) &&
              obj->bytes[length - 1] == fill_of(h));
        h->last = obj->before;
        h->bytes -= obj->size;
        h->nr--;
        free(obj);
    }
}

static void expect_served(const struct heap *h, size_t limit_mib) {
    printf("%zu objects of %zu to %zu bytes, %zu KiB of %zu MiB\n", h->nr, h->min_bytes, h->max_bytes, h->bytes >> 10,
           limit_mib);
    CHECK_MSG(h->bytes * 100 >= limit_mib * MIB * SERVED_PERCENT, "%zu bytes of %zu MiB", h->bytes, limit_mib);
}

/* Until NULL, then half is freed and taken again; then all. */
static void fill_twice(size_t min_bytes, size_t max_bytes) {
    struct heap h = {.min_bytes = min_bytes, .max_bytes = max_bytes};
    heap_fill(&h);
    expect_served(&h, MAX_MIB);
    for (unsigned turn = 0; turn < 3; turn++) {
        heap_drop(&h, h.nr / 2);
        heap_fill(&h);
        expect_served(&h, MAX_MIB);
    }
    heap_drop(&h, 0);
    heap_fill(&h);
    expect_served(&h, MAX_MIB);
    heap_drop(&h, 0);
}

static void work_small(void) { fill_twice(100, 4000); }
static void work_medium(void) { fill_twice(20000, 200000); }
static void work_large(void) { fill_twice(MIB + 1, 3 * MIB); }

static void *thread_fill(void *heap) {
    heap_fill(heap);
    return NULL;
}

static void work_threads(void) {
    static struct heap heaps[THREADS];
    pthread_t threads[THREADS];
    struct heap all = {.min_bytes = 100, .max_bytes = 30000};
    for (unsigned i = 0; i < THREADS; i++)
        heaps[i] = all;
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, thread_fill, &heaps[i]) == 0);
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        all.nr += heaps[i].nr;
        all.bytes += heaps[i].bytes;
    }
    expect_served(&all, MAX_MIB);
    for (unsigned i = 0; i < THREADS; i++)
        heap_drop(&heaps[i], 0);
}

static void work_raised(void) {
    struct heap h = {.min_bytes = 5000, .max_bytes = 50000};
    heap_fill(&h);
    expect_served(&h, MAX_MIB);
    limit_set(GROUP "/memory.max", RAISED_MIB);
    heap_fill(&h);
    expect_served(&h, RAISED_MIB);
    heap_drop(&h, 0);
}

/* A cache that can be dropped lives below memory.high. */
static struct heap cache = {.min_bytes = 100, .max_bytes = 4000};
static unsigned drops;

static void cache_drop(void *unused) {
    (void)unused;
    heap_drop(&cache, 0);
    drops++;
}

static void work_high(void) {
    struct quarry_pressure p;
    free(opaque(malloc(1))); /* the heap is there, and knows */
    CHECK(quarry_reclaim_register(cache_drop, NULL) == 0);
    (void)quarry_pressure(&p);
    CHECK_MSG(p.soft_bytes != 0 && p.soft_bytes <= HIGH_MIB * MIB, "a soft limit of %zu bytes", (size_t)p.soft_bytes);
    for (size_t taken = 0; taken < 4 * MAX_MIB * MIB; taken += cache.last->size) {
        CHECK(heap_take(&cache));
        CHECK_MSG(cache.bytes <= HIGH_MIB * MIB, "%zu bytes are cached", cache.bytes);
    }
    printf("%u drops\n", drops);
    CHECK(drops > 0);
}

static const struct trial {
    const char *name;
    void (*work)(void);
    bool ends; /* by the kernel */
} trials[] = {
    {"unasked", work_small, true}, {"small", work_small, false},     {"medium", work_medium, false},
    {"large", work_large, false},  {"threads", work_threads, false}, {"raised", work_raised, false},
    {"high", work_high, false},
};

/* --- from outside --- */

/*
 * The kernel charges up to 64 pages in advance on each CPU where the group charges, and memory.stat does not tell: with
 * one thread that the scheduler moves about they would be a good part of so low a limit.
 */
static void cpu_stay(void) {
    cpu_set_t set;
    int cpu = sched_getcpu();
    CHECK(cpu >= 0);
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

/* The heap begins in the group: what starts there is another program. */
static void trial_enter(const struct trial *t) {
    char name[16], self[] = "/proc/self/exe", *arguments[] = {self, name, NULL};
    (void)snprintf(name, sizeof(name), "%s", t->name);
    CHECK(setenv("QUARRY_CGROUP", t->ends ? "off" : "on", 1) == 0);
    if (t->work != work_threads)
        cpu_stay();
    file_write(GROUP "/cgroup.procs", "0");
    (void)execv(self, arguments);
    check_fail(__FILE__, __LINE__, "no start: errno %d", errno);
}

static void trial_run(const struct trial *t) {
    int status;
    group_make();
    if (t->work == work_high)
        limit_set(GROUP "/memory.high", HIGH_MIB);
    printf("%s:\n", t->name);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        trial_enter(t);
    CHECK(waitpid(child, &status, 0) == child);
    unsigned long kills = event_nr("oom_kill");
    printf("wait status %#x, %lu ended by the kernel, %lu times at the limit, %lu KiB charged at most\n",
           (unsigned)status, kills, event_nr("max"), peak_kib());
    if (t->ends)
        CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && kills > 0, "the limit is none");
    else
        CHECK_MSG(status == 0 && kills == 0, "%s: wait status %#x, %lu ended by the kernel", t->name, (unsigned)status,
                  kills);
    group_remove();
}

int main(int argc, char **argv) {
    if (argc != 2)
        check_skip("control groups are made in a guest only, which says so");
    for (size_t i = 0; i < sizeof(trials) / sizeof(*trials); i++) {
        if (strcmp(argv[1], trials[i].name) == 0) {
            trials[i].work();
            return 0;
        }
    }
    CHECK(strcmp(argv[1], "all") == 0);
    groups_start();
    console_quieten();
    for (size_t i = 0; i < sizeof(trials) / sizeof(*trials); i++)
        trial_run(&trials[i]);
    console_restore();
    return 0;
}
