/* SPDX-License-Identifier: MIT */
/*
 * The steps of the slab model, one atomic access each, in the order in which slab.c, give.c, sweep.c and partial.c make
 * them; and what the mutants do instead.
 */
#include "slab_model.h"

#include <string.h>

static const char *const phase_names[PHASES_NR] = {
    "start",     "pop.load",  "pop.link",  "pop.cas",     "create",     "claim.load", "claim.cas",
    "bits.load", "bits.take", "bits.back", "unbind.load", "unbind.cas", "push.load",  "push.link",
    "push.cas",  "push.late", "free.bits", "count.load",  "count.cas",  "destroy",    "all.load",
    "all.cas",   "next",      "reap.load", "reap.cas",    "purge.load", "purge",
};

/* Operations as a thread goes through them; the operation under way is the one before op. */
static enum op op_now(const struct state *st, unsigned t) { return (enum op)sc->ops[t][st->thread[t].op - 1]; }

static void op_end(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    u8 op = me->op;
    for (unsigned i = 0; i < sc->slabs_nr; i++)
        st->slab[i].live |= me->hand[i];
    memset(me, 0, sizeof(*me));
    me->op = op;
    me->slab = me->chain = NONE;
}

/* --- what the pure transitions are here: word.h, or a mutant of it --- */

static slab_word_t rule_count(slab_word_t w, int nr, bool reap_too, enum slab_duty *duty) {
    int nobj = (int)sc->nobj, threshold = (int)sc->threshold, free_nr = slab_word_free(w) + nr;
    enum slab_state state = slab_word_state(w);
    *duty = SLAB_DUTY_NONE;
    if (mutant == REAP_WHILE_LISTED && reap_too && state != SLAB_BOUND && free_nr == nobj) {
        *duty = SLAB_DUTY_REAP;
        return slab_word_next(w, 0, SLAB_EMPTY);
    }
    if (mutant == LIST_WHILE_BOUND && state == SLAB_BOUND && free_nr >= threshold) {
        *duty = SLAB_DUTY_LIST;
        return slab_word_next(w, free_nr, SLAB_LISTED);
    }
    slab_word_t n =
        reap_too ? slab_word_add_or_reap(w, nr, nobj, threshold, duty) : slab_word_add(w, nr, nobj, threshold, duty);
    if (*duty == SLAB_DUTY_LIST && mutant == LIST_WITHOUT_STATE)
        return slab_word_next(w, free_nr, state);
    if (*duty == SLAB_DUTY_LIST && mutant == STATE_WITHOUT_LIST)
        *duty = SLAB_DUTY_NONE;
    return n;
}

static slab_word_t rule_unbind(slab_word_t w, int taken_nr, enum slab_duty *duty) {
    if (mutant == UNBIND_FORGETS_TAKEN)
        taken_nr = 0;
    return slab_word_unbind(w, taken_nr, mutant == LIST_EMPTY_HANDED ? 0 : 1, duty);
}

static slab_word_t rule_reap(const struct mslab *s, slab_word_t w, enum slab_duty *duty) {
    bool early = (mutant == REAP_ONE_EARLY && slab_word_free(w) == (int)sc->nobj - 1) ||
                 (mutant == REAP_BY_BITMAP && s->bits == all_objects());
    if (!early)
        return slab_word_reap(w, (int)sc->nobj, duty);
    *duty = SLAB_DUTY_REAP;
    return slab_word_next(w, 0, SLAB_EMPTY);
}

/* One compare-and-swap of a slab's word. False: another thread was quicker, seen_word is up to date. */
static bool word_swap(struct mslab *s, struct mthread *me, slab_word_t next, bool by_store, const char **ret_broken) {
    u32 narrow = (u32)next.bits & WORD_MASK;
    if (mutant == SEQUENCE_STANDS)
        narrow = (narrow & (WORD_SEQ_ONE - 1)) | (me->seen_word & ~(WORD_SEQ_ONE - 1));
    if (s->word != me->seen_word && !by_store) {
        me->seen_word = s->word;
        return false;
    }
    if (word_seq(narrow) == word_seq(me->seen_word))
        *ret_broken = "[S4] a transition kept the sequence";
    s->word = narrow;
    me->seen_word = 0;
    return true;
}

/* --- steps shared by the operations --- */

/* After the slab in hand is dealt with. */
static void slab_done(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    enum op op = op_now(st, t);
    me->slab = NONE;
    if (op == OP_SWEEP && me->chain != NONE)
        me->phase = PH_NEXT;
    else if ((op == OP_TAKE1 || op == OP_TAKE2) && me->want > 0)
        me->phase = PH_POP_LOAD;
    else
        op_end(st, t);
}

static void do_duty(struct state *st, unsigned t, enum slab_duty duty) {
    struct mthread *me = &st->thread[t];
    if (duty == SLAB_DUTY_LIST)
        me->phase = PH_PUSH_LOAD;
    else if (duty == SLAB_DUTY_REAP)
        me->phase = PH_DESTROY;
    else
        slab_done(st, t);
}

static const char *step_push(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    switch (me->phase) {
    case PH_PUSH_LOAD:
        me->seen_head = st->head;
        me->phase = mutant == LINK_AFTER_PUSH ? PH_PUSH_CAS : PH_PUSH_LINK;
        return NULL;
    case PH_PUSH_LINK:
        st->slab[me->slab].link = head_slab(me->seen_head);
        me->phase = PH_PUSH_CAS;
        return NULL;
    case PH_PUSH_CAS:
        if (st->head != me->seen_head && mutant != PUSH_BY_STORE) {
            me->seen_head = st->head;
            me->phase = mutant == LINK_AFTER_PUSH ? PH_PUSH_CAS : PH_PUSH_LINK;
            return NULL;
        }
        st->head = head_with(st->head, me->slab);
        if (mutant == LINK_AFTER_PUSH) {
            me->phase = PH_PUSH_LATE;
            return NULL;
        }
        break;
    default: st->slab[me->slab].link = head_slab(me->seen_head); break;
    }
    me->seen_head = 0;
    if (mutant == PURGE_AFTER_UNBIND && me->seen_bits != 0)
        me->phase = PH_PURGE;
    else
        slab_done(st, t);
    return NULL;
}

static const char *step_claim(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    struct mslab *s = &st->slab[me->slab];
    const char *broken = NULL;
    u8 then = op_now(st, t) == OP_SWEEP ? PH_REAP_LOAD : PH_BITS_LOAD;
    if (me->phase == PH_CLAIM_LOAD) {
        me->seen_word = s->word;
        me->phase = PH_CLAIM_CAS;
        if (mutant == POP_WITHOUT_CLAIM) {
            me->seen_word = 0;
            me->phase = then;
        }
        return NULL;
    }
    if (slab_word_state(wide(me->seen_word)) != SLAB_LISTED && s->word == me->seen_word)
        return "[S1] a slab on the list was not LISTED";
    if (word_swap(s, me, slab_word_claim(wide(me->seen_word)), false, &broken))
        me->phase = then;
    return broken;
}

static const char *step_unbind(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    struct mslab *s = &st->slab[me->slab];
    enum slab_duty duty;
    const char *broken = NULL;
    if (me->phase == PH_UNBIND_LOAD) {
        me->seen_word = s->word;
        me->phase = PH_UNBIND_CAS;
        return NULL;
    }
    slab_word_t next = rule_unbind(wide(me->seen_word), me->unsubtracted, &duty);
    if (!word_swap(s, me, next, mutant == UNBIND_BY_STORE, &broken))
        return broken;
    me->unsubtracted = 0;
    if (me->late_bits) {
        me->late_bits = (u8)duty + 1;
        me->phase = PH_FREE_BITS;
        return broken;
    }
    do_duty(st, t, duty);
    return broken;
}

static const char *step_destroy(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    struct mslab *s = &st->slab[me->slab];
    s->in_use = 0;
    s->bits = 0;
    slab_done(st, t);
    return NULL;
}

/* --- taking --- */

static const char *step_pop(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    switch (me->phase) {
    case PH_POP_LOAD:
        me->seen_head = st->head;
        me->phase = head_slab(me->seen_head) == NONE ? PH_CREATE : PH_POP_LINK;
        if (me->phase == PH_CREATE)
            me->seen_head = 0;
        return NULL;
    case PH_POP_LINK:
        me->seen_link = st->slab[head_slab(me->seen_head)].link;
        me->phase = PH_POP_CAS;
        return NULL;
    default:
        if (st->head != me->seen_head) {
            me->seen_head = st->head;
            me->seen_link = 0;
            me->phase = head_slab(me->seen_head) == NONE ? PH_POP_LOAD : PH_POP_LINK;
            return NULL;
        }
        me->slab = head_slab(me->seen_head);
        st->head = head_with(st->head, me->seen_link);
        me->seen_head = me->seen_link = 0;
        me->phase = PH_CLAIM_LOAD;
        return NULL;
    }
}

/* Nobody else knows the run yet: one step. */
static const char *step_create(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    for (u8 i = 0; i < sc->slabs_nr; i++) {
        struct mslab *s = &st->slab[i];
        if (s->in_use)
            continue;
        if (word_state(s) != SLAB_EMPTY)
            return "a run was given back while its slab was not EMPTY";
        s->in_use = 1;
        s->bits = all_objects();
        s->live = 0;
        s->word = (u32)slab_word_create(wide(s->word), (int)sc->nobj).bits & WORD_MASK;
        me->slab = i;
        me->phase = PH_BITS_LOAD;
        return NULL;
    }
    op_end(st, t);
    return NULL;
}

static u8 lowest(u8 bits, unsigned nr) {
    u8 chosen = 0;
    for (; nr > 0 && bits != 0; nr--, bits &= (u8)(bits - 1))
        chosen |= (u8)(bits & -bits);
    return chosen;
}

static const char *step_bits(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    struct mslab *s = &st->slab[me->slab];
    if (me->phase == PH_BITS_LOAD) {
        if (s->bits == 0)
            return "[S2] a slab was bound that has nothing to give";
        me->seen_bits = s->bits;
        me->phase = PH_BITS_TAKE;
        return NULL;
    }
    if (me->phase == PH_BITS_BACK) {
        s->bits |= me->surplus;
        me->surplus = 0;
        me->phase = PH_UNBIND_LOAD;
        return NULL;
    }
    bool whole = (unsigned)__builtin_popcount(me->seen_bits) <= me->want;
    u8 taken = whole ? (mutant == TAKE_BY_STORE ? me->seen_bits : s->bits) : lowest(me->seen_bits, me->want);
    s->bits = whole ? 0 : s->bits & (u8)~taken;
    u8 mine = lowest(taken, me->want), nr = (u8)__builtin_popcount(mine);
    me->surplus = taken & (u8)~mine;
    if (mutant == SURPLUS_LOST)
        me->surplus = 0;
    me->hand[me->slab] |= mine;
    me->unsubtracted = nr;
    me->want = (u8)(me->want - nr);
    me->seen_bits = 0;
    me->late_bits = mutant == SURPLUS_AFTER_UNBIND && me->surplus != 0;
    me->phase = me->surplus != 0 && !me->late_bits ? PH_BITS_BACK : PH_UNBIND_LOAD;
    return NULL;
}

/* --- giving --- */

/* choice: which live object, and whether the class keeps its empty slabs. */
static const char *step_free_bits(struct state *st, unsigned t, unsigned choice) {
    struct mthread *me = &st->thread[t];
    unsigned which = choice / 2;
    for (u8 i = 0; i < sc->slabs_nr; i++) {
        struct mslab *s = &st->slab[i];
        unsigned live_nr = (unsigned)__builtin_popcount(s->live);
        unsigned here = op_now(st, t) == OP_FREE_ALL ? s->live != 0 : live_nr;
        if (which >= here) {
            which -= here;
            continue;
        }
        u8 objs = s->live;
        for (; op_now(st, t) == OP_FREE && which > 0; which--)
            objs &= (u8)(objs - 1);
        if (op_now(st, t) == OP_FREE)
            objs = lowest(objs, 1);
        s->live &= (u8)~objs;
        if (mutant == COUNT_BEFORE_BITS)
            me->surplus = objs;
        else
            s->bits |= objs;
        me->slab = i;
        me->uncounted = (u8)__builtin_popcount(objs);
        me->reap_too = choice % 2;
        me->phase = PH_COUNT_LOAD;
        return NULL;
    }
    op_end(st, t);
    return NULL;
}

static const char *step_count(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    struct mslab *s = &st->slab[me->slab];
    enum slab_duty duty;
    const char *broken = NULL;
    if (me->phase == PH_COUNT_LOAD) {
        me->seen_word = s->word;
        me->phase = PH_COUNT_CAS;
        return NULL;
    }
    slab_word_t next = rule_count(wide(me->seen_word), me->uncounted, me->reap_too, &duty);
    if (!word_swap(s, me, next, mutant == COUNT_BY_STORE, &broken))
        return broken;
    me->uncounted = me->reap_too = 0;
    if (mutant == COUNT_BEFORE_BITS && me->surplus != 0) {
        me->late_bits = (u8)duty + 1;
        me->phase = PH_FREE_BITS;
        return broken;
    }
    do_duty(st, t, duty);
    return broken;
}

/* Mutants: bits that come too late, but before what the thread owes the slab. */
static const char *step_bits_late(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    enum slab_duty duty = (enum slab_duty)(me->late_bits - 1);
    st->slab[me->slab].bits |= me->surplus;
    me->surplus = me->late_bits = 0;
    do_duty(st, t, duty);
    return NULL;
}

/* --- sweeping --- */

static const char *step_take_all(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    if (me->phase == PH_ALL_LOAD || st->head != me->seen_head) {
        me->seen_head = st->head;
        me->phase = PH_ALL_CAS;
        if (head_slab(me->seen_head) == NONE)
            op_end(st, t);
        return NULL;
    }
    me->chain = head_slab(st->head);
    st->head = head_with(st->head, NONE);
    me->seen_head = 0;
    me->phase = PH_NEXT;
    return NULL;
}

static const char *step_reap(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    struct mslab *s = &st->slab[me->slab];
    enum slab_duty duty;
    const char *broken = NULL;
    if (me->phase == PH_REAP_LOAD) {
        me->seen_word = s->word;
        me->phase = PH_REAP_CAS;
        return NULL;
    }
    if (s->word != me->seen_word) {
        me->seen_word = s->word;
        return NULL;
    }
    slab_word_t next = rule_reap(s, wide(me->seen_word), &duty);
    if (duty != SLAB_DUTY_REAP) {
        me->seen_word = 0;
        me->phase = PH_PURGE_LOAD;
        return NULL;
    }
    if (word_swap(s, me, next, false, &broken))
        do_duty(st, t, duty);
    return broken;
}

/* Pages of free objects go: none of them may be anybody's. Bits seen set stay so, because only the owner clears them.
 */
static const char *step_purge(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    struct mslab *s = &st->slab[me->slab];
    if (me->phase == PH_PURGE_LOAD) {
        me->seen_bits = s->bits;
        me->phase = mutant == PURGE_AFTER_UNBIND ? PH_UNBIND_LOAD : PH_PURGE;
        return NULL;
    }
    if ((me->seen_bits & s->bits) != me->seen_bits)
        return "[S2] memory of an object was purged that is not free";
    me->seen_bits = 0;
    me->phase = PH_UNBIND_LOAD;
    if (mutant == PURGE_AFTER_UNBIND)
        slab_done(st, t);
    return NULL;
}

static const char *step_next(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    me->slab = me->chain;
    me->chain = st->slab[me->slab].link;
    me->phase = PH_CLAIM_LOAD;
    return NULL;
}

/* --- the model --- */

/* Starting an operation touches nothing shared, so it is part of its first step. */
static void op_start(struct state *st, unsigned t) {
    struct mthread *me = &st->thread[t];
    static const u8 first[] = {[OP_TAKE1] = PH_POP_LOAD,
                               [OP_TAKE2] = PH_POP_LOAD,
                               [OP_FREE] = PH_FREE_BITS,
                               [OP_FREE_ALL] = PH_FREE_BITS,
                               [OP_SWEEP] = PH_ALL_LOAD};
    enum op op = (enum op)sc->ops[t][me->op++];
    me->phase = first[op];
    me->want = op == OP_TAKE1 ? 1 : op == OP_TAKE2 ? 2 : 0;
}

static unsigned live_choices(const struct state *st, enum op op) {
    unsigned nr = 0;
    for (unsigned i = 0; i < sc->slabs_nr; i++)
        nr += op == OP_FREE_ALL ? st->slab[i].live != 0 : (unsigned)__builtin_popcount(st->slab[i].live);
    return nr == 0 ? 1 : 2 * nr;
}

unsigned model_choices(const void *state, unsigned t) {
    const struct state *st = state;
    const struct mthread *me = &st->thread[t];
    if (me->phase != PH_START)
        return 1;
    enum op op = me->op < OPS_MAX ? (enum op)sc->ops[t][me->op] : OP_END;
    return op == OP_END ? 0 : op == OP_FREE || op == OP_FREE_ALL ? live_choices(st, op) : 1;
}

const char *model_name(const void *state, unsigned t) {
    const struct state *st = state;
    const struct mthread *me = &st->thread[t];
    static const char *const op_names[] = {"end", "take1", "take2", "free", "free-all", "sweep"};
    return me->phase == PH_START ? op_names[sc->ops[t][me->op]] : phase_names[me->phase];
}

const char *model_step(void *state, unsigned t, unsigned choice) {
    struct state *st = state;
    struct mthread *me = &st->thread[t];
    if (me->phase == PH_START)
        op_start(st, t);
    switch ((enum phase)me->phase) {
    case PH_POP_LOAD:
    case PH_POP_LINK:
    case PH_POP_CAS: return step_pop(st, t);
    case PH_CREATE: return step_create(st, t);
    case PH_CLAIM_LOAD:
    case PH_CLAIM_CAS: return step_claim(st, t);
    case PH_BITS_LOAD:
    case PH_BITS_TAKE:
    case PH_BITS_BACK: return step_bits(st, t);
    case PH_UNBIND_LOAD:
    case PH_UNBIND_CAS: return step_unbind(st, t);
    case PH_PUSH_LOAD:
    case PH_PUSH_LINK:
    case PH_PUSH_CAS:
    case PH_PUSH_LATE: return step_push(st, t);
    case PH_FREE_BITS: return me->late_bits != 0 ? step_bits_late(st, t) : step_free_bits(st, t, choice);
    case PH_COUNT_LOAD:
    case PH_COUNT_CAS: return step_count(st, t);
    case PH_DESTROY: return step_destroy(st, t);
    case PH_ALL_LOAD:
    case PH_ALL_CAS: return step_take_all(st, t);
    case PH_NEXT: return step_next(st, t);
    case PH_REAP_LOAD:
    case PH_REAP_CAS: return step_reap(st, t);
    case PH_PURGE_LOAD:
    case PH_PURGE: return step_purge(st, t);
    default: return "a thread is in no phase";
    }
}
