/* SPDX-License-Identifier: MIT */
/*
 * Pages, areas and objects in signal handlers, ten thousand times a second and thread, on top of threads that do
 * nothing but allocate and free the same, while the main thread forks. Each holder's own stamps are the oracle; at the
 * end every page is back, and each kind was served in handlers, by those flags that can have it there. SOAK=1 runs a
 * minute.
 */
#include "check.h"
#include "timer.h"

#include <errno.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 3,
    TIMER_NS = 100000,
    HELD = 40,
    HANDLER_HELD = 8,
    FORKS_PER_SECOND = 50,
    SOAK_SECONDS = 60,
    STEPS_MIN = 1000,
    TRIED_MIN = 20 /* in handlers, of each kind by each flags */
};

enum what { PAGES, COMPOUND, AREA, OBJECT, EXACT, WHATS_NR };
enum how { KERNEL, ATOMIC, NOWAIT, HOWS_NR };
static const gfp_t flags_of[HOWS_NR] = {GFP_KERNEL, GFP_ATOMIC | __GFP_NOWARN, GFP_NOWAIT};

struct holding {
    unsigned long *p;
    size_t bytes;
    enum what what;
};

struct holder {
    struct holding held[HELD];
    size_t held_nr;
    unsigned long state, steps_nr, tried_nr[WHATS_NR][HOWS_NR], served_nr[WHATS_NR][HOWS_NR];
    bool handler;
};

static struct holder holders[2][THREADS];
static _Thread_local struct holder *of_handler;
static atomic_int stopping;

static unsigned long next(struct holder *h) {
    h->state ^= h->state << 13;
    h->state ^= h->state >> 7;
    return h->state ^= h->state << 17;
}

static void take(struct holder *h, unsigned long r) {
    enum how how = h->handler ? (enum how)((r >> 20) % HOWS_NR) : KERNEL;
    gfp_t flags = flags_of[how];
    struct holding *at = &h->held[h->held_nr];
    at->what = (enum what)(r % WHATS_NR);
    at->bytes = PAGE_SIZE << (r >> 8) % 6;
    switch (at->what) {
    case PAGES: at->p = (unsigned long *)__get_free_pages(flags, (unsigned)get_order(at->bytes)); break;
    case COMPOUND: at->p = (unsigned long *)__get_free_pages(flags | __GFP_COMP, (unsigned)get_order(at->bytes)); break;
    case AREA:
        if ((r >> 30) % 16 != 0)
            return;
        at->p = __vmalloc(at->bytes, flags);
        break;
    case OBJECT: at->p = kvmalloc(at->bytes, flags); break;
    default: at->p = alloc_pages_exact(at->bytes -= PAGE_SIZE / 2, flags); break;
    }
    __atomic_store_n(&h->tried_nr[at->what][how], h->tried_nr[at->what][how] + 1, __ATOMIC_RELAXED);
    if (at->p == NULL)
        return;
    h->served_nr[at->what][how]++;
    at->p[0] = at->p[at->bytes / sizeof(long) - 1] = (unsigned long)at->p ^ (uintptr_t)h;
    h->held_nr++;
}

static void give(struct holder *h, size_t i) {
    struct holding at = h->held[i];
    struct page *page = virt_to_page(at.p);
    CHECK(at.p[0] == ((unsigned long)at.p ^ (uintptr_t)h) && at.p[at.bytes / sizeof(long) - 1] == at.p[0]);
    h->held[i] = h->held[--h->held_nr];
    switch (at.what) {
    case PAGES: free_pages((unsigned long)at.p, (unsigned)get_order(at.bytes)); break;
    case COMPOUND:
        get_page(page + at.bytes / PAGE_SIZE - 1);
        __free_pages(page, (unsigned)get_order(at.bytes));
        put_page(page);
        break;
    case EXACT: free_pages_exact(at.p, at.bytes); break;
    default: kvfree(at.p); break;
    }
}

static void step(struct holder *h) {
    unsigned long r = next(h);
    __atomic_store_n(&h->steps_nr, h->steps_nr + 1, __ATOMIC_RELAXED);
    if ((r >> 40) % 2 == 0 && h->held_nr < (h->handler ? HANDLER_HELD : HELD))
        take(h, r);
    else if (h->held_nr > 0)
        give(h, (r >> 44) % h->held_nr);
}

static void on_timer(int signal_nr) {
    int saved = errno;
    (void)signal_nr;
    for (int i = 0; i < 3; i++)
        step(of_handler);
    errno = saved;
}

static void drain(struct holder *h) {
    while (h->held_nr > 0)
        give(h, h->held_nr - 1);
}

static void *thread_run(void *index) {
    size_t i = (size_t)index;
    sigset_t blocked;
    of_handler = &holders[1][i];
    timer_t timer = timer_start(SIGRTMIN, TIMER_NS);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed))
        step(&holders[0][i]);
    CHECK(timer_delete(timer) == 0);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    drain(&holders[0][i]);
    drain(&holders[1][i]);
    return NULL;
}

/* The child has what the parent had, and goes on alone. */
static void fork_once(unsigned long seed) {
    int status = 0;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct holder h = {.state = seed};
        for (int i = 0; i < 200; i++)
            step(&h);
        drain(&h);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with status %#x", (unsigned)status);
}

static unsigned long tried(enum what what, enum how how) {
    unsigned long nr = 0;
    for (size_t i = 0; i < THREADS; i++)
        nr += __atomic_load_n(&holders[1][i].tried_nr[what][how], __ATOMIC_RELAXED);
    return nr;
}

static bool all_tried(void) {
    for (enum what what = 0; what < WHATS_NR; what++) {
        for (enum how how = 0; how < HOWS_NR; how++) {
            if (tried(what, how) < TRIED_MIN)
                return false;
        }
    }
    return true;
}

static void look_at_served(void) {
    static const char *const names[WHATS_NR] = {"pages", "compound pages", "areas", "objects", "exact pages"};
    for (enum what what = 0; what < WHATS_NR; what++) {
        unsigned long served[HOWS_NR] = {0}, threads_refused = 0;
        for (size_t i = 0; i < THREADS; i++) {
            for (enum how how = 0; how < HOWS_NR; how++)
                served[how] += holders[1][i].served_nr[what][how];
            threads_refused += holders[0][i].tried_nr[what][KERNEL] - holders[0][i].served_nr[what][KERNEL];
        }
        printf("%s in handlers: %lu of %lu by GFP_KERNEL, %lu of %lu by GFP_ATOMIC, %lu of %lu by GFP_NOWAIT\n",
               names[what], served[KERNEL], tried(what, KERNEL), served[ATOMIC], tried(what, ATOMIC), served[NOWAIT],
               tried(what, NOWAIT));
        CHECK_MSG(threads_refused == 0, "%lu of %s were refused to threads", threads_refused, names[what]);
        /* A handler on top of the holder of a lock may be refused, which is rare. */
        CHECK_MSG(served[KERNEL] >= tried(what, KERNEL) - (tried(what, KERNEL) + 99) / 100,
                  "%s were refused to handlers by GFP_KERNEL", names[what]);
        /* An area needs system calls; the rest is at hand, because all that is held is little. */
        for (enum how how = ATOMIC; how < HOWS_NR; how++) {
            CHECK_MSG(what == AREA ? served[how] == 0 : 2 * served[how] > tried(what, how),
                      "%lu of %lu %s were served by %s", served[how], tried(what, how), names[what],
                      how == ATOMIC ? "GFP_ATOMIC" : "GFP_NOWAIT");
        }
    }
}

int main(void) {
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    pthread_t threads[THREADS];
    unsigned seconds = getenv("SOAK") != NULL ? SOAK_SECONDS : 1;
    uint64_t live = 0, unbacked = 0, at_start = 0, nodes = 0; /* the reserve's block has pages without memory */
    CHECK(quarry_stat("pages_unbacked_bytes", &at_start) == 0);
    CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        holders[0][i].state = 100 + i;
        holders[1][i].state = 200 + i;
        holders[1][i].handler = true;
        CHECK(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0);
    }
    for (unsigned i = 0; i < seconds * FORKS_PER_SECOND; i++) {
        fork_once(i + 1);
        usleep(1000000 / FORKS_PER_SECOND);
    }
    for (size_t i = 0; i < THREADS; i++) { /* where others work threads get on slowly */
        while (__atomic_load_n(&holders[0][i].steps_nr, __ATOMIC_RELAXED) <= STEPS_MIN || !all_tried())
            usleep(1000000 / FORKS_PER_SECOND);
    }
    atomic_store(&stopping, 1);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    look_at_served();
    quarry_trim(0);
    CHECK(quarry_stat("pages_live_bytes", &live) == 0 && quarry_stat("pages_unbacked_bytes", &unbacked) == 0);
    CHECK(quarry_stat("nodes", &nodes) == 0); /* one that threads opened since has a reserve, too */
    CHECK_MSG(live == 0 && unbacked >= at_start && unbacked <= at_start * nodes, "%lu bytes of pages are lost",
              (unsigned long)live);
    return 0;
}
