/* SPDX-License-Identifier: MIT */
/*
 * A program under vm.overcommit_memory=2, where every writable private mapping is charged in full: what the
 * allocator reserves for itself must not be writable. Counts the accountable bytes of this process, at the start and
 * with 32 MiB held. Started by overcommit.py, which sets the sysctl.
 */
#include "check.h"
#include "oracle.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    /* The program and its libraries come to less than one MiB; stacks and the allocator's first region may have the
       rest. */
    START_LIMIT_BYTES = 48 << 20,
    HELD_BYTES = 32 << 20,
    OBJECT_BYTES = 1000,
    GROWTH_LIMIT_BYTES = HELD_BYTES * 2,
};

static char mode_read(void) {
    char mode = '?';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0 && read(fd, &mode, 1) == 1);
    close(fd);
    return mode;
}

static void small_objects_hold(void) {
    enum { HELD_NR = HELD_BYTES / OBJECT_BYTES };
    static void *held[HELD_NR];

    for (size_t i = 0; i < HELD_NR; i++)
        CHECK((held[i] = malloc(OBJECT_BYTES)) != NULL);
    CHECK_MSG(proc_accountable_bytes() <= START_LIMIT_BYTES + GROWTH_LIMIT_BYTES, "%zu MiB charged with %d MiB held",
              proc_accountable_bytes() >> 20, HELD_BYTES >> 20);
    for (size_t i = 0; i < HELD_NR; i++)
        free(held[i]);
}

int main(void) {
    static struct pool pool;
    size_t start_bytes = proc_accountable_bytes();

    CHECK_MSG(mode_read() == '2', "vm.overcommit_memory is %c", mode_read());
    CHECK_MSG(start_bytes <= START_LIMIT_BYTES, "%zu MiB charged at the start", start_bytes >> 20);
    small_objects_hold();
    pool_init(&pool, 10, 1, 0);
    pool_steps(&pool, 30000);
    pool_drain(&pool);
    errno = 0;
    CHECK(malloc((size_t)1 << 46) == NULL && errno == ENOMEM);
    return 0;
}
