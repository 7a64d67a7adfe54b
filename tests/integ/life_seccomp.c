/* SPDX-License-Identifier: MIT */
/*
 * The kernel refuses one system call, or those that docker or podman refuse, which have errnos of their own. Early:
 * from before the program, and the allocator in it, starts (this program installs the filter and executes itself
 * again). Late: after threads run and memory is held, as sandboxes do. Either way memory must be served or NULL with
 * ENOMEM returned, nothing held may be harmed and nothing may be printed. Arguments: the call's name, the errno's name,
 * early or late.
 */
#include "check.h"
#include "deny.h"
#include "oracle.h"
#include "workers.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAIN_STEPS = 20000, WORKERS = 3 };

static struct pool pool;

static long call_number(const char *name) {
    static const struct {
        const char *name;
        long number;
    } calls[] = {{"rseq", SYS_rseq},
                 {"membarrier", SYS_membarrier},
                 {"madvise", SYS_madvise},
                 {"mincore", SYS_mincore},
                 {"mremap", SYS_mremap},
                 {"mprotect", SYS_mprotect},
                 {"mmap", SYS_mmap},
                 {"munmap", SYS_munmap},
                 {"openat", SYS_openat},
                 {"getrandom", SYS_getrandom},
                 {"sched_getaffinity", SYS_sched_getaffinity},
                 {"prctl", SYS_prctl},
                 {"set_mempolicy", SYS_set_mempolicy},
                 {"mbind", SYS_mbind},
                 {"getcpu", SYS_getcpu},
                 {"process_madvise", SYS_process_madvise}};

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (!strcmp(name, calls[i].name))
            return calls[i].number;
    }
    check_fail(__FILE__, __LINE__, "no system call named %s in this test", name);
}

static int error_number(const char *name) {
    if (!strcmp(name, "EPERM"))
        return EPERM;
    if (!strcmp(name, "ENOSYS"))
        return ENOSYS;
    CHECK_MSG(!strcmp(name, "ENOMEM"), "no errno named %s in this test", name);
    return ENOMEM;
}

static void deny_named(const char *name, const char *error_name) {
    if (!strcmp(name, "docker"))
        deny_as_docker();
    else if (!strcmp(name, "podman"))
        deny_as_podman();
    else
        deny_syscall(call_number(name), error_number(error_name));
}

/* What was served once and freed must be served again: refusing for ever is not an answer. */
static void service_check(void) {
    enum { HELD_LIMIT = 500 };
    static void *held[HELD_LIMIT];
    size_t held_nr = 0;

    while (held_nr < HELD_LIMIT && (held[held_nr] = malloc(64)) != NULL)
        held_nr++;
    CHECK_MSG(held_nr > 0, "not even 64 bytes, errno %d", errno);
    for (size_t i = 0; i < held_nr; i++)
        free(held[i]);
    for (size_t i = 0; i < held_nr; i++)
        CHECK_MSG((held[i] = malloc(64)) != NULL, "no 64 bytes after freeing as much, errno %d", errno);
    for (size_t i = 0; i < held_nr; i++)
        free(held[i]);
}

/* All tiers, realloc of mappings, giving memory back: whatever may issue the refused call. */
static void work(void) {
    pool_steps(&pool, MAIN_STEPS);
    malloc_trim(0);
    pool_steps(&pool, MAIN_STEPS);
    pool_drain(&pool);
}

extern int quarry_set_thread_node(int node) __attribute__((weak));

/* Where a filter keeps the kernel from telling which nodes there are, files do. */
static void node_check(void) {
    bool one =
        access("/sys/devices/system/node/node0", F_OK) == 0 && access("/sys/devices/system/node/node1", F_OK) != 0;
    CHECK(&quarry_set_thread_node != NULL && (!one || quarry_set_thread_node(0) == 0));
}

static void early_main(void) {
    workers_start(WORKERS, 8, 0, POOL_ENOMEM_FATAL);
    work();
    workers_stop();
    service_check();
    node_check();
}

static void late_main(const char *name, const char *error_name) {
    workers_start(WORKERS, 8, 30000, POOL_ENOMEM_COUNTED);
    pool_steps(&pool, MAIN_STEPS);
    deny_named(name, error_name);
    pool.enomem = POOL_ENOMEM_COUNTED;
    work();
    workers_stop();
    service_check();
}

int main(int argc, char **argv) {
    char name[] = "life_seccomp", stage[] = "started";

    CHECK_MSG(argc == 4, "usage: life_seccomp CALL ERRNO early|late");
    pool_init(&pool, 8, 1, 0);
    if (!strcmp(argv[3], "early")) {
        char *again[] = {name, argv[1], argv[2], stage, NULL};
        deny_named(argv[1], argv[2]);
        execv("/proc/self/exe", again);
        check_fail(__FILE__, __LINE__, "execv failed with errno %d", errno);
    }
    if (!strcmp(argv[3], "late"))
        late_main(argv[1], argv[2]);
    else
        early_main();
    return 0;
}
