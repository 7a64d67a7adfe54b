/* SPDX-License-Identifier: MIT */
/*
 * What each thread of the player does, made from a trace before the clock runs. Objects are slots of a table that are
 * used again after their object has died, so that the player's books grow with what is alive and not with the trace.
 *
 *   [P1] A slot's address is NULL before its object is born and after it has died. A thread that needs the object
 *        waits for the address, whichever thread it comes from.
 *   [P2] The records are divided into windows. No thread begins one while records of the window before the last are
 *        left; so threads stay as close to each other as they were.
 *   [P3] A slot is taken again two windows after its object's death at the earliest, so by [P2] the death is over.
 */
#ifndef BENCH_REPLAY_PLAN_H
#define BENCH_REPLAY_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "trace.h"

/* Kinds of operation: the calls of enum trace_op, and what goes before one when it does not fit. */
enum {
    PLAN_OLD = TRACE_OPS_NR, /* slot: what the realloc that follows is given */
    PLAN_WIDE,               /* slot: the size's bits above PLAN_SIZE_BITS */
    PLAN_ALIGN,              /* slot: the alignment's shift */
    PLAN_GATE,               /* slot: the window that begins */
    PLAN_TIME,               /* slot and size: ticks since the thread's last such operation */
    PLAN_SIZE_BITS = 28,
};

#define PLAN_NO_SLOT UINT32_MAX

struct plan_op {
    uint32_t slot;
    uint32_t kind : 4;
    uint32_t size : PLAN_SIZE_BITS;
};

enum { PLAN_CHUNK_BYTES = 4096, PLAN_CHUNK_OPS = (PLAN_CHUNK_BYTES - 16) / sizeof(struct plan_op) };

struct plan_chunk {
    struct plan_chunk *next;
    uint64_t ops_nr;
    struct plan_op ops[PLAN_CHUNK_OPS];
};

struct plan_thread {
    struct plan_chunk *first, *last;
    uint64_t first_record, last_record;
    uint64_t ticks;   /* of the last PLAN_TIME */
    uint64_t windows; /* 1 more than the last window */
};

struct plan_slot {
    _Atomic(void *) address;
    uint64_t size_bytes;
};

struct plan {
    uint64_t calls_nr; /* those of the trace, and a free for each object that it leaves */
    uint64_t slots_nr;
    uint64_t windows_nr;
    uint64_t live_peak_bytes; /* as requested */
    uint32_t threads_nr;
    uint32_t began_nr;
    struct plan_thread *threads;
    uint32_t *began;          /* the threads but the initial one, in the order of their first calls */
    uint32_t *window_threads; /* how many have records in a window */
    struct plan_slot *slots;
};

/*
 * Reads all of a trace. Windows are of window_records, at least 1; timed keeps the times. False when the trace has a
 * problem (coder->problem). The memory stays until the program ends.
 */
bool plan_make(struct trace_coder *coder, uint64_t window_records, bool timed, struct plan *ret_plan);

#endif
