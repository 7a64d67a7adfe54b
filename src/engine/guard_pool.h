/* SPDX-License-Identifier: MIT */
/* Private to guard.c and guard_report.c: slots and their records. */
#ifndef QUARRY_ENGINE_GUARD_POOL_H
#define QUARRY_ENGINE_GUARD_POOL_H

#include "engine/guard.h"
#include "rt/misuse.h"
#include "sys/fault.h"

enum { GUARD_STACK_NR = 16 };

enum guard_state {
    GUARD_FREE,    /* nobody may touch the page; the record tells of the last object, if there was one */
    GUARD_OPENING, /* somebody makes it an object */
    GUARD_LIVE,
    GUARD_CLOSING, /* somebody makes it free */
    GUARD_WAITING, /* freed where no system call may be: its page is closed by who may */
};

struct guard_stack {
    u64 thread; /* sys_thread_self() */
    unsigned nr;
    const void *addrs[GUARD_STACK_NR];
};

struct guard_slot {
    _Atomic(u32) state;
    u32 size_bytes; /* 0: there never was an object */
    char *object;
    bool dirty; /* the page could not be closed: it may hold what the last object left */
    struct guard_stack allocated, freed;
};

/* | guard | page of slot 0 | guard | page of slot 1 | ... | guard | */
struct guard_pool {
    char *base;
    size_t bytes, page_bytes;
    unsigned slots_nr;
    u8 fill_seed; /* of a page what is not the object's (base/fill.h) */
    _Atomic(u32) next;
    struct guard_slot slots[];
};

static inline char *guard_page(const struct guard_pool *pool, unsigned i) {
    return pool->base + (2 * (size_t)i + 1) * pool->page_bytes;
}

/* Waits a moment for whoever is about to make the slot an object or free, so that its record tells what was done. True:
 * it is an object. */
bool guard_settle(const struct guard_slot *slot);
/* The line, both stacks, and abort. used: who did it, from a fault; NULL: this very call. */
_Noreturn void guard_report(enum misuse_kind kind, const void *p, const struct guard_slot *slot,
                            const struct sys_fault *used);
void guard_explain(const struct sys_fault *fault);

#endif
