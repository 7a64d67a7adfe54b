/* SPDX-License-Identifier: MIT */
/*
 * Giving slabs back. A sweep takes a class's lists whole, retires the wholly free slabs beyond the few the class may
 * keep, files the others by what is free now, and where asked gives back the free pages inside them, which the bitmap
 * outside the slab makes known. Threads that allocate meanwhile find shorter lists for a moment and may make a slab
 * more.
 */
#include "base/bits.h"
#include "rt/context.h"
#include "rt/options.h"
#include "slab/class.h"

enum {
    WORD_BITS = 64,
    QUIET_TICKS = 10,    /* ticks of at least 100 ms */
    TICK_PURGE_PART = 8, /* a quiet class is swept when an eighth of its memory is free */
    REGRET_PART = 16,    /* of the regret fades with each tick: half of it in a second */
};
#define TICK_PURGE_MIN_BYTES (1 * MIB)

/* --- pages inside a slab --- */

/* Whether every object that overlaps [from, to) of the slab is free; the caller owns the slab. Bits may only become set
 * meanwhile. */
static bool range_is_free(struct slab *s, const struct slab_geometry *g, size_t from, size_t to) {
    _Atomic(u64) *words = slab_bitmap(s, g);
    unsigned first = slab_index(g, from), carved = slab_carved(s, g);
    if (first >= carved)
        return true;
    unsigned last = MIN(slab_index(g, to - 1), carved - 1);
    for (unsigned w = first / WORD_BITS; w <= last / WORD_BITS; w++) {
        unsigned lo = MAX(first, w * WORD_BITS), hi = MIN(last, w * WORD_BITS + WORD_BITS - 1);
        u64 mask = bits_mask(hi - lo + 1) << (lo - w * WORD_BITS);
        /* order: acquire: the last writes to the objects are over before their page goes.             pairs:
         * [slab.free] */
        if ((atomic_load_explicit(&words[w], memory_order_acquire) & mask) != mask)
            return false;
    }
    return true;
}

/* The wholly free pages of a BOUND slab that still hold memory, one bit each; for its owner. */
static u32 slab_free_pages(struct slab *s, const struct slab_geometry *g) {
    size_t unit = slab_purge_unit(g);
    unsigned units_nr = (unsigned)(g->granules * GRANULE_BYTES / unit);
    u32 found = 0;
    for (unsigned i = 0; i < units_nr; i++) {
        if (((s->purged >> i) & 1) == 0 && range_is_free(s, g, i * unit, (i + 1) * unit))
            found |= (u32)1 << i;
    }
    return found;
}

/* --- sweep --- */

enum {
    HELD_MAX = 16,
    RUNS_MAX = 16, /* of free pages in one slab: every second of 32 */
};

/* What a sweep does with wholly free slabs of a pinned class. */
enum grace { GRACE_NOT_NOW, GRACE_BEGINS, GRACE_IS_OVER };

/*
 * One sweep of a class's slabs on one node. Slabs with pages to give back are held BOUND until there are many, because
 * each call to give memory back interrupts every CPU the process runs on: ten times what the rest of it costs.
 */
struct sweep {
    struct slab_class *class;
    const struct slab_geometry *geometry;
    s32 kept_nr, keep_max;
    enum slab_purge purge;
    enum grace grace;
    unsigned held_nr, ranges_nr;
    u32 waiting_nr; /* slabs of pinned classes that wait for a grace period now */
    bool refused;   /* those at hand are on the list of the unbacked, and stay there: allocations have passed them */
    char *held[HELD_MAX];
    struct sys_range ranges[SYS_RANGES_MAX];
    u8 owner[SYS_RANGES_MAX]; /* which of held a range lies in */
};
_Static_assert((int)SYS_RANGES_MAX >= (int)RUNS_MAX, "a slab's ranges fit in one batch");

static void sweep_file(struct sweep *sw, char *base) {
    enum slab_duty duty;
    struct slab *s = slab_at(base);
    bool refused = sw->refused && s->purged != 0;
    slab_word_t was = SLAB_TRANSITION(s, slab_word_unbind(w, 0, 1, &duty));
    (refused ? slab_do_duty_unbacked : slab_do_duty)(duty, sw->class, base, sw->geometry, slab_word_free(was));
}

/* Gives the pages of the held slabs back and files the slabs. */
static void sweep_flush(struct sweep *sw) {
    if (sw->held_nr == 0)
        return;
    size_t unit = slab_purge_unit(sw->geometry), bytes = 0;
    for (u64 given = page_purge_inside(sw->ranges, sw->ranges_nr); given != 0; given &= given - 1) {
        const struct sys_range *range = &sw->ranges[bits_lowest(given)];
        char *base = sw->held[sw->owner[bits_lowest(given)]];
        slab_at(base)->purged |=
            (u32)(bits_mask((unsigned)(range->bytes / unit)) << ((size_t)((char *)range->addr - base) / unit));
        bytes += range->bytes;
    }
    atomic_fetch_add_explicit(&sw->class->purged_bytes, (s64)bytes, memory_order_relaxed);
    for (unsigned i = 0; i < sw->held_nr; i++)
        sweep_file(sw, sw->held[i]);
    sw->held_nr = sw->ranges_nr = 0;
}

/* A BOUND slab with free pages, neighbours as one range. */
static void sweep_hold(struct sweep *sw, char *base, u32 pages) {
    size_t unit = slab_purge_unit(sw->geometry);
    if (sw->held_nr == HELD_MAX || sw->ranges_nr + RUNS_MAX > SYS_RANGES_MAX)
        sweep_flush(sw);
    while (pages != 0) {
        unsigned lo = bits_lowest(pages), nr = bits_lowest(~((u64)pages >> lo));
        sw->owner[sw->ranges_nr] = (u8)sw->held_nr;
        sw->ranges[sw->ranges_nr++] = (struct sys_range){base + lo * unit, nr * unit};
        pages &= ~(u32)(bits_mask(nr) << lo);
    }
    sw->held[sw->held_nr++] = base;
}

/* Whether a slab of the sweep's, which is wholly free, is given back. One that is to wait for a grace period stays
 * where it is, and whoever takes objects of it ends that (slab_unpurge_try). */
static bool sweep_retires(struct sweep *sw, struct slab *s) {
    bool waits = s->purged != 0;
    if (!slab_is_pinned(sw->class))
        return sw->kept_nr++ >= sw->keep_max;
    if (sw->grace == GRACE_BEGINS && (waits || sw->kept_nr++ >= sw->keep_max)) {
        s->purged = SLAB_WAITS;
        sw->waiting_nr++;
    }
    return sw->grace == GRACE_IS_OVER && waits;
}

/* One slab off the lists: retire, or purge and file again. */
static void sweep_one(struct sweep *sw, char *base) {
    struct slab *s = slab_at(base);
    const struct slab_geometry *g = sw->geometry;
    enum slab_duty duty = SLAB_DUTY_NONE;
    slab_word_t was = SLAB_TRANSITION(s, slab_word_claim(w));
    if (slab_word_free(was) == g->nobj)
        slab_empties_add(sw->class, g, -1);
    if (slab_word_free(slab_word_load(s)) == g->nobj && sweep_retires(sw, s))
        SLAB_TRANSITION(s, slab_word_reap(w, g->nobj, &duty));
    if (duty == SLAB_DUTY_REAP) {
        if (slab_was_pinned(sw->class))
            s->purged = 0;
        slab_destroy(sw->class, s, base);
        return;
    }
    u32 pages = sw->purge == SLAB_PURGE_INSIDE ? slab_free_pages(s, g) : 0;
    if (pages != 0)
        sweep_hold(sw, base, pages);
    else
        sweep_file(sw, base);
}

static u32 sweep_node(struct slab_class *c, const struct slab_geometry *g, enum slab_effort effort,
                      enum slab_purge purge, enum grace grace) {
    struct sweep sw;
    sw.class = c;
    sw.geometry = g;
    sw.purge = slab_keeps(c) ? SLAB_PURGE_NO : purge;
    sw.grace = grace;
    sw.waiting_nr = 0;
    sw.kept_nr = 0;
    if (effort == SLAB_KEEP_NONE || purge == SLAB_PURGE_INSIDE) /* the class is at rest */
        slab_kept_forget(c, g);
    sw.keep_max = effort == SLAB_KEEP_NONE ? 0 : slab_empties_max(c, g);
    sw.held_nr = sw.ranges_nr = 0;
    sw.refused = false;
    char *heads[PARTIAL_LISTS_NR];
    /* All lists first: slabs filed again below must not be met twice. */
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++)
        heads[list] = partial_take_all(c, list);
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++) {
        if (list == BUCKET_UNBACKED) {
            sweep_flush(&sw);
            sw.refused = true;
        }
        for (char *base = heads[list], *next; base != NULL; base = next) {
            next = partial_next(base);
            if (next != NULL)
                __builtin_prefetch(slab_at(next), 1); /* a list leads anywhere: each would be waited for */
            sweep_one(&sw, base);
        }
    }
    sweep_flush(&sw);
    atomic_store_explicit(&c->sparse, 0, memory_order_relaxed);
    return sw.waiting_nr;
}

/* Returns how many slabs wait for a grace period. */
static u32 sweep_class(unsigned cls, enum slab_effort effort, enum slab_purge purge, enum grace grace) {
    u32 waiting_nr = 0;
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        struct slab_class *c = slab_class_at(node, cls);
        if (atomic_load_explicit(&c->slabs, memory_order_relaxed) == 0)
            continue;
        /* order: acquire                                                                          pairs:
         * [slab.sweeping] */
        if (atomic_exchange_explicit(&c->sweeping, 1, memory_order_acquire) != 0)
            continue;
        waiting_nr += sweep_node(c, slab_geometry_of(cls), effort, purge, grace);
        /* order: release                                                                          pairs:
         * [slab.sweeping] */
        atomic_store_explicit(&c->sweeping, 0, memory_order_release);
    }
    return waiting_nr;
}

void slab_sweep(unsigned cls, enum slab_effort effort, enum slab_purge purge) {
    if (!slab_made_enter(cls))
        return;
    (void)sweep_class(cls, effort, purge, GRACE_NOT_NOW);
    slab_made_leave(cls);
}

void slab_made_retire(unsigned cls) { (void)sweep_class(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO, GRACE_NOT_NOW); }

/* All pinned classes. */
static u32 grace_sweep(enum slab_effort effort, enum grace grace) {
    u32 waiting_nr = 0;
    for (unsigned cls = SLAB_CLASSES_NR; cls < slab_ids_end_get(); cls++) {
        if (!slab_made_enter(cls))
            continue;
        if (slab_is_pinned(slab_made_class(0, cls)))
            waiting_nr += sweep_class(cls, effort, SLAB_PURGE_NO, grace);
        slab_made_leave(cls);
    }
    return waiting_nr;
}

u32 slab_grace_begin(enum slab_effort effort) { return grace_sweep(effort, GRACE_BEGINS); }
void slab_grace_end(void) { (void)grace_sweep(SLAB_KEEP_NONE, GRACE_IS_OVER); }

static bool class_has_many_empties(unsigned cls) {
    bool many = false;
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        const struct slab_class *c = slab_class_at(node, cls);
        many = many || (atomic_load_explicit(&c->slabs, memory_order_relaxed) != 0 && !slab_was_pinned(c) &&
                        slab_empties_many(c, slab_geometry_of(cls)));
    }
    return many;
}

void slab_sweep_due(void) {
    for (unsigned cls = 1; cls < slab_ids_end_get(); cls++) {
        if (!slab_made_enter(cls))
            continue;
        if (class_has_many_empties(cls))
            (void)sweep_class(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO, GRACE_NOT_NOW);
        slab_made_leave(cls);
    }
}

/* --- housekeeping and accounts --- */

void slab_node_stats_get(unsigned node, unsigned cls, struct slab_class_stats *ret_stats) {
    const struct slab_class *c = slab_class_at(node, cls);
    ret_stats->slabs = (u64)atomic_load_explicit(&c->slabs, memory_order_relaxed);
    ret_stats->out_objs = (u64)MAX(atomic_load_explicit(&c->out_objs, memory_order_relaxed), 0);
    ret_stats->purged_bytes = (u64)MAX(atomic_load_explicit(&c->purged_bytes, memory_order_relaxed), 0);
}

void slab_class_stats_get(unsigned cls, struct slab_class_stats *ret_stats) {
    struct slab_class_stats sum = {0};
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        slab_node_stats_get(node, cls, ret_stats);
        sum.slabs += ret_stats->slabs;
        sum.out_objs += ret_stats->out_objs;
        sum.purged_bytes += ret_stats->purged_bytes;
    }
    *ret_stats = sum;
}

static bool class_has_many_pinned(unsigned cls) {
    bool many = false;
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        const struct slab_class *c = slab_class_at(node, cls);
        many = many || (slab_is_pinned(c) && slab_empties_many(c, slab_geometry_of(cls)));
    }
    return many;
}

/* Free memory of a class that could be purged: a class at rest (the same objects are out as at earlier ticks) is swept
 * once. */
void slab_tick(u64 now_ms) {
    (void)now_ms;
    s64 regret = atomic_load_explicit(&slab_regret_bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab_regret_bytes, (regret + REGRET_PART - 1) / REGRET_PART, memory_order_relaxed);
    slab_kept_tick();
    for (unsigned cls = 1; cls < slab_ids_end_get(); cls++) {
        struct slab_class *c = slab_class_at(0, cls);
        const struct slab_geometry *g = slab_geometry_of(cls);
        struct slab_class_stats st;
        slab_class_stats_get(cls, &st);
        if (class_has_many_pinned(cls))
            rt_chore_note(RT_CHORE_GRACE);
        u64 held = st.slabs * g->granules * GRANULE_BYTES;
        u64 free_bytes = held - MIN(held, st.out_objs * g->size_bytes + st.purged_bytes);
        u64 last = c->out_objs_at_tick;
        c->out_objs_at_tick = st.out_objs;
        /* Falling use is quiet too: only growth wants the memory back. */
        c->quiet_ticks = st.out_objs > last ? 0 : (u8)MIN(c->quiet_ticks + 1, 2 * QUIET_TICKS);
        if (c->quiet_ticks == QUIET_TICKS && free_bytes > MAX(held / TICK_PURGE_PART, TICK_PURGE_MIN_BYTES))
            slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
    }
}

/* Another thread may have held a flag at the moment of the fork. Slabs it owned then are lost to the child. */
void slab_fork_child(void) {
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        for (unsigned cls = 1; cls < slab_ids_end_get(); cls++) {
            struct slab_class *c = slab_class_at(node, cls);
            if (atomic_load_explicit(&c->sweeping, memory_order_relaxed) != 0)
                atomic_store_explicit(&c->sweeping, 0, memory_order_relaxed);
        }
    }
    slab_kept_fork_child();
    slab_made_fork_child();
}
