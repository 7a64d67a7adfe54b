/* SPDX-License-Identifier: MIT */
/*
 * Exhaustive exploration of how slabs change hands: the pure transitions of slab/word.h, driven the way slab.c, give.c,
 * sweep.c and partial.c drive them, by two or three threads in every interleaving at the grain of one atomic access,
 * with sequence and list tag cut to a few bits. Checked after every step:
 *
 * [S1] A slab is LISTED exactly when it is on the partial list once, or in the hands of one thread that links or
 * unlinks it.
 *
 * [S2] A slab is BOUND exactly when one thread may take its bits, and one bound from the list has something to give.
 *
 * [S3] free == set bits - bits set but not yet counted + bits taken but not yet subtracted; so a slab is retired only
 * when every object is free and no freer is between its two steps.
 *
 * [S4] Every transition changes the sequence.
 *
 * Besides, each object is free, live, or in one thread's hands, and only one of these; and at the end no slab is
 * forgotten. A check that never failed proves nothing, so each of a list of mutants (a check removed, two steps
 * swapped) must break one of the rules.
 *
 *     slab_word           explore the real rules; fails if one breaks
 *
 *     slab_word mutants   explore each mutant; fails if one survives
 */
#include "slab_model.h"

#include <stdio.h>
#include <string.h>

enum mutant mutant;
const struct scenario *sc;

static const char *const mutant_names[MUTANTS_NR] = {
    "the real rules",
    "a freer counts before it sets its bits",
    "a slab is retired one object early",
    "a slab is retired when its bitmap is full, whatever is counted",
    "a freer retires a slab that is on the list",
    "a slab is linked without becoming LISTED",
    "a slab becomes LISTED without being linked",
    "a free lists a slab that is BOUND",
    "an owner lists a slab with nothing free",
    "a slab is taken off the list without becoming BOUND",
    "the list's tag never changes",
    "a slab is on the list before its link is written",
    "the list's head is stored, not swapped",
    "bits are stored, not exchanged",
    "surplus bits are not put back",
    "surplus bits are put back after letting go",
    "an owner does not subtract what it took",
    "a freer's count is stored, not swapped",
    "an owner's word is stored, not swapped",
    "a transition keeps the sequence",
    "a sweep purges after letting go",
};

static const struct scenario scenarios[] = {
    {"a slab of two, three threads",
     1,
     2,
     1,
     3,
     {{OP_TAKE2, OP_FREE, OP_TAKE1}, {OP_FREE, OP_TAKE1}, {OP_SWEEP, OP_FREE}}},
    {"a slab of two, freers", 1, 2, 2, 3, {{OP_TAKE2, OP_TAKE1}, {OP_FREE, OP_FREE}, {OP_FREE, OP_TAKE2}}},
    {"a slab of three",
     1,
     3,
     2,
     2,
     {{OP_TAKE2, OP_FREE, OP_TAKE2, OP_FREE_ALL}, {OP_TAKE1, OP_FREE_ALL, OP_SWEEP, OP_TAKE1}}},
    {"a slab of three, three threads", 1, 3, 1, 3, {{OP_TAKE2, OP_TAKE1}, {OP_FREE, OP_FREE}, {OP_TAKE1, OP_FREE_ALL}}},
    {"two slabs of one", 2, 1, 1, 3, {{OP_TAKE2, OP_FREE}, {OP_FREE, OP_TAKE1}, {OP_SWEEP, OP_FREE}}},
    {"two slabs of two", 2, 2, 1, 2, {{OP_TAKE2, OP_TAKE1, OP_FREE, OP_FREE}, {OP_TAKE1, OP_FREE, OP_SWEEP, OP_TAKE2}}},
    {"two slabs of two, sweeps",
     2,
     2,
     2,
     2,
     {{OP_TAKE2, OP_TAKE2, OP_FREE_ALL, OP_SWEEP}, {OP_FREE, OP_SWEEP, OP_TAKE1}}},
    {"two slabs of two, three threads",
     2,
     2,
     1,
     3,
     {{OP_TAKE2, OP_TAKE1, OP_FREE}, {OP_FREE, OP_TAKE1}, {OP_SWEEP, OP_FREE}}},
    {"three slabs of one on the list",
     3,
     1,
     1,
     2,
     {{OP_TAKE2, OP_TAKE1, OP_FREE, OP_FREE, OP_FREE, OP_TAKE1}, {OP_TAKE2, OP_FREE, OP_TAKE1}}},
};

/* --- rules --- */

/* The thread may take bits of the slab in its hands. */
static bool owns(const struct mthread *me) {
    if (me->phase == PH_PURGE && mutant == PURGE_AFTER_UNBIND)
        return false;
    switch ((enum phase)me->phase) {
    case PH_BITS_LOAD:
    case PH_BITS_TAKE:
    case PH_BITS_BACK:
    case PH_UNBIND_LOAD:
    case PH_UNBIND_CAS:
    case PH_REAP_LOAD:
    case PH_REAP_CAS:
    case PH_PURGE_LOAD:
    case PH_PURGE: return true;
    default: return false;
    }
}

static bool links(const struct mthread *me) {
    /* A mutant that let go and sets bits before it links. */
    if (me->phase == PH_FREE_BITS && me->late_bits != 0)
        return me->late_bits == SLAB_DUTY_LIST + 1;
    switch ((enum phase)me->phase) {
    case PH_CLAIM_LOAD:
    case PH_CLAIM_CAS:
    case PH_PUSH_LOAD:
    case PH_PUSH_LINK:
    case PH_PUSH_CAS: return true;
    default: return false;
    }
}

/* Slabs met on the list and on the chains that sweeps took. False: a list that does not end. */
static bool count_linked(const struct state *st, u8 nr[SLABS_MAX]) {
    for (unsigned list = 0; list <= sc->threads_nr; list++) {
        u8 at = list == sc->threads_nr               ? head_slab(st->head)
                : st->thread[list].phase == PH_START ? NONE
                                                     : st->thread[list].chain;
        for (unsigned steps = 0; at != NONE; at = st->slab[at].link) {
            if (++steps > sc->slabs_nr || at >= sc->slabs_nr)
                return false;
            nr[at]++;
        }
    }
    return true;
}

static const char *check_slab(const struct state *st, u8 i, unsigned on_lists, bool final) {
    const struct mslab *s = &st->slab[i];
    unsigned owners = 0, linkers = 0, destroyers = 0,
             places = (unsigned)__builtin_popcount(s->bits) + (unsigned)__builtin_popcount(s->live);
    int uncounted = 0, unsubtracted = 0;
    u8 seen = s->bits | s->live;
    for (unsigned t = 0; t < sc->threads_nr; t++) {
        const struct mthread *me = &st->thread[t];
        bool at_it = me->phase != PH_START && me->slab == i;
        u8 held = me->hand[i] | (at_it ? me->surplus : 0);
        owners += at_it && owns(me);
        linkers += at_it && links(me);
        destroyers += at_it && me->phase == PH_DESTROY;
        places += (unsigned)__builtin_popcount(held);
        seen |= held;
        uncounted += at_it ? me->uncounted : 0;
        unsubtracted += at_it ? me->unsubtracted + __builtin_popcount(me->surplus) : 0;
    }
    enum slab_state state = word_state(s);
    if (!s->in_use)
        return state != SLAB_EMPTY || on_lists + owners + linkers != 0 ? "a run was given back that is in use" : NULL;
    if (places != sc->nobj || seen != all_objects())
        return "an object is lost, or in two places";
    if (on_lists + linkers != (state == SLAB_LISTED))
        return "[S1] LISTED and the lists disagree";
    if (owners != (state == SLAB_BOUND))
        return "[S2] BOUND and the owners disagree";
    if (state == SLAB_EMPTY)
        return destroyers != 1 || s->bits != all_objects() || uncounted != 0 ? "[S3] a slab was retired that is in use"
                                                                             : NULL;
    if (word_free(s) != __builtin_popcount(s->bits) - uncounted + unsubtracted)
        return "[S3] the count is not what the bits say";
    if (final && state == SLAB_FULL && word_free(s) >= MIN((int)sc->threshold, (int)sc->nobj))
        return "a slab with enough free is on no list";
    return NULL;
}

static const char *model_check(const void *state, bool final) {
    const struct state *st = state;
    u8 on_lists[SLABS_MAX] = {0};
    const char *broken = NULL;
    /* A link may be stale while its slab is in a thread's hands, but not on a list. */
    if (!count_linked(st, on_lists))
        return "a list does not end";
    for (u8 i = 0; i < sc->slabs_nr && broken == NULL; i++)
        broken = check_slab(st, i, on_lists[i], final);
    return broken;
}

/* --- main --- */

static void run_scenario(const struct scenario *scenario, struct explore_result *ret_result) {
    struct state first;
    memset(&first, 0, sizeof(first));
    first.head = NONE;
    for (unsigned i = 0; i < SLABS_MAX; i++)
        first.slab[i].link = NONE;
    for (unsigned t = 0; t < THREADS_MAX; t++)
        first.thread[t].slab = first.thread[t].chain = NONE;
    sc = scenario;
    const struct explore_model model = {.state_bytes = sizeof(struct state),
                                        .threads_nr = sc->threads_nr,
                                        .choices = model_choices,
                                        .step = model_step,
                                        .check = model_check,
                                        .name = model_name};
    explore(&model, &first, ret_result);
}

static int explore_real(void) {
    static struct explore_result r;
    for (size_t i = 0; i < ARRAY_NR(scenarios); i++) {
        run_scenario(&scenarios[i], &r);
        printf("%-34s %9llu states, %6llu ends: %s\n", scenarios[i].name, (unsigned long long)r.states_nr,
               (unsigned long long)r.finals_nr, r.broken == NULL ? "ok" : r.broken);
        if (r.broken != NULL) {
            printf("  %s\n", r.trace);
            return 1;
        }
        if (r.finals_nr == 0)
            return 1;
    }
    return 0;
}

static int explore_mutants(void) {
    static struct explore_result r;
    int survivors = 0;
    for (int m = REAL_RULES + 1; m < MUTANTS_NR; m++) {
        mutant = (enum mutant)m;
        size_t i = 0;
        do {
            run_scenario(&scenarios[i], &r);
        } while (r.broken == NULL && ++i < ARRAY_NR(scenarios));
        printf("%-62s %s\n", mutant_names[m], r.broken == NULL ? "SURVIVED" : r.broken);
        survivors += r.broken == NULL;
    }
    return survivors == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "mutants") == 0)
        return explore_mutants();
    return explore_real();
}
