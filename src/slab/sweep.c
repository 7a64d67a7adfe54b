/* SPDX-License-Identifier: MIT */
/*
 * Giving slabs back. A sweep takes a class's lists whole, retires the wholly free slabs beyond the few the class may
 * keep, files the others by what is free now, and where asked gives back the free pages inside them, which the bitmap
 * outside the slab makes known. Threads that allocate meanwhile find shorter lists for a moment and may make a slab
 * more.
 */
#include "base/bits.h"
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

/* The owner of a BOUND slab gives back its wholly free pages, neighbours in one call. Returns bytes given back. */
static size_t slab_purge_pages(struct slab *s, char *base, const struct slab_geometry *g) {
    size_t page = sys_page_bytes(), given = 0;
    unsigned pages_nr = (unsigned)MIN(g->granules * GRANULE_BYTES / page, 32);
    u32 found = 0;
    for (unsigned i = 0; i < pages_nr; i++) {
        if (((s->purged >> i) & 1) == 0 && range_is_free(s, g, i * page, (i + 1) * page))
            found |= (u32)1 << i;
    }
    while (found != 0) {
        unsigned lo = bits_lowest(found), nr = bits_lowest(~((u64)found >> lo));
        u32 run = (u32)(bits_mask(nr) << lo);
        if (page_purge_inside(base + lo * page, nr * page) == 0) {
            s->purged |= run;
            given += nr * page;
        }
        found &= ~run;
    }
    return given;
}

/* --- sweep --- */

/* One slab off the lists: retire, or purge and file again. */
static void sweep_one(struct slab_class *c, char *base, s32 *kept_nr, s32 keep_max, enum slab_purge purge) {
    struct slab *s = slab_at(base);
    const struct slab_geometry *g = &slab_geometry[s->cls];
    enum slab_duty duty = SLAB_DUTY_NONE;
    slab_word_t was = SLAB_TRANSITION(s, slab_word_claim(w));
    if (slab_word_free(was) == g->nobj)
        slab_empties_add(c, g, -1);
    if (slab_word_free(slab_word_load(s)) == g->nobj && (*kept_nr)++ >= keep_max)
        SLAB_TRANSITION(s, slab_word_reap(w, g->nobj, &duty));
    if (duty == SLAB_DUTY_REAP) {
        slab_destroy(c, s, base);
        return;
    }
    if (purge == SLAB_PURGE_INSIDE) {
        size_t given = slab_purge_pages(s, base, g);
        if (given != 0)
            atomic_fetch_add_explicit(&c->purged_bytes, (s64)given, memory_order_relaxed);
    }
    SLAB_TRANSITION(s, slab_word_unbind(w, 0, 1, &duty));
    slab_do_duty(duty, c, s, base, g);
}

static void sweep_node(struct slab_class *c, const struct slab_geometry *g, enum slab_effort effort,
                       enum slab_purge purge) {
    s32 kept = 0, keep_max = effort == SLAB_KEEP_NONE ? 0 : slab_empties_max(c, g);
    char *heads[BUCKETS_NR];
    /* All lists first: slabs filed again below must not be met twice. */
    for (unsigned bucket = 0; bucket < BUCKETS_NR; bucket++)
        heads[bucket] = partial_take_all(c, bucket);
    for (unsigned bucket = 0; bucket < BUCKETS_NR; bucket++) {
        for (char *base = heads[bucket], *next; base != NULL; base = next) {
            next = partial_next(base);
            sweep_one(c, base, &kept, keep_max, purge);
        }
    }
    atomic_store_explicit(&c->sparse, 0, memory_order_relaxed);
}

void slab_sweep(unsigned cls, enum slab_effort effort, enum slab_purge purge) {
    for (unsigned node = 0; node < page_nodes_nr; node++) {
        struct slab_class *c = &slab_classes[node][cls];
        if (atomic_load_explicit(&c->slabs, memory_order_relaxed) == 0)
            continue;
        /* order: acquire                                                                          pairs:
         * [slab.sweeping] */
        if (atomic_exchange_explicit(&c->sweeping, 1, memory_order_acquire) != 0)
            continue;
        sweep_node(c, &slab_geometry[cls], effort, purge);
        /* order: release                                                                          pairs:
         * [slab.sweeping] */
        atomic_store_explicit(&c->sweeping, 0, memory_order_release);
    }
}

/* --- housekeeping and accounts --- */

void slab_class_stats_get(unsigned cls, struct slab_class_stats *ret_stats) {
    *ret_stats = (struct slab_class_stats){0};
    for (unsigned node = 0; node < page_nodes_nr; node++) {
        const struct slab_class *c = &slab_classes[node][cls];
        ret_stats->slabs += (u64)atomic_load_explicit(&c->slabs, memory_order_relaxed);
        ret_stats->out_objs += (u64)MAX(atomic_load_explicit(&c->out_objs, memory_order_relaxed), 0);
        ret_stats->purged_bytes += (u64)MAX(atomic_load_explicit(&c->purged_bytes, memory_order_relaxed), 0);
    }
}

/* Free memory of a class that could be purged: a class at rest (the same objects are out as at earlier ticks) is swept
 * once. */
void slab_tick(u64 now_ms) {
    static _Atomic(u64) out_at_last_tick[SLAB_CLASSES_NR];
    (void)now_ms;
    s64 regret = atomic_load_explicit(&slab_regret_bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab_regret_bytes, (regret + REGRET_PART - 1) / REGRET_PART, memory_order_relaxed);
    for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
        struct slab_class *c = &slab_classes[0][cls];
        struct slab_class_stats st;
        slab_class_stats_get(cls, &st);
        u64 held = st.slabs * slab_geometry[cls].granules * GRANULE_BYTES;
        u64 free_bytes = held - MIN(held, st.out_objs * slab_geometry[cls].size_bytes + st.purged_bytes);
        u64 last = atomic_exchange_explicit(&out_at_last_tick[cls], st.out_objs, memory_order_relaxed);
        /* Falling use is quiet too: only growth wants the memory back. */
        c->quiet_ticks = st.out_objs > last ? 0 : (u8)MIN(c->quiet_ticks + 1, 2 * QUIET_TICKS);
        if (c->quiet_ticks == QUIET_TICKS && free_bytes > MAX(held / TICK_PURGE_PART, TICK_PURGE_MIN_BYTES))
            slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
    }
}

/* Another thread may have held a flag at the moment of the fork. Slabs it owned then are lost to the child. */
void slab_fork_child(void) {
    for (unsigned node = 0; node < page_nodes_nr; node++) {
        for (unsigned cls = 1; cls < SLAB_CLASSES_NR; cls++) {
            if (atomic_load_explicit(&slab_classes[node][cls].sweeping, memory_order_relaxed) != 0)
                atomic_store_explicit(&slab_classes[node][cls].sweeping, 0, memory_order_relaxed);
        }
    }
}
