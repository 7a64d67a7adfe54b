/* SPDX-License-Identifier: MIT */
/*
 * kmalloc(GFP_ATOMIC) and kfree in a thread that the kernel kills for any system call, while another thread may block
 * and keeps the reserve filled. Nothing may be handed out twice, and most requests must be served.
 */
#include "atomic.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STEPS = 1000000, SOAK_STEPS = 100000000, BURST = 64, GIFT_NR = 512, GIFT_BYTES = 48000 };

/* Objects of GFP_KERNEL that the atomic thread gives back: so many that another free would purge memory. */
static void *gift[GIFT_NR];
static atomic_int gift_ready;

static struct box box = {.rng = {1}, .large = 30000};
static atomic_int finished;

static void forbid_all(void) {
    struct sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {.len = 1, .filter = &kill};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        check_skip("no seccomp filters here");
}

/* Single objects and bursts of one size, which empty and fill magazines and slabs. */
static void *atomic_run(void *steps) {
    size_t left = (size_t)steps;
    void *burst[BURST];
    forbid_all();
    while (left > 0) {
        for (int i = 0; i < 1000 && left > 0; i++, left--)
            box_step(&box, i % 2 ? GFP_ATOMIC : GFP_ATOMIC | __GFP_ZERO);
        size_t size = box_size(&box), got = 0;
        while (got < BURST && (burst[got] = kmalloc(size, GFP_NOWAIT)) != NULL)
            got++;
        kfree_bulk(got, burst);
        if (atomic_load(&gift_ready)) {
            kfree_bulk(GIFT_NR, gift);
            atomic_store(&gift_ready, 0);
        }
    }
    box_empty(&box);
    atomic_store(&finished, 1);
    for (;;) /* even its end would be a system call */
        atomic_signal_fence(memory_order_relaxed);
    return NULL;
}

int main(void) {
    size_t steps = getenv("SOAK") != NULL ? SOAK_STEPS : STEPS;
    static struct box own = {.rng = {2}, .large = 200000};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, atomic_run, (void *)steps) == 0);
    while (!atomic_load(&finished)) {
        for (int i = 0; i < 200; i++)
            box_step(&own, GFP_KERNEL);
        if (!atomic_load(&gift_ready)) {
            for (int i = 0; i < GIFT_NR; i++)
                CHECK((gift[i] = kmalloc(GIFT_BYTES, GFP_KERNEL)) != NULL);
            atomic_store(&gift_ready, 1);
        }
        usleep(100);
    }
    CHECK_MSG(own.refused == 0, "GFP_KERNEL was refused %lu times", own.refused);
    CHECK_MSG(box.served > box.refused, "%lu served, %lu refused", box.served, box.refused);
    _exit(0);
}
