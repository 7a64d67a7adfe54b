/* SPDX-License-Identifier: MIT */
/*
 * The memory of weave: what a load may see, what a thread knows after it, and whether a plain access races. Owns
 * locations, messages and shadows; when a thread goes on is weave.c's business.
 */
#include "weave_machine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- places --- */

extern char __data_start[], _end[];                      // NOLINT(bugprone-reserved-identifier)
extern char __start_weave_state[], __stop_weave_state[]; // NOLINT(bugprone-reserved-identifier)

bool is_modelled(const void *at) {
    const char *p = at;
    if (p >= __data_start && p < _end)
        return p < __start_weave_state || p >= __stop_weave_state;
    for (unsigned i = 0; i < weave_m->ranges_nr; i++) {
        if (p >= weave_m->ranges[i].at && p < weave_m->ranges[i].at + weave_m->ranges[i].bytes)
            return true;
    }
    return false;
}

static void too_many(const char *what) {
    fprintf(stderr, "weave: more %s than there is room for\n", what);
    trace_print();
    exit(2);
}

static uint64_t memory_get(const struct loc *l) {
    uint64_t value = 0;
    memcpy(&value, l->at, l->bytes);
    return value;
}

/* A location appears with what memory holds, known to all. */
static void loc_sync(struct loc *l) {
    if (l->messages_nr != 0 && !l->plainly_written)
        return;
    if (l->messages_nr == MESSAGES_MAX)
        too_many("messages of one location");
    struct message *m = &l->messages[l->messages_nr];
    memset(m, 0, sizeof(*m));
    m->value = memory_get(l);
    unsigned index = (unsigned)(l - weave_m->locs);
    for (unsigned t = 0; t < T; t++)
        weave_m->threads[t].now.view[index] = (uint8_t)l->messages_nr;
    l->messages_nr++;
    l->plainly_written = false;
}

struct loc *loc_of(const void *at, size_t bytes) {
    struct loc *l = weave_m->locs, *end = l + weave_m->locs_nr;
    while (l < end && l->at != at)
        l++;
    if (l == end) {
        if (weave_m->locs_nr++ == LOCS_MAX)
            too_many("atomic locations");
        l->at = (char *)(uintptr_t)at;
        l->bytes = bytes;
        l->messages_nr = 0;
        l->plainly_written = false;
    }
    loc_sync(l);
    return l;
}

static struct granule *granule_of(const void *at) {
    char *start = (char *)((uintptr_t)at & ~(uintptr_t)7); // NOLINT(performance-no-int-to-ptr)
    size_t i = mix((uintptr_t)start) % GRANULES_MAX, tries = 0;
    for (; weave_m->granules[i].at != start; i = (i + 1) % GRANULES_MAX) {
        if (weave_m->granules[i].at == NULL) {
            weave_m->granules[i].at = start;
            break;
        }
        if (++tries == GRANULES_MAX)
            too_many("plain places");
    }
    struct granule *g = &weave_m->granules[i];
    if (!g->used) {
        memset(g->bytes, 0, sizeof(g->bytes));
        weave_m->used[weave_m->used_nr++] = (uint16_t)i;
    }
    g->used = true;
    return g;
}

void memory_start(void) {
    for (unsigned i = 0; i < weave_m->locs_nr; i++) {
        weave_m->locs[i].messages_nr = 0;
        weave_m->locs[i].plainly_written = false;
    }
    for (unsigned i = 0; i < weave_m->used_nr; i++)
        weave_m->granules[weave_m->used[i]].used = false;
    weave_m->used_nr = 0;
    memset(weave_m->threads, 0, sizeof(weave_m->threads));
    memset(&weave_m->fences, 0, sizeof(weave_m->fences));
    memset(weave_m->ids, 0, sizeof(weave_m->ids));
    weave_m->forks_left = weave_m->forks_nr;
}

/* --- what is known --- */

void know_join(struct know *to, const struct know *from) {
    for (unsigned i = 0; i < LOCS_MAX; i++)
        to->view[i] = to->view[i] > from->view[i] ? to->view[i] : from->view[i];
    for (unsigned i = 0; i < T; i++)
        to->clock[i] = to->clock[i] > from->clock[i] ? to->clock[i] : from->clock[i];
}

void know_all(struct thread *me) {
    for (unsigned t = 0; t < weave_m->threads_nr; t++)
        know_join(&me->now, &weave_m->threads[t].now);
    for (unsigned i = 0; i < weave_m->locs_nr; i++) {
        if (weave_m->locs[i].messages_nr != 0)
            me->now.view[i] = (uint8_t)(weave_m->locs[i].messages_nr - 1);
    }
    memset(me->now.clock, UINT8_MAX - 1, sizeof(me->now.clock));
}

static bool acquires(int order) {
    return order == memory_order_acquire || order == memory_order_acq_rel || order == memory_order_seq_cst ||
           order == memory_order_consume;
}
static bool releases(int order) {
    return order == memory_order_release || order == memory_order_acq_rel || order == memory_order_seq_cst;
}

static bool is_mutant(const struct weave_site *site, enum weave_mutant mutant) {
    return weave_m->mutant == mutant && weave_m->mutated == site;
}

/* The order as the mutant has it. */
static int order_at(const struct weave_site *site, int order) {
    bool acquire = acquires(order), release = releases(order);
    if (acquire)
        site_seen(site, WEAVE_NO_ACQUIRE);
    if (release)
        site_seen(site, WEAVE_NO_RELEASE);
    acquire = acquire && !is_mutant(site, WEAVE_NO_ACQUIRE);
    release = release && !is_mutant(site, WEAVE_NO_RELEASE);
    if (order == memory_order_seq_cst && acquire && release)
        return order;
    return acquire && release ? memory_order_acq_rel
           : acquire          ? memory_order_acquire
           : release          ? memory_order_release
                              : memory_order_relaxed;
}

static void fence(struct thread *me, int order) {
    if (acquires(order))
        know_join(&me->now, &me->acquired);
    if (order == memory_order_seq_cst) {
        /* What was written before one fence is seen after a later one; that alone makes no plain access safe. */
        struct know *all = &weave_m->fences;
        for (unsigned i = 0; i < LOCS_MAX; i++) {
            all->view[i] = all->view[i] > me->now.view[i] ? all->view[i] : me->now.view[i];
            me->now.view[i] = all->view[i];
        }
    }
    if (releases(order)) {
        me->now.clock[me - weave_m->threads]++;
        me->released = me->now;
    }
}

/* --- races --- */

static void access_note(const void *at, size_t bytes, bool write, bool atomic) {
    struct thread *me = &weave_m->threads[weave_m->self];
    const uint8_t *known = me->now.clock;
    for (const char *p = at; p < (const char *)at + bytes; p++) {
        struct shadow *s = &granule_of(p)->bytes[(uintptr_t)p % 8];
        bool race = s->writer != weave_m->self && s->written > known[s->writer];
        for (unsigned t = 0; t < weave_m->threads_nr; t++) {
            if (t == weave_m->self)
                continue;
            race = race || (!atomic && s->stored[t] > known[t]) || (write && s->read[t] > known[t]) ||
                   (write && !atomic && s->loaded[t] > known[t]);
        }
        uint8_t when = (uint8_t)(known[weave_m->self] + 1);
        if (atomic && write)
            s->stored[weave_m->self] = when;
        else if (atomic)
            s->loaded[weave_m->self] = when;
        else if (write)
            s->writer = (uint8_t)weave_m->self, s->written = when;
        else
            s->read[weave_m->self] = when;
        if (race)
            weave_broken(atomic ? "an atomic access races with a plain one" : "a plain access races");
    }
}

static void past_add(struct thread *me, uint64_t value) { me->past = mix(me->past + 0x9e3779b97f4a7c15u + value); }

static void plain(const void *at, size_t bytes, bool write) {
    if (weave_m == NULL || !weave_m->running || !is_modelled(at))
        return;
    if (write && weave_m->forks_left != 0) {
        const struct step step = {STEP_PLAIN, NULL, NULL, 0};
        step_take(&step);
    }
    access_note(at, bytes, write, false);
    for (unsigned i = 0; write && i < weave_m->locs_nr; i++) {
        struct loc *l = &weave_m->locs[i];
        if (l->at < (const char *)at + bytes && (const char *)at < l->at + l->bytes)
            l->plainly_written = l->messages_nr != 0;
    }
    for (size_t i = 0; !write && i < bytes; i += 8) {
        uint64_t value = 0;
        memcpy(&value, (const char *)at + i, bytes - i < 8 ? bytes - i : 8);
        past_add(&weave_m->threads[weave_m->self], value);
    }
}

/* What the compiler calls before each plain access of a file that is explored. */
// NOLINTBEGIN(bugprone-reserved-identifier)
#define TSAN(name, args)                                                                                               \
    void __tsan_##name args;                                                                                           \
    void __tsan_##name args
TSAN(init, (void)) {}
TSAN(func_entry, (void *pc)) { (void)pc; }
TSAN(func_exit, (void)) {}
TSAN(read1, (void *p)) { plain(p, 1, false); }
TSAN(read2, (void *p)) { plain(p, 2, false); }
TSAN(read4, (void *p)) { plain(p, 4, false); }
TSAN(read8, (void *p)) { plain(p, 8, false); }
TSAN(read16, (void *p)) { plain(p, 16, false); }
TSAN(write1, (void *p)) { plain(p, 1, true); }
TSAN(write2, (void *p)) { plain(p, 2, true); }
TSAN(write4, (void *p)) { plain(p, 4, true); }
TSAN(write8, (void *p)) { plain(p, 8, true); }
TSAN(write16, (void *p)) { plain(p, 16, true); }
TSAN(unaligned_read2, (void *p)) { plain(p, 2, false); }
TSAN(unaligned_read4, (void *p)) { plain(p, 4, false); }
TSAN(unaligned_read8, (void *p)) { plain(p, 8, false); }
TSAN(unaligned_read16, (void *p)) { plain(p, 16, false); }
TSAN(unaligned_write2, (void *p)) { plain(p, 2, true); }
TSAN(unaligned_write4, (void *p)) { plain(p, 4, true); }
TSAN(unaligned_write8, (void *p)) { plain(p, 8, true); }
TSAN(unaligned_write16, (void *p)) { plain(p, 16, true); }
TSAN(read_range, (void *p, size_t bytes)) { plain(p, bytes, false); }
TSAN(write_range, (void *p, size_t bytes)) { plain(p, bytes, true); }
void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    plain(from, bytes, false);
    plain(to, bytes, true);
    return memcpy(to, from, bytes);
}
void *__tsan_memset(void *to, int value, size_t bytes);
void *__tsan_memset(void *to, int value, size_t bytes) {
    plain(to, bytes, true);
    return memset(to, value, bytes);
}
// NOLINTEND(bugprone-reserved-identifier)

/* --- steps --- */

static bool is_count(const void *at) {
    for (unsigned i = 0; i < weave_m->counts_nr; i++) {
        if (weave_m->counts[i] == at)
            return true;
    }
    return false;
}

static unsigned newest(const struct loc *l) { return l->messages_nr - 1; }
static unsigned oldest(const struct thread *t, const struct loc *l) { return t->now.view[l - weave_m->locs]; }

bool thread_waits(const struct thread *t) {
    bool seen_all = true;
    for (unsigned i = 0; i < weave_m->locs_nr; i++) {
        const struct loc *l = &weave_m->locs[i];
        seen_all = seen_all && (l->messages_nr == 0 || (newest(l) == oldest(t, l) && !l->plainly_written));
    }
    return t->waiting && seen_all;
}

/* Ways in which the thread's next step may go: 0 is the newest message, the others count back from there. Of a
 * compare-and-swap the others are those with which it fails. */
unsigned step_options(const struct thread *t) {
    const struct step *s = &t->step;
    if (t->done || thread_waits(t))
        return 0;
    if (s->loc != NULL)
        loc_sync(s->loc);
    if (s->kind == STEP_FORK)
        return 2;
    if (!weave_m->weak || (s->kind != STEP_LOAD && s->kind != STEP_CAS))
        return 1;
    unsigned nr = newest(s->loc) - oldest(t, s->loc) + 1;
    if (s->kind == STEP_LOAD)
        return nr;
    unsigned failing = 0;
    for (unsigned i = 1; i < nr; i++)
        failing += s->loc->messages[newest(s->loc) - i].value != s->expected;
    return 1 + failing;
}

/* The message that the chosen way reads. */
static unsigned option_message(const struct thread *t, const struct loc *l) {
    unsigned at = newest(l), left = t->option;
    if (t->step.kind != STEP_CAS)
        return at - left;
    while (left > 0)
        left -= l->messages[--at].value != t->step.expected;
    return at;
}

static void know_shift(struct know *k, unsigned index, uint8_t by) {
    k->view[index] = k->view[index] > by ? (uint8_t)(k->view[index] - by) : 0;
}

/* Forgets messages that nobody can read any more. */
static void loc_compact(struct loc *l) {
    unsigned index = (unsigned)(l - weave_m->locs);
    uint8_t by = UINT8_MAX;
    for (unsigned t = 0; t < weave_m->threads_nr; t++) {
        uint8_t at = weave_m->threads[t].now.view[index];
        by = at < by ? at : by;
    }
    l->messages_nr -= by;
    memmove(l->messages, l->messages + by, l->messages_nr * sizeof(l->messages[0]));
    for (unsigned t = 0; t < weave_m->threads_nr; t++) {
        struct thread *thread = &weave_m->threads[t];
        know_shift(&thread->now, index, by);
        know_shift(&thread->acquired, index, by);
        know_shift(&thread->released, index, by);
    }
    know_shift(&weave_m->fences, index, by);
    for (unsigned i = 0; i < IDS_MAX; i++)
        know_shift(&weave_m->ids[i], index, by);
    for (struct loc *other = weave_m->locs; other < weave_m->locs + weave_m->locs_nr; other++) {
        for (unsigned i = 0; i < other->messages_nr; i++)
            know_shift(&other->messages[i].know, index, by);
    }
}

static struct loc *step_at(const struct weave_site *site, enum step_kind kind, const void *at, size_t bytes,
                           uint64_t expected) {
    struct thread *me = &weave_m->threads[weave_m->self];
    struct loc *l = loc_of(at, bytes);
    const struct step step = {kind, site, l, expected};
    if (is_count(at)) {
        me->step = step;
        me->option = 0;
    } else {
        step_take(&step);
    }
    if (l->messages_nr + 3 > MESSAGES_MAX)
        loc_compact(l);
    if (l->messages_nr + 3 > MESSAGES_MAX)
        weave_broken("a thread makes no progress");
    /* A store kept back is done after the operation that follows it, or before one on the same place. */
    if (me->late.loc == l)
        late_store_do(me);
    return l;
}

static uint64_t message_read(struct thread *me, struct loc *l, unsigned index, int order) {
    const struct message *m = &l->messages[index];
    me->now.view[l - weave_m->locs] = (uint8_t)index;
    know_join(&me->acquired, &m->know);
    if (acquires(order))
        know_join(&me->now, &m->know);
    past_add(me, m->value);
    return m->value;
}

static uint64_t bits_kept(const struct loc *l, uint64_t value) {
    for (unsigned i = 0; i < weave_m->narrow_nr; i++) {
        if (weave_m->narrow[i].word == l->at)
            return value & (weave_m->mutant == WEAVE_TAGLESS ? weave_m->narrow[i].mask & ~weave_m->narrow[i].tag_mask
                                                             : weave_m->narrow[i].mask);
    }
    return value;
}

/* chain: what the message replaced by a read-modify-write carried on. */
static void message_write(struct thread *me, struct loc *l, uint64_t value, int order, const struct know *chain) {
    if (l->messages_nr == MESSAGES_MAX)
        too_many("messages of one location");
    struct message *m = &l->messages[l->messages_nr];
    unsigned index = (unsigned)(l - weave_m->locs);
    m->value = bits_kept(l, value);
    memcpy(l->at, &m->value, l->bytes);
    me->now.view[index] = (uint8_t)l->messages_nr;
    me->now.clock[me - weave_m->threads] += releases(order);
    m->know = releases(order) ? me->now : me->released;
    m->know.view[index] = (uint8_t)l->messages_nr;
    if (chain != NULL)
        know_join(&m->know, chain);
    l->messages_nr++;
}

void late_store_do(struct thread *me) {
    struct late late = me->late;
    if (late.loc == NULL)
        return;
    me->late.loc = NULL;
    message_write(me, late.loc, late.value, late.order, NULL);
}

static void step_end(struct thread *me, const struct late *was_late) {
    past_add(me, 1);
    if (was_late->loc == NULL || me->late.loc != was_late->loc)
        return;
    const struct step step = {STEP_SPLIT, weave_m->mutated, was_late->loc, 0};
    step_take(&step);
    late_store_do(me);
}

uint64_t weave_load(const struct weave_site *site, const void *at, size_t bytes, int order) {
    uint64_t value = 0;
    if (!weave_m->running || !is_modelled(at)) {
        memcpy(&value, at, bytes);
        return value;
    }
    struct loc *l = step_at(site, STEP_LOAD, at, bytes, 0);
    struct thread *me = &weave_m->threads[weave_m->self];
    struct late late = me->late;
    order = order_at(site, order);
    if (order == memory_order_seq_cst)
        fence(me, order);
    value = message_read(me, l, option_message(me, l), order);
    access_note(at, bytes, false, true);
    step_end(me, &late);
    return value;
}

void weave_store(const struct weave_site *site, void *at, size_t bytes, uint64_t value, int order) {
    if (!weave_m->running || !is_modelled(at)) {
        memcpy(at, &value, bytes);
        return;
    }
    struct loc *l = step_at(site, STEP_STORE, at, bytes, 0);
    struct thread *me = &weave_m->threads[weave_m->self];
    struct late late = me->late;
    order = order_at(site, order);
    site_seen(site, WEAVE_LOST);
    site_seen(site, WEAVE_LATE);
    access_note(at, bytes, true, true);
    if (order == memory_order_seq_cst)
        fence(me, order);
    if (is_mutant(site, WEAVE_LATE))
        me->late = (struct late){l, value, order};
    else if (!is_mutant(site, WEAVE_LOST))
        message_write(me, l, value, order, NULL);
    if (order == memory_order_seq_cst)
        fence(me, order);
    if (me->in_section)
        know_join(&weave_m->ids[me->section_id], &me->now);
    step_end(me, &late);
}

static uint64_t rmw_result(enum weave_rmw kind, uint64_t old, uint64_t operand) {
    switch (kind) {
    case WEAVE_ADD: return old + operand;
    case WEAVE_SUB: return old - operand;
    case WEAVE_AND: return old & operand;
    case WEAVE_OR: return old | operand;
    case WEAVE_XOR: return old ^ operand;
    default: return operand;
    }
}

/* The store of a read-modify-write that has read the message. */
static void rmw_write(struct thread *me, struct loc *l, uint64_t value, int order, const struct weave_site *site) {
    const struct know chain = l->messages[newest(l)].know;
    site_seen(site, WEAVE_SPLIT);
    site_seen(site, WEAVE_LOST);
    access_note(l->at, l->bytes, true, true);
    if (is_mutant(site, WEAVE_LOST))
        return;
    if (is_mutant(site, WEAVE_SPLIT)) {
        const struct step step = {STEP_SPLIT, site, l, 0};
        step_take(&step);
    }
    message_write(me, l, value, order, &chain);
}

uint64_t weave_rmw(const struct weave_site *site, void *at, size_t bytes, enum weave_rmw kind, uint64_t operand,
                   int order) {
    if (!weave_m->running || !is_modelled(at)) {
        uint64_t was = 0;
        memcpy(&was, at, bytes);
        uint64_t next = rmw_result(kind, was, operand);
        memcpy(at, &next, bytes);
        return was;
    }
    struct loc *l = step_at(site, STEP_RMW, at, bytes, 0);
    struct thread *me = &weave_m->threads[weave_m->self];
    struct late late = me->late;
    order = order_at(site, order);
    if (order == memory_order_seq_cst)
        fence(me, order);
    uint64_t old = message_read(me, l, newest(l), order);
    rmw_write(me, l, rmw_result(kind, old, operand), order, site);
    step_end(me, &late);
    return old;
}

static int failed_order_at(const struct weave_site *site, int order) {
    if (!acquires(order))
        return memory_order_relaxed;
    site_seen(site, WEAVE_NO_ACQUIRE_FAILED);
    return is_mutant(site, WEAVE_NO_ACQUIRE_FAILED) ? memory_order_relaxed : memory_order_acquire;
}

uint64_t weave_cas(const struct weave_site *site, void *at, size_t bytes, const uint64_t operands[2], int order,
                   int failed_order, bool *ret_swapped) {
    if (!weave_m->running || !is_modelled(at)) {
        uint64_t was = 0;
        memcpy(&was, at, bytes);
        if ((*ret_swapped = was == operands[0]))
            memcpy(at, &operands[1], bytes);
        return was;
    }
    struct loc *l = step_at(site, STEP_CAS, at, bytes, operands[0]);
    struct thread *me = &weave_m->threads[weave_m->self];
    struct late late = me->late;
    order = order_at(site, order);
    failed_order = failed_order_at(site, failed_order);
    site_seen(site, WEAVE_BLIND);
    if (order == memory_order_seq_cst)
        fence(me, order);
    unsigned message = option_message(me, l);
    bool swaps = message == newest(l) && (l->messages[message].value == operands[0] || is_mutant(site, WEAVE_BLIND));
    uint64_t old = message_read(me, l, message, swaps ? order : failed_order);
    access_note(at, bytes, false, true);
    if (swaps)
        rmw_write(me, l, operands[1], order, site);
    step_end(me, &late);
    *ret_swapped = swaps;
    return old;
}

void weave_fence(const struct weave_site *site, int order) {
    if (!weave_m->running)
        return;
    struct thread *me = &weave_m->threads[weave_m->self];
    const struct step step = {STEP_FENCE, site, NULL, 0};
    step_take(&step);
    struct late late = me->late;
    site_seen(site, WEAVE_NO_FENCE);
    if (!is_mutant(site, WEAVE_NO_FENCE))
        fence(me, order);
    step_end(me, &late);
}

void weave_barrier(void) {
    const struct step step = {STEP_FENCE, NULL, NULL, 0};
    step_take(&step);
    struct thread *me = &weave_m->threads[weave_m->self];
    struct late late = me->late;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned t = 0; t < weave_m->threads_nr; t++) {
            struct thread *other = &weave_m->threads[t];
            fence(other, memory_order_seq_cst);
            /* The kernel's barrier orders plain accesses of both sides, too. */
            know_join(&weave_m->fences, &other->now);
            other->now = weave_m->fences;
            other->restarted = other->restarted || t != weave_m->self;
        }
    }
    step_end(me, &late);
}

/* Whoever takes a step in a section runs on its id, and nobody else does. */
void sections_restart(const struct thread *me) {
    for (unsigned t = 0; me->in_section && !me->restarted && t < weave_m->threads_nr; t++) {
        struct thread *other = &weave_m->threads[t];
        other->restarted =
            other->restarted || (other != me && other->in_section && other->section_id == me->section_id);
    }
}

void weave_section_begin(unsigned id) {
    struct thread *me = &weave_m->threads[weave_m->self];
    const struct step step = {STEP_SECTION, NULL, NULL, 0};
    step_take(&step);
    if (id >= IDS_MAX)
        too_many("ids");
    know_join(&me->now, &weave_m->ids[id]);
    me->section_id = id;
    me->in_section = true;
    me->restarted = false;
    sections_restart(me);
    past_add(me, id);
}

void weave_section_leave(void) { weave_m->threads[weave_m->self].in_section = false; }

void weave_section_commit(uint64_t *word, uint64_t value) {
    static const struct weave_site site = {"tests/model/", "commit", "word", 0};
    struct thread *me = &weave_m->threads[weave_m->self];
    struct loc *l = step_at(&site, STEP_STORE, word, sizeof(*word), 0);
    me->in_section = false;
    access_note(word, sizeof(*word), true, true);
    message_write(me, l, value, memory_order_relaxed, NULL);
    me->now.clock[me - weave_m->threads]++;
    know_join(&weave_m->ids[me->section_id], &me->now);
}

/* --- fingerprints --- */

uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

/* What every thread knows matters to nobody: views and clocks count from there, and older messages are not there. */
static struct know known_by_all(void) {
    struct know all = weave_m->threads[0].now;
    for (unsigned t = 1; t < weave_m->threads_nr; t++) {
        const struct know *k = &weave_m->threads[t].now;
        for (unsigned i = 0; i < LOCS_MAX; i++)
            all.view[i] = all.view[i] < k->view[i] ? all.view[i] : k->view[i];
        for (unsigned i = 0; i < T; i++)
            all.clock[i] = all.clock[i] < k->clock[i] ? all.clock[i] : k->clock[i];
    }
    return all;
}

static uint64_t beyond(uint8_t at, uint8_t all) { return at > all ? (uint64_t)(at - all) : 0; }

static uint64_t know_print(uint64_t h, const struct know *k, const struct know *all) {
    for (unsigned i = 0; weave_m->weak && i < weave_m->locs_nr; i++)
        h = h * 0x100000001b3u + beyond(k->view[i], all->view[i]);
    for (unsigned i = 0; i < weave_m->threads_nr; i++)
        h = h * 0x100000001b3u + beyond(k->clock[i], all->clock[i]);
    return mix(h);
}

static uint64_t loc_print(uint64_t h, const struct loc *l, const struct know *all) {
    unsigned from = weave_m->weak ? all->view[l - weave_m->locs] : newest(l);
    for (unsigned i = from; i < l->messages_nr; i++)
        h = know_print(mix(h + l->messages[i].value), &l->messages[i].know, all);
    return h;
}

static uint64_t shadow_print(uint64_t h, const struct shadow *s, const struct know *all) {
    for (unsigned t = 0; t < weave_m->threads_nr; t++) {
        const uint8_t past = all->clock[t];
        h = h * 0x100000001b3u +
            (beyond(s->read[t], past) | beyond(s->stored[t], past) << 8 | beyond(s->loaded[t], past) << 16);
        if (s->writer == t)
            h += beyond(s->written, past) << 24;
    }
    return h;
}

/* In any order: which was used first says nothing. */
static uint64_t granules_print(const struct know *all) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < weave_m->used_nr; i++) {
        const struct granule *g = &weave_m->granules[weave_m->used[i]];
        uint64_t value;
        memcpy(&value, g->at, sizeof(value));
        uint64_t h = mix(value + weave_m->used[i]);
        for (unsigned b = 0; b < 8; b++)
            h = shadow_print(h, &g->bytes[b], all);
        sum += mix(h);
    }
    return sum;
}

static uint64_t thread_print(uint64_t h, const struct thread *t, const struct know *all) {
    h = mix(h + t->past + t->done + 2 * thread_waits(t) + 4 * t->in_section + 8 * t->restarted +
            16 * (t->late.loc == NULL ? 0 : 1 + (uint64_t)(t->late.loc - weave_m->locs)));
    h = know_print(h + t->late.value, &t->now, all);
    h = know_print(h, &t->acquired, all);
    return know_print(h, &t->released, all);
}

uint64_t state_fingerprint(void) {
    const struct know all = known_by_all();
    uint64_t h = 1;
    for (unsigned t = 0; t < weave_m->threads_nr; t++)
        h = thread_print(h, &weave_m->threads[t], &all);
    for (unsigned i = 0; i < weave_m->locs_nr; i++) {
        if (weave_m->locs[i].messages_nr != 0)
            h = loc_print(mix(h + i), &weave_m->locs[i], &all);
    }
    if (weave_m->weak)
        h = know_print(h, &weave_m->fences, &all);
    for (unsigned i = 0; i < IDS_MAX; i++)
        h = know_print(h, &weave_m->ids[i], &all);
    return mix(h + granules_print(&all)) | 1;
}
