/* SPDX-License-Identifier: MIT */
/*
 * larson: a long-running server whose threads come and go while its objects stay. Every chain has a table of objects;
 * its thread replaces random ones, then starts a new thread, hands it the table and ends, so most objects are freed by
 * a thread that did not allocate them, and many after their allocator has ended. After the description in Larson and
 * Krishnan, "Memory allocation for long-running server applications" (ISMM 1998). The chains' tables differ in size.
 * Prints millions of replacements per second, the resident set before the tables are freed and at the end.
 */
#include <pthread.h>
#include <stdint.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"
#include "../lib/thread.h"

enum { CHAINS_MAX = 256 };

static struct {
    uint64_t chains;
    uint64_t successions;
    uint64_t replacements;
    uint64_t min_slots;
    uint64_t max_slots;
    uint64_t min_bytes;
    uint64_t max_bytes;
} setup = {.chains = 2,
           .successions = 50,
           .replacements = 100000,
           .min_slots = 1000,
           .max_slots = 5000,
           .min_bytes = 16,
           .max_bytes = 500};

/* Belongs to the thread that works on it; handed over by starting the next one. */
struct chain {
    struct rand rand;
    struct object **slots;
    size_t slots_nr;
    uint64_t generation;
    pthread_t predecessor; /* to be joined by whoever has the chain; none for generation 0 */
};

static pthread_barrier_t chains_ended; /* the last thread of each chain, and main */

static struct object *slot_object(struct chain *chain, size_t slot) {
    return object_make(rand_between(&chain->rand, setup.min_bytes, setup.max_bytes), (uint32_t)slot);
}

static void *generation_body(void *argument) {
    struct chain *chain = argument;

    if (chain->generation > 0)
        thread_join(chain->predecessor);
    for (uint64_t done = 0; done < setup.replacements; done++) {
        size_t slot = rand_between(&chain->rand, 0, chain->slots_nr - 1);

        object_free(chain->slots[slot], (uint32_t)slot);
        chain->slots[slot] = slot_object(chain, slot);
    }
    chain->generation++;
    chain->predecessor = pthread_self();
    if (chain->generation <= setup.successions)
        thread_start(generation_body, chain);
    else
        thread_meet(&chains_ended);
    return NULL;
}

/* Main fills the tables: the first generation, too, frees what another thread allocated. */
static void chain_init(struct chain *chain, uint64_t id) {
    uint64_t steps = setup.chains > 1 ? setup.chains - 1 : 1;

    chain->rand.state = id + 1;
    chain->slots_nr = setup.max_slots - (setup.max_slots - setup.min_slots) * id / steps;
    chain->slots = mem_map_touched(chain->slots_nr * sizeof(struct object *));
    for (size_t slot = 0; slot < chain->slots_nr; slot++)
        chain->slots[slot] = slot_object(chain, slot);
}

static void chain_fini(struct chain *chain) {
    for (size_t slot = 0; slot < chain->slots_nr; slot++)
        object_free(chain->slots[slot], (uint32_t)slot);
    mem_unmap(chain->slots, chain->slots_nr * sizeof(struct object *));
}

static void measure(void) {
    static struct chain chains[CHAINS_MAX];

    barrier_open(&chains_ended, setup.chains + 1);
    for (uint64_t id = 0; id < setup.chains; id++)
        chain_init(&chains[id], id);
    uint64_t start_ns = clock_now_ns();
    for (uint64_t id = 0; id < setup.chains; id++)
        thread_start(generation_body, &chains[id]);
    thread_meet(&chains_ended);
    uint64_t took_ns = clock_now_ns() - start_ns;
    for (uint64_t id = 0; id < setup.chains; id++)
        thread_join(chains[id].predecessor);
    uint64_t live_bytes = mem_rss_bytes();
    for (uint64_t id = 0; id < setup.chains; id++)
        chain_fini(&chains[id]);

    uint64_t replaced_nr = setup.chains * (setup.successions + 1) * setup.replacements;
    json_open("larson");
    json_f64((double)replaced_nr * 1e3 / (double)took_ns, "mops");
    json_u64(live_bytes, "rss_live_bytes");
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "chains", .number = &setup.chains, .min = 1, .max = CHAINS_MAX, .help = "threads at a time"},
        {.name = "successions",
         .number = &setup.successions,
         .min = 0,
         .max = 1 << 20,
         .help = "times a table moves on"},
        {.name = "replacements", .number = &setup.replacements, .min = 1, .max = 1u << 30, .help = "by each thread"},
        {.name = "min-slots", .number = &setup.min_slots, .min = 1, .max = 1 << 24, .help = "smallest table"},
        {.name = "max-slots", .number = &setup.max_slots, .min = 1, .max = 1 << 24, .help = "largest table"},
        {.name = "min", .number = &setup.min_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "smallest object"},
        {.name = "max", .number = &setup.max_bytes, .min = OBJECT_MIN_BYTES, .max = 1 << 20, .help = "largest object"},
    };

    args_parse_all(argc, argv, "larson: random replacement in tables that pass from thread to thread", args,
                   ARGS_NR(args));
    if (setup.min_bytes > setup.max_bytes || setup.min_slots > setup.max_slots)
        die("a minimum is above its maximum");
    measure();
    return 0;
}
