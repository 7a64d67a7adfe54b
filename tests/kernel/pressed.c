/* SPDX-License-Identifier: MIT */
/* A thread that blocks all signals, to wait for them, is asked for memory at the limit as any: what handler of faults
 * libquarry-kmem has, when it debugs, is not the program's. Run with limit_hard of 32 MiB. */
#include "check.h"

#include <linux/slab.h>
#include <quarry/quarry.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECTS_MAX = 64 };

static volatile int calls_nr; /* malloc is a leaf, glibc says */

static void pressed(void *unused) {
    (void)unused;
    calls_nr = calls_nr + 1;
}

/* How often callbacks were called until malloc had no more. */
static int calls_to_the_limit(void) {
    void *all[OBJECTS_MAX];
    size_t nr = 0;
    calls_nr = 0;
    while (nr < OBJECTS_MAX && (all[nr] = opaque(malloc(1 << 20))) != NULL)
        nr++;
    CHECK_MSG(nr < OBJECTS_MAX, "%zu MiB are no limit", nr);
    while (nr > 0)
        free(all[--nr]);
    return calls_nr;
}

static void programs(int nr) { (void)nr; }

int main(int argc, char **argv) {
    sigset_t all;
    struct sigaction segv;
    bool debugged = argc > 1 && strcmp(argv[1], "debugged") == 0;
    CHECK(quarry_reclaim_register(pressed, NULL) == 0);
    kfree(kmalloc(opaque_size(100), GFP_KERNEL));
    CHECK(sigaction(SIGSEGV, NULL, &segv) == 0 && (!debugged || segv.sa_handler != SIG_DFL));
    CHECK(calls_to_the_limit() > 0);
    CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    CHECK(calls_to_the_limit() > 0);
    /* Of the program's own handler it cannot be told that this is not it. */
    CHECK(signal(SIGSEGV, programs) != SIG_ERR);
    CHECK(calls_to_the_limit() == 0);
    return 0;
}
