/* SPDX-License-Identifier: MIT */
/*
 * server: latency of single calls in a server. Worker threads, one event loop each, serve connections of mixed
 * lifetimes: most end after a few requests, some last long. A connection has buffers and gathers session objects, a
 * request makes small objects that die with it and now and then a body, and its response is handed to the next worker,
 * which checks, sends and frees it. Every call of malloc and free is timed by the CPU's counter, nothing is left out,
 * and the cost of reading the counter is not taken off; where there are fewer CPUs than threads, max is the
 * scheduler's. Prints percentiles of malloc and free in ns, millions of requests per second, the resident set with the
 * last connections open, and at the end.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/hist.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/ring.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"
#include "../lib/thread.h"
#include "../lib/ticks.h"

enum {
    WORKERS_NR_MAX = 64,
    SESSION_MAX = 64,
    REQUEST_OBJECTS_MIN = 4,
    REQUEST_OBJECTS_MAX = 16,
    SMALL_MIN_BYTES = 16,
    SMALL_MAX_BYTES = 512,
    BUFFER_MIN_BYTES = 4096,
    BUFFER_MAX_BYTES = 16384,
    BODY_MIN_BYTES = 1024,
    BODY_MAX_BYTES = 65536,
    RESPONSE_MIN_BYTES = 128,
    RESPONSE_MAX_BYTES = 16384,
    BODY_EVERY = 16,
    SESSION_EVERY = 4
};

/* Share of connections, in percent, and how many requests they serve at most: pages, browsers, other services. */
static const struct lifetime {
    unsigned pct;
    size_t min_requests;
    size_t max_requests;
} lifetimes[] = {{70, 1, 4}, {25, 10, 100}, {5, 1000, 5000}};

static struct {
    uint64_t workers;
    uint64_t connections;
    uint64_t requests;
} setup = {.workers = 2, .connections = 1000, .requests = 200000};

/* Itself an object of the allocator, tagged with its slot; its parts and requests have tags of their own. */
struct connection {
    struct object object;
    struct object *input;
    struct object *output;
    struct object *session[SESSION_MAX];
    size_t session_nr;
    size_t requests_left;
    uint64_t last; /* its last byte is the object's stamp */
};

struct worker {
    struct rand rand;
    struct connection **connections;
    struct ring *inbox;     /* responses of the worker before, in order: tags 0, 1, 2 and so on */
    struct ring *next_ring; /* the inbox of the worker after */
    uint32_t sent_nr;
    uint32_t received_nr;
    struct hist malloc_ticks;
    struct hist free_ticks;
};

static pthread_barrier_t all_served; /* the workers and main */
static pthread_barrier_t measured;   /* the same */

/* What belongs to one connection, in the order of the tags. */
enum part { INPUT = 1, OUTPUT, BODY, SESSION_FIRST, REQUEST_FIRST = SESSION_FIRST + SESSION_MAX };

static uint32_t tag_of(uint32_t slot, size_t part) { return slot << 8 | (uint32_t)part; }

static struct object *timed_make(struct worker *worker, size_t size_bytes, uint32_t tag) {
    uint64_t start_ticks = ticks_now();
    void *start = malloc(size_bytes);
    uint64_t took_ticks = ticks_now() - start_ticks;

    if (start == NULL)
        die("malloc(%zu) failed", size_bytes);
    hist_add(&worker->malloc_ticks, took_ticks);
    return object_stamp(start, size_bytes, tag);
}

static void timed_free(struct worker *worker, struct object *object, uint32_t tag) {
    object_check(object, tag);
    uint64_t start_ticks = ticks_now();
    free(object);
    hist_add(&worker->free_ticks, ticks_now() - start_ticks);
}

static struct object *drawn_make(struct worker *worker, size_t min_bytes, size_t max_bytes, uint32_t tag) {
    return timed_make(worker, size_draw(&worker->rand, min_bytes, max_bytes), tag);
}

static size_t requests_draw(struct rand *rand) {
    size_t pct = rand_between(rand, 1, 100);
    const struct lifetime *lifetime = lifetimes;

    while (pct > lifetime->pct) {
        pct -= lifetime->pct;
        lifetime++;
    }
    return rand_between(rand, lifetime->min_requests, lifetime->max_requests);
}

static struct connection *connection_open(struct worker *worker, uint32_t slot) {
    struct connection *connection = (struct connection *)timed_make(worker, sizeof(*connection), slot);

    connection->input = object_fill(drawn_make(worker, BUFFER_MIN_BYTES, BUFFER_MAX_BYTES, tag_of(slot, INPUT)));
    connection->output = drawn_make(worker, BUFFER_MIN_BYTES, BUFFER_MAX_BYTES, tag_of(slot, OUTPUT));
    connection->session_nr = 0;
    connection->requests_left = requests_draw(&worker->rand);
    return connection;
}

static void connection_close(struct worker *worker, struct connection *connection, uint32_t slot) {
    for (size_t at = 0; at < connection->session_nr; at++)
        timed_free(worker, connection->session[at], tag_of(slot, SESSION_FIRST + at));
    timed_free(worker, connection->output, tag_of(slot, OUTPUT));
    timed_free(worker, connection->input, tag_of(slot, INPUT));
    timed_free(worker, &connection->object, slot);
}

/* Sends what the worker before has answered; returns how many responses that were. */
static uint32_t inbox_drain(struct worker *worker) {
    uint32_t drained_nr = 0;
    struct object *response;

    while ((response = ring_pop(worker->inbox)) != NULL) {
        timed_free(worker, response, worker->received_nr++);
        drained_nr++;
    }
    return drained_nr;
}

/* A worker that has to wait for the next one serves the one before meanwhile, so a full circle of rings moves on. */
static void response_send(struct worker *worker) {
    struct object *response = drawn_make(worker, RESPONSE_MIN_BYTES, RESPONSE_MAX_BYTES, worker->sent_nr++);

    object_fill(response);
    for (unsigned attempt = 0; !ring_push(worker->next_ring, response); attempt++) {
        if (inbox_drain(worker) > 0)
            attempt = 0;
        thread_wait_step(attempt);
    }
}

static void session_add(struct worker *worker, struct connection *connection, uint32_t slot) {
    size_t at = connection->session_nr;

    if (at == SESSION_MAX)
        return;
    connection->session[at] =
        object_fill(drawn_make(worker, SMALL_MIN_BYTES, SMALL_MAX_BYTES, tag_of(slot, SESSION_FIRST + at)));
    connection->session_nr++;
}

static void request_serve(struct worker *worker, struct connection *connection, uint32_t slot) {
    struct object *objects[REQUEST_OBJECTS_MAX];
    struct object *body = NULL;
    size_t objects_nr = rand_between(&worker->rand, REQUEST_OBJECTS_MIN, REQUEST_OBJECTS_MAX);

    if (connection->requests_left % BODY_EVERY == 0)
        body = object_fill(drawn_make(worker, BODY_MIN_BYTES, BODY_MAX_BYTES, tag_of(slot, BODY)));
    for (size_t at = 0; at < objects_nr; at++)
        objects[at] =
            object_fill(drawn_make(worker, SMALL_MIN_BYTES, SMALL_MAX_BYTES, tag_of(slot, REQUEST_FIRST + at)));
    if (connection->requests_left % SESSION_EVERY == 0)
        session_add(worker, connection, slot);
    response_send(worker);
    for (size_t at = 0; at < objects_nr; at++)
        timed_free(worker, objects[at], tag_of(slot, REQUEST_FIRST + at));
    if (body != NULL)
        timed_free(worker, body, tag_of(slot, BODY));
}

static void event_handle(struct worker *worker) {
    uint32_t slot = (uint32_t)rand_between(&worker->rand, 0, setup.connections - 1);
    struct connection *connection = worker->connections[slot];

    if (connection->requests_left == 0) {
        connection_close(worker, connection, slot);
        worker->connections[slot] = connection = connection_open(worker, slot);
    }
    request_serve(worker, connection, slot);
    connection->requests_left--;
    inbox_drain(worker);
}

static void *worker_body(void *argument) {
    struct worker *worker = argument;

    for (uint32_t slot = 0; slot < setup.connections; slot++)
        worker->connections[slot] = connection_open(worker, slot);
    for (uint64_t done = 0; done < setup.requests; done++)
        event_handle(worker);
    ring_publish(worker->next_ring);
    for (unsigned attempt = 0; worker->received_nr < setup.requests; attempt++) {
        inbox_drain(worker);
        thread_wait_step(attempt);
    }
    thread_meet(&all_served);
    thread_meet(&measured);
    for (uint32_t slot = 0; slot < setup.connections; slot++)
        connection_close(worker, worker->connections[slot], slot);
    return NULL;
}

static void latency_report(const struct hist *ticks, double ns_per_tick, const char *call) {
    json_f64((double)hist_quantile(ticks, 0.5) * ns_per_tick, "%s_p50_ns", call);
    json_f64((double)hist_quantile(ticks, 0.99) * ns_per_tick, "%s_p99_ns", call);
    json_f64((double)hist_quantile(ticks, 0.999) * ns_per_tick, "%s_p999_ns", call);
    json_f64((double)ticks->max * ns_per_tick, "%s_max_ns", call);
}

static void workers_init(struct worker *workers) {
    struct ring *rings = mem_map_touched(setup.workers * sizeof(*rings));

    for (uint64_t id = 0; id < setup.workers; id++) {
        workers[id].rand.state = id + 1;
        workers[id].connections = mem_map_touched(setup.connections * sizeof(struct connection *));
        workers[id].inbox = &rings[id];
        workers[id].next_ring = &rings[(id + 1) % setup.workers];
    }
}

static void measure(void) {
    struct worker *workers = mem_map_touched(setup.workers * sizeof(*workers));
    pthread_t threads[WORKERS_NR_MAX];

    workers_init(workers);
    barrier_open(&all_served, setup.workers + 1);
    barrier_open(&measured, setup.workers + 1);
    struct ticks_mark mark = ticks_mark_now();
    uint64_t start_ns = clock_now_ns();
    for (uint64_t id = 0; id < setup.workers; id++)
        threads[id] = thread_start(worker_body, &workers[id]);
    thread_meet(&all_served);
    uint64_t took_ns = clock_now_ns() - start_ns;
    uint64_t live_bytes = mem_rss_bytes();
    thread_meet(&measured);
    for (uint64_t id = 0; id < setup.workers; id++) {
        thread_join(threads[id]);
        if (id > 0) {
            hist_merge(&workers[0].malloc_ticks, &workers[id].malloc_ticks);
            hist_merge(&workers[0].free_ticks, &workers[id].free_ticks);
        }
    }
    if (workers[0].malloc_ticks.nr != workers[0].free_ticks.nr)
        die("objects were lost");

    double ns_per_tick = ticks_ns_per_tick(&mark);
    json_open("server");
    latency_report(&workers[0].malloc_ticks, ns_per_tick, "malloc");
    latency_report(&workers[0].free_ticks, ns_per_tick, "free");
    json_f64((double)(setup.workers * setup.requests) * 1e3 / (double)took_ns, "mops_requests");
    json_u64(live_bytes, "rss_live_bytes");
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "workers", .number = &setup.workers, .min = 1, .max = WORKERS_NR_MAX, .help = "threads"},
        {.name = "connections", .number = &setup.connections, .min = 1, .max = 1 << 20, .help = "open, per worker"},
        {.name = "requests", .number = &setup.requests, .min = 1, .max = 1u << 31, .help = "per worker"},
    };

    args_parse_all(argc, argv, "server: latency of malloc and free under connections of mixed lifetimes", args,
                   ARGS_NR(args));
    measure();
    return 0;
}
