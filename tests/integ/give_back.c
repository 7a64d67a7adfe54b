/* SPDX-License-Identifier: MIT */
/*
 * After load drops the process gives back. Four threads allocate and write a load, keep a part of it, and then rest;
 * memory must fall to what is live and a tenth of it, whoever calls the allocator from then on:
 *
 *   give_back little   the first thread goes on allocating a little
 *   give_back other    another one does, started for it
 *   give_back nobody   nobody calls again (run with QUARRY_BACKGROUND=on)
 *   give_back promise  nobody calls again and there is no thread: README.md's bound for what stays
 *   give_back trim     nobody but malloc_trim(0), which says whether it gave anything back
 *
 * How long it takes is printed and not judged (bar: 2 s): a test waits as long as a busy machine needs. What is
 * allocated a little counts as live. Every object is checked when it is freed.
 */
#include "check.h"
#include "oracle.h"
#include "proc.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_NR = 4, OBJECTS_MAX = 1 << 18, STEP_MS = 10, WAIT_S = 30, KIB = 1 << 10, MIB = 1 << 20 };
enum { LITTLE_SLOTS = 64, LITTLE_CALLS = 8, LITTLE_MAX_BYTES = 16 * KIB };
/* Magazines, records and page tables' worth of slack that a small heap has, whatever is live. */
enum { SLACK_BYTES = 2 * MIB };
/* README.md: half of what is live, and this. */
enum { PROMISE_PART = 2, PROMISE_BYTES = 48 * MIB };

/* Sizes are as often in one doubling as in another. Of what a thread allocated the newest keep_pct stay. */
struct load {
    const char *name;
    size_t min_bytes, max_bytes, total_bytes;
    unsigned keep_pct;
};
static const struct load loads[] = {
    {"small, a third stays", 16, 1 * KIB, 96 * MIB, 33},
    {"mixed, a fifth stays", 16, 256 * KIB, 256 * MIB, 20},
    {"large, a quarter stays", 256 * KIB, 8 * MIB, 256 * MIB, 25},
    {"nothing stays", 16, 64 * KIB, 192 * MIB, 0},
};
enum { LOADS_NR = sizeof loads / sizeof loads[0] };

enum mode { MODE_LITTLE, MODE_OTHER, MODE_NOBODY, MODE_PROMISE, MODE_TRIM, MODES_NR };
static const char *const mode_names[MODES_NR] = {"little", "other", "nobody", "promise", "trim"};

struct worker {
    struct rng rng;
    struct object *objects; /* from mmap by the first touch of .bss: no memory of the heap's */
    size_t objects_nr;
    size_t live_bytes;
};
static struct object tables[THREADS_NR][OBJECTS_MAX];
static struct worker workers[THREADS_NR];
static const struct load *load;
static pthread_barrier_t filled, freed, over;
static enum mode mode;

static size_t size_draw(struct rng *rng, size_t min_bytes, size_t max_bytes) {
    size_t doublings = 0;
    while (min_bytes << (doublings + 1) <= max_bytes)
        doublings++;
    size_t low = min_bytes << rng_below(rng, doublings);
    return low + rng_below(rng, low);
}

static void object_make(struct object *object, size_t size, uint64_t stamp) {
    object->memory = malloc(size);
    object->size = size;
    CHECK_MSG(object->memory != NULL, "malloc of %zu bytes failed", size);
    memset(object->memory, 0x5a, size);
    object_stamp(object, stamp);
}

static void fill(struct worker *w) {
    size_t left = load->total_bytes / THREADS_NR;
    for (w->objects_nr = 0; left > 0 && w->objects_nr < OBJECTS_MAX; w->objects_nr++) {
        size_t size = size_draw(&w->rng, load->min_bytes, load->max_bytes);
        object_make(&w->objects[w->objects_nr], size, w->objects_nr);
        left -= size < left ? size : left;
    }
}

static void drop(struct worker *w, unsigned keep_pct) {
    size_t drop_nr = w->objects_nr - w->objects_nr * keep_pct / 100;
    for (size_t i = 0; i < drop_nr; i++)
        object_retire(&w->objects[i]);
    w->objects_nr -= drop_nr;
    memmove(w->objects, w->objects + drop_nr, w->objects_nr * sizeof *w->objects);
    w->live_bytes = 0;
    for (size_t i = 0; i < w->objects_nr; i++)
        w->live_bytes += malloc_usable_size(w->objects[i].memory);
}

static void *worker_body(void *worker) {
    struct worker *w = worker;
    fill(w);
    pthread_barrier_wait(&filled);
    drop(w, load->keep_pct);
    pthread_barrier_wait(&freed);
    pthread_barrier_wait(&over);
    drop(w, 0);
    return NULL;
}

static void sleep_ms(long ms) {
    struct timespec span = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Some hundred calls a second, of sizes that come again: most of them find a magazine. */
static void allocate_little(struct rng *rng, struct object *slots) {
    for (int i = 0; i < LITTLE_CALLS; i++) {
        struct object *object = &slots[rng_below(rng, LITTLE_SLOTS)];
        if (object->memory != NULL)
            object_retire(object);
        object_make(object, size_draw(rng, 16, LITTLE_MAX_BYTES), 1);
    }
}

static size_t little_bytes(const struct object *slots) {
    size_t bytes = 0;
    for (int i = 0; i < LITTLE_SLOTS; i++)
        bytes += slots[i].memory != NULL ? malloc_usable_size(slots[i].memory) : 0;
    return bytes;
}

struct rest {
    size_t start_bytes; /* anonymous memory before the first load */
    size_t live_bytes;
    struct rng rng;
    struct object little[LITTLE_SLOTS];
};

static size_t held_bytes(const struct rest *r) {
    size_t now = proc_anonymous_bytes();
    return now > r->start_bytes ? now - r->start_bytes : 0;
}

static bool calls_go_on(void) { return mode == MODE_LITTLE || mode == MODE_OTHER; }

static size_t bound_bytes(const struct rest *r) {
    size_t live = r->live_bytes + little_bytes(r->little);
    return mode == MODE_PROMISE ? live + live / PROMISE_PART + PROMISE_BYTES : live + live / 10 + SLACK_BYTES;
}

/* Until memory is within the bound. Returns how long that took, in ms. */
static void *rest(void *arg) {
    struct rest *r = arg;
    long start = now_ms(), took = 0;
    size_t first = held_bytes(r), held = first;
    if (mode == MODE_TRIM) {
        CHECK_MSG(first > bound_bytes(r), "%s: there is nothing to give back", load->name);
        CHECK_MSG(malloc_trim(0) == 1, "malloc_trim(0) says that it gave nothing back");
    }
    do {
        if (calls_go_on())
            allocate_little(&r->rng, r->little);
        sleep_ms(STEP_MS);
        held = held_bytes(r);
        took = now_ms() - start;
    } while (held > bound_bytes(r) &&
             took < (mode == MODE_TRIM || mode == MODE_PROMISE ? 0 : 1000L * limit_seconds(WAIT_S)));
    printf("# %-24s live %4zu MiB, held %4zu MiB at first, %4zu MiB after %ld ms\n", load->name, r->live_bytes / MIB,
           first / MIB, held / MIB, took);
    CHECK_MSG(held <= bound_bytes(r), "%s, %s: %zu bytes held for %zu live, %zu allowed", mode_names[mode], load->name,
              held, r->live_bytes, bound_bytes(r));
    for (int i = 0; i < LITTLE_SLOTS; i++) {
        if (r->little[i].memory != NULL)
            object_retire(&r->little[i]);
    }
    return NULL;
}

static void load_run(const struct load *which, size_t start_bytes) {
    static struct rest r;
    pthread_t threads[THREADS_NR], another;
    load = which;
    for (int i = 0; i < THREADS_NR; i++) {
        workers[i].objects = tables[i];
        workers[i].rng.state = (uint64_t)i + 1;
        CHECK(pthread_create(&threads[i], NULL, worker_body, &workers[i]) == 0);
    }
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&freed);
    r = (struct rest){.start_bytes = start_bytes, .rng = {.state = 7}};
    for (int i = 0; i < THREADS_NR; i++)
        r.live_bytes += workers[i].live_bytes;
    if (mode == MODE_OTHER) {
        CHECK(pthread_create(&another, NULL, rest, &r) == 0);
        CHECK(pthread_join(another, NULL) == 0);
    } else {
        rest(&r);
    }
    pthread_barrier_wait(&over);
    for (int i = 0; i < THREADS_NR; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* The program's own tables are in memory before anything is measured. */
static void tables_touch(void) {
    for (size_t at = 0; at < sizeof tables; at += 4096)
        ((volatile char *)tables)[at] = 0;
}

/* Each load in a process of its own: a program that works in waves may keep what it wants back. */
static void load_child(const struct load *which) {
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        tables_touch();
        free(opaque(malloc(1)));
        load_run(which, proc_anonymous_bytes());
        exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_MSG(status == 0, "%s failed", which->name);
}

int main(int argc, char **argv) {
    for (mode = MODE_LITTLE; mode < MODES_NR && (argc < 2 || strcmp(argv[1], mode_names[mode]) != 0);)
        mode++;
    CHECK_MSG(mode < MODES_NR, "usage: give_back little|other|nobody|promise|trim");
    pthread_barrier_init(&filled, NULL, THREADS_NR + 1);
    pthread_barrier_init(&freed, NULL, THREADS_NR + 1);
    pthread_barrier_init(&over, NULL, THREADS_NR + 1);
    for (int i = 0; i < LOADS_NR; i++)
        load_child(&loads[i]);
    return 0;
}
