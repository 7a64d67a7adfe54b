/* SPDX-License-Identifier: MIT */
/*
 * Slab state word: the rules by which a slab changes hands. One 64-bit value per slab holds everything two CPUs can
 * disagree about, and is only ever replaced whole. The functions below are pure: they take a word and say what it
 * becomes and what the caller must then do. slab.c applies them in compare-and-swap loops; tests/model explores them
 * exhaustively.
 *
 *               create             unbind, nothing left
 *      EMPTY ------------> BOUND ------------------------> FULL ----> EMPTY  all free at once (add_or_reap)
 *        ^                  | ^ |                            |
 *        +------------------+ | | unbind, something left     | add: free passes the threshold
 *          reap: all free     | v                            |
 *                      claim  LISTED <-----------------------+
 *
 * The free objects themselves are bits in a bitmap. A freer sets its bits first and adds to free afterwards; the one
 * owner of a BOUND slab takes bits first and subtracts afterwards. So at every moment free is the number of set bits,
 * less those set but not yet added, plus those taken but not yet subtracted; it is negative for a moment when the owner
 * subtracts bits that their freer has not added yet.
 *
 *   [S1] LISTED <=> linked on exactly one partial list, or in the hands of the thread that is just linking it.
 *   [S2] BOUND  <=> exactly one thread may take bits.
 *   [S3] in a slab that is not BOUND: free <= set bits, and free == nobj => every object is free and no freer is
 *        between its two steps.
 *   [S4] every transition changes the sequence, within one life of the slab.
 * A slab whose last object comes back while LISTED stays LISTED, because a lock-free stack cannot unlink from the
 * middle: the claim or the sweep that reaches it finds it empty.
 */
#ifndef QUARRY_SLAB_WORD_H
#define QUARRY_SLAB_WORD_H

#include "base/types.h"

enum slab_state { SLAB_EMPTY = 0, SLAB_BOUND, SLAB_LISTED, SLAB_FULL };

typedef struct {
    u64 bits; /* free: 16, signed | state: 2 | sequence: 46 */
} slab_word_t;

/* What the thread whose swap succeeded must do next. */
enum slab_duty {
    SLAB_DUTY_NONE = 0,
    SLAB_DUTY_LIST, /* link the slab on the partial list that fits its free count */
    SLAB_DUTY_REAP, /* the slab is EMPTY and this thread's alone: give its run back */
};

enum { SLAB_FREE_BITS = 16, SLAB_STATE_BITS = 2, SLAB_SEQ_SHIFT = SLAB_FREE_BITS + SLAB_STATE_BITS };

static inline int slab_word_free(slab_word_t w) { return (int16_t)(w.bits & 0xffff); }
static inline enum slab_state slab_word_state(slab_word_t w) {
    return (enum slab_state)((w.bits >> SLAB_FREE_BITS) & 3);
}

/* [S4]: the only way to make a word. */
static inline slab_word_t slab_word_next(slab_word_t w, int free_nr, enum slab_state state) {
    u64 seq = (w.bits >> SLAB_SEQ_SHIFT) + 1;
    return (slab_word_t){(u64)(u16)free_nr | (u64)state << SLAB_FREE_BITS | seq << SLAB_SEQ_SHIFT};
}

/* A fresh run becomes a slab of its creator: all objects free. */
static inline slab_word_t slab_word_create(slab_word_t w, int nobj) { return slab_word_next(w, nobj, SLAB_BOUND); }

/* The bits of nr objects were set: count them. threshold: how many free objects put a FULL slab back on a list. */
static inline slab_word_t slab_word_add(slab_word_t w, int nr, int nobj, int threshold, enum slab_duty *ret_duty) {
    int free_nr = slab_word_free(w) + nr;
    enum slab_state state = slab_word_state(w);
    *ret_duty = SLAB_DUTY_NONE;
    if (state == SLAB_FULL && free_nr >= MIN(threshold, nobj)) {
        state = SLAB_LISTED;
        *ret_duty = SLAB_DUTY_LIST;
    }
    return slab_word_next(w, free_nr, state);
}

/* The caller popped the slab from its list. */
static inline slab_word_t slab_word_claim(slab_word_t w) { return slab_word_next(w, slab_word_free(w), SLAB_BOUND); }

/* The owner took the bits of nr objects and lets go of the slab. */
static inline slab_word_t slab_word_unbind(slab_word_t w, int taken_nr, int threshold, enum slab_duty *ret_duty) {
    int free_nr = slab_word_free(w) - taken_nr;
    bool listed = free_nr >= threshold;
    *ret_duty = listed ? SLAB_DUTY_LIST : SLAB_DUTY_NONE;
    return slab_word_next(w, free_nr, listed ? SLAB_LISTED : SLAB_FULL);
}

/* The owner of a BOUND slab retires it if every object is free; else the word is returned unchanged. */
static inline slab_word_t slab_word_reap(slab_word_t w, int nobj, enum slab_duty *ret_duty) {
    bool empty = slab_word_free(w) == nobj;
    *ret_duty = empty ? SLAB_DUTY_REAP : SLAB_DUTY_NONE;
    return empty ? slab_word_next(w, 0, SLAB_EMPTY) : w;
}

/* A FULL slab of a single object, or any whose objects all came back at once, need not be listed before it is retired:
 * the freer whose count completes it owns it when it was FULL. Used where the class keeps no empty slab. */
static inline slab_word_t slab_word_add_or_reap(slab_word_t w, int nr, int nobj, int threshold,
                                                enum slab_duty *ret_duty) {
    if (slab_word_state(w) == SLAB_FULL && slab_word_free(w) + nr == nobj) {
        *ret_duty = SLAB_DUTY_REAP;
        return slab_word_next(w, 0, SLAB_EMPTY);
    }
    return slab_word_add(w, nr, nobj, threshold, ret_duty);
}

#endif
