/* SPDX-License-Identifier: MIT */
/*
 * Histories: what threads asked an allocator for and what they were answered, each step with a ticket drawn before the
 * call and one drawn after it, and the judge who decides whether an allocator that does one thing at a time could have
 * answered so. Owns the ranges held at the end of the last history, and knows neither threads nor the allocator. The
 * judge allocates nothing but mappings of its own. Called by linear.c, in one thread.
 */
#ifndef QUARRY_TESTS_HISTORY_H
#define QUARRY_TESTS_HISTORY_H

#include <stddef.h>
#include <stdint.h>

/*
 * Between the tickets `invoked` and `answered` a range was given up and another one was got; 0 bytes: none was. The
 * first was the program's until just before the call, the second was from just after it. A realloc that moves nothing
 * has both at one address, and what they share was held throughout.
 */
struct history_event {
    uint64_t invoked, answered;
    uintptr_t given, got;
    size_t given_bytes, got_bytes;
};

struct history_log {
    const struct history_event *events;
    size_t nr;
};

/* Why a history cannot be: text, or NULL when it can. It stays valid until the next call. */
typedef const char *history_fault;

/*
 * Judges the histories of several threads together. Their tickets are those from `first` on, each one once, as many as
 * two for each event: a ticket is later than another where its drawing was. What was held at the end of the
 * last call is held at the start of this one.
 *
 * The judgement is complete. An object is held without doubt from the answer that gave it to the call that gave it up.
 * Where two of these spans overlap in time and in addresses, both were the program's at once, and no order of
 * the calls explains it. Where none do, each call takes effect at that end of its span, and this is such an order.
 */
history_fault history_judge(const struct history_log *logs, size_t nr, uint64_t first);

/* Of the ranges held: their sum, and how many there are. */
size_t history_held_bytes(void);
size_t history_held_nr(void);

/* Nothing is held any more. */
void history_forget(void);

#endif
