/* SPDX-License-Identifier: MIT */
/* Counts what a trace has (see info.h): calls by kind and by size, and the most that is alive. */
#include "info.h"

#include <inttypes.h>
#include <stdio.h>

#include "../lib/mem.h"

/* Sizes up to 16, 32, 64 .. bytes. */
enum { SIZES_FIRST_SHIFT = 4, SIZES_NR = TRACE_SIZE_SHIFT_MAX - SIZES_FIRST_SHIFT + 1 };

/* Of an object that is dead. */
#define NO_THREAD UINT32_MAX

struct counts {
    uint64_t calls[TRACE_OPS_NR];
    uint64_t sizes[SIZES_NR];
    uint64_t aligned_above_16, frees_elsewhere;
    uint64_t live_bytes, live_nr, live_peak_bytes, live_peak_nr;
    uint64_t *object_bytes;
    uint32_t *object_thread;
};

static unsigned size_idx(uint64_t size_bytes) {
    unsigned idx = 0;

    while (idx < SIZES_NR - 1 && size_bytes > UINT64_C(1) << (SIZES_FIRST_SHIFT + idx))
        idx++;
    return idx;
}

static void death_count(struct counts *counts, struct trace_coder *coder, const struct trace_record *record) {
    if (counts->object_thread[record->dies] == NO_THREAD)
        coder->problem = "it has an object that dies twice";
    counts->live_bytes -= counts->object_bytes[record->dies];
    counts->live_nr--;
    counts->frees_elsewhere += counts->object_thread[record->dies] != record->thread;
    counts->object_thread[record->dies] = NO_THREAD;
}

static void birth_count(struct counts *counts, const struct trace_record *record) {
    counts->sizes[size_idx(record->size_bytes)]++;
    counts->aligned_above_16 += record->align_shift > 4;
    counts->object_bytes[record->born] = record->size_bytes;
    counts->object_thread[record->born] = record->thread;
    counts->live_bytes += record->size_bytes;
    counts->live_nr++;
    if (counts->live_bytes > counts->live_peak_bytes)
        counts->live_peak_bytes = counts->live_bytes;
    if (counts->live_nr > counts->live_peak_nr)
        counts->live_peak_nr = counts->live_nr;
}

static void record_count(struct counts *counts, struct trace_coder *coder, const struct trace_record *record) {
    counts->calls[record->op]++;
    if (record->dies != TRACE_NO_OBJECT)
        death_count(counts, coder, record);
    if (record->born != TRACE_NO_OBJECT)
        birth_count(counts, record);
}

static void counts_print(const struct trace_head *head, const struct counts *counts, uint64_t ticks) {
    printf("program %s\nthreads %" PRIu32 "\nduration_ms %" PRIu64 "\ncalls %" PRIu64 "\n", head->name,
           head->threads_nr, ticks * head->tick_ns / 1000000, head->records_nr);
    for (unsigned op = 0; op < TRACE_OPS_NR; op++)
        printf("  %s %" PRIu64 "\n", trace_op_names[op], counts->calls[op]);
    printf("aligned_above_16 %" PRIu64 "\nfreed_by_another_thread %" PRIu64 "\n", counts->aligned_above_16,
           counts->frees_elsewhere);
    printf("live_peak_bytes %" PRIu64 "\nlive_peak_objects %" PRIu64 "\nlive_end_bytes %" PRIu64
           "\nlive_end_objects %" PRIu64 "\nsizes up to\n",
           counts->live_peak_bytes, counts->live_peak_nr, counts->live_bytes, counts->live_nr);
    for (unsigned idx = 0; idx < SIZES_NR; idx++) {
        if (counts->sizes[idx] != 0)
            printf("  %" PRIu64 " %" PRIu64 "\n", UINT64_C(1) << (SIZES_FIRST_SHIFT + idx), counts->sizes[idx]);
    }
    printf("bytes_per_call %.2f\n", (double)head->packed_bytes / (double)head->records_nr);
}

bool info_print(struct trace_coder *coder) {
    static struct counts counts;
    struct trace_record record;

    counts.object_bytes = mem_map_lazy((coder->head.objects_nr + 1) * sizeof(*counts.object_bytes));
    counts.object_thread = mem_map_lazy((coder->head.objects_nr + 1) * sizeof(*counts.object_thread));
    while (trace_read(coder, &record))
        record_count(&counts, coder, &record);
    if (coder->problem != NULL)
        return false;
    counts_print(&coder->head, &counts, coder->ticks);
    return true;
}

static void object_print(uint64_t object) {
    if (object == TRACE_NO_OBJECT)
        printf(" -");
    else
        printf(" %" PRIu64, object);
}

bool list_print(struct trace_coder *coder) {
    struct trace_record record;

    while (trace_read(coder, &record)) {
        printf("%" PRIu32 " %" PRIu64 " %s", record.thread, record.ticks * coder->head.tick_ns,
               trace_op_names[record.op]);
        object_print(record.dies);
        printf(" %" PRIu64 " %" PRIu64, record.size_bytes, UINT64_C(1) << record.align_shift);
        object_print(record.born);
        putchar('\n');
    }
    return coder->problem == NULL;
}
