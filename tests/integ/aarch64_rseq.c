/* SPDX-License-Identifier: MIT */
/*
 * The per-CPU primitives of src/mag/rseq_aarch64.h alone, under fire: more threads than CPUs move objects between
 * magazines by all of them, timers interrupt the sections, and threads hop between CPUs. Every object must exist once
 * at every moment and be there at the end. A handler proves that sections were really interrupted: it finds itself
 * behind an abort signature then, and never inside a section. Static, without the library: its two words are defined
 * here. Called by tests/integ/aarch64_guest with "cpu_id" or "mm_cid".
 */
#include "mag/rseq.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define ABORT_SIGNATURE 0xd428bc00u

enum {
    IDS_NR = 64,
    SLOTS_NR = 4,
    SPARES_NR = 2, /* words behind the slots, for whole magazines */
    CAP = 6,
    OBJECTS_NR = 256,
    THREADS_NR = 8,
    HELD_NR = 16,
    RUN_MAX = 5,
    NO_WORD = 1, /* no magazine lies there */
    TIMER_NS = 1000000,
    HOP_NS = 2000000,
    EXIT_SKIP = 77,
    RSEQ_CPU_ID = 4,
    RSEQ_MM_CID = 24,
    RSEQ_MM_CID_END = 28,
    AUX_RSEQ_FEATURE_SIZE = 27,
};

ptrdiff_t mag_rseq_offset;
ptrdiff_t mag_id_offset;

extern const ptrdiff_t __rseq_offset;
extern const unsigned __rseq_size;

/* What the section's descriptor is, see linux/rseq.h. In this program's object their section was renamed
 * (aarch64_guest), and the linker gives a section with such a name two symbols. */
struct descriptor {
    u32 version, flags;
    u64 start, length, abort;
};
extern const struct descriptor __start___rseq_cs[], __stop___rseq_cs[];

struct magazine {
    u64 words[CAP + 2];
};

struct thread {
    pthread_t handle;
    u64 random;
    u64 *held[HELD_NR];
    unsigned held_nr;
    u64 magazine;      /* taken out of a spare word; 0 none */
    u64 *handler_held; /* the signal handler's own */
    unsigned long pops, pushes, swaps;
    timer_t timer;
};

static u64 stopped_slots[SLOTS_NR + SPARES_NR];
static u64 slots[IDS_NR][SLOTS_NR + SPARES_NR];
static u64 *views[IDS_NR];
static u64 objects[OBJECTS_NR][2]; /* [0]: the thread that holds it + 1, or 0 */
static struct thread threads[THREADS_NR];
static _Thread_local struct thread *self;
static atomic_int stopping;
static atomic_ulong interrupts_nr, aborts_nr, inside_nr;

static _Noreturn void fail(const char *what) {
    dprintf(STDERR_FILENO, "FAILED %s\n", what);
    _exit(1);
}

static u64 random_below(struct thread *t, u64 limit) {
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (t->random >> 33) % limit;
}

/* --- objects and magazines --- */

static void object_claim(struct thread *t, u64 *object) {
    if (__atomic_exchange_n(object, (u64)(t - threads) + 1, __ATOMIC_RELAXED) != 0)
        fail("an object was handed out twice");
}

static void object_release(u64 *object) {
    if (__atomic_exchange_n(object, 0, __ATOMIC_RELAXED) == 0)
        fail("an object was free while a thread held it");
}

static u64 *magazine_new(void) {
    struct magazine *m = aligned_alloc(64, sizeof(struct magazine));
    if (m == NULL)
        fail("no memory");
    m->words[0] = m->words[CAP + 1] = (u64)m->words | MAG_WORD_END;
    return m->words;
}

/* --- what a thread does --- */

static void step_pop(struct thread *t) {
    u64 *object;
    if (t->held_nr == HELD_NR || (object = rseq_pop(views, random_below(t, SLOTS_NR))) == NULL)
        return;
    object_claim(t, object);
    t->held[t->held_nr++] = object;
    t->pops++;
}

static void step_push(struct thread *t) {
    if (t->held_nr == 0)
        return;
    u64 *object = t->held[t->held_nr - 1];
    object_release(object);
    if (rseq_push(views, random_below(t, SLOTS_NR), object)) {
        t->held_nr--;
        t->pushes++;
    } else {
        object_claim(t, object);
    }
}

/* The same by the run. */
static void step_pop_run(struct thread *t) {
    u64 want = random_below(t, RUN_MAX) + 1, nr = MIN(want, (u64)(HELD_NR - t->held_nr));
    u64 done = nr == 0 ? 0 : rseq_pop_run(views, random_below(t, SLOTS_NR), nr, (void **)&t->held[t->held_nr]);
    for (u64 i = 0; i < done; i++)
        object_claim(t, t->held[t->held_nr++]);
    t->pops += done;
}

static void step_push_run(struct thread *t) {
    u64 want = random_below(t, RUN_MAX) + 1, nr = MIN(want, (u64)t->held_nr);
    if (nr == 0)
        return;
    u64 **run = &t->held[t->held_nr - nr];
    for (u64 i = 0; i < nr; i++)
        object_release(run[i]);
    u64 done = rseq_push_run(views, random_below(t, SLOTS_NR), nr, (void *const *)run);
    for (u64 i = done; i < nr; i++) {
        object_claim(t, run[i]);
        run[i - done] = run[i];
    }
    t->held_nr -= (unsigned)done;
    t->pushes += done;
}

/* Takes a whole magazine out of a spare word, puts it in the place of a slot's empty or full one, or into a spare word
 * again. Where a thread cannot put what it holds on the id it is on now, it keeps it for another time. */
static void step_swap(struct thread *t) {
    s64 spare = (s64)(SLOTS_NR + random_below(t, SPARES_NR)) * (s64)sizeof(u64);
    s64 slot = (s64)random_below(t, SLOTS_NR) * (s64)sizeof(u64);
    u64 old, seen = 0;
    bool done = false;
    if (t->magazine == 0) {
        (void)rseq_swap_if_equal(views, spare, NO_WORD, 0, &seen); /* refused: tells what is there */
        if (seen != 0 && rseq_swap_if_equal(views, spare, seen, 0, &old) == RSEQ_DONE)
            t->magazine = seen;
        return;
    }
    switch (random_below(t, 3)) {
    case 0: done = rseq_swap_if_empty(views, slot, t->magazine, &old) == RSEQ_DONE; break;
    case 1: done = rseq_swap_if_full(views, slot, t->magazine, &old) == RSEQ_DONE; break;
    default: done = rseq_swap_if_equal(views, spare, 0, t->magazine, &old) == RSEQ_DONE;
    }
    if (!done)
        return;
    t->magazine = old;
    t->swaps++;
}

/* What the interrupted section would commit next would be wrong now if it were not restarted. */
static void handler_step(struct thread *t) {
    if (t->handler_held == NULL) {
        t->handler_held = rseq_pop(views, 0);
        if (t->handler_held != NULL)
            object_claim(t, t->handler_held);
        return;
    }
    object_release(t->handler_held);
    if (rseq_push(views, 0, t->handler_held))
        t->handler_held = NULL;
    else
        object_claim(t, t->handler_held);
}

static void on_timer(int number, siginfo_t *info, void *context) {
    const ucontext_t *uc = context;
    u64 pc = uc->uc_mcontext.pc;
    (void)number, (void)info;
    atomic_fetch_add(&interrupts_nr, 1);
    for (const struct descriptor *d = __start___rseq_cs; d < __stop___rseq_cs; d++) {
        if (pc == d->abort)
            atomic_fetch_add(&aborts_nr, 1);
        if (pc - d->start < d->length)
            atomic_fetch_add(&inside_nr, 1);
    }
    handler_step(self);
}

static void timer_begin(struct thread *t) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    struct itimerspec every = {{0, TIMER_NS}, {0, TIMER_NS}};
    event._sigev_un._tid = (int)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &t->timer) != 0 || timer_settime(t->timer, 0, &every, NULL) != 0)
        fail("no timer");
}

static void *thread_run(void *arg) {
    struct thread *t = self = arg;
    if (rseq_id_racy() < 0)
        fail("a thread is not registered");
    timer_begin(t);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        switch (random_below(t, 8)) {
        case 0: step_swap(t); break;
        case 1: step_push_run(t); break;
        case 2:
        case 3: step_push(t); break;
        case 4: step_pop_run(t); break;
        default: step_pop(t);
        }
    }
    (void)timer_delete(t->timer);
    return NULL;
}

static void hop(long cpus_nr) {
    for (unsigned i = 0; i < THREADS_NR; i++) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)((random() + i) % cpus_nr), &set);
        (void)pthread_setaffinity_np(threads[i].handle, sizeof(set), &set);
    }
}

/* --- before and after --- */

static void mode_set(const char *mode) {
    bool by_cid = strcmp(mode, "mm_cid") == 0;
    if (__rseq_size == 0 || (by_cid && getauxval(AUX_RSEQ_FEATURE_SIZE) < RSEQ_MM_CID_END)) {
        printf("no %s on this kernel\n", mode);
        exit(EXIT_SKIP);
    }
    mag_id_offset = __rseq_offset + (by_cid ? RSEQ_MM_CID : RSEQ_CPU_ID);
    mag_rseq_offset = __rseq_offset;
}

/* Before the two words are set, and for an id whose magazines are stopped, every primitive refuses and touches nothing.
 */
static void refusals_check(void) {
    static u64 stopped[2] = {MAG_WORD_STOPPED, MAG_WORD_STOPPED};
    u64 object, old = 5;
    for (unsigned i = 0; i < SLOTS_NR + SPARES_NR; i++)
        stopped_slots[i] = (u64)stopped;
    for (unsigned i = 0; i < IDS_NR; i++)
        views[i] = stopped_slots;
    bool refused = rseq_pop(views, 0) == NULL && !rseq_push(views, 0, &object);
    refused = refused && rseq_swap_if_empty(views, 0, 1, &old) != RSEQ_DONE &&
              rseq_swap_if_full(views, 0, 1, &old) != RSEQ_DONE;
    refused = refused && rseq_swap_if_equal(views, 0, 1, 1, &old) != RSEQ_DONE;
    if (!refused || stopped[0] != MAG_WORD_STOPPED || stopped[1] != MAG_WORD_STOPPED ||
        stopped_slots[0] != (u64)stopped)
        fail("an operation that had to be refused was not");
}

static void tables_fill(long ids_nr) {
    unsigned next = 0;
    for (unsigned id = 0; id < IDS_NR; id++) {
        for (unsigned i = 0; i < SLOTS_NR + SPARES_NR; i++)
            slots[id][i] = (u64)magazine_new();
        views[id] = slots[id];
    }
    /* Half of the objects, in the ids that exist; the threads start with the rest. */
    for (long id = 0; id < ids_nr; id++) {
        for (unsigned slot = 0; slot < SLOTS_NR; slot++) {
            for (unsigned i = 0; i < CAP / 2 && next < OBJECTS_NR; i++) {
                slots[id][slot] += sizeof(u64);
                *(u64 *)slots[id][slot] = (u64)objects[next++];
            }
        }
    }
    for (unsigned i = 0; i < THREADS_NR; i++) {
        threads[i].random = i + 1;
        for (; threads[i].held_nr < HELD_NR / 2 && next < OBJECTS_NR; next++) {
            threads[i].held[threads[i].held_nr++] = objects[next];
            objects[next][0] = i + 1;
        }
    }
    for (; next < OBJECTS_NR; next++)
        objects[next][1] = 1; /* takes no part */
}

static void object_count(u64 *object) {
    if (object[1]++ != 0)
        fail("an object is in two places at the end");
}

static void magazine_count(u64 m) {
    for (u64 *top = (u64 *)m; m != 0 && !(*top & MAG_WORD_END); top--)
        object_count((u64 *)*top);
}

static void tables_check(void) {
    for (unsigned id = 0; id < IDS_NR; id++) {
        for (unsigned i = 0; i < SLOTS_NR + SPARES_NR; i++)
            magazine_count(slots[id][i]);
    }
    for (struct thread *t = threads; t < threads + THREADS_NR; t++) {
        magazine_count(t->magazine);
        if (t->handler_held != NULL)
            object_count(t->handler_held);
        for (unsigned k = 0; k < t->held_nr; k++)
            object_count(t->held[k]);
    }
    for (unsigned i = 0; i < OBJECTS_NR; i++) {
        if (objects[i][1] != 1)
            fail("an object is lost");
    }
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct timespec pause = {0, HOP_NS};
    long cpus_nr = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned long pops = 0, pushes = 0, swaps = 0;
    if (argc != 3)
        fail("usage: aarch64_rseq cpu_id|mm_cid SECONDS");
    refusals_check();
    mode_set(argv[1]);
    refusals_check();
    tables_fill(cpus_nr);
    sigaction(SIGRTMIN, &action, NULL);
    for (unsigned i = 0; i < THREADS_NR; i++) {
        if (pthread_create(&threads[i].handle, NULL, thread_run, &threads[i]) != 0)
            fail("no thread");
    }
    /* Where the emulator waits for a CPU no signal may have met a section yet. */
    for (time_t end = time(NULL) + atol(argv[2]); time(NULL) < end || atomic_load(&aborts_nr) == 0;) {
        hop(cpus_nr);
        nanosleep(&pause, NULL);
    }
    atomic_store(&stopping, 1);
    for (unsigned i = 0; i < THREADS_NR; i++) {
        pthread_join(threads[i].handle, NULL);
        pops += threads[i].pops, pushes += threads[i].pushes, swaps += threads[i].swaps;
    }
    tables_check();
    printf("%s: %lu pops, %lu pushes, %lu swaps, %lu interrupts, %lu aborted sections\n", argv[1], pops, pushes, swaps,
           interrupts_nr, aborts_nr);
    if (inside_nr != 0)
        fail("a signal was delivered inside a section");
    if (pops == 0 || pushes == 0 || swaps == 0)
        fail("one of the figures is 0: nothing was tested");
    return 0;
}
