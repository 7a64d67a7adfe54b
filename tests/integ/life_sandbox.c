/* SPDX-License-Identifier: MIT */
/*
 * A program that forbids itself, once it has allocated, all system calls but those of sshd before a login, on pain of
 * death, and goes on allocating, alone or with threads it has made before: heaps pass every size at which something
 * changes. It ends by exit, where all magazines are looked at. And the prctl by which it does that is the system's.
 */
#include "check.h"
#include "deny.h"
#include "heap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_NR = 4, ROUNDS_NR = 20, OBJECTS_NR = 20000 };

/* A filter that does not bite would let the test pass. */
static void biting_check(void) {
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        deny_as_sshd();
        (void)syscall(SYS_membarrier, 0, 0, 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void prctl_check(void) {
    char name[16] = "";
    CHECK(prctl(PR_SET_NAME, "sandboxed", 0, 0, 0) == 0);
    CHECK(prctl(PR_GET_NAME, name, 0, 0, 0) == 0 && strcmp(name, "sandboxed") == 0);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    int signal_nr = 0;
    CHECK(prctl(PR_GET_PDEATHSIG, &signal_nr) == 0 && signal_nr == SIGUSR1);
    errno = 0;
    CHECK(prctl(PR_SET_TIMERSLACK, 3000000000ul, 0, 0, 0) == 0);
    CHECK((unsigned)prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == 3000000000u && errno == 0); /* no error, though negative */
    CHECK(prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0) == 0);
    CHECK(prctl(-1, 0, 0, 0, 0) == -1 && errno == EINVAL);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

static atomic_bool confined;
static atomic_uint begun_nr; /* threads that are past what libc calls for each */

static void *work(void *unused) {
    static _Thread_local void *objects[OBJECTS_NR];
    (void)unused;
    atomic_fetch_add(&begun_nr, 1);
    while (!atomic_load(&confined))
        usleep(1000);
    for (unsigned round = 0; round < ROUNDS_NR; round++) {
        for (unsigned i = 0; i < OBJECTS_NR; i++)
            objects[i] = heap_written(1 + (i * 37 + round * 101) % 2000);
        free(heap_written((size_t)100000 * (round + 1)));
        for (unsigned i = 0; i < OBJECTS_NR; i++)
            free(objects[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS_NR];
    unsigned threads_nr = argc > 1 && strcmp(argv[1], "threads") == 0 ? THREADS_NR : 0;
    void *first = heap_written(HEAP_OBJECT_BYTES);
    biting_check();
    prctl_check();
    for (unsigned i = 0; i < threads_nr; i++)
        CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
    while (atomic_load(&begun_nr) < threads_nr)
        usleep(1000);
    deny_as_sshd();
    atomic_store(&confined, true);
    heap_rise_and_fall(1);
    for (unsigned i = 0; i < threads_nr; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    free(first);
    puts("alive");
    return 0;
}
