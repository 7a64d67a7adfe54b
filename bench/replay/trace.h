/* SPDX-License-Identifier: MIT */
/*
 * The file format of recorded programs, .qtrace, as docs/trace.md describes it: a fixed head and one record for each
 * allocation call, in the order of the program. Written by `quarry record`, read by bench_play. A coder goes through a
 * file once, in one direction; several may be in use, each by one thread. Objects have numbers, from 0 in the order of
 * their births, and die at most once.
 */
#ifndef BENCH_REPLAY_TRACE_H
#define BENCH_REPLAY_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    TRACE_VERSION = 1,
    TRACE_NAME_BYTES = 48,
    TRACE_HEAD_BYTES = 112,
    TRACE_ALIGN_SHIFT_MAX = 31,
    TRACE_SIZE_SHIFT_MAX = 47, /* above this no address space is left for an object */
    TRACE_ODDS_NR = 1 << 21,
    TRACE_MODELS_NR = 2,
};

/* How the records are stored: as they are, or by the arithmetic coder. */
enum trace_method { TRACE_STORED, TRACE_CODED, TRACE_METHODS_NR };

enum trace_op {
    TRACE_MALLOC,
    TRACE_CALLOC,
    TRACE_REALLOC,
    TRACE_FREE,
    TRACE_MEMALIGN,
    TRACE_POSIX_MEMALIGN,
    TRACE_ALIGNED_ALLOC,
    TRACE_OPS_NR
};

extern const char *const trace_op_names[TRACE_OPS_NR];

/* No object: what free(NULL) and realloc(NULL, n) are given, and what free() makes. */
#define TRACE_NO_OBJECT UINT64_MAX

struct trace_record {
    enum trace_op op;
    uint32_t thread;      /* 0 is the initial one */
    unsigned align_shift; /* of the aligned calls; else 0 */
    uint64_t ticks;       /* since the first call */
    uint64_t size_bytes;
    uint64_t dies; /* object given to free or realloc */
    uint64_t born; /* set by the coder: object returned */
};

/* The start of a file, byte for byte; little endian. */
struct trace_head {
    char magic[8];
    uint32_t version;
    uint32_t method; /* enum trace_method */
    uint32_t tick_ns;
    uint32_t threads_nr;
    uint64_t records_nr;
    uint64_t objects_nr;
    uint64_t packed_bytes; /* all that follows the head */
    uint64_t body_sum;     /* over the records as they are stored without the coder */
    char name[TRACE_NAME_BYTES];
    uint64_t head_sum; /* over all of the head before it */
};

struct trace_coder {
    struct trace_head head;
    const char *problem; /* the first thing that was wrong, or NULL */
    /* Private to trace.c: the file, on one side or the other. */
    FILE *out;
    const uint8_t *in, *in_end;
    uint64_t body_sum;
    bool writing;
    /* The arithmetic coder. */
    uint64_t low, held_nr;
    uint32_t range, code;
    uint8_t held;
    uint16_t *odds[TRACE_MODELS_NR];
    /* What came before, from which a record is told and its bits are guessed. */
    uint64_t records_nr, born_nr, ticks, last_size_bytes, size_before_bytes, last_distance;
    uint32_t thread, heads;
};

/*
 * Starts a file; tick_ns is at least 1, name is cut to TRACE_NAME_BYTES - 1. trace_write() takes ticks that never go
 * back; trace_write_end() completes the head. Failed writes show in ferror(out), a coder without memory in problem.
 */
void trace_write_begin(struct trace_coder *coder, FILE *out, const char *name, uint32_t tick_ns);
void trace_write(struct trace_coder *coder, const struct trace_record *record);
void trace_write_end(struct trace_coder *coder);

/*
 * Reads the file whose bytes are given, which stay in place until trace_read_end(). trace_read() is false after the
 * last record and as soon as something is wrong; problem then says what. What it gives is in range: threads and objects
 * below the head's numbers, alignments and sizes within the limits above. That an object dies but once is for the
 * caller to see.
 */
bool trace_read_begin(struct trace_coder *coder, const void *bytes, size_t nr_bytes);
bool trace_read(struct trace_coder *coder, struct trace_record *ret_record);
void trace_read_end(struct trace_coder *coder);

/* Calls that take an object, and calls that make one. */
static inline bool trace_op_dies(enum trace_op op) { return op == TRACE_FREE || op == TRACE_REALLOC; }
static inline bool trace_op_births(enum trace_op op) { return op != TRACE_FREE; }
static inline bool trace_op_aligns(enum trace_op op) { return op >= TRACE_MEMALIGN; }

#endif
