/* SPDX-License-Identifier: MIT */
/*
 * Every system call of one kind fails, one by one, on the real library. One workload, which visits all tiers, is run
 * once to see how often it makes the call and from where; then once for each chosen call, in a child of its own, with
 * that call refused (once), with it and the next one (a pair), and with that one and all later ones refused (rest). Of
 * `any` kind, where the next call is whatever answers the first failure, there are pairs alone. Chosen are the first
 * and the last call of each call site, and as many others as there is time for; all of them when SOAK is set. Another
 * call may fail now and then besides, so that what answers a failure fails as well.
 *
 * The oracle of each trial:
 *   - what objects hold is what was written, through reallocation, fork and refusal;
 *   - NULL comes with ENOMEM, and only where memory really is out: while mmap or mprotect is refused for good or twice
 * in a row, or under the workload's own RLIMIT_AS;
 *   - afterwards, when nothing is refused any more and all is freed: the accounts are where they were, used is the sum
 *     of what is backed, no region is left, address space is not lost, and everything works again.
 *
 * Usage: refuse [--beside CALL EVERY] CALL [ERROR FIRST MANY]   with numbers: that trial alone, in this process
 *        refuse pairs CALL FIRST STEP   pairs from the first on, each STEP-th: the soak's longest part, in pieces. Of
 *                             each pair one error, in turn; with SOAK set all of them
 *        refuse foreign       mmap is refused while foreign memory is freed
 *        refuse dense         madvise is refused while small pages that became dense are made hugepages, and then no
 * more
 *        refuse contended ERROR   futex is refused, with that error, while threads wait for each other
 *        refuse start CALL    what the environment's rule did to the start, and whether there is service
 * All but foreign and contended print the call sites seen, as addresses in the library. Run by refuse.py.
 */
#include "check.h"
#include "inject.h"
#include "oracle.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <quarry/quarry.h>
#pragma weak quarry_stat
#pragma weak quarry_pressure

/* What libquarry-kmem's vmalloc is made of (big/area.h). */
enum { AREA_HUGE = 1, AREA_ANY_NODE = -1 };
static void *(*area_alloc)(size_t size, size_t align, unsigned flags, int node, const void *caller);
static void *(*area_resize)(void *p, size_t size);
static void (*area_free)(void *p);

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum {
    POOL_STEPS = 600,
    RUNS_NR = 64,
    HOLES_NR = 6000,
    HOLE_STEP = 40,
    REGIONS_NR = 20,
    SQUEEZED_NR = 64,
    MANY_NR = 280, /* more regions than are given mappings of their own */
    ERRORS_MAX = 4,
    /* Slabs and magazines that a program which freed everything may still have. */
    KEPT_MAX_BYTES = 256 << 10,
    /* Where the kernel lays things, and which slabs were made, may differ by this. */
    SPACE_MAX_BYTES = 16 << 20,
    /* And a reservation of the page tier, if now and then it can't be given back when address space is out. */
    RESERVATION_BYTES = 1 << 30,
    BUDGET_MS = 400,
    PLANS_MAX = 3,
    DENSE_NR = 20000,
    DENSE_REFUSED_MS = 4000,
    DENSE_WAIT_MS = 20000,
    CONTEND_THREADS = 6,
    CONTEND_STEPS = 20,
    CONTEND_WAIT_MS = 10000,
    CONTEND_DENIED_MIN = 50,
    /* What libc keeps for threads that have ended. */
    CONTEND_LIVE_BYTES = 16 << 10,
};

static const struct kind {
    const char *name;
    long nr;
    int errors[ERRORS_MAX];
    bool memory; /* refused for good, there is no memory to be had */
} kinds[] = {
    {"mmap", SYS_mmap, {ENOMEM, EAGAIN, EPERM}, true},
    {"mprotect", SYS_mprotect, {ENOMEM, EINVAL, EAGAIN, EPERM}, true},
    {"madvise", SYS_madvise, {ENOMEM, EINVAL, EAGAIN, EPERM}, false},
    {"process_madvise", SYS_process_madvise, {ENOMEM, EINVAL, EAGAIN, EPERM}, false},
    {"mremap", SYS_mremap, {ENOMEM, EAGAIN, EPERM}, false},
    {"munmap", SYS_munmap, {ENOMEM, EINVAL, EAGAIN, EPERM}, false},
    {"membarrier", SYS_membarrier, {EPERM, ENOMEM, EAGAIN}, false},
    {"openat", SYS_openat, {EPERM, ENOMEM, EAGAIN}, false},
    {"futex", SYS_futex, {EPERM, ENOMEM, EAGAIN}, false},
    {"any", INJECT_ANY, {ENOMEM, EAGAIN, EPERM}, true},
};

/* One trial: what is refused, and what is found out. Shared by parent and child. */
static struct trial {
    const struct kind *kind;
    int error;
    unsigned first, many;
    unsigned calls, denied, refusals;
    size_t space_bytes;
    unsigned long sites[INJECT_CALLS_MAX];
} * trial;

static struct inject *rule;
static size_t (*spare_bytes)(void);
static bool may_refuse; /* NULL is an answer now */

/* --- objects --- */

static bool granted(const void *p) {
    if (p != NULL)
        return true;
    CHECK_MSG(errno == ENOMEM, "NULL with errno %d", errno);
    CHECK_MSG(may_refuse, "refused although there was memory to be had");
    trial->refusals++;
    return false;
}

static void object_get(struct object *o, size_t size, uint64_t stamp) {
    errno = 0;
    o->size = size;
    o->memory = malloc(size);
    if (granted(o->memory))
        object_stamp(o, stamp);
}

static void object_get_aligned(struct object *o, size_t align, size_t size, uint64_t stamp) {
    errno = 0;
    o->size = size;
    o->memory = aligned_alloc(align, size);
    CHECK(((uintptr_t)o->memory & (align - 1)) == 0);
    if (granted(o->memory))
        object_stamp(o, stamp);
}

/* The stamps of what is reallocated do not depend on its size: a byte in each page. */
static void pages_stamp(unsigned char *p, size_t size) {
    for (size_t at = 0; at < size; at += 4096)
        p[at] = (unsigned char)(at >> 12);
}

static void pages_check(const unsigned char *p, size_t size) {
    for (size_t at = 0; at < size; at += 4096)
        CHECK_MSG(p[at] == (unsigned char)(at >> 12), "byte %zu of %zu is %u", at, size, p[at]);
}

static void region_resize(struct object *o, size_t size) {
    errno = 0;
    unsigned char *p = realloc(o->memory, size);
    if (!granted(p)) {
        pages_check(o->memory, o->size);
        return;
    }
    pages_check(p, o->size < size ? o->size : size);
    pages_stamp(p, size);
    o->memory = p;
    o->size = size;
}

/* --- the workload --- */

static void work_mixed(uint64_t seed) {
    static struct pool pool;
    pool_init(&pool, seed, seed, 0);
    pool.enomem = may_refuse ? POOL_ENOMEM_COUNTED : POOL_ENOMEM_FATAL;
    pool_steps(&pool, POOL_STEPS);
    pool_drain(&pool);
    trial->refusals += (unsigned)pool.enomem_nr;
}

/* Runs of granules, more than may stay free. */
static void work_runs(void) {
    static struct object runs[RUNS_NR];
    for (unsigned i = 0; i < RUNS_NR; i++)
        object_get(&runs[i], 300 * KIB, i);
    for (unsigned i = 0; i < RUNS_NR; i += 2)
        object_retire(&runs[i]);
    for (unsigned i = 0; i < RUNS_NR; i += 2)
        object_get(&runs[i], 200 * KIB, i);
    for (unsigned i = 0; i < RUNS_NR; i++)
        object_retire(&runs[i]);
}

/* Pages inside slabs go, and are wanted again. */
static void work_holes(void) {
    static struct object objs[HOLES_NR];
    for (unsigned i = 0; i < HOLES_NR; i++)
        object_get(&objs[i], 250, i);
    for (unsigned i = 0; i < HOLES_NR; i++) {
        if (i % HOLE_STEP != 0)
            object_retire(&objs[i]);
    }
    (void)malloc_trim(0);
    for (unsigned i = 0; i < HOLES_NR; i++) {
        if (i % HOLE_STEP != 0)
            object_get(&objs[i], 250, i);
    }
    for (unsigned i = 0; i < HOLES_NR; i++)
        object_retire(&objs[i]);
}

static void zeroed_region(size_t size) {
    errno = 0;
    unsigned char *p = calloc(1, size);
    if (!granted(p))
        return;
    for (size_t at = 0; at < size; at += 512)
        CHECK(p[at] == 0);
    memset(p, 0xff, size);
    free(p);
}

static void work_resize(void) {
    struct object o = {NULL, 2 * MIB, 0};
    errno = 0;
    o.memory = malloc(o.size);
    if (!granted(o.memory))
        return;
    pages_stamp(o.memory, o.size);
    static const size_t sizes[] = {3 * MIB, 5 * MIB, 4 * MIB, 9 * MIB, 10 * MIB, 2 * MIB, 600 * KIB, 3 * MIB};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        region_resize(&o, sizes[i]);
    free(o.memory);
}

static void work_regions(void) {
    static struct object regions[REGIONS_NR];
    for (unsigned i = 0; i < REGIONS_NR; i++) {
        size_t size = (1 + i % 4) * MIB + 4096 * (i + 1);
        if (i % 5 == 0)
            object_get_aligned(&regions[i], (size_t)2 * MIB << (i / 5 * 2), 2 * MIB, i);
        else
            object_get(&regions[i], size, i);
    }
    for (unsigned i = 0; i < REGIONS_NR; i++)
        object_retire(&regions[i]);
    for (unsigned i = 0; i < 3; i++)
        object_get(&regions[i], (2 + i) * MIB, i);
    for (unsigned i = 0; i < 3; i++)
        object_retire(&regions[i]);
    zeroed_region(3 * MIB);
    zeroed_region(3 * MIB + 8192);
}

static void work_fork(void) {
    struct object held[2];
    object_get(&held[0], 5000, 1);
    object_get(&held[1], 2 * MIB, 2);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        object_retire(&held[0]);
        object_retire(&held[1]);
        work_mixed(7);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_MSG(status == 0, "the child of a fork ended with status %#x", (unsigned)status);
    object_retire(&held[0]);
    object_retire(&held[1]);
}

/* A region that cannot grow where it is, because another lies behind it. */
static void work_crowded(void) {
    struct object held[6];
    for (unsigned i = 0; i < 6; i++)
        object_get(&held[i], 1500 * KIB, i);
    for (unsigned i = 0; i < 6; i++) {
        if (held[i].memory == NULL)
            continue;
        pages_stamp(held[i].memory, held[i].size);
        region_resize(&held[i], 5 * MIB);
        free(held[i].memory);
    }
}

/* Regions so many that they are packed. */
static void work_many(void) {
    static struct object regions[MANY_NR];
    for (unsigned i = 0; i < MANY_NR; i++)
        object_get(&regions[i], MIB + 4096 * (i % 9 + 1), i);
    work_crowded();
    for (unsigned i = MANY_NR - 4; i < MANY_NR; i++) {
        object_retire(&regions[i]);
        work_resize();
    }
    for (unsigned i = 0; i < MANY_NR; i++)
        object_retire(&regions[i]);
}

/* The kernel API says NULL without errno. */
static bool area_granted(const void *p, bool may_be_null) {
    CHECK_MSG(p != NULL || may_be_null, "an area refused although there was memory to be had");
    trial->refusals += p == NULL;
    return p != NULL;
}

static void area_work(unsigned flags) {
    static const size_t sizes[] = {5 * MIB, 4 * MIB, 5 * MIB, 9 * MIB, 9 * MIB + 4096, 3 * MIB};
    size_t size = 3 * MIB;
    char *p = area_alloc(size, 4096, flags, AREA_ANY_NODE, NULL);
    if (!area_granted(p, may_refuse))
        return;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        pages_stamp((unsigned char *)p, size);
        char *q = area_resize(p, sizes[i]);
        size_t kept = sizes[i] < size ? sizes[i] : size;
        /* Without mremap it cannot move. */
        if (!area_granted(q, may_refuse || trial->kind->nr == SYS_mremap))
            q = p, kept = size;
        else
            size = sizes[i];
        pages_check((unsigned char *)q, kept);
        p = q;
    }
    area_free(p);
}

/* Areas of the kernel API, which live in the same tier; one in the way of the other's growth. */
static void work_areas(void) {
    char *p = area_alloc(MIB, 2 * MIB, 0, AREA_ANY_NODE, NULL);
    area_work(0);
    area_work(AREA_HUGE);
    if (area_granted(p, may_refuse))
        area_free(p);
}

static size_t space_bytes(void) {
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Address space is out: what is free and whole goes back with its addresses. */
static void work_squeezed(void) {
    static struct object objs[SQUEEZED_NR];
    struct rlimit old, tight;
    bool may_before = may_refuse;
    CHECK(getrlimit(RLIMIT_AS, &old) == 0);
    tight = old;
    tight.rlim_cur = space_bytes() + 24 * MIB;
    CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
    may_refuse = true;
    for (unsigned i = 0; i < SQUEEZED_NR; i++)
        object_get(&objs[i], 1500 * KIB, i);
    for (unsigned i = 0; i < SQUEEZED_NR; i++)
        object_retire(&objs[i]);
    CHECK(setrlimit(RLIMIT_AS, &old) == 0);
    may_refuse = may_before;
}

/* A region that may have hugepages, those of a pool too, and grows. */
static void work_large(void) {
    struct object held;
    object_get(&held, 9 * MIB, 1);
    if (held.memory == NULL)
        return;
    pages_stamp(held.memory, held.size);
    region_resize(&held, 13 * MIB);
    free(held.memory);
}

static void work(void) {
    work_mixed(1);
    work_large();
    work_runs();
    work_holes();
    work_regions();
    work_resize();
    work_many();
    work_areas();
    work_fork();
    work_squeezed();
    work_mixed(2);
    (void)malloc_trim(0);
}

/* --- the books --- */

static uint64_t figure(const char *name) {
    uint64_t value = 0;
    CHECK(quarry_stat(name, &value) == 0);
    return value;
}

struct books {
    uint64_t live, backed, regions, used;
};

static struct books books_read(void) {
    struct quarry_pressure p;
    quarry_pressure(&p);
    struct books b = {figure("live_bytes"), figure("backed_bytes"), figure("big_regions"),
                      p.used_bytes - figure("meta_bytes")};
    return b;
}

static void books_check(const struct books *before) {
    struct books b = books_read();
    CHECK_MSG(b.live == before->live, "%llu bytes live, %llu before", (unsigned long long)b.live,
              (unsigned long long)before->live);
    CHECK_MSG(b.regions == before->regions, "%llu regions left", (unsigned long long)b.regions);
    CHECK_MSG(b.used == b.backed, "%llu bytes counted as used, %llu as backed", (unsigned long long)b.used,
              (unsigned long long)b.backed);
    CHECK_MSG(b.backed <= before->backed + KEPT_MAX_BYTES, "%llu bytes backed, %llu before",
              (unsigned long long)b.backed, (unsigned long long)before->backed);
}

/* --- trials --- */

static const struct kind *beside;
static unsigned beside_every;

static void rule_set(unsigned first, unsigned many) {
    rule->error = trial->error;
    rule->many = many;
    rule->calls = rule->denied = 0;
    rule->first = first;
    if (beside != NULL) {
        rule->beside_calls = 0;
        rule->beside_nr = beside->nr;
        rule->beside_every = beside_every;
    }
    rule->nr = trial->kind->nr;
}

static void trial_run(void) {
    (void)malloc_trim(0);
    struct books before = books_read();
    may_refuse = (trial->kind->memory && trial->many > 1) || (beside != NULL && beside->memory);
    rule_set(trial->first, trial->many);
    work();
    trial->calls = rule->calls;
    trial->denied = rule->denied;
    for (unsigned i = 0; i < INJECT_CALLS_MAX; i++)
        trial->sites[i] = rule->sites[i];
    rule->first = rule->beside_every = 0;
    may_refuse = false;
    (void)malloc_trim(0);
    books_check(&before);
    size_t space = space_bytes() - spare_bytes();
    size_t most = trial->space_bytes + SPACE_MAX_BYTES + (beside != NULL ? RESERVATION_BYTES : 0);
    CHECK_MSG(trial->first == 0 || space <= most, "%zu KiB of address space, %zu where nothing was refused",
              space >> 10, trial->space_bytes >> 10);
    if (trial->first == 0)
        trial->space_bytes = space;
    work_mixed(3);
}

static void trial_child(void) {
    char repeat[128];
    snprintf(repeat, sizeof(repeat), "refuse %s %d %u %u", trial->kind->name, trial->error, trial->first, trial->many);
    check_repeat_set(repeat);
    trial_run();
    _exit(0);
}

static void trial_in_child(void) {
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        trial_child();
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_MSG(status == 0, "call %u and the %u after it, error %d: status %#x", trial->first, trial->many - 1,
              trial->error, (unsigned)status);
}

static bool is_soak(void) { return getenv("SOAK") != NULL; }

static bool time_is_up(void) {
    static struct timespec start;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (start.tv_sec == 0)
        start = now;
    long ms = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
    return !is_soak() && ms >= BUDGET_MS;
}

/* How many of the calls before this one, or after it, come from the same place. */
static unsigned alike(const unsigned long *sites, unsigned from, unsigned to, unsigned long site) {
    unsigned nr = 0;
    for (unsigned i = from; i < to; i++)
        nr += sites[i] == site;
    return nr;
}

static bool is_corner(const unsigned long *sites, unsigned calls, unsigned i) {
    return alike(sites, 0, i, sites[i]) == 0 || alike(sites, i + 1, calls, sites[i]) == 0;
}

/* Where the kernel lays mappings differs a little, and with it how often some calls are made: late ones may be missed.
 */
static unsigned missed_nr;

static unsigned trial_of_call(unsigned call, unsigned many, int error) {
    trial->error = error;
    trial->first = call;
    trial->many = many;
    trial_in_child();
    missed_nr += trial->denied == 0;
    return 1;
}

/* Which error it is hardly matters: each in turn, and all of them where there is time. */
static unsigned trials_with_errors(const struct kind *kind, unsigned call, unsigned many) {
    static unsigned turn;
    unsigned nr = 0, errors_nr = 0;
    while (errors_nr < ERRORS_MAX && kind->errors[errors_nr] != 0)
        errors_nr++;
    if (!is_soak())
        return trial_of_call(call, many, kind->errors[turn++ % errors_nr]);
    for (unsigned e = 0; e < errors_nr; e++)
        nr += trial_of_call(call, many, kind->errors[e]);
    return nr;
}

static unsigned trials_of_call(const struct kind *kind, unsigned call) {
    unsigned nr = trials_with_errors(kind, call, 2);
    if (kind->nr == INJECT_ANY)
        return nr;
    return nr + trial_of_call(call, ~0u, kind->errors[0]) + trials_with_errors(kind, call, 1);
}

static void sites_print(const unsigned long *sites, unsigned calls) {
    for (unsigned i = 0; i < calls && i < INJECT_CALLS_MAX; i++) {
        if (alike(sites, 0, i, sites[i]) == 0)
            printf("site %#lx\n", sites[i]);
    }
}

/* How many calls there are where none is refused. */
static unsigned calls_count(const struct kind *kind) {
    trial->kind = kind;
    trial->first = trial->many = 0;
    trial_in_child();
    return trial->calls < INJECT_CALLS_MAX ? trial->calls : INJECT_CALLS_MAX;
}

/* False: the first run, of which the plan is made, was not like those after it. */
static bool plan_try(const struct kind *kind) {
    static unsigned long sites[INJECT_CALLS_MAX];
    unsigned trials = 0;
    missed_nr = 0;
    unsigned calls = calls_count(kind);
    CHECK(calls > 0);
    memcpy(sites, trial->sites, sizeof(sites));
    for (unsigned i = 0; i < calls; i++) {
        if (is_corner(sites, calls, i))
            trials += trials_of_call(kind, i + 1);
    }
    unsigned step = INJECT_CALLS_MAX; /* a power of two: halving it reaches every call */
    for (; step > 0 && !time_is_up(); step /= 2) {
        for (unsigned i = step; i < calls && !time_is_up(); i += 2 * step) {
            if (!is_corner(sites, calls, i))
                trials += trials_of_call(kind, i + 1);
        }
    }
    if (missed_nr > trials / 2)
        return false;
    printf("%s: %u calls, %u trials\n", kind->name, calls, trials);
    sites_print(sites, calls);
    return true;
}

/* Where hugepages come slowly fewer are asked for than were in the first run, and where it took long, what was freed
 * was not wanted back in time to be kept. */
static void kind_try(const struct kind *kind) {
    unsigned plans = 1;
    while (!plan_try(kind)) {
        CHECK_MSG(plans++ < PLANS_MAX, "%u calls were not reached", missed_nr);
    }
}

/* However long it takes. */
static void pairs_try(const struct kind *kind, unsigned first, unsigned step) {
    unsigned trials = 0;
    CHECK(first > 0 && step > 0);
    unsigned calls = calls_count(kind);
    for (unsigned call = first; call <= calls; call += step)
        trials += trials_with_errors(kind, call, 2);
    printf("%s: %u calls, %u pairs, %u not reached\n", kind->name, calls, trials, missed_nr);
    CHECK_MSG(trials > 0, "there is no call %u", first);
    CHECK_MSG(missed_nr <= trials / 2, "%u of %u pairs were not reached", missed_nr, trials);
}

static const struct kind *kind_named(const char *name) {
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    check_fail(__FILE__, __LINE__, "no system call %s", name);
}

/* Housekeeping comes by for so long, or until there is a collapse. */
static uint64_t collapses_within(unsigned ms) {
    struct timespec step = {0, 10 * 1000000};
    for (unsigned waited = 0; waited < ms && figure("collapses") == 0; waited += 10) {
        for (unsigned i = 0; i < 20; i++)
            free(opaque(malloc(2 * MIB)));
        nanosleep(&step, NULL);
    }
    return figure("collapses");
}

static void dense_judge(void) {
    static struct object objs[DENSE_NR];
    trial->kind = kind_named("madvise");
    trial->error = ENOMEM;
    for (unsigned i = 0; i < DENSE_NR; i++)
        object_get(&objs[i], 1000, i);
    rule_set(1, ~0u);
    CHECK(collapses_within(DENSE_REFUSED_MS) == 0);
    CHECK_MSG(rule->denied > 0, "nothing was asked for");
    rule->first = 0;
    if (collapses_within(DENSE_WAIT_MS) == 0)
        check_skip("this kernel makes no hugepages of small pages");
    unsigned long *sites = trial->sites;
    for (unsigned i = 0; i < INJECT_CALLS_MAX; i++)
        sites[i] = rule->sites[i];
    sites_print(sites, rule->calls);
    for (unsigned i = 0; i < DENSE_NR; i++)
        object_retire(&objs[i]);
}

/* --- threads that wait for each other --- */

static atomic_bool contend_stop;

static void *contend_run(void *arg) {
    struct pool *pool = arg;
    while (!atomic_load(&contend_stop)) {
        pool_steps(pool, CONTEND_STEPS);
        (void)malloc_trim(0);
    }
    pool_drain(pool);
    return NULL;
}

/* Nobody can sleep, and nobody be woken: who waits must get on all the same. */
static void contend_judge(int error) {
    static struct pool pools[CONTEND_THREADS];
    pthread_t threads[CONTEND_THREADS];
    struct timespec step = {0, 10 * 1000000};
    struct books before = books_read();
    trial->kind = kind_named("futex");
    trial->error = error;
    rule_set(1, ~0u);
    for (unsigned i = 0; i < CONTEND_THREADS; i++) {
        pool_init(&pools[i], 17, i, 0);
        CHECK(pthread_create(&threads[i], NULL, contend_run, &pools[i]) == 0);
    }
    for (unsigned waited = 0; waited < CONTEND_WAIT_MS && rule->denied < CONTEND_DENIED_MIN; waited += 10)
        nanosleep(&step, NULL);
    atomic_store(&contend_stop, true);
    for (unsigned i = 0; i < CONTEND_THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    rule->first = 0;
    if (rule->denied == 0)
        check_skip("no thread ever waited for another");
    (void)malloc_trim(0);
    CHECK_MSG(figure("live_bytes") <= before.live + CONTEND_LIVE_BYTES, "%llu bytes are lost",
              (unsigned long long)(figure("live_bytes") - before.live));
    work_mixed(3);
    printf("%u calls refused\n", (unsigned)rule->denied);
}

/* The rule came by the environment and has done its work, or goes on: whoever refuses memory for good gets no service
 * but a clean answer. */
static void start_judge(const struct kind *kind) {
    static unsigned long sites[INJECT_CALLS_MAX];
    errno = 0;
    void *p = malloc(100);
    may_refuse = (kind->memory && rule->many > 1) || rule->beside_every != 0;
    unsigned calls = rule->calls;
    for (unsigned i = 0; i < INJECT_CALLS_MAX; i++)
        sites[i] = rule->sites[i];
    if (!granted(p)) {
        rule->first = rule->beside_every = 0;
        may_refuse = false;
        CHECK_MSG((p = malloc(100)) != NULL, "no start although memory is there again");
    }
    free(p);
    work_mixed(1);
    CHECK(rule->denied > 0 || rule->first == 0);
    rule->nr = -1;
    printf("calls %u\n", calls);
    sites_print(sites, calls);
}

/* Another allocator's memory is known for what it is while there is none for us. */
static void foreign_free(void) {
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    free(malloc(100));
    rule->error = ENOMEM;
    rule->many = ~0u;
    rule->first = 1;
    rule->nr = SYS_mmap;
    free(p + 64);
}

static void trial_map(void) {
    trial = mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(trial != MAP_FAILED);
}

int main(int argc, char **argv) {
    struct inject *(*get)(void) = NULL;
    static char buffer[BUFSIZ]; /* stdio's own would be refused */
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    symbol_get("inject_get", &get);
    symbol_get("inject_spare_bytes", &spare_bytes);
    symbol_get("quarry_core1_area_alloc", &area_alloc);
    symbol_get("quarry_core1_area_resize", &area_resize);
    symbol_get("quarry_core1_area_free", &area_free);
    CHECK_MSG(get != NULL && spare_bytes != NULL, "not on the library that refuses system calls");
    rule = get();
    trial_map();
    if (argc > 4 && strcmp(argv[1], "--beside") == 0) {
        beside = kind_named(argv[2]);
        beside_every = (unsigned)strtoul(argv[3], NULL, 10);
        argc -= 3;
        argv += 3;
    }
    if (argc == 3 && strcmp(argv[1], "start") == 0) {
        start_judge(kind_named(argv[2]));
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "contended") == 0) {
        contend_judge(atoi(argv[2]));
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "pairs") == 0) {
        pairs_try(kind_named(argv[2]), (unsigned)strtoul(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10));
        return 0;
    }
    CHECK(argc == 2 || argc == 5);
    if (strcmp(argv[1], "foreign") == 0) {
        foreign_free();
        return 0;
    }
    if (strcmp(argv[1], "dense") == 0) {
        dense_judge();
        return 0;
    }
    if (argc == 2) {
        kind_try(kind_named(argv[1]));
        return 0;
    }
    trial->kind = kind_named(argv[1]);
    trial->error = atoi(argv[2]);
    trial->first = (unsigned)strtoul(argv[3], NULL, 10);
    trial->many = (unsigned)strtoul(argv[4], NULL, 10);
    trial_child();
}
