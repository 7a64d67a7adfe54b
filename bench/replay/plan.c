/* SPDX-License-Identifier: MIT */
/*
 * From a trace to what each thread does (see plan.h). Every map here is lazy or released, for what stays resident is
 * part of the peak that the player's caller sees.
 */
#include "plan.h"

#include <string.h>

#include "../lib/mem.h"

enum { AREA_BYTES = 1 << 20, WINDOWS_APART = 2 };

/* A slot that is free, in a queue by the time it became so. */
struct spare {
    uint32_t next;
    uint32_t window;
};

struct planner {
    struct trace_coder *coder;
    struct plan plan;
    bool timed;
    uint64_t window_records, window, record;
    uint64_t live_bytes;
    uint32_t *slot_of;    /* by object, plus 1; 0 once dead */
    struct spare *spares; /* by slot */
    uint64_t *sizes;      /* by slot, while alive */
    bool *alive;          /* by slot */
    uint32_t spare_first, spare_last;
    char *area;
    size_t area_left_bytes;
};

/* ---- operations ---- */

static struct plan_chunk *chunk_new(struct planner *planner) {
    if (planner->area_left_bytes < PLAN_CHUNK_BYTES) {
        planner->area = mem_map_lazy(AREA_BYTES);
        planner->area_left_bytes = AREA_BYTES;
    }
    void *chunk = planner->area;

    planner->area += PLAN_CHUNK_BYTES;
    planner->area_left_bytes -= PLAN_CHUNK_BYTES;
    return chunk;
}

static void op_add(struct planner *planner, struct plan_thread *thread, unsigned kind, uint64_t slot, uint64_t size) {
    if (thread->last == NULL) {
        thread->first = thread->last = chunk_new(planner);
    } else if (thread->last->ops_nr == PLAN_CHUNK_OPS) {
        thread->last->next = chunk_new(planner);
        thread->last = thread->last->next;
    }
    thread->last->ops[thread->last->ops_nr++] = (struct plan_op){
        .slot = (uint32_t)slot, .kind = kind & 15, .size = (uint32_t)(size & ((1u << PLAN_SIZE_BITS) - 1))};
}

/* The thread begins the present window, unless it is in it. One thread alone has nobody to wait for. */
static void gate_add(struct planner *planner, struct plan_thread *thread) {
    if (planner->plan.threads_nr == 1 || thread->windows == planner->window + 1)
        return;
    thread->windows = planner->window + 1;
    planner->plan.window_threads[planner->window]++;
    op_add(planner, thread, PLAN_GATE, planner->window, 0);
}

static struct plan_thread *thread_step(struct planner *planner, const struct trace_record *record) {
    struct plan *plan = &planner->plan;
    struct plan_thread *thread = &plan->threads[record->thread];

    if (thread->first == NULL) {
        thread->first_record = planner->record;
        if (record->thread != 0)
            plan->began[plan->began_nr++] = record->thread;
    }
    thread->last_record = planner->record;
    gate_add(planner, thread);
    if (planner->timed && record->ticks != thread->ticks) {
        uint64_t passed = record->ticks - thread->ticks;

        op_add(planner, thread, PLAN_TIME, passed & UINT32_MAX, passed >> 32);
        thread->ticks = record->ticks;
    }
    return thread;
}

/* ---- slots ---- */

static uint32_t slot_take(struct planner *planner, uint64_t size_bytes) {
    uint32_t slot = planner->spare_first;

    if (slot != PLAN_NO_SLOT &&
        (planner->plan.threads_nr == 1 || planner->spares[slot].window + WINDOWS_APART <= planner->window))
        planner->spare_first = planner->spares[slot].next;
    else
        slot = (uint32_t)planner->plan.slots_nr++;
    planner->sizes[slot] = size_bytes;
    planner->alive[slot] = true;
    planner->live_bytes += size_bytes;
    if (planner->live_bytes > planner->plan.live_peak_bytes)
        planner->plan.live_peak_bytes = planner->live_bytes;
    return slot;
}

static void slot_give(struct planner *planner, uint32_t slot) {
    planner->alive[slot] = false;
    planner->live_bytes -= planner->sizes[slot];
    planner->spares[slot] = (struct spare){.next = PLAN_NO_SLOT, .window = (uint32_t)planner->window};
    if (planner->spare_first == PLAN_NO_SLOT)
        planner->spare_first = slot;
    else
        planner->spares[planner->spare_last].next = slot;
    planner->spare_last = slot;
}

/* The slot of an object that dies, PLAN_NO_SLOT for none. */
static uint32_t object_end(struct planner *planner, uint64_t object) {
    if (object == TRACE_NO_OBJECT)
        return PLAN_NO_SLOT;
    uint32_t slot = planner->slot_of[object] - 1;

    if (planner->slot_of[object] == 0) {
        planner->coder->problem = "it has an object that dies twice";
        return PLAN_NO_SLOT;
    }
    planner->slot_of[object] = 0;
    slot_give(planner, slot);
    return slot;
}

/* ---- records ---- */

static void birth_add(struct planner *planner, struct plan_thread *thread, const struct trace_record *record) {
    uint32_t slot = slot_take(planner, record->size_bytes);

    planner->slot_of[record->born] = slot + 1;
    if (record->size_bytes >> PLAN_SIZE_BITS != 0)
        op_add(planner, thread, PLAN_WIDE, record->size_bytes >> PLAN_SIZE_BITS, 0);
    if (trace_op_aligns(record->op))
        op_add(planner, thread, PLAN_ALIGN, record->align_shift, 0);
    op_add(planner, thread, record->op, slot, record->size_bytes);
}

static void record_add(struct planner *planner, const struct trace_record *record) {
    planner->window = planner->record / planner->window_records;
    struct plan_thread *thread = thread_step(planner, record);

    if (record->op == TRACE_FREE)
        op_add(planner, thread, TRACE_FREE, object_end(planner, record->dies), 0);
    if (record->op == TRACE_REALLOC)
        op_add(planner, thread, PLAN_OLD, object_end(planner, record->dies), 0);
    if (trace_op_births(record->op))
        birth_add(planner, thread, record);
    planner->record++;
}

/* A program leaves objects to its end; the initial thread frees them after all else, so that a trace can be repeated.
 */
static void leftovers_add(struct planner *planner) {
    struct plan_thread *thread = &planner->plan.threads[0];

    planner->window += WINDOWS_APART;
    gate_add(planner, thread);
    for (uint32_t slot = 0; slot < planner->plan.slots_nr; slot++) {
        if (planner->alive[slot]) {
            op_add(planner, thread, TRACE_FREE, slot, 0);
            planner->plan.calls_nr++;
        }
    }
}

/* Lazily mapped and zero; at least one item, for mmap takes no nothing. */
static void *items_map(uint64_t nr, size_t item_bytes) { return mem_map_lazy((nr + 1) * item_bytes); }

static void books_open(struct planner *planner) {
    const struct trace_head *head = &planner->coder->head;
    struct plan *plan = &planner->plan;

    plan->threads_nr = head->threads_nr;
    plan->calls_nr = head->records_nr;
    plan->windows_nr = head->records_nr / planner->window_records + WINDOWS_APART + 1;
    plan->threads = items_map(head->threads_nr, sizeof(*plan->threads));
    plan->began = items_map(head->threads_nr, sizeof(*plan->began));
    plan->window_threads = items_map(plan->windows_nr, sizeof(*plan->window_threads));
    planner->slot_of = items_map(head->objects_nr, sizeof(*planner->slot_of));
    planner->spares = items_map(head->objects_nr, sizeof(*planner->spares));
    planner->sizes = items_map(head->objects_nr, sizeof(*planner->sizes));
    planner->alive = items_map(head->objects_nr, sizeof(*planner->alive));
}

static void books_close(struct planner *planner) {
    uint64_t nr = planner->coder->head.objects_nr + 1;

    mem_unmap(planner->slot_of, nr * sizeof(*planner->slot_of));
    mem_unmap(planner->spares, nr * sizeof(*planner->spares));
    mem_unmap(planner->sizes, nr * sizeof(*planner->sizes));
    mem_unmap(planner->alive, nr * sizeof(*planner->alive));
}

bool plan_make(struct trace_coder *coder, uint64_t window_records, bool timed, struct plan *ret_plan) {
    struct planner planner = {
        .coder = coder, .timed = timed, .window_records = window_records, .spare_first = PLAN_NO_SLOT};
    struct trace_record record;

    books_open(&planner);
    while (trace_read(coder, &record))
        record_add(&planner, &record);
    leftovers_add(&planner);
    books_close(&planner);
    planner.plan.slots = mem_map_touched((planner.plan.slots_nr + 1) * sizeof(*planner.plan.slots));
    *ret_plan = planner.plan;
    return coder->problem == NULL;
}
