/* SPDX-License-Identifier: MIT */
/*
 * Children of the bench programs (see child.h). No state.
 */
#include "child.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "die.h"

void *child_shared_map(size_t bytes) {
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (start == MAP_FAILED)
        die("mmap of %zu shared bytes", bytes);
    return start;
}

void child_wait(pid_t pid) {
    int status;

    if (waitpid(pid, &status, 0) != pid)
        die("waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("a child failed, wait status 0x%x", (unsigned)status);
}

void child_run(void (*body)(void *argument), void *argument) {
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        body(argument);
        _exit(EXIT_SUCCESS);
    }
    child_wait(pid);
}
