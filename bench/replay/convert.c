/* SPDX-License-Identifier: MIT */
/*
 * Raw records to a trace (see convert.h). Numbers in records are dense but for what a signal cut off, so an array by
 * number puts them in order. Addresses become objects by a table of what is alive; what a realloc has taken is held
 * for its thread until its second half says where it went.
 */
#include "convert.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raw.h"

/* Recording alone adds more than this to a call, so finer times would be noise, and three bits more for each call. */
enum { TICK_NS = 64 };

/* ---- what is alive: address to object, open addressing with linear probes ---- */

struct alive {
    uint64_t address; /* 0: empty */
    uint64_t object;
};

struct alive_table {
    struct alive *places;
    size_t mask, used_nr;
};

static size_t alive_home(const struct alive_table *table, uint64_t address) {
    return (size_t)((address * 0x9e3779b97f4a7c15u) >> 20) & table->mask;
}

static struct alive *alive_find(const struct alive_table *table, uint64_t address) {
    size_t at = alive_home(table, address);

    while (table->places[at].address != 0 && table->places[at].address != address)
        at = (at + 1) & table->mask;
    return &table->places[at];
}

static bool alive_grow(struct alive_table *table) {
    struct alive_table grown = {.mask = table->places != NULL ? table->mask * 2 + 1 : 4095, .used_nr = table->used_nr};

    grown.places = calloc(grown.mask + 1, sizeof(*grown.places));
    if (grown.places == NULL)
        return false;
    for (size_t at = 0; table->places != NULL && at <= table->mask; at++) {
        if (table->places[at].address != 0)
            *alive_find(&grown, table->places[at].address) = table->places[at];
    }
    free(table->places);
    *table = grown;
    return true;
}

static bool alive_put(struct alive_table *table, uint64_t address, uint64_t object) {
    if ((table->places == NULL || table->used_nr > table->mask / 2) && !alive_grow(table))
        return false;
    *alive_find(table, address) = (struct alive){address, object};
    table->used_nr++;
    return true;
}

/* Takes an object out, or TRACE_NO_OBJECT. Those behind it in its run of places move up, so that they are found. */
static uint64_t alive_take(struct alive_table *table, uint64_t address) {
    struct alive *place = table->places != NULL ? alive_find(table, address) : NULL;

    if (place == NULL || place->address == 0)
        return TRACE_NO_OBJECT;
    uint64_t object = place->object;
    size_t hole = (size_t)(place - table->places);
    for (size_t at = (hole + 1) & table->mask; table->places[at].address != 0; at = (at + 1) & table->mask) {
        size_t home = alive_home(table, table->places[at].address);

        if (((at - home) & table->mask) >= ((at - hole) & table->mask)) {
            table->places[hole] = table->places[at];
            hole = at;
        }
    }
    table->places[hole].address = 0;
    table->used_nr--;
    return object;
}

/* ---- the raw file ---- */

struct raw_file {
    const struct raw_head *head;
    const char *bytes;
    size_t nr_bytes;
};

static const struct raw_chunk *raw_chunk(const struct raw_file *file, size_t chunk_nr) {
    const void *start = file->bytes + chunk_nr * RAW_CHUNK_BYTES;

    return start;
}

static const struct raw_chunk *raw_chunk_of(const struct raw_file *file, const struct raw_record *record) {
    return raw_chunk(file, (size_t)((const char *)record - file->bytes) / RAW_CHUNK_BYTES);
}

/* Calls step for each whole record of the last image. */
static void raw_each(const struct raw_file *file, void (*step)(void *context, const struct raw_record *),
                     void *context) {
    for (size_t nr = 1; (nr + 1) * RAW_CHUNK_BYTES <= file->nr_bytes; nr++) {
        const struct raw_chunk *chunk = raw_chunk(file, nr);

        if (chunk->image != file->head->image)
            continue;
        for (size_t at = 0; at < RAW_CHUNK_RECORDS && chunk->records[at].stamp != 0; at++)
            step(context, &chunk->records[at]);
    }
}

struct raw_order {
    uint64_t first_nr, end_nr, threads_nr;
    const struct raw_record **by_nr;
    const struct raw_file *file;
};

static void order_measure(void *context, const struct raw_record *record) {
    struct raw_order *order = context;
    uint64_t nr = record->stamp >> RAW_STAMP_NR_SHIFT;
    uint64_t thread = raw_chunk_of(order->file, record)->thread;

    order->first_nr = nr < order->first_nr ? nr : order->first_nr;
    order->end_nr = nr >= order->end_nr ? nr + 1 : order->end_nr;
    order->threads_nr = thread >= order->threads_nr ? thread + 1 : order->threads_nr;
}

static void order_put(void *context, const struct raw_record *record) {
    struct raw_order *order = context;

    order->by_nr[(record->stamp >> RAW_STAMP_NR_SHIFT) - order->first_nr] = record;
}

/* ---- conversion ---- */

struct conversion {
    struct trace_coder coder;
    struct alive_table alive;
    struct taken {
        uint64_t object; /* plus 1; 0 when the thread is in no realloc */
        uint64_t address;
    } * taken; /* by thread */
    struct convert_report report;
    uint64_t start_ns;
    bool out_of_memory;
};

/* An address that is given out twice has been freed unseen. */
static void birth_put(struct conversion *conversion, const struct trace_record *record, uint64_t address) {
    uint64_t unseen = alive_take(&conversion->alive, address);

    if (unseen != TRACE_NO_OBJECT) {
        struct trace_record gone = {.op = TRACE_FREE, .thread = record->thread, .ticks = record->ticks, .dies = unseen};

        trace_write(&conversion->coder, &gone);
        conversion->report.strays_nr++;
    }
    if (!alive_put(&conversion->alive, address, conversion->coder.born_nr))
        conversion->out_of_memory = true;
    trace_write(&conversion->coder, record);
}

static void free_put(struct conversion *conversion, struct trace_record *record, uint64_t address) {
    if (address != 0)
        record->dies = alive_take(&conversion->alive, address);
    if (address == 0 || record->dies != TRACE_NO_OBJECT)
        trace_write(&conversion->coder, record);
    else
        conversion->report.strays_nr++;
}

static void resize_begin(struct conversion *conversion, const struct trace_record *record, uint64_t address) {
    uint64_t object = alive_take(&conversion->alive, address);

    conversion->taken[record->thread] = (struct taken){object + 1, address};
    conversion->report.strays_nr += object == TRACE_NO_OBJECT;
}

static void resize_end(struct conversion *conversion, struct trace_record *record, uint64_t address) {
    struct taken taken = conversion->taken[record->thread];

    conversion->taken[record->thread].object = 0;
    record->dies = taken.object - 1;
    if (address != 0) {
        birth_put(conversion, record, address);
    } else if (record->dies != TRACE_NO_OBJECT && record->size_bytes == 0) {
        record->op = TRACE_FREE;
        trace_write(&conversion->coder, record);
    } else if (record->dies != TRACE_NO_OBJECT && !alive_put(&conversion->alive, taken.address, record->dies)) {
        conversion->out_of_memory = true;
    }
}

static void record_convert(struct conversion *conversion, const struct raw_record *raw, uint32_t thread) {
    unsigned op = raw->stamp & ((1u << RAW_STAMP_OP_BITS) - 1);
    unsigned align_shift = (raw->stamp >> RAW_STAMP_OP_BITS) & ((1u << RAW_STAMP_SHIFT_BITS) - 1);
    uint64_t ticks = raw->time_ns > conversion->start_ns ? (raw->time_ns - conversion->start_ns) / TICK_NS : 0;
    struct trace_record record = {
        .op = (enum trace_op)op,
        .thread = thread,
        .align_shift = align_shift < TRACE_ALIGN_SHIFT_MAX ? align_shift : TRACE_ALIGN_SHIFT_MAX,
        /* Times are taken before the calls, numbers within them: another thread's may be a little older. */
        .ticks = ticks > conversion->coder.ticks ? ticks : conversion->coder.ticks,
        .size_bytes = raw->size_bytes,
        .dies = TRACE_NO_OBJECT,
    };

    if (op == RAW_RESIZE)
        resize_begin(conversion, &record, raw->address);
    else if (op == TRACE_REALLOC)
        resize_end(conversion, &record, raw->address);
    else if (op == TRACE_FREE)
        free_put(conversion, &record, raw->address);
    else
        birth_put(conversion, &record, raw->address);
}

static const char *records_convert(const struct raw_order *order, FILE *out, const char *name,
                                   struct conversion *conversion) {
    conversion->taken = calloc(order->threads_nr, sizeof(*conversion->taken));
    if (conversion->taken == NULL)
        return "out of memory";
    conversion->start_ns = order->by_nr[0]->time_ns;
    trace_write_begin(&conversion->coder, out, name, TICK_NS);
    for (uint64_t nr = 0; nr < order->end_nr - order->first_nr; nr++) {
        const struct raw_record *raw = order->by_nr[nr];

        if (raw != NULL)
            record_convert(conversion, raw, raw_chunk_of(order->file, raw)->thread);
    }
    trace_write_end(&conversion->coder);
    free(conversion->taken);
    free(conversion->alive.places);
    return conversion->out_of_memory ? "out of memory" : conversion->coder.problem;
}

static const char *file_convert(const struct raw_file *file, FILE *out, const char *name,
                                struct convert_report *ret_report) {
    struct raw_order order = {.first_nr = UINT64_MAX, .file = file};
    struct conversion conversion = {.report = {.cut = file->head->cut}};

    raw_each(file, order_measure, &order);
    if (order.threads_nr == 0)
        return "the program made no allocation call that could be recorded";
    order.by_nr = calloc(order.end_nr - order.first_nr, sizeof(*order.by_nr));
    if (order.by_nr == NULL)
        return "out of memory";
    raw_each(file, order_put, &order);
    const char *problem = records_convert(&order, out, name, &conversion);
    free(order.by_nr);
    conversion.report.records_nr = conversion.coder.head.records_nr;
    conversion.report.threads_nr = conversion.coder.head.threads_nr;
    *ret_report = conversion.report;
    return problem;
}

int convert_prepare(int fd, pid_t pid) {
    struct raw_head head = {.pid = (uint32_t)pid, .chunks_nr = 1, .next_nr = 1};

    if (ftruncate(fd, RAW_CHUNK_BYTES) != 0 || pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return -errno;
    return 0;
}

bool convert_has_begun(int fd) {
    struct raw_head head;

    return pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) && head.image != 0;
}

const char *convert(int fd, FILE *out, const char *name, struct convert_report *ret_report) {
    struct stat st;

    if (fstat(fd, &st) != 0)
        return "the recording cannot be read";
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return "the recording cannot be read";
    struct raw_file file = {.head = bytes, .bytes = bytes, .nr_bytes = (size_t)st.st_size};
    const char *problem = file_convert(&file, out, name, ret_report);
    munmap(bytes, (size_t)st.st_size);
    return problem;
}
