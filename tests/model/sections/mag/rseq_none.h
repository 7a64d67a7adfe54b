/* SPDX-License-Identifier: MIT */
/*
 * The per-CPU sections of rseq_<arch>.h as the machine of weave.h runs them: each access a step, the last one the
 * commit, restarted by whoever else runs on the id and by barriers. Found in place of src/mag/rseq_none.h. The view is
 * read by acquire, for what hardware orders by the address: everything a section reads depends on it. What a section
 * does between is what src/mag/ref.h says.
 */
#ifndef QUARRY_MAG_RSEQ_NONE_H
#define QUARRY_MAG_RSEQ_NONE_H

#include "mag/tabs.h"
#include "weave.h"

enum rseq_status { RSEQ_DONE, RSEQ_REFUSED, RSEQ_ABSENT };

/* The id this thread runs on, of the model; -1: it has none, and section_enter() gives the stopped slots. */
int section_id(void);
/* The slots of that id, as its view shows them. */
u64 *section_enter(u64 *const *views);
u64 section_load(const u64 *word);
void section_store(u64 *word, u64 value);

static inline int rseq_id_racy(void) { return section_id(); }

static inline void *rseq_pop(u64 *const *views, u64 slot) {
    WEAVE_SECTION();
    u64 *slots = section_enter(views), top = section_load(&slots[slot]), obj = section_load((u64 *)top);
    if (obj & MAG_WORD_END)
        return weave_section_leave(), NULL;
    weave_section_commit(&slots[slot], top - sizeof(u64));
    return (void *)obj;
}

static inline bool rseq_push(u64 *const *views, u64 slot, void *p) {
    WEAVE_SECTION();
    u64 *slots = section_enter(views), top = section_load(&slots[slot]) + sizeof(u64);
    if (section_load((u64 *)top) & MAG_WORD_END)
        return weave_section_leave(), false;
    section_store((u64 *)top, (u64)p);
    weave_section_commit(&slots[slot], top);
    return true;
}

static inline u64 rseq_pop_run(u64 *const *views, u64 slot, u64 nr, void **objs) {
    u64 done = 0;
    while (done < nr && (objs[done] = rseq_pop(views, slot)) != NULL)
        done++;
    return done;
}

static inline u64 rseq_push_run(u64 *const *views, u64 slot, u64 nr, void *const *objs) {
    u64 done = 0;
    while (done < nr && rseq_push(views, slot, objs[done]))
        done++;
    return done;
}

static inline u64 *section_word(u64 *slots, s64 off) { return (u64 *)(void *)((char *)slots + off); }

/* end: 0 the top's own word must be the header, 1 the one above the trailer. */
static inline enum rseq_status section_swap_if_end(u64 *const *views, s64 off, u64 next, u64 *ret_old, unsigned end) {
    WEAVE_SECTION();
    u64 *word = section_word(section_enter(views), off);
    *ret_old = section_load(word);
    if ((section_load((u64 *)*ret_old + end) & MAG_WORD_STOPPED) != MAG_WORD_END)
        return weave_section_leave(), RSEQ_REFUSED;
    weave_section_commit(word, next);
    return RSEQ_DONE;
}

static inline enum rseq_status rseq_swap_if_empty(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    return section_swap_if_end(views, off, next, ret_old, 0);
}
static inline enum rseq_status rseq_swap_if_full(u64 *const *views, s64 off, u64 next, u64 *ret_old) {
    return section_swap_if_end(views, off, next, ret_old, 1);
}

static inline enum rseq_status rseq_swap_if_equal(u64 *const *views, s64 off, u64 expected, u64 next, u64 *ret_old) {
    WEAVE_SECTION();
    u64 *word = section_word(section_enter(views), off);
    *ret_old = section_load(word);
    if (*ret_old != expected)
        return weave_section_leave(), RSEQ_REFUSED;
    weave_section_commit(word, next);
    return RSEQ_DONE;
}

#endif
