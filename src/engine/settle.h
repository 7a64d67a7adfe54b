/* SPDX-License-Identifier: MIT */
/*
 * When a fall of use is over. A process that gives memory up in a short time leaves free objects in magazines, in slabs
 * that keep a few others, and in free runs, each within a bound of its own; together they are much when little is left.
 * While use moves, what is kept may be wanted again. Once it has fallen and then been at rest for the purge delay, all
 * of it is given back, once. A pure state machine: time and use are told to it. Called by tick.c, under the tick lock.
 *
 *            fell by a part of its highest            moved again: begins anew
 *   STEADY ------------------------------> FALLEN ------+
 *     ^  ^                                   | ^        |
 *     |  +----- rose again ------------------+ +--------+
 *     +-------- at rest for the delay: SETTLE_NOW, and what is in use now is the new highest
 *
 *   [T1] One fall is settled once; one that never comes to rest after eight times the delay.
 *   [T2] Use that comes back soon after a settling doubles the delay for the next one, up to 16 times: a program that
 *        works in waves pays for its troughs a few times, and then no more. One that stays away brings it back.
 *   [T3] Rest is judged by what is out of slabs and runs alone: of a large buffer that comes and goes nothing stays in
 *        them, and what else fell is at rest all the same. How much they may vary by is a part of all there is: what is
 *        little beside the buffers is no reason to keep the rest.
 */
#ifndef QUARRY_ENGINE_SETTLE_H
#define QUARRY_ENGINE_SETTLE_H

#include "base/types.h"

enum settle { SETTLE_STEADY, SETTLE_FALLEN, SETTLE_NOW };

struct settle_state {
    u64 high_bytes; /* the highest since the last settling */
    u64 mark_bytes; /* out of slabs and runs when the rest began; see since_ms */
    u64 since_ms;   /* when; 0: not fallen */
    u64 fell_ms;    /* when it was first seen fallen */
    u64 came_bytes; /* the highest before the last settling; 0: known by now whether that was regretted */
    u64 settled_ms; /* when that was */
    unsigned waves; /* settlings regretted in a row: the delay is doubled so often */
};

/* use_bytes: of all; out_bytes: of that, what is out of slabs and runs. delay_ms: at rest for so long is the end of a
 * fall. */
enum settle settle_step(struct settle_state *s, u64 now_ms, u64 use_bytes, u64 out_bytes, u64 delay_ms);
/* After a step that said SETTLE_FALLEN, where nobody may look again: an eighth of the delay at rest is its end, too,
 * but not for a program that works in waves. */
enum settle settle_early(struct settle_state *s, u64 now_ms, u64 use_bytes, u64 delay_ms);
/* What is out changed from before to after by housekeeping, which is no motion of the program's. */
void settle_rebase(struct settle_state *s, u64 before_bytes, u64 after_bytes);
/* So many bytes went back to slabs while the program grew: they were out, but not the program's. */
void settle_shed(struct settle_state *s, u64 bytes);

#endif
