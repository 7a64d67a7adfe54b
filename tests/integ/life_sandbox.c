/* SPDX-License-Identifier: MIT */
/*
 * A program that forbids itself to open files once it has allocated, and barriers among threads, of which it has one
 * (as sshd does before a login), on pain of death, and goes on allocating: the heap passes every size at which
 * something changes. It ends by exit, where all magazines are looked at.
 */
#include "check.h"
#include "deny.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OBJECTS_NR = 60000, OBJECT_BYTES = 1000, REGION_BYTES = 24 << 20 };

/* A filter that does not bite would let the test pass. */
static void biting_check(void) {
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)syscall(SYS_openat, 0, NULL, 0, 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

int main(void) {
    static char *objects[OBJECTS_NR];
    objects[0] = malloc(OBJECT_BYTES);
    CHECK(objects[0] != NULL);
    deny_deadly(SYS_openat);
    deny_deadly(SYS_membarrier);
    biting_check();
    for (unsigned i = 1; i < OBJECTS_NR; i++) {
        objects[i] = malloc(OBJECT_BYTES);
        CHECK(objects[i] != NULL);
        memset(objects[i], 1, OBJECT_BYTES);
    }
    char *region = malloc(REGION_BYTES);
    CHECK(region != NULL);
    memset(region, 1, REGION_BYTES);
    free(region);
    for (unsigned i = 0; i < OBJECTS_NR; i++)
        free(objects[i]);
    puts("alive");
    return 0;
}
