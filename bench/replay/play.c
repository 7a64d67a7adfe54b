/* SPDX-License-Identifier: MIT */
/*
 * play: a recorded program's allocation calls (`quarry record`, docs/trace.md), played again under any allocator: a
 * real workload without the program. The trace's threads become threads here; the initial one is main's. A call on an
 * object waits until the object is there, and threads stay within two windows of records of each other. Of every
 * object the first and the last byte and each page are written, and checked when it is resized or freed. What the
 * program left to its end is freed at the end, and the whole is repeated, by default until some millions of calls are
 * made. Prints ns per call (reading the plan and touching included), and resident memory over that before the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/thread.h"
#include "info.h"
#include "plan.h"

enum {
    PAGE_BYTES = 4096,
    CALLS_DEFAULT = 32 << 20,
    SPEED_PCT = 100,
    WORD_BYTES = sizeof(uint64_t),
    SLEEP_MIN_NS = 100000
};

static struct {
    uint64_t rounds;
    uint64_t speed_pct;
    uint64_t window;
    bool info;
    bool list;
} setup = {.window = 4096};

static struct plan plan;
static _Atomic uint32_t *window_left; /* threads that have records left in a window, in this round */
static uint32_t tick_ns;
static uint64_t round_start_ns;

/* One of the trace's threads at play, and what the operations before a call have said about it. */
struct player {
    const struct plan_thread *thread;
    pthread_t handle;
    uint64_t window;       /* plus 1; 0 before the first */
    uint64_t windows_over; /* so many are, from the start of the trace */
    uint64_t ticks;
    uint64_t wide_bytes;
    uint32_t old_slot;
    uint32_t align_shift;
};

/* ---- objects ---- */

/* All bytes of a stamp are alike, so that any first part of it that a realloc leaves can be checked. */
static uint8_t stamp_of(uint32_t slot) { return (uint8_t)(((slot + UINT64_C(1)) * 0x9e3779b97f4a7c15u) >> 56); }

static uint64_t stamp_word(uint32_t slot) { return stamp_of(slot) * UINT64_C(0x0101010101010101); }

/* Writes both ends, and one byte in each page that begins at or after byte from. */
static void object_stamp(uint8_t *object, uint64_t size_bytes, uint64_t from, uint32_t slot) {
    uint64_t word = stamp_word(slot);

    if (size_bytes == 0)
        return;
    for (uint64_t at = (from / PAGE_BYTES + 1) * PAGE_BYTES; at < size_bytes; at += PAGE_BYTES)
        object[at] = stamp_of(slot);
    if (size_bytes >= WORD_BYTES)
        memcpy(object, &word, WORD_BYTES);
    else
        object[0] = stamp_of(slot);
    object[size_bytes - 1] = stamp_of(slot);
}

static void start_check(const uint8_t *object, uint64_t size_bytes, uint32_t slot) {
    uint64_t word = stamp_word(slot);

    if (size_bytes >= WORD_BYTES)
        memcpy(&word, object, WORD_BYTES);
    if (word != stamp_word(slot) || (size_bytes > 0 && object[0] != stamp_of(slot))) {
        errno = 0;
        die("an object no longer holds what was written to its first %llu bytes", (unsigned long long)size_bytes);
    }
}

static void end_check(const uint8_t *object, uint64_t size_bytes, uint32_t slot) {
    if (size_bytes > 0 && object[size_bytes - 1] != stamp_of(slot)) {
        errno = 0;
        die("an object of %llu bytes no longer holds what was written to its last", (unsigned long long)size_bytes);
    }
}

static void zeros_check(const uint8_t *object, uint64_t size_bytes) {
    uint8_t any = 0;

    if (size_bytes == 0)
        return;
    for (uint64_t at = 0; at < size_bytes; at += PAGE_BYTES)
        any |= object[at];
    if ((any | object[size_bytes - 1]) != 0) {
        errno = 0;
        die("calloc of %llu bytes is not zero", (unsigned long long)size_bytes);
    }
}

/* A new object: it is touched from byte from on, and others may have it. */
static void object_put(uint32_t slot, void *object, uint64_t size_bytes, uint64_t from) {
    if (object == NULL)
        die("the allocator has no %llu bytes", (unsigned long long)size_bytes);
    object_stamp(object, size_bytes, from, slot);
    plan.slots[slot].size_bytes = size_bytes;
    /* order: release  pairs: [slot.address]: who frees the object finds its size and what was written to it. */
    atomic_store_explicit(&plan.slots[slot].address, object, memory_order_release);
}

static void *object_await(uint32_t slot) {
    void *object;

    /* order: acquire  pairs: [slot.address] */
    for (unsigned attempt = 0; (object = atomic_load_explicit(&plan.slots[slot].address, memory_order_acquire)) == NULL;
         attempt++)
        thread_wait_step(attempt);
    return object;
}

/* Waits for the slot's object, checks it and takes it out. */
static void *object_take(uint32_t slot) {
    if (slot == PLAN_NO_SLOT)
        return NULL;
    void *object = object_await(slot);

    start_check(object, plan.slots[slot].size_bytes, slot);
    end_check(object, plan.slots[slot].size_bytes, slot);
    atomic_store_explicit(&plan.slots[slot].address, NULL, memory_order_relaxed);
    return object;
}

static void object_put_zeroed(uint32_t slot, void *object, uint64_t size_bytes) {
    if (object != NULL)
        zeros_check(object, size_bytes);
    object_put(slot, object, size_bytes, 0);
}

static void object_put_aligned(uint32_t slot, void *object, uint64_t size_bytes, uint64_t align) {
    if ((uintptr_t)object % align != 0) {
        errno = 0;
        die("an object is not aligned to %llu", (unsigned long long)align);
    }
    object_put(slot, object, size_bytes, 0);
}

static void object_resize(uint32_t old_slot, uint32_t slot, uint64_t size_bytes) {
    void *old = object_take(old_slot);
    uint64_t old_bytes = old != NULL ? plan.slots[old_slot].size_bytes : 0;
    uint64_t kept_bytes = old_bytes < size_bytes ? old_bytes : size_bytes;
    /* realloc(p, 0) would free with some allocators; in the trace it made an object. */
    void *object = realloc(old, size_bytes != 0 ? size_bytes : 1);

    if (object != NULL && kept_bytes > 0)
        start_check(object, kept_bytes, old_slot);
    object_put(slot, object, size_bytes, kept_bytes);
}

static void *posix_memalign_or_null(uint64_t align, uint64_t size_bytes) {
    void *object;

    errno = posix_memalign(&object, align, size_bytes);
    return errno == 0 ? object : NULL;
}

/* ---- waiting ---- */

/* Others may pass, as far as this thread is concerned. */
static void window_end(struct player *player) {
    /* order: release  pairs: [window_left]: slots that died in the window are seen as empty. */
    if (player->window != 0)
        atomic_fetch_sub_explicit(&window_left[player->window - 1], 1, memory_order_release);
}

/* Begins a window when all before the last one are over [P2]. */
static void window_begin(struct player *player, uint64_t window) {
    window_end(player);
    player->window = window + 1;
    for (; player->windows_over + 1 < window; player->windows_over++) {
        /* order: acquire  pairs: [window_left] */
        for (unsigned attempt = 0; atomic_load_explicit(&window_left[player->windows_over], memory_order_acquire) != 0;
             attempt++)
            thread_wait_step(attempt);
    }
}

static void time_await(struct player *player, uint64_t passed_ticks) {
    player->ticks += passed_ticks;
    uint64_t due_ns =
        round_start_ns + (uint64_t)((double)player->ticks * tick_ns * SPEED_PCT / (double)setup.speed_pct);
    struct timespec due = {.tv_sec = (time_t)(due_ns / 1000000000u), .tv_nsec = (long)(due_ns % 1000000000u)};

    if (due_ns > clock_now_ns() + SLEEP_MIN_NS)
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    while (clock_now_ns() < due_ns)
        continue;
}

/* ---- playing ---- */

static void op_play(struct player *player, struct plan_op op) {
    uint64_t size_bytes = player->wide_bytes | op.size;
    uint64_t align = UINT64_C(1) << player->align_shift;

    switch (op.kind) {
    case TRACE_MALLOC: object_put(op.slot, malloc(size_bytes), size_bytes, 0); break;
    case TRACE_FREE: free(object_take(op.slot)); break;
    case TRACE_CALLOC: object_put_zeroed(op.slot, calloc(1, size_bytes), size_bytes); break;
    case TRACE_REALLOC: object_resize(player->old_slot, op.slot, size_bytes); break;
    case TRACE_MEMALIGN: object_put_aligned(op.slot, memalign(align, size_bytes), size_bytes, align); break;
    case TRACE_POSIX_MEMALIGN:
        object_put_aligned(op.slot, posix_memalign_or_null(align, size_bytes), size_bytes, align);
        break;
    case TRACE_ALIGNED_ALLOC: object_put_aligned(op.slot, aligned_alloc(align, size_bytes), size_bytes, align); break;
    case PLAN_OLD: player->old_slot = op.slot; break;
    case PLAN_ALIGN: player->align_shift = op.slot; break;
    case PLAN_GATE: window_begin(player, op.slot); break;
    case PLAN_TIME: time_await(player, op.slot | (uint64_t)op.size << 32); break;
    default: break;
    }
    player->wide_bytes = op.kind == PLAN_WIDE ? (uint64_t)op.slot << PLAN_SIZE_BITS : 0;
}

static void *thread_play(void *argument) {
    struct player *player = argument;

    for (const struct plan_chunk *chunk = player->thread->first; chunk != NULL; chunk = chunk->next) {
        for (uint64_t at = 0; at < chunk->ops_nr; at++)
            op_play(player, chunk->ops[at]);
    }
    window_end(player);
    return NULL;
}

/* ---- threads ---- */

/* Joins those of the nr at play that have nothing to do from record on; returns how many are left. */
static uint32_t players_join(struct player **playing, uint32_t nr, uint64_t record) {
    uint32_t left = 0;

    for (uint32_t at = 0; at < nr; at++) {
        if (playing[at]->thread->last_record < record)
            thread_join(playing[at]->handle);
        else
            playing[left++] = playing[at];
    }
    return left;
}

/*
 * Starts the threads in the order of their first calls. Before a thread starts, those whose last calls were earlier
 * have ended: there are never more at once than there were. What those wait for is earlier still, and so has started.
 */
static void *players_run(void *argument) {
    struct player *players = argument;
    size_t books_bytes = plan.threads_nr * sizeof(struct player *);
    struct player **playing = mem_map_lazy(books_bytes);
    uint32_t nr = 0;

    for (uint32_t at = 0; at < plan.began_nr; at++) {
        struct player *player = &players[plan.began[at]];

        nr = players_join(playing, nr, player->thread->first_record);
        player->handle = thread_start(thread_play, player);
        playing[nr++] = player;
    }
    players_join(playing, nr, UINT64_MAX);
    mem_unmap(playing, books_bytes);
    return NULL;
}

/* Once through the trace; returns how long it took. */
static uint64_t round_play(struct player *players) {
    pthread_t starter = 0;

    for (uint32_t id = 0; id < plan.threads_nr; id++)
        players[id] = (struct player){.thread = &plan.threads[id], .old_slot = PLAN_NO_SLOT};
    for (uint64_t window = 0; window < plan.windows_nr; window++)
        atomic_store_explicit(&window_left[window], plan.window_threads[window], memory_order_relaxed);
    round_start_ns = clock_now_ns();
    if (plan.began_nr > 0)
        starter = thread_start(players_run, players);
    thread_play(&players[0]);
    if (plan.began_nr > 0)
        thread_join(starter);
    return clock_now_ns() - round_start_ns;
}

/* ---- the program ---- */

/* The peak of resident memory counts from here, and not from reading the trace. */
static void peak_restart(void) {
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "5", 1) != 1)
        die("cannot restart the peak of resident memory (/proc/self/clear_refs)");
    close(fd);
}

static void trace_play(void) {
    struct player *players = mem_map_touched(plan.threads_nr * sizeof(*players));
    uint64_t rounds = setup.rounds;
    uint64_t took_ns = 0;

    if (rounds == 0)
        rounds = setup.speed_pct > 0 ? 1 : CALLS_DEFAULT / plan.calls_nr + 1;
    window_left = mem_map_touched(plan.windows_nr * sizeof(*window_left));
    free(alloc_or_die(1));
    peak_restart();
    uint64_t start_bytes = mem_rss_bytes();
    for (uint64_t round = 0; round < rounds; round++)
        took_ns += round_play(players);
    uint64_t end_bytes = mem_rss_bytes();

    json_open("play");
    json_u64(plan.calls_nr, "calls");
    json_u64(rounds, "rounds");
    json_u64(plan.threads_nr, "threads");
    json_f64((double)took_ns / (double)(rounds * plan.calls_nr), "ns_per_call");
    json_u64(plan.live_peak_bytes, "live_peak_bytes");
    json_u64(mem_over(mem_peak_bytes(), start_bytes), "rss_peak_bytes");
    json_u64(mem_over(end_bytes, start_bytes), "rss_end_bytes");
    json_close();
}

/* The file's bytes stay mapped: they are clean pages of a file, which the next reader has, too. */
static void trace_open(const char *path, struct trace_coder *coder) {
    struct stat st;
    const void *bytes = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        die("%s", path);
    if (st.st_size > 0)
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        die("%s", path);
    close(fd);
    trace_read_begin(coder, bytes, (size_t)st.st_size);
}

static void trace_check(const char *path, const struct trace_coder *coder) {
    if (coder->problem == NULL)
        return;
    errno = 0;
    if (coder->records_nr == 0)
        die("%s: %s", path, coder->problem);
    die("%s: %s (record %llu)", path, coder->problem, (unsigned long long)coder->records_nr);
}

/* Goes through the whole trace. False when it has a problem. */
static bool trace_use(struct trace_coder *coder) {
    if (setup.list)
        return list_print(coder);
    return setup.info ? info_print(coder) : plan_make(coder, setup.window, setup.speed_pct > 0, &plan);
}

int main(int argc, char **argv) {
    struct trace_coder coder;
    const struct arg args[] = {
        {.name = "rounds", .number = &setup.rounds, .max = 1000000, .help = "times to play it; 0: as fits its length"},
        {.name = "speed",
         .number = &setup.speed_pct,
         .max = 100000,
         .help = "percent of the recorded speed; 0: as fast as possible"},
        {.name = "window", .number = &setup.window, .min = 1, .max = 1 << 24, .help = "records in a window"},
        {.name = "info", .flag = &setup.info, .help = "say what is in the trace, and play nothing"},
        {.name = "list", .flag = &setup.list, .help = "say every call of the trace, and play nothing"},
    };
    int word = args_parse(argc, argv, "play FILE.qtrace: a recorded program's allocation calls", args, ARGS_NR(args));

    if (argc - word != 1)
        die_of_usage("which trace? one file, please");
    trace_open(argv[word], &coder);
    trace_check(argv[word], &coder);
    bool whole = trace_use(&coder);
    trace_read_end(&coder);
    if (!whole)
        trace_check(argv[word], &coder);
    tick_ns = coder.head.tick_ns;
    if (!setup.info && !setup.list)
        trace_play();
    return 0;
}
