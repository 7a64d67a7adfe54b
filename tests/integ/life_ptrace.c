/* SPDX-License-Identifier: MIT */
/*
 * A process taken by ptrace, one instruction at a time, through malloc and free. Whatever stops a thread inside a
 * restartable sequence makes the kernel restart it, so first it is stepped as a debugger would, which gets nowhere and
 * must do no harm. Then the tracer clears the thread's rseq_cs at each stop, so that the stop itself aborts nothing,
 * and puts it back at the instruction whose turn it is: there another thread of the same CPU uses the same magazines,
 * or a signal handler does, and the kernel must restart the sequence. Each instruction of each sequence that the
 * workload comes by has its turn, several times.
 *
 * The oracle: stamped objects of the thread, the other thread and the handler; and each restart is seen to happen. That
 * it can fail is shown by `unarmed`: the same without putting rseq_cs back must lose or double something.
 * tests/unit/mag/abort.c does this to each primitive alone.
 */
#include "check.h"
#include "oracle.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <sys/ptrace.h>
#include <sys/user.h>

enum {
    OPERATIONS = 800,
    OBJECTS = 96,
    OTHER_STEPS = 6,
    HANDLER_OBJECTS = 4,
    SECTIONS_MAX = 64,
    PLACES_MAX = 64, /* instructions of a sequence that are told apart; a loop has as many as it is long */
    TURNS_USUAL = 3,
    TURNS_SOAK = 60,
    PLAIN_STEPS = 2000,
    STEPS_MAX = 20000000,
    SECTIONS_MIN = 4,
    CS_OFFSET = 8, /* of rseq_cs in the thread's area, see linux/rseq.h */
    LOOK_MS = 50,
    LOOKS_MAX = 400,
};

/* Tracer and traced. */
static struct shared {
    atomic_int stepping;       /* inside a call of the allocator */
    atomic_int handler_inside; /* a handler runs */
    atomic_uint asked, done;   /* turns of the other thread */
    atomic_uint handled;
} * shared;

/* --- the traced process --- */

static const size_t sizes[] = {16, 48, 300, 1000, 5000, 20000};
static struct object objects[OBJECTS], other_objects[OBJECTS], handler_objects[HANDLER_OBJECTS];

/* The tracer steps from here to step_end(). */
static inline void step_begin(void) {
    atomic_store(&shared->stepping, 1);
    __asm__ volatile("int3" ::: "memory");
}
static inline void step_end(void) { atomic_store(&shared->stepping, 0); }

static void object_fill(struct object *o, struct rng *rng) {
    o->size = sizes[rng_below(rng, sizeof(sizes) / sizeof(sizes[0]))];
    o->memory = malloc(o->size);
    CHECK(o->memory != NULL);
    object_stamp(o, rng_next(rng));
}

/* Not object_retire(): usable sizes are not asked for while stepping. */
static void object_empty(struct object *o) {
    unsigned char *memory = o->memory;
    object_check(o);
    memset(memory, 0xdd, 16);
    o->memory = NULL;
    free(memory);
}

static void object_toggle(struct object *o, struct rng *rng) {
    if (o->memory == NULL)
        object_fill(o, rng);
    else
        object_empty(o);
}

static void on_usr1(int signal_nr) {
    static struct rng rng = {9};
    int saved = errno;
    (void)signal_nr;
    atomic_store(&shared->handler_inside, 1);
    object_toggle(&handler_objects[rng_below(&rng, HANDLER_OBJECTS)], &rng);
    atomic_fetch_add(&shared->handled, 1);
    atomic_store(&shared->handler_inside, 0);
    errno = saved;
}

static void shared_wait(atomic_uint *word, unsigned seen) {
    struct timespec limit = {0, LOOK_MS * 1000000L};
    if (atomic_load(word) == seen)
        (void)syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, NULL, 0);
}
static void shared_raise(atomic_uint *word) {
    atomic_fetch_add(word, 1);
    (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Works when asked, and not otherwise: who clears rseq_cs must be alone. */
static void *other_run(void *arg) {
    struct rng rng = {7};
    (void)arg;
    for (unsigned turn = 0;; turn++) {
        while (atomic_load(&shared->asked) == turn)
            shared_wait(&shared->asked, turn);
        for (unsigned i = 0; i < OTHER_STEPS; i++)
            object_toggle(&other_objects[rng_below(&rng, OBJECTS)], &rng);
        shared_raise(&shared->done);
    }
    return NULL;
}

static void objects_check(const struct object *held, size_t nr) {
    for (size_t i = 0; i < nr; i++) {
        if (held[i].memory != NULL)
            object_check(&held[i]);
    }
}

static void traced_operation(struct rng *rng) {
    struct object *o = &objects[rng_below(rng, OBJECTS)];
    void *memory = o->memory;
    if (memory == NULL) {
        o->size = sizes[rng_below(rng, sizeof(sizes) / sizeof(sizes[0]))];
        step_begin();
        memory = malloc(o->size);
        step_end();
        o->memory = memory;
        CHECK(memory != NULL);
        object_stamp(o, rng_next(rng));
        return;
    }
    object_check(o);
    memset(memory, 0xdd, 16);
    o->memory = NULL;
    step_begin();
    free(memory);
    step_end();
}

static void cpu_pin_first(void) {
    cpu_set_t may, one;
    unsigned cpu = 0;
    CHECK(sched_getaffinity(0, sizeof(may), &may) == 0);
    while (!CPU_ISSET(cpu, &may))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
}

static _Noreturn void traced_main(bool is_quiet) {
    struct rng rng = {5};
    pthread_t other;
    if (is_quiet)
        (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    cpu_pin_first();
    CHECK(signal(SIGUSR1, on_usr1) != SIG_ERR);
    CHECK(pthread_create(&other, NULL, other_run, NULL) == 0);
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    (void)raise(SIGSTOP);
    for (unsigned i = 0; i < OPERATIONS; i++)
        traced_operation(&rng);
    objects_check(objects, OBJECTS);
    objects_check(other_objects, OBJECTS);
    objects_check(handler_objects, HANDLER_OBJECTS);
    _exit(0);
}

/* --- the tracer --- */

struct section {
    uint64_t descriptor, first, bytes;
    unsigned char turns[PLACES_MAX];
};

static struct tracer {
    pid_t child;
    uint64_t area_cs; /* address of the thread's rseq_cs */
    bool unarmed;
    unsigned turns_each;
    struct section sections[SECTIONS_MAX];
    struct section *current;
    unsigned sections_nr;
    unsigned long steps, aborts, signals;
} tracer;

static uint64_t peek(uint64_t addr) {
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, tracer.child, (void *)addr, NULL); // NOLINT(performance-no-int-to-ptr)
    CHECK(errno == 0);
    return (uint64_t)word;
}

static void cs_set(uint64_t descriptor) {
    void *at = (void *)tracer.area_cs;                                         // NOLINT(performance-no-int-to-ptr)
    CHECK(ptrace(PTRACE_POKEDATA, tracer.child, at, (void *)descriptor) == 0); // NOLINT(performance-no-int-to-ptr)
}

static uint64_t ip_get(void) {
    errno = 0;
    long ip = ptrace(PTRACE_PEEKUSER, tracer.child, offsetof(struct user_regs_struct, rip), NULL);
    CHECK(errno == 0);
    return (uint64_t)ip;
}

/* How the process ended: what is lost or doubled shows as its own failure, or as a crash. */
static _Noreturn void tracer_end(int status) {
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    (void)kill(tracer.child, SIGKILL);
    printf("%u sequences, %lu steps, %lu restarts, %lu signals\n", tracer.sections_nr, tracer.steps, tracer.aborts,
           tracer.signals);
    if (tracer.unarmed) {
        CHECK_MSG(!good, "sequences that were not restarted did no harm: this test finds nothing");
        exit(0);
    }
    CHECK_MSG(good, "the traced process ended with wait status %#x", (unsigned)status);
    CHECK_MSG(tracer.sections_nr >= SECTIONS_MIN && tracer.aborts > 0 && tracer.signals > 0, "nothing was interrupted");
    exit(0);
}

/* Until the next stop; signals that are not the tracer's own go on to the process. */
static void resume(int request, int signal_nr) {
    for (;;) {
        int status;
        CHECK(ptrace(request, tracer.child, NULL, (void *)(long)signal_nr) == 0); // NOLINT(performance-no-int-to-ptr)
        CHECK(waitpid(tracer.child, &status, __WALL) == tracer.child);
        if (!WIFSTOPPED(status))
            tracer_end(status);
        if (WSTOPSIG(status) == SIGTRAP)
            return;
        signal_nr = WSTOPSIG(status);
    }
}

static struct section *section_of(uint64_t descriptor) {
    for (unsigned i = 0; i < tracer.sections_nr; i++) {
        if (tracer.sections[i].descriptor == descriptor)
            return &tracer.sections[i];
    }
    CHECK(tracer.sections_nr < SECTIONS_MAX);
    struct section *s = &tracer.sections[tracer.sections_nr++];
    *s = (struct section){descriptor, peek(descriptor + 8), peek(descriptor + 16), {0}};
    return s;
}

/* The sequence the thread is in the middle of, or NULL. */
static struct section *section_here(uint64_t ip) {
    uint64_t descriptor = peek(tracer.area_cs);
    if (descriptor != 0)
        tracer.current = section_of(descriptor);
    struct section *s = tracer.current;
    return s != NULL && ip - s->first < s->bytes ? s : NULL;
}

/* The other thread has its turn. It may end the process, if it finds something wrong, or hang. */
static void other_take_turn(void) {
    unsigned before = atomic_load(&shared->done);
    int status = 0;
    shared_raise(&shared->asked);
    for (unsigned looks = 0; atomic_load(&shared->done) == before; looks++) {
        shared_wait(&shared->done, before);
        if (waitpid(tracer.child, &status, __WALL | WNOHANG) == tracer.child && !WIFSTOPPED(status))
            tracer_end(status);
        if (looks == LOOKS_MAX)
            tracer_end(SIGKILL);
    }
}

/* The thread stays where it is while the other one uses its magazines, or gets a signal whose handler does. */
static void disturb(struct section *s, unsigned turn) {
    cs_set(tracer.unarmed ? 0 : s->descriptor);
    if (turn % 3 == 2 && atomic_load(&shared->handler_inside) == 0) {
        tracer.signals++;
        resume(PTRACE_SINGLESTEP, SIGUSR1);
    } else {
        other_take_turn();
        resume(PTRACE_SINGLESTEP, 0);
    }
    if (tracer.unarmed)
        return;
    CHECK_MSG(ip_get() - s->first >= s->bytes, "the kernel did not restart a sequence");
    tracer.aborts++;
}

static void step(void) {
    uint64_t ip = ip_get();
    struct section *s = section_here(ip);
    CHECK_MSG(tracer.steps++ < STEPS_MAX, "no end after %d steps", STEPS_MAX);
    if (s == NULL) {
        resume(PTRACE_SINGLESTEP, 0);
        return;
    }
    uint64_t place = (ip - s->first) % PLACES_MAX;
    if (s->turns[place] < tracer.turns_each) {
        disturb(s, s->turns[place]++);
        return;
    }
    cs_set(0);
    resume(PTRACE_SINGLESTEP, 0);
}

/* As a debugger does: the thread hangs in the first sequence it comes to, unharmed. */
static void step_plainly(void) {
    for (unsigned i = 0; i < PLAIN_STEPS && atomic_load(&shared->stepping) != 0; i++)
        resume(PTRACE_SINGLESTEP, 0);
    CHECK_MSG(atomic_load(&shared->stepping) != 0, "a sequence was passed although it was interrupted");
}

static void trace(void) {
    ptrdiff_t *offset = NULL;
    struct user_regs_struct regs;
    symbol_get("__rseq_offset", &offset);
    CHECK(ptrace(PTRACE_GETREGS, tracer.child, NULL, &regs) == 0);
    tracer.area_cs = regs.fs_base + (uint64_t)*offset + CS_OFFSET;
    CHECK(ptrace(PTRACE_SETOPTIONS, tracer.child, NULL, (void *)PTRACE_O_EXITKILL) == 0);
    resume(PTRACE_CONT, 0);
    step_plainly();
    for (;;) {
        while (atomic_load(&shared->stepping) != 0)
            step();
        resume(PTRACE_CONT, 0);
    }
}

int main(int argc, char **argv) {
    unsigned *size = NULL;
    int status;
    symbol_get("__rseq_size", &size);
    if (size == NULL || *size == 0)
        check_skip("there are no restartable sequences here");
    tracer.unarmed = argc > 1 && strcmp(argv[1], "unarmed") == 0;
    tracer.turns_each = getenv("SOAK") != NULL ? TURNS_SOAK : TURNS_USUAL;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    tracer.child = fork();
    CHECK(tracer.child >= 0);
    if (tracer.child == 0)
        traced_main(tracer.unarmed);
    CHECK(waitpid(tracer.child, &status, __WALL) == tracer.child);
    if (!WIFSTOPPED(status))
        check_skip("ptrace is not permitted here");
    trace();
}

#else
int main(void) { check_skip("the tracer knows x86-64 alone"); }
#endif
