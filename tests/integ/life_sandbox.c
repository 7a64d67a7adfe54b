/* SPDX-License-Identifier: MIT */
/*
 * A program that forbids itself to open files once it has allocated, and barriers among threads, of which it has one
 * (as sshd does before a login), on pain of death, and goes on allocating: the heap passes every size at which
 * something changes. It ends by exit, where all magazines are looked at.
 */
#include "check.h"
#include "deny.h"
#include "heap.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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
    void *first = heap_written(HEAP_OBJECT_BYTES);
    deny_deadly(SYS_openat);
    deny_deadly(SYS_membarrier);
    biting_check();
    heap_rise_and_fall(1);
    free(first);
    puts("alive");
    return 0;
}
