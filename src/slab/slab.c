/* SPDX-License-Identifier: MIT */
/* Taking objects out of slabs. The other direction is give.c, retiring slabs sweep.c, the lists partial.c, the rules
 * word.h. */
#include "base/bits.h"
#include "rt/context.h"
#include "rt/options.h"
#include "rt/pool.h"
#include "rt/usage.h"
#include "slab/class.h"
#include "sys/sys.h"

#include <string.h>

enum { WORD_BITS = 64, EMPTIES_BASE = 2, EMPTIES_PART = 16, EMPTIES_OUT_PART = 32 };
/*
 * The most a class keeps in wholly free slabs. Larger and an idle process with many classes shows it; smaller and a
 * loop that fills and empties some slabs goes to the page tier in each turn.
 */
#define EMPTIES_MAX_BYTES (288 * KIB)
/* All classes together: a small process with many classes must not keep a slab or two for each. */
#define EMPTIES_ALL_BYTES ((s64)(256 * KIB))

struct slab_class *slab_classes[PAGE_NODES_MAX];
_Atomic(s64) slab_regret_bytes;

static int row_make(unsigned node) {
    if (slab_classes[node] == NULL)
        slab_classes[node] = rt_meta_alloc_near(node, SLAB_CLASSES_NR * sizeof(struct slab_class), CACHE_LINE);
    return slab_classes[node] != NULL ? 0 : -1;
}

int slab_init(struct slab_class_tables *tables) {
    slab_classes_init(tables);
    return row_make(0);
}

int slab_nodes_make(void) {
    for (unsigned node = 1; node < page_nodes_decided(); node++) {
        if (row_make(node) != 0 || slab_made_node_make(node) != 0)
            return -1;
    }
    return 0;
}

s32 slab_empties_max(const struct slab_class *c, const struct slab_geometry *g) {
    s32 slabs = atomic_load_explicit(&c->slabs, memory_order_relaxed);
    s32 few = MIN(EMPTIES_BASE + slabs / EMPTIES_PART, (s32)(EMPTIES_MAX_BYTES / (g->granules * GRANULE_BYTES)));
    return few + slab_kept_more(c);
}

void slab_empties_add(struct slab_class *c, const struct slab_geometry *g, s32 slabs) {
    slab_kept_note(c, atomic_fetch_add_explicit(&c->empties, slabs, memory_order_relaxed) + slabs);
    if (!slab_was_pinned(c)) /* those wait for readers, however many they are */
        atomic_fetch_add_explicit(&rt_usage_empty_bytes, slabs * (s64)(g->granules * GRANULE_BYTES),
                                  memory_order_relaxed);
}

bool slab_empties_admit(const struct slab_class *c, const struct slab_geometry *g) {
    if (slab_was_pinned(c))
        return true;
    s64 most = MAX(EMPTIES_ALL_BYTES, rt_usage_out_get() / EMPTIES_OUT_PART);
    s64 bytes = atomic_load_explicit(&rt_usage_empty_bytes, memory_order_relaxed);
    return atomic_load_explicit(&c->empties, memory_order_relaxed) < slab_empties_max(c, g) &&
           (bytes < most || slab_kept_admits(bytes));
}

/* A sweep walks every listed slab, so it must find a good part of them empty. */
bool slab_empties_many(const struct slab_class *c, const struct slab_geometry *g) {
    s32 empties = atomic_load_explicit(&c->empties, memory_order_relaxed);
    s32 slabs = atomic_load_explicit(&c->slabs, memory_order_relaxed);
    return empties > MAX(slabs / EMPTIES_PART, slab_empties_max(c, g) * 3 / 2);
}

/* --- making and unmaking --- */

/* A bitmap of its own stays untouched until an object comes back: blocks are all zeros. Not even read: a page that is
 * read first is mapped twice, and with the second time, by the first write, the other CPUs are interrupted. What the
 * descriptor's bits are to be; ~0: there is none. */
#define NO_BITMAP (~(u64)0)
static u64 bitmap_make(const struct slab_geometry *g, unsigned node) {
    if (g->bitmap_shift == 3)
        return 0;
    u64 *words = rt_pool_get(RT_POOL_BITMAPS, node, g->bitmap_shift);
    return words == NULL ? NO_BITMAP : rt_meta_ref(words);
}

static void bitmap_unmake(struct slab *s, const struct slab_geometry *g) {
    _Atomic(u64) *words = slab_bitmap(s, g);
    if (g->bitmap_shift == 3)
        return;
    for (unsigned i = 0; i < (1u << g->bitmap_shift) / sizeof(u64); i++)
        atomic_store_explicit(&words[i], 0, memory_order_relaxed);
    rt_pool_put(RT_POOL_BITMAPS, slab_node(s), words, g->bitmap_shift);
}

/* Before memory is asked for that is not there, other classes give up what they keep. */
static char *run_make(const struct slab_class *c, unsigned cls, unsigned node, enum page_content *ret_content) {
    const struct slab_geometry *g = slab_geometry_of(cls);
    enum page_warm why;
    if (UNLIKELY(g->reclaimable)) /* of other hugepages */
        return page_run_alloc_reclaimable(node, g->granules, g->align, ret_content);
    if (UNLIKELY(slab_kept_elsewhere(c, cls))) {
        char *warm = page_run_alloc_warm(node, g->granules, g->align, ret_content, &why);
        if (warm != NULL)
            return warm;
        if (why == PAGE_WARM_NONE)
            slab_kept_yield(cls);
    }
    return page_run_alloc(node, g->granules, g->align, ret_content);
}

/* Where nothing may block there is the reserve, for those who may draw on it and have nothing yet. */
static char *run_get(const struct slab_class *c, unsigned cls, unsigned node, unsigned taken,
                     enum page_content *ret_content) {
    const struct slab_geometry *g = slab_geometry_of(cls);
    if (rt_may_block())
        return run_make(c, cls, node, ret_content);
    bool reserve = rt_context() == RT_ATOMIC_RESERVE && taken == 0;
    return reserve ? page_reserve_take(node, g->granules, g->align, ret_content) : NULL;
}

/* What a made class is does not change while it has slabs, or is used. */
static void class_follow(struct slab_class *c, const struct slab_class *of_first) {
    if (LIKELY(c == of_first))
        return;
    atomic_store_explicit(&c->keeps, slab_keeps(of_first), memory_order_relaxed);
    atomic_store_explicit(&c->pinned, slab_was_pinned(of_first), memory_order_relaxed);
    atomic_store_explicit(&c->unpinned, !slab_is_pinned(of_first), memory_order_relaxed);
}

/* Returns a BOUND slab of the caller's, or NULL. taken: objects the caller has already. */
static char *slab_create(struct slab_class *c, unsigned cls, unsigned node, unsigned taken) {
    const struct slab_geometry *g = slab_geometry_of(cls);
    enum page_content content = PAGE_DIRTY;
    /* First, because a run cannot be given back everywhere. */
    u64 bitmap = bitmap_make(g, node);
    char *base = bitmap == NO_BITMAP ? NULL : run_get(c, cls, node, taken, &content);
    if (base == NULL) {
        if (bitmap != NO_BITMAP && bitmap != 0)
            rt_pool_put(RT_POOL_BITMAPS, node, rt_meta_at((meta_ref_t)bitmap), g->bitmap_shift);
        return NULL;
    }
    class_follow(c, slab_class_at(0, cls));
    if (UNLIKELY(rt_opt.harden) && content == PAGE_DIRTY)
        memset(base, 0, g->granules * GRANULE_BYTES);
    struct slab *s = slab_at(base);
    atomic_store_explicit(&s->bits, bitmap, memory_order_relaxed);
    s->purged = 0;
    s->back = 0;
    s->kind = slab_kind(cls, node);
    atomic_store_explicit(&s->first, content == PAGE_ZERO && !slab_keeps(c) ? SLAB_FRESH : 0, memory_order_relaxed);
    for (unsigned i = 1; i < g->granules; i++)
        (s + i)->back = (u8)i;
    SLAB_TRANSITION(s, slab_word_create(w, g->nobj));
    page_map_set(base, g->granules, slab_slot_of(cls) | node << PAGE_MAP_CLASS_BITS);
    atomic_fetch_add_explicit(&c->slabs, 1, memory_order_relaxed);
    if (rt_may_block())
        atomic_store_explicit(&c->grown_ms, (u32)sys_clock_ms(), memory_order_relaxed);
    slab_kept_made(c, cls);
    if (slab_keeps(c))
        slab_made_construct(cls, base);
    return base;
}

static size_t slab_purged_bytes(const struct slab *s) {
    return bits_count(s->purged) * slab_purge_unit(slab_geometry_of(slab_cls(s)));
}

static void slab_purged_clear(struct slab_class *c, struct slab *s) {
    atomic_fetch_sub_explicit(&c->purged_bytes, (s64)slab_purged_bytes(s), memory_order_relaxed);
    s->purged = 0;
}

/* The purged pages of a BOUND slab are wanted again. False: limit_hard forbids. */
static bool slab_unpurge_try(struct slab_class *c, struct slab *s, char *base) {
    size_t bytes = slab_purged_bytes(s);
    if (slab_was_pinned(c)) {
        s->purged = 0; /* used again, it waits no more */
        return true;
    }
    if (!page_refill_inside_try(base, bytes))
        return false;
    slab_purged_clear(c, s);
    atomic_fetch_add_explicit(&slab_regret_bytes, (s64)bytes, memory_order_relaxed);
    rt_usage_regretted();
    return true;
}

void slab_destroy(struct slab_class *c, struct slab *s, char *base) {
    const struct slab_geometry *g = slab_geometry_of(slab_cls(s));
    bitmap_unmake(s, g);
    slab_kept_retired(c, slab_cls(s));
    if (s->purged != 0) {
        page_forget_inside(base, slab_purged_bytes(s));
        slab_purged_clear(c, s);
    }
    atomic_fetch_sub_explicit(&c->slabs, 1, memory_order_relaxed);
    page_run_free(base, g->granules);
}

/* Among those that have so many objects free. What was freed since the slab became LISTED its freer counts. */
static void slab_list(struct slab_class *c, char *base, const struct slab_geometry *g, int free_nr, bool backed) {
    if (free_nr == g->nobj)
        slab_empties_add(c, g, 1);
    if (backed)
        partial_push(c, base, free_nr, g->nobj);
    else
        partial_push_unbacked(c, base);
}

void slab_do_duty(enum slab_duty duty, struct slab_class *c, char *base, const struct slab_geometry *g, int free_nr) {
    if (duty == SLAB_DUTY_REAP)
        slab_destroy(c, slab_at(base), base);
    else if (duty == SLAB_DUTY_LIST)
        slab_list(c, base, g, free_nr, true);
}

void slab_do_duty_unbacked(enum slab_duty duty, struct slab_class *c, char *base, const struct slab_geometry *g,
                           int free_nr) {
    if (duty == SLAB_DUTY_LIST)
        slab_list(c, base, g, free_nr, false);
}

/* --- taking --- */

/*
 * Objects smaller than a cache line are taken by columns: one of each line, then the next of each, so that neighbours
 * in a magazine lie on lines of their own. Else two threads that each allocate one object, or move to the other's CPU
 * with it, would go on writing to the same line.
 */
static unsigned columns_nr(const struct slab_geometry *g) {
    return g->size_bytes >= CACHE_LINE ? 1 : (CACHE_LINE + g->size_bytes - 1) / g->size_bytes;
}

/* Up to want of the lowest set bits of one bitmap word; only the owner of the slab clears bits. */
static u64 word_take(_Atomic(u64) *word, unsigned want) {
    u64 bits = atomic_load_explicit(word, memory_order_relaxed), chosen = bits;
    if (want < WORD_BITS && bits_count(bits) > want) {
        for (chosen = 0; want > 0; want--, bits &= bits - 1)
            chosen |= bits & -bits;
    }
    /* order: acquire: the freeing threads' last writes to the objects come before ours.           pairs: [slab.free] */
    if (chosen != 0)
        (void)atomic_fetch_and_explicit(word, ~chosen, memory_order_acquire);
    return chosen;
}

/* The owner takes up to want objects that were used before. */
static unsigned slab_take_bits(struct slab *s, char *base, const struct slab_geometry *g, unsigned want, void **top) {
    _Atomic(u64) *words = slab_bitmap(s, g);
    unsigned words_nr = (g->nobj + WORD_BITS - 1u) / WORD_BITS, columns = columns_nr(g), taken = 0;
    u64 first_column = ~(u64)0 / bits_mask(columns);
    for (unsigned w = 0; w < words_nr && taken < want; w++, base += (size_t)WORD_BITS * g->size_bytes) {
        u64 bits = word_take(&words[w], want - taken);
        for (unsigned column = 0; column < columns; column++) {
            for (u64 rest = bits & (first_column << column); rest != 0; rest &= rest - 1)
                *(top - 1 - taken++) = base + (size_t)bits_lowest(rest) * g->size_bytes;
        }
    }
    return taken;
}

static void slab_carved_add(struct slab *s, const struct slab_geometry *g, unsigned nr) {
    if (g->bitmap_shift == 3) {
        u8 first = atomic_load_explicit(&s->first, memory_order_relaxed);
        atomic_store_explicit(&s->first, (u8)(first + nr), memory_order_relaxed);
        return;
    }
    u64 bits = atomic_load_explicit(&s->bits, memory_order_relaxed);
    atomic_store_explicit(&s->bits, bits + ((u64)nr << CARVED_SHIFT), memory_order_relaxed);
}

/*
 * What is carved for the first time goes to a magazine, and is written from the lowest address on. A page of several
 * objects is hardly ever left out, so that all that is brought too early is what the magazine holds of it: a small part
 * of what the class has.
 */
enum { BROUGHT_PART = 16 };
#define BROUGHT_MAX_BYTES (64 * KIB) /* 20 us */
static void carved_bring(const struct slab *s, const struct slab_geometry *g, char *object, size_t bytes) {
    if (!slab_fresh(s) || g->size_bytes > sys_page_bytes() / 2)
        return;
    const struct slab_class *c = slab_class_at(slab_node(s), slab_cls(s));
    size_t slabs = (size_t)MAX(atomic_load_explicit(&c->slabs, memory_order_relaxed), 0);
    size_t most = MIN(slabs * g->granules * GRANULE_BYTES / BROUGHT_PART, BROUGHT_MAX_BYTES);
    page_bring(object, MIN(bytes, most));
}

/* The owner takes up to want objects that were never taken before. */
static unsigned slab_carve(struct slab *s, char *base, const struct slab_geometry *g, unsigned want, void **top) {
    unsigned carved = slab_carved(s, g), nr = MIN(want, g->nobj - carved);
    if (nr == 0)
        return 0;
    char *object = base + (size_t)carved * g->size_bytes;
    carved_bring(s, g, object, (size_t)nr * g->size_bytes);
    unsigned columns = columns_nr(g);
    for (unsigned done = 0; done < nr; done += WORD_BITS, object += (size_t)WORD_BITS * g->size_bytes) {
        unsigned word = MIN(nr - done, (unsigned)WORD_BITS);
        for (unsigned column = 0; column < columns; column++) {
            for (unsigned i = column; i < word; i += columns)
                *--top = object + (size_t)i * g->size_bytes;
        }
    }
    slab_carved_add(s, g, nr);
    return nr;
}

/* The owner takes up to want objects, used ones first. *zero becomes false unless all read as zeros. */
static unsigned slab_take_from(struct slab *s, char *base, const struct slab_geometry *g, unsigned want, void **top,
                               bool *zero) {
    unsigned used = 0, never = g->nobj - slab_carved(s, g);
    if (slab_word_free(slab_word_load(s)) > (int)never)
        used = slab_take_bits(s, base, g, want, top);
    *zero = *zero && slab_fresh(s) && used == 0;
    return used + slab_carve(s, base, g, want - used, top - used);
}

/* Of a slab that was on a list: whether it is the caller's, BOUND. Else it has no memory to be had, and is behind those
 * that have: the reserve's would not be found behind it. */
static bool slab_claim(struct slab_class *c, const struct slab_geometry *g, char *base) {
    struct slab *s = slab_at(base);
    slab_word_t was = SLAB_TRANSITION(s, slab_word_claim(w));
    if (slab_word_free(was) == g->nobj)
        slab_empties_add(c, g, -1);
    if (s->purged == 0 || slab_unpurge_try(c, s, base))
        return true;
    enum slab_duty duty;
    was = SLAB_TRANSITION(s, slab_word_unbind(w, 0, 1, &duty));
    slab_do_duty_unbacked(duty, c, base, g, slab_word_free(was));
    return false;
}

/*
 * Slabs without memory that an allocation lets pass on each list that may have others. Such slabs come to these lists
 * when a sweep purges them, and leave them for good when they are let pass. So what was used since the last sweep lies
 * above them, a slab of the reserve's first of all; and after a sweep each call that does not find it takes one more of
 * the reserve's at most, and brings it so much nearer.
 */
enum { REFUSED_TRIES = 4 };

/* A BOUND slab with something free, fullest first. What the limit forbids of one it forbids of the next, and who may
 * block makes room then; who may not finds those that are in use by now, in so many steps. */
static char *slab_listed(struct slab_class *c, const struct slab_geometry *g, bool *ret_refused) {
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++) {
        unsigned tries = list == BUCKET_UNBACKED ? 1 : REFUSED_TRIES;
        for (char *base; tries > 0 && (base = partial_pop(c, list)) != NULL; tries--) {
            if (slab_claim(c, g, base))
                return base;
            *ret_refused = true;
            if (rt_may_block())
                return NULL;
        }
    }
    return NULL;
}

/* The same from the lists or new. What the limit forbids of one on a list it forbids for a new slab, but of the
 * reserve's. */
static char *slab_get(struct slab_class *c, unsigned cls, unsigned node, unsigned taken) {
    bool refused = false;
    char *base = slab_listed(c, slab_geometry_of(cls), &refused);
    return base != NULL || (refused && rt_may_block()) ? base : slab_create(c, cls, node, taken);
}

unsigned slab_take(unsigned cls, unsigned node, unsigned want, void **top, bool *ret_zero) {
    struct slab_class *c = slab_class_at(node, cls);
    const struct slab_geometry *g = slab_geometry_of(cls);
    bool zero = true;
    unsigned taken = 0;
    while (taken < want) {
        /* Never wait for more once there is something to return. */
        char *base = slab_get(c, cls, node, taken);
        if (base == NULL)
            break;
        struct slab *s = slab_at(base);
        enum slab_duty duty;
        unsigned got = slab_take_from(s, base, g, want - taken, top - taken, &zero);
        taken += got;
        slab_word_t was = SLAB_TRANSITION(s, slab_word_unbind(w, (int)got, 1, &duty));
        slab_do_duty(duty, c, base, g, slab_word_free(was) - (int)got);
    }
    if (taken > 0) {
        atomic_fetch_add_explicit(&c->out_objs, taken, memory_order_relaxed);
        atomic_fetch_add_explicit(&rt_usage_out_bytes, (s64)taken * g->size_bytes, memory_order_relaxed);
    }
    if (ret_zero != NULL)
        *ret_zero = zero && taken > 0;
    return taken;
}
