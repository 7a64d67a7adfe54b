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
    PART_NR = 255, /* so many objects of a batch are looked at together: their numbers fit into bytes */
    SLOTS_NR = 256,
    TWICE_SHIFT = 10,
    MARKS_IN_STEP = (int)sizeof(u64),
    EACH_PER_SLOT = 5,   /* with fewer objects than this for each slot in use they are not sorted, ... */
    SLOTS_FEW = 8,       /* ... but with few slots they are: all of a slab may be among them, see slab_count_whole() */
    MARKED_PER_WORD = 4, /* so many objects for each word of the bitmap are marked byte by byte, ... */
    MARKED_MIN = 9,      /* ... but not fewer than these */
    INSERTED_MAX = 12,   /* up to so many stretches are sorted by insertion */
};
#define HASH_FACTOR 0x9e3779b97f4a7c15u /* of 2^64, the golden section: neighbours lie apart */

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
    u8 back[PART_NR];   /* granules from the slab's first one to the stretch's */
    u8 sorted[PART_NR]; /* stretches, by slot */
    u8 end[SLOTS_NR];   /* of each slot in sorted */
    unsigned slots;     /* that have a stretch */
};

/* A slab that objects come back to. By value, so that it is kept in registers. */
struct target {
    struct slab *slab;
    const struct slab_geometry *geometry;
    char *base;
    _Atomic(u64) *words; /* its bitmap */
    unsigned carved;     /* as of now: all were taken before any of them came here */
    slab_word_t now;     /* its word */
};

/* Objects of one slab: the stretches sorted[first] to sorted[last - 1] of a part. */
struct group {
    const struct part *part;
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

/* The slab was to change hands, or has hardly an object left. */
static NOINLINE void slab_counted(struct slab_class *c, const struct target *to, slab_word_t was, int nr,
                                  enum slab_duty duty) {
    int nobj = to->geometry->nobj, before = slab_word_free(was), after = before + nr;
    slab_do_duty(duty, c, to->base, to->geometry, after);
    if (slab_word_state(was) == SLAB_LISTED && after == nobj)
        slab_empties_add(c, to->geometry, 1);
    if (became_sparse(before, after, nobj))
        atomic_fetch_add_explicit(&c->sparse, 1, memory_order_relaxed);
}

/* The last objects of a FULL slab: when its class keeps enough that are wholly free, it need not be listed first. */
static NOINLINE void slab_count_whole(struct slab_class *c, const struct target *to, int nr) {
    const struct slab_geometry *g = to->geometry;
    enum slab_duty duty;
    slab_word_t was;
    if (rt_may_block() && !slab_empties_admit(c, g))
        was = SLAB_TRANSITION(to->slab, slab_word_add_or_reap(w, nr, g->nobj, g->threshold, &duty));
    else
        was = SLAB_TRANSITION(to->slab, slab_word_add(w, nr, g->nobj, g->threshold, &duty));
    slab_counted(c, to, was, nr, duty);
}

/* The second step of a free: the objects whose bits are set are counted, and the slab changes hands if that is due.
 * It may be gone afterwards. */
static ALWAYS_INLINE void slab_count(struct slab_class *c, struct target to, int nr) {
    const struct slab_geometry *g = to.geometry;
    enum slab_duty duty;
    if (UNLIKELY(slab_word_state(to.now) == SLAB_FULL && slab_word_free(to.now) + nr == g->nobj)) {
        struct target whole = to;
        slab_count_whole(c, &whole, nr);
        return;
    }
    slab_word_t was = SLAB_TRANSITION(to.slab, slab_word_add(w, nr, g->nobj, g->threshold, &duty));
    int left = g->nobj - slab_word_free(was) - nr;
    if (UNLIKELY(duty != SLAB_DUTY_NONE || left * SPARSE_LEFT_PART <= g->nobj)) {
        struct target late = to;
        slab_counted(c, &late, was, nr, duty);
    }
}

enum { KIND_NONE = 1 << 16 }; /* no slab_kind() */

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
    slab_kept_look();
    if (UNLIKELY(sparse_enough(c, g)))
        slab_sweep(slab_kind_cls(t->kind), SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
}

/* Goes on with objects of a slab of this kind. */
static ALWAYS_INLINE void tally_enter(struct tally *t, u16 kind) {
    if (LIKELY(t->kind == kind))
        return;
    tally_settle(t);
    t->kind = kind;
    t->geometry = slab_geometry_of(slab_kind_cls(kind));
    t->class = slab_class_at(slab_kind_node(kind), slab_kind_cls(kind));
}

COLD _Noreturn static void report_object(struct target to, const void *p) {
    const struct slab_geometry *g = to.geometry;
    u64 offset = (u64)((const char *)p - to.base);
    unsigned index = slab_index(g, offset);
    bool is_start = index < g->nobj && (u64)index * g->size_bytes == offset;
    report(is_start ? MISUSE_DOUBLE_FREE : MISUSE_INTERIOR, p, to.slab);
}

COLD _Noreturn static void report_bit(struct target to, unsigned word, u64 twice) {
    size_t index = (size_t)word * WORD_BITS + bits_lowest(twice);
    report(MISUSE_DOUBLE_FREE, to.base + index * to.geometry->size_bytes, to.slab);
}

/* The slab of a stretch, of which p is an object. */
static ALWAYS_INLINE struct target target_of(const struct part *part, unsigned stretch, const void *p,
                                             struct tally *t) {
    struct target to = {.slab = rt_meta_at(part->slab[stretch])};
    to.base = (char *)(round_down((uintptr_t)p, GRANULE_BYTES) - ((uintptr_t)part->back[stretch] << GRANULE_SHIFT));
    tally_enter(t, to.slab->kind);
    to.geometry = t->geometry;
    to.now = slab_word_load(to.slab);
    /* A slab is met several times, and at the first one all of its objects may have come. */
    if (MISUSED(slab_word_state(to.now) == SLAB_EMPTY))
        report(MISUSE_DOUBLE_FREE, p, to.slab);
    u64 bits = atomic_load_explicit(&to.slab->bits, memory_order_relaxed);
    bool inside = to.geometry->bitmap_shift == 3;
    to.carved = inside ? slab_carved(to.slab, to.geometry) : (unsigned)(bits >> CARVED_SHIFT);
    to.words = inside ? &to.slab->bits : rt_meta_at((meta_ref_t)bits);
    return to;
}

/* Where p, which lies in the slab, begins as one of its objects; what does not is reported. */
static ALWAYS_INLINE unsigned index_of(struct target to, const void *p) {
    const struct slab_geometry *g = to.geometry;
    u64 offset = (u64)((const char *)p - to.base);
    unsigned index = slab_index(g, offset);
    if (MISUSED(index >= to.carved || (u64)index * g->size_bytes != offset))
        report_object(to, p);
    return index;
}

/* Adding sets bits that are all clear, by one instruction, where the or of a word not known is a loop. */
static ALWAYS_INLINE void word_give(struct target to, unsigned word, u64 mask) {
    /* order: release: the last writes to the objects are over before they can be taken.           pairs: [slab.free] */
    u64 old = atomic_fetch_add_explicit(&to.words[word], mask, memory_order_release);
    if (MISUSED((old & mask) != 0))
        report_bit(to, word, old & mask);
}

/* Few objects. All are gathered before the first bit is set: from then on another CPU may take it, and the same object
 * a second time would go unseen. */
static ALWAYS_INLINE void group_give_few(struct group *gr, struct target to) {
    u64 touched = 0;
    for (unsigned i = gr->first; i < gr->last; i++) {
        unsigned stretch = gr->part->sorted[i], at = gr->part->start[stretch], end = gr->part->start[stretch + 1];
        do {
            unsigned index = index_of(to, gr->part->objs[at]);
            u64 bit = (u64)1 << (index % WORD_BITS), mask = gr->masks[index / WORD_BITS];
            if (MISUSED((mask & bit) != 0))
                report_object(to, gr->part->objs[at]);
            gr->masks[index / WORD_BITS] = mask | bit;
            touched |= (u64)1 << (index / WORD_BITS);
        } while (++at < end);
    }
    for (; touched != 0; touched &= touched - 1) {
        unsigned word = bits_lowest(touched);
        u64 mask = gr->masks[word];
        gr->masks[word] = 0;
        word_give(to, word, mask);
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

/* What is marked already is in the group twice. */
static ALWAYS_INLINE void object_mark(struct target to, const void *p, u8 *mark) {
    if (MISUSED(*mark != 0))
        report_object(to, p);
    *mark = 1;
}

/* Marks the objects of a stretch. One that is as far from the one before as that from its own has no division to pay:
 * objects are often freed in the order they were taken, or in reverse. */
static ALWAYS_INLINE void stretch_mark(const struct part *part, unsigned stretch, struct target to, u8 *marks) {
    unsigned at = part->start[stretch], end = part->start[stretch + 1], index = index_of(to, part->objs[at]), step = 0;
    object_mark(to, part->objs[at], &marks[index]);
    for (s64 stride = 0; ++at < end; object_mark(to, part->objs[at], &marks[index])) {
        s64 distance = (const char *)part->objs[at] - (const char *)part->objs[at - 1];
        if (distance == stride && index + step < to.carved) { /* a step down wraps around */
            index += step;
            continue;
        }
        step = index_of(to, part->objs[at]) - index;
        stride = distance;
        index += step;
    }
}

/*
 * Many objects share a word of the bitmap, and a word is read, changed and written for each in turn: each would wait
 * for the one before. So each marks a byte of its own first, and a word is changed once.
 */
static NOINLINE void group_give_many(const struct group *gr, const struct target *target) {
    const struct target to = *target;
    const unsigned words_nr = (to.carved + WORD_BITS - 1) / WORD_BITS;
    u8 marks[BITMAP_WORDS_MAX * WORD_BITS];
    memset(marks, 0, (size_t)words_nr * WORD_BITS);
    for (unsigned i = gr->first; i < gr->last; i++)
        stretch_mark(gr->part, gr->part->sorted[i], to, marks);
    for (unsigned word = 0; word < words_nr; word++) {
        u64 bits = bits_of_marks(marks + (size_t)word * WORD_BITS);
        if (bits != 0)
            word_give(to, word, bits);
    }
}

static ALWAYS_INLINE void group_give(struct group *gr, struct tally *t) {
    const struct part *part = gr->part;
    unsigned first = part->sorted[gr->first];
    struct target to = target_of(part, first, part->objs[part->start[first]], t);
    if (gr->nr < MARKED_MIN || gr->nr * (WORD_BITS / MARKED_PER_WORD) < to.carved)
        group_give_few(gr, to);
    else
        group_give_many(gr, &to);
    t->objs += gr->nr;
    slab_count(t->class, to, (int)gr->nr);
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
        part->back[stretches] = s->back;
        s -= s->back;
        __builtin_prefetch(slab_bitmap(s, slab_geometry_of(slab_cls(s))), 1);
        meta_ref_t ref = rt_meta_ref(s);
        u8 slot = slab_sort_slot(ref);
        part->slab[stretches] = ref;
        part->slot[stretches] = slot;
        part->start[stretches++] = (u8)i;
        part->slots += part->end[slot]++ == 0;
    }
    part->start[stretches] = (u8)nr;
    return stretches;
}

/* Objects of a few KiB come by the handful, for which the counts of all slots are too many. */
static void part_sort_few(struct part *part, unsigned stretches) {
    for (unsigned i = 0; i < stretches; i++) {
        unsigned at = i;
        for (; at > 0 && part->slot[part->sorted[at - 1]] > part->slot[i]; at--)
            part->sorted[at] = part->sorted[at - 1];
        part->sorted[at] = (u8)i;
    }
}

static void part_sort(struct part *part, unsigned stretches) {
    if (stretches <= INSERTED_MAX) {
        part_sort_few(part, stretches);
        return;
    }
    ends_from_counts(part->end);
    for (unsigned i = 0; i < stretches; i++)
        part->sorted[part->end[part->slot[i]]++] = (u8)i;
}

COLD _Noreturn static void report_twice(const struct part *part, unsigned at, struct tally *t) {
    unsigned stretch = 0;
    while (part->start[stretch + 1] <= at)
        stretch++;
    report_object(target_of(part, stretch, part->objs[at], t), part->objs[at]);
}

/*
 * What is in the part twice is seen before the first object is given: from then on another CPU may take it, and the
 * second time would be a free of what that one holds. A hash table by address, at most a quarter full.
 */
static ALWAYS_INLINE void part_look_for_twice(const struct part *part, unsigned nr, struct tally *t) {
    u8 numbers[1 << TWICE_SHIFT] = {0}; /* of objects, from 1 on; 0: none */
    for (unsigned i = 0; i < nr; i++) {
        unsigned at = (unsigned)(((uintptr_t)part->objs[i] * HASH_FACTOR) >> (64 - TWICE_SHIFT));
        for (; UNLIKELY(numbers[at] != 0); at = (at + 1) % ARRAY_NR(numbers)) {
            if (UNLIKELY(part->objs[numbers[at] - 1] == part->objs[i]))
                report_twice(part, i, t);
        }
        numbers[at] = (u8)(i + 1);
    }
}

/*
 * Few objects have a slab in common, so each goes back by itself, a stretch after the other: to sort them costs more
 * than what it saves.
 */
static NOINLINE void part_give_each(const struct part *part, unsigned stretches, struct tally *t) {
    void *const *objs = part->objs;
    unsigned at = 0;
    if (QUARRY_CHECKS && stretches > 1)
        part_look_for_twice(part, part->start[stretches], t);
    for (unsigned i = 0; i < stretches; i++) {
        unsigned end = part->start[i + 1];
        do {
            struct target to = target_of(part, i, objs[at], t);
            unsigned index = index_of(to, objs[at]);
            word_give(to, index / WORD_BITS, (u64)1 << (index % WORD_BITS));
            t->objs++;
            slab_count(t->class, to, 1);
        } while (++at < end);
    }
}

static NOINLINE void part_give_sorted(struct part *part, unsigned stretches, struct tally *tally) {
    part_sort(part, stretches);
    struct group group = {.part = part};
    for (; group.first < stretches; group.first = group.last) {
        meta_ref_t slab = part->slab[part->sorted[group.first]];
        group.last = group.first;
        group.nr = 0;
        do {
            unsigned stretch = part->sorted[group.last++];
            group.nr += part->start[stretch + 1] - (unsigned)part->start[stretch];
        } while (group.last < stretches && part->slab[part->sorted[group.last]] == slab);
        group_give(&group, tally);
    }
}

static void part_give(void *const *objs, unsigned nr, struct tally *tally) {
    struct part part;
    part.objs = objs;
    part.slots = 0;
    memset(part.end, 0, sizeof(part.end));
    unsigned stretches = part_split(&part, nr);
    if (nr == 1 || (part.slots > SLOTS_FEW && nr < EACH_PER_SLOT * part.slots))
        part_give_each(&part, stretches, tally);
    else
        part_give_sorted(&part, stretches, tally);
}

void slab_give(void *const *objs, unsigned nr) {
    struct tally tally = {.kind = KIND_NONE};
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
