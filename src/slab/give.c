/* SPDX-License-Identifier: MIT */
/*
 * Giving objects back: a batch is grouped by slab, so that each slab pays one atomic for its bits and one for its
 * count. Here misuse that passed the fast path is found exactly: the bit of an object that is free already is set, and
 * an address that is no object's start leaves a remainder.
 */
#include "base/bits.h"
#include "rt/context.h"
#include "rt/misuse.h"
#include "rt/usage.h"
#include "slab/class.h"
#include "sys/sys.h"

enum { WORD_BITS = 64, GROUPS_NR = 16 };

/* Objects of one slab that share a bitmap word, not given yet. */
struct group {
    struct slab *slab;
    const struct slab_geometry *geometry;
    char *base;
    u64 mask;
    unsigned word;
    unsigned carved;    /* as of the first object: all were taken before any of them came here */
    unsigned uncounted; /* bits of earlier words, set but not yet counted */
};

static const char *state_name(const struct slab *s, const struct slab_geometry *g) {
    slab_word_t w = {atomic_load_explicit(&s->word, memory_order_relaxed)};
    static const char *const names[] = {
        [SLAB_EMPTY] = "empty", [SLAB_BOUND] = "bound", [SLAB_LISTED] = "partial", [SLAB_FULL] = "full"};
    return slab_word_state(w) == SLAB_LISTED && slab_word_free(w) == g->nobj ? "free" : names[slab_word_state(w)];
}

COLD static void report(enum misuse_kind kind, const void *p, const struct slab *s) {
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
    if (sparse <= MAX(SPARSE_FEW_SLABS, slabs / SPARSE_PART) || c->keeps_contents)
        return false;
    if ((u32)sys_clock_ms() - atomic_load_explicit(&c->grown_ms, memory_order_relaxed) < PHASE_MS)
        return false;
    return (sparse > SPARSE_MIN_SLABS || slack_is_large()) && purge_pays(c, g);
}

/* The second step of a free: the objects whose bits are set are counted, and the slab changes hands if that is due. */
static void slab_count(struct slab_class *c, struct slab *s, char *base, const struct slab_geometry *g, int nr) {
    enum slab_duty duty;
    bool keep = !rt_may_block() || slab_empties_admit(c, g);
    slab_word_t was = keep ? SLAB_TRANSITION(s, slab_word_add(w, nr, g->nobj, g->threshold, &duty))
                           : SLAB_TRANSITION(s, slab_word_add_or_reap(w, nr, g->nobj, g->threshold, &duty));
    int before = slab_word_free(was), after = before + nr;
    bool listed = slab_word_state(was) == SLAB_LISTED;
    slab_do_duty(duty, c, s, base, g);
    if (listed && after == g->nobj)
        slab_empties_add(c, g, 1);
    if (became_sparse(before, after, g->nobj))
        atomic_fetch_add_explicit(&c->sparse, 1, memory_order_relaxed);
}

/* What a batch gave back of one class, not yet in the accounts. */
struct tally {
    struct slab_class *class;
    unsigned objs;
    u32 size_bytes;
};

static void tally_settle(struct tally *t) {
    if (t->objs == 0)
        return;
    atomic_fetch_sub_explicit(&t->class->out_objs, t->objs, memory_order_relaxed);
    atomic_fetch_sub_explicit(&rt_usage_out_bytes, (s64)t->objs * t->size_bytes, memory_order_relaxed);
    t->objs = 0;
}

static void tally_add(struct tally *t, struct slab_class *c, const struct slab_geometry *g, unsigned objs) {
    if (t->class != c)
        tally_settle(t);
    t->class = c;
    t->size_bytes = g->size_bytes;
    t->objs += objs;
}

/* Adding sets bits that are all clear, by one instruction, where the or of a word not known is a loop. */
static void group_set_bits(struct group *gr) {
    struct slab *s = gr->slab;
    const struct slab_geometry *g = gr->geometry;
    if (gr->mask == 0)
        return;
    /* order: release: the last writes to the objects are over before they can be taken.             pairs: [slab.free]
     */
    u64 old = atomic_fetch_add_explicit(&slab_bitmap(s, g)[gr->word], gr->mask, memory_order_release);
    if (UNLIKELY((old & gr->mask) != 0)) {
        size_t index = (size_t)gr->word * WORD_BITS + bits_lowest(old & gr->mask);
        report(MISUSE_DOUBLE_FREE, gr->base + index * g->size_bytes, s);
    }
    gr->uncounted += bits_count(gr->mask);
    gr->mask = 0;
}

static void group_finish(struct group *gr, struct tally *t) {
    if (gr->slab == NULL)
        return;
    struct slab *s = gr->slab;
    const struct slab_geometry *g = gr->geometry;
    struct slab_class *c = slab_class_at(slab_node(s), slab_cls(s));
    group_set_bits(gr);
    unsigned nr = gr->uncounted;
    unsigned cls = slab_cls(s);
    gr->slab = NULL;
    gr->uncounted = 0;
    tally_add(t, c, g, nr);
    slab_count(c, s, gr->base, g, (int)nr); /* the slab may be gone after this */
    if (!rt_may_block()) {
        if (slab_empties_many(c, g))
            rt_chore_note(RT_CHORE_SWEEP);
        return;
    }
    if (UNLIKELY(slab_empties_many(c, g)))
        slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO);
    if (UNLIKELY(sparse_enough(c, g)))
        slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
}

/* The group of p's slab, after finishing whatever other slab's group is in its place. */
static struct group *group_for(struct group *groups, struct tally *t, void *p) {
    char *base = slab_base(p);
    struct slab *s = slab_at(base);
    struct group *gr = &groups[((uintptr_t)base >> GRANULE_SHIFT) % GROUPS_NR];
    if (gr->slab != s) {
        const struct slab_geometry *g = slab_geometry_of(slab_cls(s));
        group_finish(gr, t);
        *gr = (struct group){.slab = s, .geometry = g, .base = base, .carved = slab_carved(s, g)};
    }
    return gr;
}

COLD static void report_object(const struct group *gr, const void *p) {
    const struct slab_geometry *g = gr->geometry;
    u64 offset = (u64)((const char *)p - gr->base);
    unsigned index = slab_index(g, offset);
    bool is_start = index < g->nobj && (u64)index * g->size_bytes == offset;
    report(is_start ? MISUSE_DOUBLE_FREE : MISUSE_INTERIOR, p, gr->slab);
}

/* Adds the first object, which lies in the group's slab, and those after it that lie in the same granule; returns how
 * many. Neighbours are freed together, so this loop sees nearly every object. */
static unsigned group_add(struct group *gr, void *const *objs, unsigned nr) {
    const struct slab_geometry *g = gr->geometry;
    const u64 granule = (uintptr_t)objs[0] >> GRANULE_SHIFT, size_bytes = g->size_bytes;
    char *const base = gr->base;
    unsigned carved = gr->carved, word = gr->word, i = 0;
    u64 mask = gr->mask;
    do {
        u64 offset = (u64)((char *)objs[i] - base);
        unsigned index = slab_index(g, offset);
        u64 bit = (u64)1 << (index % WORD_BITS);
        if (word != index / WORD_BITS) {
            gr->mask = mask;
            group_set_bits(gr);
            gr->word = word = index / WORD_BITS;
            mask = 0;
        }
        if (UNLIKELY(index >= carved || index * size_bytes != offset || (mask & bit) != 0))
            report_object(gr, objs[i]);
        mask |= bit;
    } while (++i < nr && (uintptr_t)objs[i] >> GRANULE_SHIFT == granule);
    gr->mask = mask;
    return i;
}

/*
 * Objects freed in no order lie each in a slab of its own, whose descriptor and bitmap are in no near cache; the
 * atomics below would wait for each in turn. Of objects in one granule only the first asks. What is fetched for an
 * address that is no object's is never looked at.
 */
static void give_fetch(void *const *objs, unsigned nr) {
    u64 last = 0;
    for (unsigned i = 0; i < nr; i++) {
        u64 granule = (uintptr_t)objs[i] >> GRANULE_SHIFT;
        struct chunk *chunk;
        if (granule != last && (chunk = chunk_of(objs[i])) != NULL)
            __builtin_prefetch(chunk_desc(chunk, objs[i]), 1);
        last = granule;
    }
}

void slab_give(void *const *objs, unsigned nr) {
    struct group groups[GROUPS_NR] = {0};
    struct tally tally = {0};
    give_fetch(objs, nr);
    for (unsigned i = 0; i < nr;) {
        if (UNLIKELY(!slab_entry_is_slab(page_map_get(objs[i]) % PAGE_MAP_CLASSES))) {
            rt_misuse(MISUSE_DOUBLE_FREE, objs[i], 0, "released");
            i++;
            continue;
        }
        i += group_add(group_for(groups, &tally, objs[i]), objs + i, nr - i);
    }
    for (unsigned i = 0; i < GROUPS_NR; i++)
        group_finish(&groups[i], &tally);
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
    char *base = slab_base(p);
    struct slab *s = slab_at(base);
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
