/* SPDX-License-Identifier: MIT */
/*
 * What the recorder in the program (record.c) leaves for `quarry record` (convert.c): a file that threads map a chunk
 * of at a time and fill with records of one size. What was written is in the file however the program ends, with no
 * last call to make. The file is read by the same build on the same machine, and removed.
 *
 *   [R1] A chunk is written by one thread of one image; chunks are claimed by counting head.chunks_nr.
 *   [R2] stamp is written last and is never 0, so a record with a stamp is whole.
 *   [R3] Numbers in stamps follow the life of memory: an address is given away in a RAW_RESIZE or TRACE_FREE record
 *        before its next owner has it in another. They come from one counter, taken after a call that returns an
 *        object and before a call that gives one away.
 */
#ifndef BENCH_REPLAY_RAW_H
#define BENCH_REPLAY_RAW_H

#include <stdatomic.h>
#include <stdint.h>

#include "trace.h"

/* Set in the program's environment to the path of the raw file. */
#define RAW_ENV "QTRACE_RAW"

enum {
    RAW_CHUNK_BYTES = 256 << 10, /* a system call or four for 8191 records; a multiple of every page size */
    RAW_STAMP_OP_BITS = 4,
    RAW_STAMP_SHIFT_BITS = 6,
    RAW_STAMP_NR_SHIFT = RAW_STAMP_OP_BITS + RAW_STAMP_SHIFT_BITS,
};

/* Beside enum trace_op: the first half of a realloc, which takes the object; TRACE_REALLOC is then the second. */
enum { RAW_RESIZE = TRACE_OPS_NR };

struct raw_head {
    uint32_t pid;               /* the process to record; its children by fork have other numbers */
    _Atomic uint32_t image;     /* programs this process has been, by exec, so far */
    _Atomic uint64_t chunks_nr; /* the head is chunk 0 */
    _Atomic uint64_t next_nr;   /* of a record */
    _Atomic uint32_t cut;       /* recording ended before the program: no room, or no way to the file */
};

struct raw_record {
    _Atomic uint64_t stamp; /* number, alignment's shift, operation */
    uint64_t time_ns;
    uint64_t address;
    uint64_t size_bytes;
};

struct raw_chunk {
    uint32_t image;
    uint32_t thread;
    uint64_t unused[3];
    struct raw_record records[];
};

enum { RAW_CHUNK_RECORDS = (RAW_CHUNK_BYTES - sizeof(struct raw_chunk)) / sizeof(struct raw_record) };

#endif
