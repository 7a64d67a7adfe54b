/* SPDX-License-Identifier: MIT */
/*
 * Slabs that change hands, explored (weave.h, weave_slabs.h): objects come back to slabs of other threads, owners
 * refill from them, and sweeps purge and retire them, meanwhile. And slabs whose free pages' memory is refused:
 * allocations that may not block meet slabs that were purged, at a limit that forbids to bring the memory again, while
 * others allocate, free, sweep, and lift the limit.
 */
#include "base/types.h"
#include "weave.h"
#include "weave_slabs.h"

enum { NOBJ = 16, LAST = NOBJ - 1, LAST_OF_8 = 7 };

/* One slab of which so much is free. */
static void slab(int free_nr, const char *first, const char *second, const char *third) {
    slabs_setup(SLABS_OF_16, RT_MAY_BLOCK, first, second, third);
    slabs_add(free_nr, 0);
}

static void setup_foreign(void) {
    slab(1, "T", "g", "");
    slabs_hand_over(0, LAST, 1, 1);
}
/* The second of two frees lists the slab, whose ever it is. */
static void setup_two_frees(void) {
    slab(0, "g", "gT", "");
    slabs_hand_over(0, LAST - 1, 1, 0);
    slabs_hand_over(0, LAST, 1, 1);
}
/* By a full slab's last objects it is given back, unless it was listed before. */
static void setup_whole(void) {
    slab(0, "G", "g", "");
    slabs_keep_no_more();
    slabs_hand_over(0, 0, LAST, 0);
    slabs_hand_over(0, LAST, 1, 1);
}
/* The same, and it is made again at once. */
static void setup_again(void) {
    slab(0, "G", "gt", "");
    slabs_keep_no_more();
    slabs_hand_over(0, 0, LAST, 0);
    slabs_hand_over(0, LAST, 1, 1);
}
static void setup_purge(void) {
    slab(1, "g", "p", "");
    slabs_hand_over(0, LAST, 1, 0);
}
static void setup_purged_take(void) { slab(2, "T", "p", ""); }
static void setup_retire(void) {
    slab(LAST, "g", "r", "");
    slabs_hand_over(0, LAST, 1, 0);
}
static void setup_retire_take(void) {
    slab(LAST, "gt", "r", "");
    slabs_hand_over(0, LAST, 1, 0);
}
/* Each gives a slab back, and one makes a slab again. */
static void setup_two_whole(void) {
    slab(0, "Gt", "G", "");
    slabs_add(0, 0);
    slabs_keep_no_more();
    slabs_hand_over(0, 0, NOBJ, 0);
    slabs_hand_over(1, 0, NOBJ, 1);
}
/* Of two slabs that are purged in part, the memory of one is wanted again, or of both. */
static void setup_purge_two(void) {
    slab(1, "t", "p", "");
    slabs_add(2, 1);
}
/* It is kept, and retired by another. */
static void setup_kept(void) {
    slab(0, "G", "gr", "");
    slabs_hand_over(0, 0, LAST, 0);
    slabs_hand_over(0, LAST, 1, 1);
}
static void setup_sweeps(void) { slab(NOBJ, "r", "p", ""); }
static void setup_three(void) {
    slab(1, "t", "g", "g");
    slabs_hand_over(0, LAST - 1, 1, 1);
    slabs_hand_over(0, LAST, 1, 2);
}
static void setup_three_retire(void) {
    slab(LAST, "t", "g", "r");
    slabs_hand_over(0, LAST, 1, 1);
}

/* --- where memory is refused --- */

/* Slabs with two free objects each, without memory. */
static void refused(unsigned nr, const char *first, const char *second, const char *third) {
    slabs_setup(SLABS_OF_8, RT_ATOMIC, first, second, third);
    for (unsigned i = 0; i < nr; i++)
        slabs_add(2, 1);
}

static void setup_refused_takes(void) { refused(1, "t", "t", ""); }
static void setup_refused_takes_of_two(void) { refused(2, "t", "t", ""); }
static void setup_refused_lift(void) { refused(1, "t", "lt", ""); }
static void setup_refused_lift_of_two(void) { refused(2, "T", "lt", ""); }
static void setup_refused_sweep(void) { refused(1, "t", "s", ""); }
static void setup_refused_sweep_of_two(void) { refused(2, "t", "s", ""); }
static void setup_refused_swept_lift(void) { refused(1, "t", "ls", ""); }
static void setup_refused_give(void) {
    refused(1, "T", "g", "");
    slabs_hand_over(0, LAST_OF_8, 1, 1);
}
static void setup_refused_last_give(void) {
    slabs_setup(SLABS_OF_8, RT_ATOMIC, "t", "g", "");
    slabs_add(LAST_OF_8, 1);
    slabs_hand_over(0, LAST_OF_8, 1, 1);
}
/* One without memory, and a full one that comes back. */
static void setup_refused_full(void) {
    slabs_setup(SLABS_OF_8, RT_ATOMIC, "Tg", "g", "");
    slabs_add(1, 1);
    slabs_add(0, 0);
    slabs_hand_over(1, LAST_OF_8, 1, 1);
}
/* One that has memory; its object comes back while others are taken. */
static void setup_refused_in_use(void) {
    slabs_setup(SLABS_OF_8, RT_ATOMIC, "T", "g", "");
    slabs_add(1, 0);
    slabs_hand_over(0, LAST_OF_8, 1, 1);
}
/* Who takes the last object has brought the memory; who gives one back lists the slab, and takes from it. */
static void setup_refused_handed_on(void) {
    slabs_setup(SLABS_OF_8, RT_ATOMIC, "lT", "gt", "");
    slabs_add(1, 1);
    slabs_hand_over(0, LAST_OF_8, 1, 1);
}
static void setup_refused_three(void) { refused(1, "t", "t", "l"); }
static void setup_refused_three_sweep(void) { refused(1, "t", "s", "l"); }

/* Mutants meet the small ones first. */
static const struct weave_model models[] = {
    {"a free to a slab that is refilled from", 2, setup_foreign, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"two frees list a full slab", 2, setup_two_frees, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"two free all of a slab", 2, setup_whole, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"two free all of a slab, which is made again", 2, setup_again, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a free to a slab that is purged", 2, setup_purge, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a refill beside a purge", 2, setup_purged_take, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a last free beside a sweep", 2, setup_retire, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a slab is retired, and made again", 2, setup_retire_take, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"two slabs are given back, and one made again", 2, setup_two_whole, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"memory is wanted again beside a purge", 2, setup_purge_two, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a slab whose objects came back is kept, and retired", 2, setup_kept, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"two sweeps", 2, setup_sweeps, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"two allocate where all is refused", 2, setup_refused_takes, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"the limit is lifted", 2, setup_refused_lift, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a sweep during a refusal", 2, setup_refused_sweep, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a sweep, and the limit is lifted", 2, setup_refused_swept_lift, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a free into a slab that is refused", 2, setup_refused_give, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"the last object comes back during a refusal", 2, setup_refused_last_give, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a full slab comes back beside a refused one", 2, setup_refused_full, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"a free into a slab that has memory", 2, setup_refused_in_use, slabs_thread, slabs_finish, WEAVE_BOTH},
    {"memory is brought to a slab that then is full", 2, setup_refused_handed_on, slabs_thread, slabs_finish,
     WEAVE_BOTH},
    {"the limit on two slabs is lifted", 2, setup_refused_lift_of_two, slabs_thread, slabs_finish, WEAVE_SC},
    {"a sweep of two slabs during a refusal", 2, setup_refused_sweep_of_two, slabs_thread, slabs_finish, WEAVE_SC},
    {"two allocate while the limit is lifted", 3, setup_refused_three, slabs_thread, slabs_finish, WEAVE_SC},
    {"one allocates, one sweeps, one lifts", 3, setup_refused_three_sweep, slabs_thread, slabs_finish, WEAVE_SC},
    {"two frees beside a refill", 3, setup_three, slabs_thread, slabs_finish, WEAVE_SOAK},
    {"a refill, a last free and a sweep", 3, setup_three_retire, slabs_thread, slabs_finish, WEAVE_SC},
    {"two allocate where two slabs are refused", 2, setup_refused_takes_of_two, slabs_thread, slabs_finish, WEAVE_SOAK},
};

#define BY_EITHER "by the list's head or by the slab's word: either acquires what its owner before did"
#define KEPT_BY_ALL "what all classes keep together: nobody here asks"
#define SPARSE_HINT "a hint: whether a sweep is worth its time"
#define NOBODY_YET "nobody else knows of the slab before it is let go"
#define TWO_SWEEPS "two sweeps at once only share the work: each has the lists it took"
#define WHOLLY_FREE "nobody else changes the word of a slab that is bound and wholly free"
#define ALONE "all that is not free is the caller's, and the slab on no list: nobody else changes its word"
static const struct weave_excuse excuses[] = {
    {"partial_pop", "swap head", WEAVE_NO_ACQUIRE, BY_EITHER},
    {"partial_take_all", "swap head", WEAVE_NO_ACQUIRE, BY_EITHER},
    {"slab_claim", "swap &(s)->word", WEAVE_NO_ACQUIRE, BY_EITHER ", and of objects their bits do"},
    {"slab_claim", "swap &(s)->word", WEAVE_NO_RELEASE, "who claims a slab, or is refused, has written nothing to it"},
    {"slab_take", "swap &(s)->word", WEAVE_NO_ACQUIRE, "who lets go of a slab looks at nothing in it any more"},
    {"slab_empties_add", "&rt_usage_empty_bytes", WEAVE_SPLIT, KEPT_BY_ALL},
    {"slab_empties_add", "&rt_usage_empty_bytes", WEAVE_LOST, KEPT_BY_ALL},
    {"slab_count", "swap &(to.slab)->word", WEAVE_NO_ACQUIRE,
     "who counts what it freed, and lists the slab, reads nothing of it"},
    {"slab_counted", "&c->sparse", WEAVE_SPLIT, SPARSE_HINT},
    {"slab_counted", "&c->sparse", WEAVE_LOST, SPARSE_HINT},
    {"slab_count_whole", "swap &(to->slab)->word", WEAVE_NO_RELEASE,
     "whoever has the run next has it from the page tier"},
    {"slab_count_whole", "swap &(to->slab)->word", WEAVE_NO_ACQUIRE, ALONE},
    {"slab_count_whole", "swap &(to->slab)->word", WEAVE_BLIND, ALONE},
    {"slab_count_whole", "swap &(to->slab)->word", WEAVE_SPLIT, ALONE},
    {"slab_create", "store &s->bits", WEAVE_LATE, NOBODY_YET},
    {"slab_create", "store &s->first", WEAVE_LATE, NOBODY_YET},
    {"slab_create", "swap &(s)->word", WEAVE_NO_ACQUIRE, NOBODY_YET},
    {"slab_create", "swap &(s)->word", WEAVE_NO_RELEASE, NOBODY_YET},
    {"slab_create", "swap &(s)->word", WEAVE_BLIND, NOBODY_YET},
    {"slab_create", "swap &(s)->word", WEAVE_SPLIT, NOBODY_YET},
    {"slab_create", "&c->grown_ms", WEAVE_LOST, SPARSE_HINT},
    {"slab_create", "&c->grown_ms", WEAVE_LATE, SPARSE_HINT},
    {"slab_carved_add", "store &s->first", WEAVE_LATE, "before the slab is let go all the same"},
    {"sweep_class", "exchange &c->sweeping", WEAVE_NO_ACQUIRE, TWO_SWEEPS},
    {"sweep_class", "exchange &c->sweeping", WEAVE_LOST, TWO_SWEEPS},
    {"sweep_class", "store &c->sweeping", WEAVE_NO_RELEASE, TWO_SWEEPS},
    {"sweep_class", "store &c->sweeping", WEAVE_LATE, TWO_SWEEPS},
    {"sweep_one", "swap &(s)->word#1", WEAVE_NO_ACQUIRE,
     BY_EITHER ", and of objects their bits do, or the word that retires"},
    {"sweep_one", "swap &(s)->word#1", WEAVE_NO_RELEASE, "who claims a slab has written nothing to it"},
    {"sweep_one", "swap &(s)->word#2", WEAVE_NO_RELEASE, "whoever has the run next has it from the page tier"},
    {"sweep_one", "swap &(s)->word#2", WEAVE_BLIND, WHOLLY_FREE},
    {"sweep_one", "swap &(s)->word#2", WEAVE_SPLIT, WHOLLY_FREE},
    {"sweep_file", "swap &(s)->word", WEAVE_NO_ACQUIRE, "who lets go of a slab looks at nothing in it any more"},
    {"sweep_file", "swap &(s)->word", WEAVE_NO_RELEASE, BY_EITHER},
    {"page_nodes_nr", "&page_nodes_opened", WEAVE_NO_ACQUIRE, "there is one node here"},
    {"sweep_node", "&c->sparse", WEAVE_LOST, SPARSE_HINT},
    {"sweep_node", "&c->sparse", WEAVE_LATE, SPARSE_HINT},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"slab_claim", "if (s->purged == 0", WEAVE_ALWAYS},
    {"slab_claim", "if (slab_word_free(was) == g->nobj", WEAVE_NEVER},
    {"slab_counted", "if (slab_word_state(was) == SLAB_LISTED", WEAVE_NEVER},
    {"slab_count", "if (UNLIKELY(duty != SLAB_DUTY_NONE", WEAVE_NEVER},
    {"range_is_free", "if ((atomic_load", WEAVE_NEVER},
    {"sweep_one", "if (slab_word_free(was) == g->nobj", WEAVE_NEVER},
    {"sweep_one", "if (duty == SLAB_DUTY_REAP", WEAVE_NEVER},
    {"slab_do_duty", "if (duty == SLAB_DUTY_LIST", WEAVE_NEVER},
    {"slab_destroy", "if (s->purged != 0", WEAVE_NEVER},
    {"word_take", "if (want < WORD_BITS", WEAVE_NEVER},
    {"word_take", "if (chosen != 0", WEAVE_NEVER},
};

WEAVE_MAIN("slabs")
