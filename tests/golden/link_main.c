/* SPDX-License-Identifier: MIT */
/*
 * A program that is linked in each way README names, by link.py: it fails unless its malloc is quarry's and still works
 * after what a static program does with it: stdio, threads, fork, an aligned block, growth.
 */
#include <quarry/quarry.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *churn(void *result) {
    for (size_t i = 1; i < 20000; i++) {
        char *p = malloc(i);
        if (p == NULL || !quarry_owns(p))
            return NULL;
        p[0] = p[i - 1] = 1;
        free(p);
    }
    return result;
}

static int fork_child_status(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(churn(&child) == NULL ? 9 : 7);
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void) {
    pthread_t thread;
    void *result = NULL, *aligned = NULL;
    if (churn(&thread) == NULL)
        return 1;
    if (pthread_create(&thread, NULL, churn, &thread) != 0 || pthread_join(thread, &result) != 0 || result == NULL)
        return 2;
    if (fork_child_status() != 7)
        return 3;
    if (posix_memalign(&aligned, 4096, 100) != 0 || (size_t)aligned % 4096 != 0)
        return 4;
    free(aligned);
    char *grown = NULL;
    for (size_t bytes = 16; bytes <= (size_t)64 << 20; bytes *= 2) {
        char *next = realloc(grown, bytes);
        if (next == NULL || (grown != NULL && next[0] != 'x'))
            return 5;
        grown = next;
        memset(grown, 'x', bytes);
    }
    free(grown);
    /* strdup allocates inside libc. */
    char *copy = strdup("quarry");
    if (copy == NULL || !quarry_owns(copy))
        return 6;
    printf("%s %s\n", copy, quarry_version());
    free(copy);
    return 0;
}
