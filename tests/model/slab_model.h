/* SPDX-License-Identifier: MIT */
/*
 * Private to the slab model: its state and what can happen. slab_steps.c takes the steps, slab_word.c has the
 * scenarios, the rules and the mutants' names.
 */
#ifndef QUARRY_TESTS_MODEL_SLAB_MODEL_H
#define QUARRY_TESTS_MODEL_SLAB_MODEL_H

#include "explore.h"
#include "slab/word.h"

enum { SLABS_MAX = 3, THREADS_MAX = 3, OPS_MAX = 6, SEQ_BITS = 2, TAG_BITS = 4, NONE = 0xf };

/* A slab_word_t with its sequence cut down. */
#define WORD_MASK (((u32)1 << (SLAB_SEQ_SHIFT + SEQ_BITS)) - 1)
#define WORD_SEQ_ONE ((u32)1 << SLAB_SEQ_SHIFT)

enum mutant {
    REAL_RULES,
    COUNT_BEFORE_BITS,
    REAP_ONE_EARLY,
    REAP_BY_BITMAP,
    REAP_WHILE_LISTED,
    LIST_WITHOUT_STATE,
    STATE_WITHOUT_LIST,
    LIST_WHILE_BOUND,
    LIST_EMPTY_HANDED,
    POP_WITHOUT_CLAIM,
    POP_WITHOUT_TAG,
    LINK_AFTER_PUSH,
    PUSH_BY_STORE,
    TAKE_BY_STORE,
    SURPLUS_LOST,
    SURPLUS_AFTER_UNBIND,
    UNBIND_FORGETS_TAKEN,
    COUNT_BY_STORE,
    UNBIND_BY_STORE,
    SEQUENCE_STANDS,
    PURGE_AFTER_UNBIND,
    MUTANTS_NR,
};

enum op { OP_END = 0, OP_TAKE1, OP_TAKE2, OP_FREE, OP_FREE_ALL, OP_SWEEP };

struct scenario {
    const char *name;
    unsigned slabs_nr, nobj, threshold, threads_nr;
    u8 ops[THREADS_MAX][OPS_MAX];
};

enum phase {
    PH_START, /* next operation */
    PH_POP_LOAD,
    PH_POP_LINK,
    PH_POP_CAS,
    PH_CREATE,
    PH_CLAIM_LOAD,
    PH_CLAIM_CAS,
    PH_BITS_LOAD,
    PH_BITS_TAKE,
    PH_BITS_BACK,
    PH_UNBIND_LOAD,
    PH_UNBIND_CAS,
    PH_PUSH_LOAD,
    PH_PUSH_LINK,
    PH_PUSH_CAS,
    PH_PUSH_LATE,
    PH_FREE_BITS,
    PH_COUNT_LOAD,
    PH_COUNT_CAS,
    PH_DESTROY,
    PH_ALL_LOAD,
    PH_ALL_CAS,
    PH_NEXT,
    PH_REAP_LOAD,
    PH_REAP_CAS,
    PH_PURGE_LOAD,
    PH_PURGE,
    PHASES_NR,
};

struct mslab {
    u32 word;  /* slab_word_t with a narrow sequence */
    u8 bits;   /* free objects */
    u8 live;   /* objects with the program */
    u8 link;   /* next slab on the list, or NONE */
    u8 in_use; /* its run is handed out by the page tier */
};

struct mthread {
    u32 seen_word;
    u8 hand[SLABS_MAX]; /* objects taken by the operation under way */
    u8 op, phase, slab, seen_head, seen_link, seen_bits;
    u8 want, surplus, uncounted, unsubtracted, chain, reap_too, late_bits;
};

struct state {
    struct mslab slab[SLABS_MAX];
    struct mthread thread[THREADS_MAX];
    u8 head; /* slab: 4 | tag: 4 */
};
_Static_assert(sizeof(struct state) <= EXPLORE_STATE_MAX, "explore.h sets the largest state");

extern enum mutant mutant;
extern const struct scenario *sc; /* the one explored */

static inline u8 all_objects(void) { return (u8)((1u << sc->nobj) - 1); }
static inline u8 head_slab(u8 head) { return head & 0xf; }
static inline u8 head_with(u8 head, u8 slab) {
    u8 tag = (u8)((head >> 4) + (mutant == POP_WITHOUT_TAG ? 0 : 1)) & ((1 << TAG_BITS) - 1);
    return (u8)(tag << 4 | slab);
}
static inline slab_word_t wide(u32 word) { return (slab_word_t){word}; }
static inline int word_free(const struct mslab *s) { return slab_word_free(wide(s->word)); }
static inline enum slab_state word_state(const struct mslab *s) { return slab_word_state(wide(s->word)); }
static inline u32 word_seq(u32 word) { return word >> SLAB_SEQ_SHIFT; }

/* For struct explore_model. */
unsigned model_choices(const void *state, unsigned t);
const char *model_name(const void *state, unsigned t);
const char *model_step(void *state, unsigned t, unsigned choice);

#endif
