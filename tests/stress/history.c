/* SPDX-License-Identifier: MIT */
/*
 * The judge of histories: a walk over the tickets in their order, with the ranges that are held in a list sorted by
 * address, in levels so that it is searched in the logarithm of their number. See history.h.
 */
#include "history.h"

#include "check.h"
#include "oracle.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { LEVELS_NR = 12, FAULT_BYTES = 256, NODES_PER_MAPPING = 4096 };

struct held {
    uintptr_t start, end;
    uint64_t since;
    struct held *next[LEVELS_NR];
};

static struct held head, *unused;
static size_t held_nr, held_bytes;
static char fault[FAULT_BYTES];
static struct rng levels_rng = {1};

static void *pages_map(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

/* --- ranges held --- */

static struct held *node_get(void) {
    if (unused == NULL) {
        struct held *fresh = pages_map(NODES_PER_MAPPING * sizeof(*fresh));
        for (size_t i = 0; i < NODES_PER_MAPPING; i++) {
            fresh[i].next[0] = unused;
            unused = &fresh[i];
        }
    }
    struct held *node = unused;
    unused = node->next[0];
    return node;
}

static void node_put(struct held *node) {
    node->next[0] = unused;
    unused = node;
}

/* On each level the last range that starts before this address. */
static void search(uintptr_t start, struct held **ret_before) {
    struct held *at = &head;
    for (int level = LEVELS_NR - 1; level >= 0; level--) {
        while (at->next[level] != NULL && at->next[level]->start < start)
            at = at->next[level];
        ret_before[level] = at;
    }
}

/* The range held that shares an address with this one, or NULL. */
static const struct held *range_meets(struct held *const *before, uintptr_t start, uintptr_t end) {
    const struct held *after = before[0]->next[0];
    if (before[0] != &head && before[0]->end > start)
        return before[0];
    return after != NULL && after->start < end ? after : NULL;
}

static bool range_hold(uintptr_t start, size_t bytes, uint64_t ticket) {
    struct held *before[LEVELS_NR];
    uintptr_t end = start + bytes;
    search(start, before);
    const struct held *met = range_meets(before, start, end);
    if (met != NULL) {
        (void)snprintf(fault, sizeof(fault), "ticket %llu got %#lx to %#lx, of which %#lx to %#lx is held since %llu",
                       (unsigned long long)ticket, start, end, met->start, met->end, (unsigned long long)met->since);
        return false;
    }
    struct held *node = node_get();
    *node = (struct held){.start = start, .end = end, .since = ticket};
    uint64_t dice = rng_next(&levels_rng);
    int level = 0;
    do {
        node->next[level] = before[level]->next[level];
        before[level]->next[level] = node;
        dice >>= 2;
    } while (++level < LEVELS_NR && dice % 4 == 0);
    held_nr++;
    held_bytes += bytes;
    return true;
}

static bool range_release(uintptr_t start, size_t bytes, uint64_t ticket) {
    struct held *before[LEVELS_NR];
    search(start, before);
    struct held *node = before[0]->next[0];
    if (node == NULL || node->start != start || node->end != start + bytes) {
        (void)snprintf(fault, sizeof(fault), "ticket %llu gives up %#lx to %#lx, which is not held",
                       (unsigned long long)ticket, start, start + bytes);
        return false;
    }
    for (int level = 0; level < LEVELS_NR && before[level]->next[level] == node; level++)
        before[level]->next[level] = node->next[level];
    node_put(node);
    held_nr--;
    held_bytes -= bytes;
    return true;
}

/* --- the walk --- */

static bool stays(const struct history_event *e) { return e->given_bytes != 0 && e->given == e->got; }

static size_t shared_bytes(const struct history_event *e) {
    return e->given_bytes < e->got_bytes ? e->given_bytes : e->got_bytes;
}

static bool event_invoked(const struct history_event *e) {
    if (e->given_bytes == 0)
        return true;
    if (!range_release(e->given, e->given_bytes, e->invoked))
        return false;
    return !stays(e) || range_hold(e->given, shared_bytes(e), e->invoked);
}

static bool event_answered(const struct history_event *e) {
    if (e->got_bytes == 0)
        return true;
    if (stays(e) && !range_release(e->given, shared_bytes(e), e->answered))
        return false;
    /* While it moves, realloc has both. */
    if (!stays(e) && e->given_bytes != 0 && e->got < e->given + e->given_bytes && e->given < e->got + e->got_bytes) {
        (void)snprintf(fault, sizeof(fault), "ticket %llu moved %#lx to %#lx, onto itself",
                       (unsigned long long)e->answered, e->given, e->got);
        return false;
    }
    return range_hold(e->got, e->got_bytes, e->answered);
}

/* Tickets are dense: their place in the order is their number. */
static bool tickets_sort(const struct history_log *logs, size_t nr, uint64_t first, uint64_t tickets_nr,
                         const struct history_event **ret_events) {
    for (size_t i = 0; i < nr; i++) {
        for (size_t at = 0; at < logs[i].nr; at++) {
            const struct history_event *e = &logs[i].events[at];
            uint64_t invoked = e->invoked - first, answered = e->answered - first;
            if (invoked >= answered || answered >= tickets_nr || ret_events[invoked] != NULL ||
                ret_events[answered] != NULL) {
                (void)snprintf(fault, sizeof(fault), "tickets %llu and %llu of thread %zu are wrong",
                               (unsigned long long)e->invoked, (unsigned long long)e->answered, i);
                return false;
            }
            ret_events[invoked] = ret_events[answered] = e;
        }
    }
    return true;
}

static bool tickets_walk(const struct history_event *const *events, uint64_t first, uint64_t tickets_nr) {
    for (uint64_t i = 0; i < tickets_nr; i++) {
        const struct history_event *e = events[i];
        if (!(e->invoked == first + i ? event_invoked(e) : event_answered(e)))
            return false;
    }
    return true;
}

history_fault history_judge(const struct history_log *logs, size_t nr, uint64_t first) {
    uint64_t tickets_nr = 0;
    for (size_t i = 0; i < nr; i++)
        tickets_nr += 2 * logs[i].nr;
    if (tickets_nr == 0)
        return NULL;
    size_t bytes = tickets_nr * sizeof(struct history_event *);
    const struct history_event **events = pages_map(bytes);
    bool good = tickets_sort(logs, nr, first, tickets_nr, events) && tickets_walk(events, first, tickets_nr);
    CHECK(munmap(events, bytes) == 0);
    return good ? NULL : fault;
}

size_t history_held_bytes(void) { return held_bytes; }
size_t history_held_nr(void) { return held_nr; }

void history_forget(void) {
    while (head.next[0] != NULL)
        (void)range_release(head.next[0]->start, head.next[0]->end - head.next[0]->start, 0);
}
