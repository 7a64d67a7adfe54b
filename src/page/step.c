/* SPDX-License-Identifier: MIT */
/*
 * Steps: pieces of a reservation that are being made writable, or are, and were never handed out. A thread claims one
 * under the tier's lock, makes it writable without (tier_grow() in page/run.c), and says under the lock what came of
 * it. All here is called with the lock held.
 *
 *   States      FREE (at == end) -> CLAIMED (by a thread) -> MADE, hugepage by hugepage FREE; or LEFT (by nobody, not
 *               made), which the next who needs one claims.
 *   Progress    Nobody waits for who has claimed a step: there are others, and where all are claimed a thread has one
 *               of a hugepage on its stack, which nobody else knows of.
 *   Reclamation A child of a fork finds the steps of threads it does not have LEFT, but what those had on their stacks.
 *               Nobody but who claimed it makes a step writable: so what was handed out of one is not touched again,
 *               whatever access its owner gave it.
 */
#include "page/tier.h"

static bool is_free(const struct tier_step *s) { return s->at == s->end; }
static bool is_left(const struct tier_step *s) { return !is_free(s) && !s->made && s->by == 0; }

char *tier_step_take_locked(struct page_tier *t) {
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++) {
        struct tier_step *s = &t->steps[i];
        if (is_free(s) || !s->made)
            continue;
        s->at += HPAGE_BYTES;
        return s->at - HPAGE_BYTES;
    }
    return NULL;
}

bool tier_step_is_under_way(const struct page_tier *t) {
    bool any = false;
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++)
        any = any || t->steps[i].by != 0;
    return any;
}

struct tier_step *tier_step_left_locked(struct page_tier *t) {
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++) {
        if (!is_left(&t->steps[i]))
            continue;
        t->steps[i].by = sys_thread_self();
        return &t->steps[i];
    }
    return NULL;
}

static struct tier_step *find_free(struct page_tier *t) {
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++) {
        if (is_free(&t->steps[i]))
            return &t->steps[i];
    }
    return NULL;
}

struct tier_step *tier_step_claim_locked(struct page_tier *t, char *at, size_t bytes, struct tier_step *own) {
    struct tier_step *s = find_free(t);
    if (s == NULL) {
        s = own;
        bytes = HPAGE_BYTES;
    }
    *s = (struct tier_step){.at = at, .end = at + bytes, .by = sys_thread_self()};
    return s;
}

/* What is behind the first bytes of s, which ends in a refusal: to the reservation again, or for who comes next. Where
 * neither can be its address space is lost. */
static void cut(struct page_tier *t, struct tier_step *s, size_t bytes) {
    char *end = s->at + bytes;
    struct tier_step *rest;
    if (s->end == t->fresh)
        t->fresh = end;
    else if ((rest = find_free(t)) != NULL)
        *rest = (struct tier_step){.at = end, .end = s->end};
    s->end = end;
}

/* What a thread made of its own becomes a step of the tier, or at once a record. */
static void publish(struct page_tier *t, const struct tier_step *own) {
    struct tier_step *s = find_free(t);
    if (s != NULL)
        *s = *own;
    else
        tier_list_add(t, tier_record_locked(t, own->at));
}

bool tier_step_end_locked(struct page_tier *t, struct tier_step *s, size_t bytes) {
    bool whole = bytes == (size_t)(s->end - s->at), own = (uintptr_t)s - (uintptr_t)t->steps >= sizeof(t->steps);
    s->by = 0;
    if (bytes == 0 && !own && s->end != t->fresh)
        return false;
    if (!whole)
        cut(t, s, bytes);
    if (bytes == 0)
        return false;
    s->made = true;
    t->committed_bytes += bytes;
    t->step_bytes = whole ? MAX(2 * bytes, t->step_bytes) : 2 * bytes;
    if (own)
        publish(t, s);
    return true;
}

void tier_steps_forget_locked(struct page_tier *t) {
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++) {
        if (t->steps[i].by != sys_thread_self())
            t->steps[i].by = 0;
    }
}
