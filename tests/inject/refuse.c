/* SPDX-License-Identifier: MIT */
/*
 * Every system call of one kind fails, one by one, on the real library. One workload, which visits all tiers
 * (workload.c), makes the calls: the trunk. Where one is to fail, the trunk forks, in the midst of that call, and
 * waits: the branch goes on from there with that call refused (once), with it and the next one (a pair), or with that
 * one and all later ones refused (rest). So each trial costs what is left of the workload, none is missed, and the
 * library's clock stands still for the trunk while it waits. What was refused for the first time at a call site goes on
 * to the end; the others leave out the stages that would begin after their last refusal. Of `any` kind, where the next
 * call is whatever answers the first failure, there are pairs alone. Of each call site the first, fourth, sixteenth...
 * call is refused, with one error in turn, and the first one, once, with each; with SOAK all, in each way with each.
 * Another call may fail now and then besides, so that what answers a failure fails as well.
 *
 * The oracle of each trial:
 *   - what objects hold is what was written, through reallocation, fork and refusal;
 *   - NULL comes with ENOMEM, and only where memory really is out: while mmap or mprotect is refused for good or twice
 *     in a row, or under the workload's own RLIMIT_AS; of a pair only in an answer that met a refusal;
 *   - service resumes when memory does: once nothing is refused, and before anything is trimmed, every tier serves;
 *   - afterwards, when all is freed: the accounts are where they were, used is the sum of what is backed, no region is
 *     left, address space is not lost, and everything works again.
 *
 * Usage, by refuse.py; all but foreign and contended print the call sites seen, as addresses in the library:
 *
 *   refuse [--beside CALL EVERY] CALL [ERROR FIRST MANY]
 *          with numbers, that trial alone, in this process
 *   refuse pairs|each CALL FIRST STEP
 *          pairs, or each way, with each error, from the first call on, at each STEP-th: the soak's longest part,
 *          in pieces
 *   refuse foreign
 *          mmap is refused while foreign memory is freed
 *   refuse dense
 *          madvise is refused while small pages that became dense are made hugepages, then no more
 *   refuse contended ERROR
 *          futex is refused, with that error, while threads wait for each other
 *   refuse start CALL
 *          what the environment's rule did to the start, and whether there is service
 */
#include "check.h"
#include "inject.h"
#include "oracle.h"
#include "proc.h"
#include "workload.h"

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

enum {
    ERRORS_MAX = 4,
    /* Slabs and magazines that a program which freed everything may still have. */
    KEPT_MAX_BYTES = 256 << 10,
    /* Where the kernel lays things, and which slabs were made, may differ by this. */
    SPACE_MAX_BYTES = 16 << 20,
    /* And a reservation of the page tier, if now and then it can't be given back when address space is out. */
    RESERVATION_BYTES = 1 << 30,
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

/* What the processes of a run tell each other: of the trunk, how often and from where it called. */
static struct findings {
    unsigned calls, trials;
    size_t space_bytes; /* at the end of a run in which nothing was refused */
    unsigned long sites[INJECT_CALLS_MAX];
} * findings;

/* What this process refuses: of these calls, many from the first on. */
static struct refusal {
    const struct kind *kind;
    int error;
    unsigned first, many;
} refusal;

/* Another call that fails besides, each so many times. */
static const struct kind *beside;
static unsigned beside_every;

static struct inject *rule;
static size_t (*spare_bytes)(void);
/* Whether its refusals come to an end by themselves, as those of a pair do. */
static bool rule_ends(void) { return refusal.many <= INJECT_CALLS_MAX && rule->beside_every == 0; }

static bool refusing;        /* memory is out by the rule */
static unsigned denied_seen; /* of the rule's refusals, those before the latest answer */

/* Whether the answer just given may be NULL; asked once for each. A rule that ends excuses those it touched alone. */
bool may_be_null(void) {
    unsigned denied = rule->denied;
    bool met = denied != denied_seen;
    denied_seen = denied;
    return work_squeezes || (refusing && (met || !rule_ends()));
}

bool moves_are_refused(void) { return refusal.kind->nr == SYS_mremap; }
void work_child(void) { rule->before = NULL; }

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

/* From now on. Where a call for memory fails for good or twice in a row, or one of another kind does besides, there may
 * be none. */
static void rule_apply(void) {
    refusing = (refusal.kind->memory && refusal.many > 1) || (beside != NULL && beside->memory);
    rule->error = refusal.error;
    rule->many = refusal.many;
    rule->first = refusal.first;
}

static void rule_set(void) {
    rule_apply();
    rule->calls = rule->denied = denied_seen = 0;
    if (beside != NULL) {
        rule->beside_calls = 0;
        rule->beside_nr = beside->nr;
        rule->beside_every = beside_every;
    }
    rule->nr = refusal.kind->nr;
}

static void sites_take(void) {
    findings->calls = rule->calls;
    for (unsigned i = 0; i < INJECT_CALLS_MAX; i++)
        findings->sites[i] = rule->sites[i];
}

static void space_check(void) {
    size_t space = work_space_bytes() - spare_bytes();
    size_t most = findings->space_bytes + SPACE_MAX_BYTES + (beside != NULL ? RESERVATION_BYTES : 0);
    if (findings->space_bytes == 0)
        findings->space_bytes = space;
    else
        CHECK_MSG(space <= most, "%zu KiB of address space, %zu where nothing was refused", space >> 10,
                  findings->space_bytes >> 10);
}

/* Of a branch that ends with the stage it began in: what it refuses was refused. */
static bool branch_is_short;
static bool branch_is_over(void) { return branch_is_short && rule->denied >= refusal.many; }

/* The workload and its judgement. Trunk and branches both come to the end, the latter from where they began. */
static void run_judged(void (*before)(unsigned call)) {
    (void)malloc_trim(0);
    struct books books = books_read();
    rule_set();
    rule->before = before;
    work(branch_is_over);
    if (rule->first == 0)
        sites_take();
    CHECK_MSG(rule->first == 0 || rule->denied > 0, "call %u of %u was not reached", refusal.first,
              (unsigned)rule->calls);
    rule->before = NULL;
    rule->first = rule->beside_every = 0;
    refusing = false;
    work_served(); /* before anything is tidied up: service resumes by itself */
    (void)malloc_trim(0);
    books_check(&books);
    space_check();
    work_mixed(3);
}

static void child_wait(pid_t child) {
    int status;
    CHECK(child >= 0 && waitpid(child, &status, 0) == child);
    CHECK_MSG(status == 0, "call %u and the %u after it, error %d: status %#x", refusal.first, refusal.many - 1,
              refusal.error, (unsigned)status);
}

static void run_in_child(void (*before)(unsigned call)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run_judged(before);
        _exit(0);
    }
    child_wait(child);
}

/* Which calls of the trunk are refused. */
static struct plan {
    bool all, pairs_alone;
    unsigned first, step;
} plan;

static bool is_power_of_four(unsigned n) { return (n & (n - 1)) == 0 && (n & 0x55555555u) != 0; }

/* The calls before this one from the same place, and this one. */
static unsigned calls_alike(unsigned call) {
    unsigned nr = 1;
    for (unsigned i = 0; i < call - 1; i++)
        nr += rule->sites[i] == rule->sites[call - 1];
    return nr;
}

static bool plan_has(unsigned call) {
    if (call > INJECT_CALLS_MAX || call < plan.first || (call - plan.first) % plan.step != 0)
        return false;
    return plan.all || is_power_of_four(calls_alike(call));
}

/* As fork, but runs no handler. */
static pid_t fork_plainly(void) {
#if __GLIBC_PREREQ(2, 34)
    return _Fork();
#else
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
#endif
}

/* True in the branch. Within the allocator nothing may run that allocates: no handlers of fork. */
static bool branch_begin(unsigned call, unsigned many, int error) {
    static char repeat[128];
    refusal.error = error;
    refusal.first = call;
    refusal.many = many;
    findings->trials++;
    pid_t child = fork_plainly();
    if (child == 0) {
        snprintf(repeat, sizeof(repeat), "refuse %s %d %u %u", refusal.kind->name, error, call, many);
        check_repeat_set(repeat);
        rule->before = NULL;
        rule->denied = denied_seen = 0;
        branch_is_short = calls_alike(call) > 1;
        rule_apply();
        return true;
    }
    child_wait(child);
    refusal.first = refusal.many = 0;
    return false;
}

enum errors { ERRORS_ALL, ERRORS_IN_TURN };

static bool branch_with_errors(unsigned call, unsigned many, enum errors errors) {
    static unsigned turn;
    unsigned errors_nr = 0;
    while (errors_nr < ERRORS_MAX && refusal.kind->errors[errors_nr] != 0)
        errors_nr++;
    if (errors == ERRORS_IN_TURN)
        return branch_begin(call, many, refusal.kind->errors[turn++ % errors_nr]);
    for (unsigned e = 0; e < errors_nr; e++) {
        if (branch_begin(call, many, refusal.kind->errors[e]))
            return true;
    }
    return false;
}

/* The judge is about to let this call of the trunk through. */
static void branch_at(unsigned call) {
    enum errors errors = plan.all ? ERRORS_ALL : ERRORS_IN_TURN;
    if (!plan_has(call) || branch_with_errors(call, 2, errors) || plan.pairs_alone)
        return;
    if (!branch_with_errors(call, ~0u, errors))
        (void)branch_with_errors(call, 1, calls_alike(call) == 1 ? ERRORS_ALL : errors);
}

static void sites_print(void) {
    const unsigned long *sites = findings->sites;
    for (unsigned i = 0; i < findings->calls && i < INJECT_CALLS_MAX; i++) {
        bool seen = false;
        for (unsigned k = 0; k < i && !seen; k++)
            seen = sites[k] == sites[i];
        if (!seen)
            printf("site %#lx\n", sites[i]);
    }
}

static void plan_try(const struct kind *kind) {
    refusal.kind = kind;
    plan.pairs_alone |= kind->nr == INJECT_ANY;
    run_in_child(NULL);
    CHECK_MSG(findings->calls >= plan.first, "there is no call %u", plan.first);
    run_in_child(branch_at);
    CHECK(findings->trials > 0);
    printf("%s: %u calls, %u trials\n", kind->name, findings->calls, findings->trials);
    sites_print();
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
            free(opaque(malloc(3 * MIB)));
        nanosleep(&step, NULL);
    }
    return figure("collapses");
}

static void dense_judge(void) {
    static struct object objs[DENSE_NR];
    for (unsigned i = 0; i < DENSE_NR; i++)
        work_object_get(&objs[i], 1000, i);
    refusal = (struct refusal){kind_named("madvise"), ENOMEM, 1, ~0u};
    rule_set();
    CHECK(collapses_within(DENSE_REFUSED_MS) == 0);
    CHECK_MSG(rule->denied > 0, "nothing was asked for");
    rule->first = 0;
    if (collapses_within(DENSE_WAIT_MS) == 0)
        check_skip("this kernel makes no hugepages of small pages");
    sites_take();
    sites_print();
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
    refusal = (struct refusal){kind_named("futex"), error, 1, ~0u};
    rule_set();
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
    errno = 0;
    void *p = malloc(100);
    refusal = (struct refusal){kind, rule->error, rule->first, rule->many};
    refusing = (kind->memory && rule->many > 1) || rule->beside_every != 0;
    sites_take();
    if (!work_granted(p)) {
        rule->first = rule->beside_every = 0;
        refusing = false;
        CHECK_MSG((p = malloc(100)) != NULL, "no start although memory is there again");
    }
    free(p);
    work_mixed(1);
    CHECK(rule->denied > 0 || rule->first == 0);
    rule->nr = -1;
    printf("calls %u\n", findings->calls);
    sites_print();
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

static void findings_map(void) {
    findings = mmap(NULL, sizeof(*findings), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(findings != MAP_FAILED);
}

int main(int argc, char **argv) {
    struct inject *(*get)(void) = NULL;
    static char buffer[BUFSIZ]; /* stdio's own would be refused */
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    symbol_get("inject_get", &get);
    symbol_get("inject_spare_bytes", &spare_bytes);
    work_start();
    CHECK_MSG(get != NULL && spare_bytes != NULL, "not on the library that refuses system calls");
    rule = get();
    findings_map();
    plan = (struct plan){.all = getenv("SOAK") != NULL, .first = 1, .step = 1};
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
    bool pairs = strcmp(argv[1], "pairs") == 0;
    if (argc == 5 && (pairs || strcmp(argv[1], "each") == 0)) {
        plan = (struct plan){true, pairs, (unsigned)strtoul(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10)};
        CHECK(plan.first > 0 && plan.step > 0);
        plan_try(kind_named(argv[2]));
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
        plan_try(kind_named(argv[1]));
        return 0;
    }
    refusal.kind = kind_named(argv[1]);
    refusal.error = atoi(argv[2]);
    refusal.first = (unsigned)strtoul(argv[3], NULL, 10);
    refusal.many = (unsigned)strtoul(argv[4], NULL, 10);
    run_judged(NULL);
    return 0;
}
