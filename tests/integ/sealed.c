/* SPDX-License-Identifier: MIT */
/*
 * Linked with the archive, which has its own place for it in each program: what is decided at the start can be written
 * to no more once the process has begun to allocate, and what lies behind it can. Where pages are larger than
 * 4 KiB it stays open. Knows the variables by their names in the library.
 */
#include "check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, META_FIXED_BYTES = 64 };

extern char mag_tabs[], rt_opt[], slab_tables_rest[], harden_key[], rt_meta[];

/* A child writes what is there already. True: it was ended for that. */
static int is_closed(volatile char *at) {
    int status = -1;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGSEGV, SIG_DFL);
        *at = *at;
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
    return status != 0;
}

int main(void) {
    int closed = sysconf(_SC_PAGESIZE) == PAGE_BYTES;
    void *p = malloc(100);
    CHECK(p != NULL);
    CHECK(is_closed(mag_tabs) == closed);
    CHECK(is_closed(rt_opt) == closed);
    CHECK(is_closed(slab_tables_rest) == closed && is_closed(harden_key) == closed);
    CHECK(is_closed(rt_meta) == closed && is_closed(rt_meta + META_FIXED_BYTES - 1) == closed);
    CHECK(!is_closed(rt_meta + META_FIXED_BYTES));
    free(p);
    puts("sealed");
    return 0;
}
