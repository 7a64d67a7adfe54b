/* SPDX-License-Identifier: MIT */
/*
 * many_threads: the same work by any number of threads. A fixed number of tasks, each with a table of small objects of
 * its own and a random sequence of its own, is dealt out to --threads, which run their tasks in slices, in turn; what a
 * task does, and how warm its objects are, is the same for any number. So time and memory should not depend on
 * --threads once there are as many as CPUs, and what they grow by is what an allocator keeps and does per thread. A
 * task replaces random objects of its table; every fourth one is put instead in a table that all share, and what was
 * there is freed, most often by another thread than the one that allocated it. No thread ever waits for another. Prints
 * millions of replacements per second, the resident set with all objects live, and at the end, after all threads have
 * ended.
 */
#include <stdatomic.h>
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"

enum { TASKS_MAX = WORKERS_MAX, SHARE_EVERY = 4, SHARED_TAG = 0x5a5a5a5a };

/* About what a thread does in a time slice when there are many. */
enum { SLICE_REPLACEMENTS = 16384 };

static struct {
    uint64_t threads;
    uint64_t tasks;
    uint64_t replacements;
    uint64_t own_objects;
    uint64_t shared_objects;
    uint64_t min_bytes;
    uint64_t max_bytes;
} setup = {.threads = 16,
           .tasks = 64,
           .replacements = 150000,
           .own_objects = 1024,
           .shared_objects = 32768,
           .min_bytes = 16,
           .max_bytes = 512};

struct task {
    struct rand rand;
    struct object **objects;
};

static struct task tasks[TASKS_MAX];
static _Atomic(struct object *) *shared;

static pthread_barrier_t all_done; /* the workers and main */
static pthread_barrier_t measured; /* the same */

static struct object *small_make(struct task *task, uint32_t tag) {
    return object_make(size_draw(&task->rand, setup.min_bytes, setup.max_bytes), tag);
}

/* Puts a new object, or NULL, at one place of the shared table, and frees what was there. */
static void shared_replace(size_t at, struct object *object) {
    /* order: acq_rel  pairs: [many_threads.shared]  The freeing thread reads the stamps that the allocating one wrote.
     */
    struct object *old = atomic_exchange_explicit(&shared[at], object, memory_order_acq_rel);

    if (old != NULL)
        object_free(old, SHARED_TAG);
}

static void own_replace(struct task *task) {
    size_t at = rand_between(&task->rand, 0, setup.own_objects - 1);

    object_free(task->objects[at], (uint32_t)at);
    task->objects[at] = small_make(task, (uint32_t)at);
}

static void task_start(struct task *task) {
    for (size_t at = 0; at < setup.own_objects; at++)
        task->objects[at] = small_make(task, (uint32_t)at);
}

static void task_slice(struct task *task, uint64_t replacements) {
    for (uint64_t done = 0; done < replacements; done++) {
        if (done % SHARE_EVERY == 0)
            shared_replace(rand_between(&task->rand, 0, setup.shared_objects - 1), small_make(task, SHARED_TAG));
        else
            own_replace(task);
    }
}

static void task_end(struct task *task) {
    for (size_t at = 0; at < setup.own_objects; at++)
        object_free(task->objects[at], (uint32_t)at);
}

/* The argument is the thread's first task; the others follow at steps of --threads. */
static void *thread_body(void *argument) {
    struct task *const first = argument;
    struct task *const end = tasks + setup.tasks;
    uint64_t left = setup.replacements;

    for (struct task *task = first; task < end; task += setup.threads)
        task_start(task);
    while (left > 0) {
        uint64_t slice = left < SLICE_REPLACEMENTS ? left : SLICE_REPLACEMENTS;

        for (struct task *task = first; task < end; task += setup.threads)
            task_slice(task, slice);
        left -= slice;
    }
    thread_meet(&all_done);
    thread_meet(&measured);
    for (struct task *task = first; task < end; task += setup.threads)
        task_end(task);
    return NULL;
}

static void tasks_init(void) {
    struct object **objects = mem_map_touched(setup.tasks * setup.own_objects * sizeof(*objects));

    for (uint64_t id = 0; id < setup.tasks; id++)
        tasks[id] = (struct task){.rand = {.state = id + 1}, .objects = objects + id * setup.own_objects};
}

static void measure(void) {
    pthread_t threads[WORKERS_MAX];

    tasks_init();
    shared = mem_map_touched(setup.shared_objects * sizeof(*shared));
    barrier_open(&all_done, setup.threads + 1);
    barrier_open(&measured, setup.threads + 1);
    uint64_t start_ns = clock_now_ns();
    for (uint64_t id = 0; id < setup.threads; id++)
        threads[id] = thread_start(thread_body, &tasks[id]);
    thread_meet(&all_done);
    uint64_t took_ns = clock_now_ns() - start_ns;
    uint64_t live_bytes = mem_rss_bytes();
    thread_meet(&measured);
    for (uint64_t id = 0; id < setup.threads; id++)
        thread_join(threads[id]);
    for (size_t at = 0; at < setup.shared_objects; at++)
        shared_replace(at, NULL);

    json_open("many_threads");
    json_u64(setup.threads, "threads");
    json_f64((double)(setup.tasks * setup.replacements) * 1e3 / (double)took_ns, "mops");
    json_u64(live_bytes, "rss_live_bytes");
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "at most --tasks"},
        {.name = "tasks", .number = &setup.tasks, .min = 1, .max = TASKS_MAX, .help = "dealt out to the threads"},
        {.name = "replacements", .number = &setup.replacements, .min = 1, .max = 1ull << 40, .help = "by each task"},
        {.name = "own", .number = &setup.own_objects, .min = 1, .max = 1 << 24, .help = "objects of each task"},
        {.name = "shared",
         .number = &setup.shared_objects,
         .min = 1,
         .max = 1 << 24,
         .help = "objects in the shared table"},
        {.name = "min", .number = &setup.min_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "smallest object"},
        {.name = "max", .number = &setup.max_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "largest object"},
    };

    args_parse_all(argc, argv, "many_threads: the same work by any number of threads", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes || setup.tasks < setup.threads)
        die("--min is above --max, or --tasks below --threads");
    measure();
    return 0;
}
