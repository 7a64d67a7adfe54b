/* SPDX-License-Identifier: MIT */
/*
 * page_lock: what many threads wait for each other where objects are as large as the page tier's runs. Each of
 * --threads keeps a live set of its own and replaces random members by objects of --min to --max bytes, of which every
 * page is written with --touch. Prints replacements per second, the resident set at the end, and, under quarry, how
 * often a thread found the page tier's lock held, and the share of all threads' time that they waited for it; not
 * under others.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_threads.h"

enum { LIVE_MAX = 1024, TOUCH_STEP_BYTES = 4096 };

/* Of <quarry/quarry.h>; absent under other allocators. */
extern int quarry_stat(const char *name, uint64_t *ret_value) __attribute__((weak));

static struct {
    uint64_t threads;
    uint64_t live;
    uint64_t replacements;
    uint64_t min_bytes;
    uint64_t max_bytes;
    uint64_t touch;
} setup = {.threads = 16, .live = 16, .replacements = 20000, .min_bytes = 32768, .max_bytes = 524288};

struct worker {
    struct rand rand;
    unsigned char *objects[LIVE_MAX];
};

static struct worker workers[WORKERS_MAX];

static unsigned char *object_new(struct worker *worker) {
    size_t bytes = rand_between(&worker->rand, setup.min_bytes, setup.max_bytes);
    unsigned char *object = malloc(bytes);

    if (object == NULL)
        die("malloc(%zu)", bytes);
    object[0] = 1;
    for (size_t at = TOUCH_STEP_BYTES; setup.touch != 0 && at < bytes; at += TOUCH_STEP_BYTES)
        object[at] = 1;
    return object;
}

static void *worker_body(void *argument) {
    struct worker *worker = argument;

    for (uint64_t done = 0; done < setup.replacements; done++) {
        unsigned char **place = &worker->objects[rand_between(&worker->rand, 0, setup.live - 1)];

        free(*place);
        *place = object_new(worker);
    }
    return NULL;
}

static void lock_figures(uint64_t took_ns) {
    uint64_t waits, wait_ms;

    if (quarry_stat == NULL || quarry_stat("page_lock_waits", &waits) != 0 ||
        quarry_stat("page_lock_wait_ms", &wait_ms) != 0)
        return;
    json_u64(waits, "lock_waits");
    json_f64((double)wait_ms * 1e6 / ((double)took_ns * (double)setup.threads), "lock_wait_share");
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "threads"},
        {.name = "live", .number = &setup.live, .min = 1, .max = LIVE_MAX, .help = "objects each keeps"},
        {.name = "replacements", .number = &setup.replacements, .min = 1, .max = 1ull << 40, .help = "by each thread"},
        {.name = "min", .number = &setup.min_bytes, .min = 1, .max = 1 << 20, .help = "smallest object, bytes"},
        {.name = "max", .number = &setup.max_bytes, .min = 1, .max = 1 << 20, .help = "largest object, bytes"},
        {.name = "touch", .number = &setup.touch, .min = 0, .max = 1, .help = "1: write to every page"},
    };

    args_parse_all(argc, argv, "page_lock: threads that wait for each other's pages", args, ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes)
        die("--min is above --max");
    for (uint64_t id = 0; id < setup.threads; id++)
        workers[id].rand.state = id + 1;
    uint64_t start_ns = clock_now_ns();
    workers_run(worker_body, workers, sizeof(workers[0]), setup.threads);
    uint64_t took_ns = clock_now_ns() - start_ns;
    json_open("page_lock");
    json_f64((double)(setup.threads * setup.replacements) * 1e3 / (double)took_ns, "mops");
    json_u64(mem_rss_bytes(), "rss_bytes");
    lock_figures(took_ns);
    json_close();
    return 0;
}
