/* SPDX-License-Identifier: MIT */
/*
 * Giving objects back. A batch is sorted by slab, so that each slab pays one atomic for its count, and one for each
 * word of its bitmap, however the objects were freed. Here misuse that passed the fast path is found exactly: the bit
 * of an object that is free already is set, and an address that is no object's start leaves a remainder.
 */
#include "base/bits.h"
#include "rt/context.h"
#include "rt/misuse.h"
#include "rt/usage.h"
#include "slab/class.h"
#include "sys/sys.h"

#include <string.h>

enum {
    WORD_BITS = 64,
    BITMAP_WORDS_MAX = (int)(GRANULE_BYTES / 16 / WORD_BITS),
    PART_NR = 255, /* so many objects of a batch are sorted at once: their numbers fit into bytes */
    SLOTS_NR = 256,
    SLOT_SHIFT = 32 - 8,
    MARKS_IN_STEP = (int)sizeof(u64),
    MARKED_PER_WORD = 4, /* so many objects for each word of the bitmap are marked byte by byte */
};

/* 2^32 by the golden ratio: neighbours get slots far apart. */
#define SLOT_MULTIPLIER ((u32)0x9e3779b1)
#define ONE_IN_EACH_BYTE (~(u64)0 / 255)
/* Times eight bytes of 0 or 1, its highest byte has the bit of each. */
#define BITS_OF_BYTES ((u64)0x0102040810204080)

/* A part of a batch in stretches: objects one behind the other that lie in one granule. Stretches of one slab get the
 * same slot, and few slabs share one. */
struct part {
    void *const *objs;
    meta_ref_t slab[PART_NR]; /* the descriptor of each stretch's slab */
    u8 start[PART_NR + 1];    /* in objs, and where the last one ends */
    u8 slot[PART_NR];
    u8 sorted[PART_NR]; /* stretches, by slot */
    u8 end[SLOTS_NR];   /* of each slot in sorted */
};

/* Objects of one slab: the stretches sorted[first] to sorted[last - 1] of a part. */
struct group {
    const struct part *part;
    const struct slab_geometry *geometry;
    struct slab *slab;
    char *base;
    unsigned carved; /* as of now: all were taken before any of them came here */
    unsigned first, last, nr;
    u64 masks[BITMAP_WORDS_MAX]; /* bits to be set, by word; 0 between two groups */
};

static const char *state_name(const struct slab *s, const struct slab_geometry *g) {
    slab_word_t w = {atomic_load_explicit(&s->word, memory_order_relaxed)};
    static const char *const names[] = {
        [SLAB_EMPTY] = "empty", [SLAB_BOUND] = "bound", [SLAB_LISTED] = "partial", [SLAB_FULL] = "full"};
    return slab_word_state(w) == SLAB_LISTED && slab_word_free(w) == g->nobj ? "free" : names[slab_word_state(w)];
}

COLD _Noreturn static void report(enum misuse_kind kind, const void *p, const struct slab *s) {
    const struct slab_geometry *g = slab_geometry_of(slab_cls(s));
    rt_misuse(kind, p, g->size_bytes, state_name(s, g));
}

/* A slab passed 7/8 free, 15/16 and so on to its last object. Earlier hardly a page is without an object, and the slab
 * may soon be free as a whole. */
static bool became_sparse(int before, int after, int nobj) {
    /* before is below zero for a moment when an owner subtracts bits that their freer has not added yet (word.h). */
    int left_before = nobj - MAX(before, 0), left = nobj - after;
    if (left == 0 || left * SPARSE_LEFT_PART > nobj)
        return false;
    return bits_highest((u64)(nobj / left)) != bits_highest((u64)(nobj / left_before));
}

/* What a program that works in waves will want back. */
static s64 regret_bytes(void) {
    return rt_usage_in_waves() ? 2 * atomic_load_explicit(&slab_regret_bytes, memory_order_relaxed) : 0;
}

static bool purge_pays(const struct slab_class *c, const struct slab_geometry *g) {
    s64 held = (s64)atomic_load_explicit(&c->slabs, memory_order_relaxed) * g->granules * (s64)GRANULE_BYTES;
    s64 out = atomic_load_explicit(&c->out_objs, memory_order_relaxed) * g->size_bytes;
    s64 purged = atomic_load_explicit(&c->purged_bytes, memory_order_relaxed);
    return held - out - purged > regret_bytes();
}

/* All classes together hold so much free memory that even the few slabs of one class are worth looking at. */
static bool slack_is_large(void) {
    s64 out = rt_usage_out_get(), slack = (s64)page_backed_bytes_racy() - out;
    return slack > MAX(SLACK_MIN_BYTES, out / SLACK_PART) + regret_bytes();
}

static bool sparse_enough(const struct slab_class *c, const struct slab_geometry *g) {
    s32 slabs = atomic_load_explicit(&c->slabs, memory_order_relaxed);
    s32 sparse = atomic_load_explicit(&c->sparse, memory_order_relaxed);
    if (sparse <= MAX(SPARSE_FEW_SLABS, slabs / SPARSE_PART) || slab_keeps(c))
        return false;
    if ((u32)sys_clock_ms() - atomic_load_explicit(&c->grown_ms, memory_order_relaxed) < PHASE_MS)
        return false;
    return (sparse > SPARSE_MIN_SLABS || slack_is_large()) && purge_pays(c, g);
}

/* The second step of a free: the objects whose bits are set are counted, and the slab changes hands if that is due. */
static void slab_count(struct slab_class *c, struct slab *s, char *base, const struct slab_geometry *g, int nr) {
    enum slab_duty duty;
    slab_word_t now = slab_word_load(s), was;
    bool whole = slab_word_state(now) == SLAB_FULL && slab_word_free(now) + nr == g->nobj;
    if (UNLIKELY(whole && rt_may_block() && !slab_empties_admit(c, g)))
        was = SLAB_TRANSITION(s, slab_word_add_or_reap(w, nr, g->nobj, g->threshold, &duty));
    else
        was = SLAB_TRANSITION(s, slab_word_add(w, nr, g->nobj, g->threshold, &duty));
    int before = slab_word_free(was), after = before + nr;
    bool listed = slab_word_state(was) == SLAB_LISTED;
    slab_do_duty(duty, c, s, base, g);
    if (listed && after == g->nobj)
        slab_empties_add(c, g, 1);
    if (became_sparse(before, after, g->nobj))
        atomic_fetch_add_explicit(&c->sparse, 1, memory_order_relaxed);
}

/* What a batch gave back of one class on one node, not yet in the accounts. */
struct tally {
    struct slab_class *class;
    const struct slab_geometry *geometry;
    unsigned kind; /* slab_kind() */
    unsigned objs;
};

static void tally_settle(struct tally *t) {
    struct slab_class *c = t->class;
    const struct slab_geometry *g = t->geometry;
    if (t->objs == 0)
        return;
    atomic_fetch_sub_explicit(&c->out_objs, t->objs, memory_order_relaxed);
    atomic_fetch_sub_explicit(&rt_usage_out_bytes, (s64)t->objs * g->size_bytes, memory_order_relaxed);
    t->objs = 0;
    bool many = slab_empties_many(c, g);
    if (!rt_may_block() || slab_was_pinned(c)) {
        if (many)
            rt_chore_note(slab_was_pinned(c) ? RT_CHORE_GRACE : RT_CHORE_SWEEP);
        return;
    }
    if (UNLIKELY(many))
        slab_sweep(slab_kind_cls(t->kind), SLAB_KEEP_SOME, SLAB_PURGE_NO);
    if (UNLIKELY(sparse_enough(c, g)))
        slab_sweep(slab_kind_cls(t->kind), SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
}

/* Goes on with objects of a slab of this kind. */
static ALWAYS_INLINE void tally_enter(struct tally *t, unsigned kind) {
    if (LIKELY(t->kind == kind && t->geometry != NULL))
        return;
    tally_settle(t);
    t->kind = kind;
    t->geometry = slab_geometry_of(slab_kind_cls(kind));
    t->class = slab_class_at(slab_kind_node(kind), slab_kind_cls(kind));
}

COLD _Noreturn static void report_object(const struct group *gr, const void *p) {
    const struct slab_geometry *g = gr->geometry;
    u64 offset = (u64)((const char *)p - gr->base);
    unsigned index = slab_index(g, offset);
    bool is_start = index < g->nobj && (u64)index * g->size_bytes == offset;
    report(is_start ? MISUSE_DOUBLE_FREE : MISUSE_INTERIOR, p, gr->slab);
}

COLD _Noreturn static void report_bit(const struct group *gr, unsigned word, u64 twice) {
    size_t index = (size_t)word * WORD_BITS + bits_lowest(twice);
    report(MISUSE_DOUBLE_FREE, gr->base + index * gr->geometry->size_bytes, gr->slab);
}

/* Where p, which lies in the group's slab, begins as one of its objects; what does not is reported. */
static ALWAYS_INLINE unsigned index_of(const struct group *gr, const void *p) {
    const struct slab_geometry *g = gr->geometry;
    u64 offset = (u64)((const char *)p - gr->base);
    unsigned index = slab_index(g, offset);
    if (MISUSED(index >= gr->carved || (u64)index * g->size_bytes != offset))
        report_object(gr, p);
    return index;
}

/* Adding sets bits that are all clear, by one instruction, where the or of a word not known is a loop. */
static ALWAYS_INLINE void word_give(const struct group *gr, _Atomic(u64) *words, unsigned word, u64 mask) {
    /* order: release: the last writes to the objects are over before they can be taken.             pairs: [slab.free]
     */
    u64 old = atomic_fetch_add_explicit(&words[word], mask, memory_order_release);
    if (MISUSED((old & mask) != 0))
        report_bit(gr, word, old & mask);
}

/* Few objects. All are gathered before the first bit is set: from then on another CPU may take it, and the same object
 * a second time would go unseen. */
static ALWAYS_INLINE void group_give_few(struct group *gr, _Atomic(u64) *words) {
    u64 touched = 0;
    for (unsigned i = gr->first; i < gr->last; i++) {
        unsigned stretch = gr->part->sorted[i], at = gr->part->start[stretch], end = gr->part->start[stretch + 1];
        do {
            unsigned index = index_of(gr, gr->part->objs[at]);
            u64 bit = (u64)1 << (index % WORD_BITS), mask = gr->masks[index / WORD_BITS];
            if (MISUSED((mask & bit) != 0))
                report_object(gr, gr->part->objs[at]);
            gr->masks[index / WORD_BITS] = mask | bit;
            touched |= (u64)1 << (index / WORD_BITS);
        } while (++at < end);
    }
    for (; touched != 0; touched &= touched - 1) {
        unsigned word = bits_lowest(touched);
        u64 mask = gr->masks[word];
        gr->masks[word] = 0;
        word_give(gr, words, word, mask);
    }
}

static u64 bits_of_marks(const u8 marks[WORD_BITS]) {
    u64 bits = 0;
    for (unsigned i = 0; i < WORD_BITS; i += MARKS_IN_STEP) {
        u64 bytes;
        memcpy(&bytes, marks + i, sizeof(bytes));
        bits |= (bytes * BITS_OF_BYTES >> (WORD_BITS - MARKS_IN_STEP)) << i;
    }
    return bits;
}

/* Marks the objects of a stretch; what is marked already is in the group twice. */
static void stretch_mark(const struct group *gr, unsigned stretch, u8 *marks) {
    unsigned at = gr->part->start[stretch], end = gr->part->start[stretch + 1];
    do {
        u8 *mark = &marks[index_of(gr, gr->part->objs[at])];
        if (MISUSED(*mark != 0))
            report_object(gr, gr->part->objs[at]);
        *mark = 1;
    } while (++at < end);
}

/*
 * Many objects share a word of the bitmap, and a word is read, changed and written for each in turn: each would wait
 * for the one before. So each marks a byte of its own first, and a word is changed once.
 */
static NOINLINE void group_give_many(const struct group *gr, _Atomic(u64) *words) {
    const unsigned words_nr = (gr->carved + WORD_BITS - 1) / WORD_BITS;
    u8 marks[BITMAP_WORDS_MAX * WORD_BITS];
    memset(marks, 0, (size_t)words_nr * WORD_BITS);
    for (unsigned i = gr->first; i < gr->last; i++)
        stretch_mark(gr, gr->part->sorted[i], marks);
    for (unsigned word = 0; word < words_nr; word++) {
        u64 bits = bits_of_marks(marks + (size_t)word * WORD_BITS);
        if (bits != 0)
            word_give(gr, words, word, bits);
    }
}

static ALWAYS_INLINE void group_give(struct group *gr, struct tally *t) {
    void *first = gr->part->objs[gr->part->start[gr->part->sorted[gr->first]]];
    gr->slab = slab_of(first, &gr->base);
    tally_enter(t, gr->slab->kind);
    gr->geometry = t->geometry;
    /* Slabs that share a slot are given in turns, and in its first one all of this slab's objects may have come. */
    if (MISUSED(slab_word_state(slab_word_load(gr->slab)) == SLAB_EMPTY))
        report(MISUSE_DOUBLE_FREE, first, gr->slab);
    gr->carved = slab_carved(gr->slab, gr->geometry);
    _Atomic(u64) *words = slab_bitmap(gr->slab, gr->geometry);
    if (gr->nr * (WORD_BITS / MARKED_PER_WORD) < gr->carved)
        group_give_few(gr, words);
    else
        group_give_many(gr, words);
    t->objs += gr->nr;
    slab_count(t->class, gr->slab, gr->base, gr->geometry, (int)gr->nr); /* the slab may be gone after this */
}

/* A byte for each slot: from how many stretches it has to where the slot before it ends. Eight at a time. */
static void ends_from_counts(u8 end[SLOTS_NR]) {
    u64 before = 0;
    for (unsigned i = 0; i < SLOTS_NR; i += sizeof(u64)) {
        u64 counts, sums;
        memcpy(&counts, end + i, sizeof(counts));
        sums = counts * ONE_IN_EACH_BYTE; /* each byte: itself and those below; no sum is above PART_NR */
        u64 starts = (sums << 8) + before * ONE_IN_EACH_BYTE;
        memcpy(end + i, &starts, sizeof(starts));
        before += sums >> 56;
    }
}

/*
 * Objects freed in no order lie each in a slab of its own, whose descriptor and bitmap are in no near cache; the
 * atomics would wait for each in turn, so all are read, or asked for, here. Returns how many stretches there are.
 */
static unsigned part_split(struct part *part, unsigned nr) {
    unsigned stretches = 0;
    u64 last = 0;
    for (unsigned i = 0; i < nr; i++) {
        void *p = part->objs[i];
        u64 granule = (uintptr_t)p >> GRANULE_SHIFT;
        if (granule == last)
            continue;
        last = granule;
        if (MISUSED(!slab_entry_is_slab(page_map_get(p) % PAGE_MAP_CLASSES)))
            rt_misuse(MISUSE_DOUBLE_FREE, p, 0, "released");
        struct slab *s = slab_at(p);
        s -= s->back;
        __builtin_prefetch(slab_bitmap(s, slab_geometry_of(slab_cls(s))), 1);
        meta_ref_t ref = rt_meta_ref(s);
        u8 slot = (u8)((u32)(ref * SLOT_MULTIPLIER) >> SLOT_SHIFT);
        part->slab[stretches] = ref;
        part->slot[stretches] = slot;
        part->start[stretches++] = (u8)i;
        part->end[slot]++;
    }
    part->start[stretches] = (u8)nr;
    return stretches;
}

static void part_sort(struct part *part, unsigned stretches) {
    if (stretches == 1) { /* a single object, or neighbours */
        part->sorted[0] = 0;
        return;
    }
    ends_from_counts(part->end);
    for (unsigned i = 0; i < stretches; i++)
        part->sorted[part->end[part->slot[i]]++] = (u8)i;
}

static void part_give(void *const *objs, unsigned nr, struct tally *tally) {
    struct part part;
    part.objs = objs;
    memset(part.end, 0, sizeof(part.end));
    unsigned stretches = part_split(&part, nr);
    part_sort(&part, stretches);
    struct group group = {.part = &part};
    for (; group.first < stretches; group.first = group.last) {
        meta_ref_t slab = part.slab[part.sorted[group.first]];
        group.last = group.first;
        group.nr = 0;
        do {
            unsigned stretch = part.sorted[group.last++];
            group.nr += part.start[stretch + 1] - (unsigned)part.start[stretch];
        } while (group.last < stretches && part.slab[part.sorted[group.last]] == slab);
        group_give(&group, tally);
    }
}

void slab_give(void *const *objs, unsigned nr) {
    struct tally tally = {0};
    for (unsigned done = 0; done < nr; done += PART_NR)
        part_give(objs + done, MIN(nr - done, (unsigned)PART_NR), &tally);
    tally_settle(&tally);
}

static bool bit_is_set(struct slab *s, const struct slab_geometry *g, unsigned index) {
    u64 word = atomic_load_explicit(&slab_bitmap(s, g)[index / WORD_BITS], memory_order_relaxed);
    return (word >> (index % WORD_BITS)) & 1;
}

struct slab_place slab_locate(const void *p) {
    struct slab_place place = {.where = SLAB_WHERE_NONE};
    unsigned cls = page_map_get(p) % PAGE_MAP_CLASSES;
    if (!slab_entry_is_slab(cls) || chunk_of(p) == NULL)
        return place;
    char *base;
    struct slab *s = slab_of(p, &base);
    cls = slab_cls(s);
    const struct slab_geometry *g = slab_geometry_of(cls);
    u64 offset = (u64)((const char *)p - base);
    unsigned index = slab_index(g, offset);
    place.cls = cls;
    place.object = base + (size_t)index * g->size_bytes;
    place.slab_state = state_name(s, g);
    if (index >= g->nobj)
        place.where = SLAB_WHERE_TAIL;
    else if ((u64)index * g->size_bytes != offset)
        place.where = SLAB_WHERE_INTERIOR;
    else if (index >= slab_carved(s, g) || bit_is_set(s, g, index))
        place.where = SLAB_WHERE_FREE;
    else
        place.where = SLAB_WHERE_LIVE_OR_CACHED;
    return place;
}
