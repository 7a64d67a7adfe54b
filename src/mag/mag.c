/* SPDX-License-Identifier: MIT */
/*
 * The slow path of the magazines: where a pop found nothing or a push no room. Whole magazines change places, each by
 * one word:
 *
 *   pop:  spare -> depot -> refill from slabs          push:  spare -> depot -> flush to slabs
 *
 * Between two steps the thread may be on another id; the magazine in its hands is its own, and where it can't be put as
 * planned it goes to the depot or is flushed. Nothing is ever lost or shared (tests/stress, tests/unit/mag).
 */
#include "mag/mag.h"

#include "base/bits.h"
#include "mag/region.h"
#include "rt/context.h"
#include "rt/options.h"
#include "rt/usage.h"
#include "slab/made.h"
#include "sys/sys.h"

enum {
    DIRECT_FREES =
        32, /* frees into an id that never allocated the class go straight to their slab: passive false sharing */
    BUDGET_PART = 4, /* of what is in use magazines may hold one part, all ids together, within the bounds below */
    CLOCK_MISSES = 64,
    REST_CLOCKS = 8,     /* so many times as many misses make a class one that rests: 512, under a millisecond */
    MAGAZINE_PART = 128, /* of what is in use one magazine may hold one part, if that is more than the bound below */
    OVER_PART = 4,       /* over its budget is an id that exceeds it by this part */
    FALL_PART = 4,       /* how far use falls between two looks for ids to empty */
    GROWTH_PART = 16,    /* how far use grows between two looks for classes out of use */
    SHED_OFTEN = 3,      /* a class they emptied so often is one the program comes back to, ... */
    SHED_RESTS = 16,     /* ... and left alone by so many */
    UNUSED_PART = 8,     /* of what is out of its slabs a class that is not used has no more than this part elsewhere */
    SHED_OBJECT_MIN_BYTES = 128, /* of smaller ones a page's worth costs more to give back than the page */
    PINNED_BYTES = 128,          /* what a smaller object counts as */
    INSIST_MISSES = 64,          /* so many misses with magazines of the size below earn a class larger ones, ... */
    INSIST_LARGE = 192,          /* ... and so many where an object's use costs more than the miss; ... */
    INSIST_FADES = 32,           /* ... so many are forgotten with each tick */
};
/* A first magazine holds at least this, and one that holds no more than that is given whatever the budget says. */
#define FIRST_MIN_BYTES 512
#define FIRST_MAX_BYTES (64 * KIB)
/* What all ids together may always hold, and in a process that wins nothing by less; each alone at least and at most.
 */
#define BUDGET_FREE_BYTES ((s64)(256 * KIB))
#define BUDGET_SMALL_BYTES ((s64)(2 * MIB))
#define BUDGET_MIN_BYTES ((s64)(32 * KIB))
#define BUDGET_MAX_BYTES ((s64)(2 * MIB))
/* A process that holds no more than this altogether is small. */
#define SHRINK_MIN_BYTES ((s64)(8 * MIB))
/* Up to here free pages may be so many that what an unused class gives back would only wait among them (page/purge.c),
 * and be touched anew elsewhere. */
#define UNUSED_MIN_BYTES ((s64)(16 * MIB))
#define GROWTH_MIN_BYTES ((s64)(512 * KIB))
/* Who grows further lives long enough for ticks. */
#define GROWTH_MAX_BYTES ((s64)(32 * MIB))
/* The budget of large objects (MAG_LARGE_BYTES); one class may exceed it. */
#define LARGE_MIN_BYTES ((s64)(512 * KIB))
#define LARGE_MAX_BYTES ((s64)(4 * MIB))
#define MAGAZINE_FREE_BYTES ((s64)(64 * KIB))
/* What of another node may wait in any case. */
#define AWAY_MIN_BYTES (4 * KIB)
/* Up to here a first magazine holds six objects, above two, and large ones one. */
#define MEDIUM_BYTES (4 * KIB)
/* From here on zeroing an object costs more than taking it from its slab. */
#define SINGLE_ZERO_BYTES (8 * KIB)

/* More than the usual: nodes to be looked for, or a thread that is not where its id was. The fast path alone would not
 * find out: what it frees it hands out again. */
static NOINLINE unsigned node_settle(enum page_open how) {
    if (page_nodes_are_wanted())
        (void)mag_nodes_start(how);
    if (how == PAGE_OPEN_WAIT)
        page_node_heed();
    unsigned node = page_node_here();
    if (page_nodes_nr() > 1 && page_node_hinted() == PAGE_NODE_ANY)
        region_follow(node);
    return node;
}

/* --- sizes of magazines --- */

static bool process_is_small(void) { return rt_usage_get() <= SHRINK_MIN_BYTES; }

/* Ids that have magazines of the kind: whoever was there once, and was emptied since, has no share. */
static _Atomic(s32) sharing_ids_nr[MAG_KINDS_NR];

static void sharers_add(struct mag_region *r, enum mag_kind kind, s32 classes) {
    s32 had = classes == 0 ? 0 : atomic_fetch_add_explicit(&r->sharers_nr[kind], classes, memory_order_relaxed);
    s32 ids = (had + classes > 0) - (had > 0);
    if (ids != 0)
        atomic_fetch_add_explicit(&sharing_ids_nr[kind], ids, memory_order_relaxed);
}

static s32 sharers_get(struct mag_region *r, enum mag_kind kind) {
    return atomic_load_explicit(&r->sharers_nr[kind], memory_order_relaxed);
}

static s64 budget_bytes(struct mag_region *r, enum mag_kind kind) {
    s32 others = atomic_load_explicit(&sharing_ids_nr[kind], memory_order_relaxed) - (sharers_get(r, kind) > 0);
    unsigned ids_shift = bits_log2_up((u64)MAX(others, 0) + 1);
    s64 all = rt_usage_out_get() / BUDGET_PART;
    if (kind == MAG_LARGE)
        return CLAMP(all >> ids_shift, LARGE_MIN_BYTES, LARGE_MAX_BYTES);
    s64 always = process_is_small() ? BUDGET_SMALL_BYTES : BUDGET_FREE_BYTES;
    return CLAMP(MAX(all, always) >> ids_shift, BUDGET_MIN_BYTES, BUDGET_MAX_BYTES);
}

/* A magazine fills a block; of objects beyond some size fewer are too much already. */
static unsigned level_cap(unsigned cls, unsigned level) {
    size_t size_bytes = slab_geometry_of(cls)->size_bytes;
    unsigned cap = ((1u << (MAG_SHIFT_MIN + level)) / (unsigned)sizeof(u64)) - 2;
    if (size_bytes > MAG_LARGE_BYTES)
        cap = 1u << level;
    else if (size_bytes > MEDIUM_BYTES)
        cap = 2u << level;
    return MIN(cap, mag_class_cap_get(cls));
}

/* What one magazine may hold for what the program has in use: in a small process many classes are used a little, and
 * what each of them keeps is what the others cannot have. */
static s64 magazine_most_bytes(void) { return MAX(rt_usage_out_get() / MAGAZINE_PART, MAGAZINE_FREE_BYTES); }

static s64 capacity_get(struct mag_region *r, enum mag_kind kind) {
    return atomic_load_explicit(&r->capacity_bytes[kind], memory_order_relaxed);
}

/* What the magazines of a class at this level hold on average: one in the slot and a spare, half full. A small object
 * counts for more than its size, because it keeps its page from being given back. */
static s64 level_bytes(unsigned cls, unsigned level) {
    return level == 0 ? 0 : (s64)level_cap(cls, level - 1) * MAX(slab_geometry_of(cls)->size_bytes, PINNED_BYTES);
}

static unsigned level_get(struct mag_region *r, unsigned cls) {
    return atomic_load_explicit(&region_class(r, cls)->level, memory_order_relaxed);
}

/* See insists(). by: of so many counted misses all are forgotten. */
static void insisting_fade(struct mag_region *r, unsigned cls, unsigned by) {
    u8 counted = atomic_load_explicit(&region_class(r, cls)->direct, memory_order_relaxed);
    if (counted > DIRECT_FREES)
        atomic_store_explicit(&region_class(r, cls)->direct, (u8)MAX((int)counted - (int)by, (int)DIRECT_FREES),
                              memory_order_relaxed);
}

static void level_set(struct mag_region *r, unsigned cls, unsigned level) {
    unsigned before = atomic_exchange_explicit(&region_class(r, cls)->level, (u8)level, memory_order_relaxed);
    if (level == 0)
        insisting_fade(r, cls, INSIST_LARGE);
    s64 more = level_bytes(cls, level) - level_bytes(cls, before);
    atomic_fetch_add_explicit(&r->capacity_bytes[mag_kind_of(cls)], more, memory_order_relaxed);
    sharers_add(r, mag_kind_of(cls), (level != 0) - (before != 0));
}

/* What a class of the id may hold while the budget is shared by as many as now. */
static s64 class_part_bytes(struct mag_region *r, enum mag_kind kind) {
    return budget_bytes(r, kind) / MAX(sharers_get(r, kind), 1);
}

/* Use fell, not by the little that it varies anyway: the class is brought down to its part of the budget. One that has
 * less keeps it; were it the one that misses most that shrinks, those with the least would lose the most. */
static bool shrink_if_over(struct mag_region *r, unsigned cls) {
    enum mag_kind kind = mag_kind_of(cls);
    s64 budget = budget_bytes(r, kind);
    if (capacity_get(r, kind) <= budget + budget / OVER_PART || process_is_small())
        return false;
    s64 part = class_part_bytes(r, kind);
    unsigned level = level_get(r, cls), fit = level;
    while (fit > 1 && level_bytes(cls, fit) > part)
        fit--;
    if (fit != level)
        level_set(r, cls, fit);
    return fit != level;
}

static void magazine_flush(struct mag_region *r, u64 m) {
    COUNT(r, flushes);
    mag_flush(m);
}

/* A magazine of the class that nobody needs at its place: to its node's depot when full, else its objects to their
 * slabs. Where none holds more than one object, which is a slab, the list of those does as well. */
static void magazine_dispose(struct mag_region *r, unsigned cls, u64 m) {
    if (mag_is_empty(m)) {
        mag_unmake(m);
        return;
    }
    unsigned node = page_nodes_nr() == 1 ? 0 : mag_node(m);
    node_count_remote(region_home(r), node, mag_count(m));
    if (mag_is_full(m) && mag_class_cap_get(cls) > 1 && depot_put(slot_at(cls, node), m))
        COUNT(r, depot_puts);
    else
        magazine_flush(r, m);
}

/* m becomes the spare, if there may be one and there is none. What belongs to another node goes back at once. */
static void spare_put(struct mag_region *r, unsigned slot, u64 m) {
    unsigned cls = slot_class(slot);
    if (mag_kind_of(cls) == MAG_LARGE || slot_node(slot) != region_home(r) || !region_put_spare(cls, m))
        magazine_dispose(r, cls, m);
}

/* Whether what was the spare has objects of the slot. Where the id came from another node it has that one's. */
static bool spare_serves(unsigned slot, u64 spare) {
    return !mag_is_empty(spare) && (page_nodes_nr() == 1 || mag_node(spare) == slot_node(slot));
}

void mag_level_reset(struct mag_region *r, unsigned cls) { level_set(r, cls, 0); }

static u64 *home_slot(struct mag_region *r, unsigned cls) { return &r->slot[slot_at(cls, region_home(r))]; }

static bool class_empty(struct mag_region *r, unsigned cls, u64 seen) {
    if (!region_take_slot(slot_at(cls, region_home(r)), seen))
        return false;
    if (!mag_is_null(seen))
        magazine_dispose(r, cls, seen);
    u64 spare = region_take_spare(cls);
    if (spare != 0)
        magazine_dispose(r, cls, spare);
    level_set(r, cls, 0);
    return true;
}

/* The class's share of the budget, and what its magazines hold, are given up. False: it was used at this very moment.
 */
static bool class_give_up(struct mag_region *r, unsigned cls, u64 seen) {
    if (!slab_made_enter(cls))
        return false;
    bool given = class_empty(r, cls, seen);
    slab_made_leave(cls);
    return given;
}

/* No wave will want what the last one left: this id's classes give up what is beyond their part, depots what they have
 * no more room for, and slabs the pages without an object. Nobody may call again, so nothing can wait. */
static void end_of_waves(struct mag_region *r, unsigned asking) {
    for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls)) {
        if (cls != asking && level_bytes(cls, level_get(r, cls)) > class_part_bytes(r, mag_kind_of(cls)))
            (void)class_give_up(r, cls, ref_load(home_slot(r, cls)));
    }
    depots_fit();
    for (unsigned cls = 1; cls < slab_ids_end_get(); cls++)
        slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE);
}

/* Use falls, and ids that nobody is on any more give up what they have, or the last thread to free would leave behind
 * what the others kept when there was more. Looked at each time use has fallen by a part. */
static void look_if_use_falls(struct mag_region *r, unsigned asking) {
    static _Atomic(s64) last;
    s64 out = rt_usage_out_get(), before = atomic_load_explicit(&last, memory_order_relaxed);
    if (out <= before && out > before - before / FALL_PART)
        return;
    atomic_store_explicit(&last, out, memory_order_relaxed);
    if (out >= before || process_is_small() || !rt_may_block())
        return;
    mag_drain(MAG_DRAIN_IDLE);
    if (!rt_usage_in_waves())
        end_of_waves(r, asking);
}

/* The misses of this id, in units that 16 bits hold for a while. */
static u16 miss_clock(struct mag_region *r) {
    return (u16)(atomic_load_explicit(&r->counts.misses, memory_order_relaxed) / CLOCK_MISSES);
}

static void class_missed(struct mag_region *r, unsigned cls) {
    COUNT(r, misses);
    atomic_store_explicit(&region_class(r, cls)->since, miss_clock(r), memory_order_relaxed);
}

/* Whether the class's slot stands where it stood REST_CLOCKS ago, at each look meanwhile, and missed nothing. */
static bool class_rests(struct mag_region *r, unsigned cls, u64 slot) {
    u16 now = miss_clock(r);
    u8 mark = (u8)(slot / sizeof(u64));
    if (mark == atomic_load_explicit(&region_class(r, cls)->mark, memory_order_relaxed))
        return (u16)(now - atomic_load_explicit(&region_class(r, cls)->since, memory_order_relaxed)) >= REST_CLOCKS;
    atomic_store_explicit(&region_class(r, cls)->mark, mark, memory_order_relaxed);
    atomic_store_explicit(&region_class(r, cls)->since, now, memory_order_relaxed);
    return false;
}

/* The class a clock hand comes to next, of those from first to end. */
static unsigned hand_next(_Atomic(u16) *hand, unsigned first, unsigned end) {
    unsigned next = slab_id_after(atomic_load_explicit(hand, memory_order_relaxed));
    next = next < first || next >= end ? first : next;
    atomic_store_explicit(hand, (u16)next, memory_order_relaxed);
    return next;
}

/*
 * The budget is spent: a class that rests gives its share to the one that asks. A clock hand goes over the classes, one
 * for each miss. What rests is told by the id's misses, so that it takes as long as the program takes to do something
 * else.
 */
static bool class_rob(struct mag_region *r, unsigned asking) {
    unsigned cls = hand_next(&r->hand, 1, mag_ids_end_get());
    if (cls == asking || level_get(r, cls) == 0 || mag_kind_of(cls) != mag_kind_of(asking))
        return false;
    u64 seen = ref_load(home_slot(r, cls));
    return class_rests(r, cls, seen) && class_give_up(r, cls, seen);
}

/* Hardly an object of the class is with the program: nearly all that is out of its slabs is here or in the depot. A
 * hint. */
static bool class_is_unused(struct mag_region *r, unsigned cls, u64 seen) {
    unsigned level = level_get(r, cls), cap = level == 0 ? 0 : level_cap(cls, level - 1);
    u64 spare = ref_load(&region_class(r, cls)->spare), kept = (u64)depot_objs_racy(cls);
    struct slab_class_stats st;
    kept += mag_is_null(seen) ? 0 : mag_count_guess(seen, cap);
    kept += spare <= SPARE_STOPPED ? 0 : mag_count_guess(spare, cap);
    slab_class_stats_get(cls, &st);
    return kept >= st.out_objs - st.out_objs / UNUSED_PART;
}

/* Where the program has turned to other sizes, what a class keeps is memory they could have. True: it is given back. */
static bool unused_give(struct mag_region *r, unsigned cls, u64 seen) {
    if (!slab_made_enter(cls))
        return false;
    bool given = class_is_unused(r, cls, seen) && class_empty(r, cls, seen);
    if (given)
        depot_empty(cls);
    slab_made_leave(cls);
    return given;
}

/*
 * Beyond MEDIUM_BYTES few objects share a slab, so those in a magazine may keep as many slabs, and large ones are much
 * by themselves. They are not to wait for a tick: at each miss a hand passes one such class; one that rests, and of
 * which the program has hardly an object, gives all back.
 */
static void unused_look(struct mag_region *r, unsigned asking) {
    unsigned cls = hand_next(&r->large_hand, slab_class_for(MEDIUM_BYTES) + 1, SLAB_CLASSES_NR);
    if (cls == asking || level_get(r, cls) == 0 || rt_usage_get() <= UNUSED_MIN_BYTES)
        return;
    u64 seen = ref_load(home_slot(r, cls));
    if (class_rests(r, cls, seen) && rt_may_block())
        (void)unused_give(r, cls, seen);
}

static _Atomic(u64) shed_bytes;
u64 mag_shed_bytes(void) { return atomic_load_explicit(&shed_bytes, memory_order_relaxed); }

/* How often a class was emptied; behind SHED_OFTEN, for how many looks it was left alone. A hint. */
static _Atomic(u8) shed_nr[SLAB_CLASSES_NR];

static bool shed_is_due(unsigned cls) {
    u8 nr = atomic_load_explicit(&shed_nr[cls], memory_order_relaxed);
    if (nr < SHED_OFTEN)
        return true;
    atomic_store_explicit(&shed_nr[cls], nr >= SHED_OFTEN + SHED_RESTS ? 0 : nr + 1, memory_order_relaxed);
    return false;
}

static void class_shed(struct mag_region *r, unsigned cls) {
    if (!shed_is_due(cls) || !unused_give(r, cls, ref_load(home_slot(r, cls))))
        return;
    atomic_fetch_add_explicit(&shed_nr[cls], 1, memory_order_relaxed);
    slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO);
}

/*
 * Memory in use grows: what a program keeps of sizes it has passed through could have served, and so could their wholly
 * free slabs, of which every class may keep a few. Looked at each time use has grown by a part, which costs page faults
 * anyway; there and not at ticks, because a small program of a tenth of a second has none. Large classes have a look of
 * their own, and slabs that are kept where they are wanted back. A trough of waves looks like a size passed through:
 * whose objects are wanted back again and again is left alone.
 */
static void look_if_use_grows(struct mag_region *r, unsigned asking) {
    static _Atomic(s64) last;
    s64 use = rt_usage_get(), before = atomic_load_explicit(&last, memory_order_relaxed);
    if (use >= before && use - before < MAX(before / GROWTH_PART, GROWTH_MIN_BYTES))
        return;
    if ((use >= before && !rt_may_block()) ||
        !atomic_compare_exchange_strong_explicit(&last, &before, use, memory_order_relaxed, memory_order_relaxed) ||
        use < before || use > GROWTH_MAX_BYTES)
        return;
    s64 out = rt_usage_out_get();
    for (unsigned cls = slab_class_for(SHED_OBJECT_MIN_BYTES); mag_kind_of(cls) == MAG_SMALL; cls++) {
        if (cls != asking && level_get(r, cls) != 0)
            class_shed(r, cls);
    }
    /* A hint: what others gave back or took meanwhile is among it. */
    atomic_fetch_add_explicit(&shed_bytes, (u64)MAX(out - rt_usage_out_get(), 0), memory_order_relaxed);
}

/* What waits here for another node, without the rest of its magazine. */
static void node_rest(struct mag_region *r, unsigned node) {
    for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls)) {
        u64 seen = ref_load(&r->slot[slot_at(cls, node)]);
        if (mag_is_null(seen) || !slab_made_enter(cls))
            continue;
        if (region_take_slot(slot_at(cls, node), seen))
            magazine_dispose(r, cls, seen);
        slab_made_leave(cls);
    }
}

void mag_rest(void) {
    (void)node_settle(PAGE_OPEN_TRY);
    struct mag_region *r = region_mine_racy();
    if (r == NULL)
        return;
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        if (node != region_home(r))
            node_rest(r, node);
    }
    for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls)) {
        u64 seen = ref_load(home_slot(r, cls));
        insisting_fade(r, cls, INSIST_FADES);
        if (level_get(r, cls) == 0)
            continue;
        if (class_rests(r, cls, seen))
            (void)class_give_up(r, cls, seen);
        else if (rt_usage_get() > UNUSED_MIN_BYTES)
            (void)unused_give(r, cls, seen);
    }
}

static bool budget_admits(struct mag_region *r, unsigned cls, s64 more_bytes) {
    s64 have = capacity_get(r, mag_kind_of(cls));
    return have + more_bytes <= budget_bytes(r, mag_kind_of(cls)) || (have == 0 && mag_kind_of(cls) == MAG_LARGE);
}

/* A full magazine of cap objects came from the depot: it counts as if this id had asked for one as large. */
static void level_raise(struct mag_region *r, unsigned cls, unsigned cap) {
    unsigned level = level_get(r, cls), want = level;
    while (want < LEVELS_NR && (want == 0 || level_cap(cls, want - 1) < cap))
        want++;
    if (want != level && budget_admits(r, cls, level_bytes(cls, want) - level_bytes(cls, level)))
        level_set(r, cls, want);
}

/* The level a class starts from: a magazine of few small objects would be used up at once, and has few cache lines. */
static unsigned level_first(unsigned cls) {
    unsigned level = 0;
    unsigned most = mag_class_cap_get(cls); /* of a made class, perhaps few of them */
    while (level_cap(cls, level) < most && level_cap(cls, level) * slab_geometry_of(cls)->size_bytes < FIRST_MIN_BYTES)
        level++;
    return level;
}

/* A class whose magazine is as large as it becomes for little use: a program that passes through many classes misses a
 * few times in each, one that works in waves of this class again and again. Counts on from the frees that went
 * straight, of which there are no more. */
static bool insists(struct mag_region *r, unsigned cls) {
    u8 counted = MAX(atomic_load_explicit(&region_class(r, cls)->direct, memory_order_relaxed), (u8)DIRECT_FREES);
    bool enough = counted >= DIRECT_FREES + (mag_kind_of(cls) == MAG_LARGE ? INSIST_LARGE : INSIST_MISSES);
    atomic_store_explicit(&region_class(r, cls)->direct, enough ? DIRECT_FREES : (u8)(counted + 1),
                          memory_order_relaxed);
    return enough;
}

/* Each miss makes this id's next magazine of the class larger, up to the class's bound and the id's budget. Returns the
 * capacity to use now; 0: the class has no magazines here. */
static unsigned next_cap(struct mag_region *r, unsigned cls) {
    unsigned level = level_get(r, cls), before = level == 0 ? 0 : level_cap(cls, level - 1);
    if (level >= LEVELS_NR)
        return before;
    unsigned next = MAX(level, level_first(cls)), cap = level_cap(cls, next);
    if (level != 0 && (s64)cap * slab_geometry_of(cls)->size_bytes > magazine_most_bytes() && !insists(r, cls))
        return before;
    s64 more = level_bytes(cls, next + 1) - level_bytes(cls, level);
    if (more != 0 && (budget_admits(r, cls, more) || (class_rob(r, cls) && budget_admits(r, cls, more)))) {
        level_set(r, cls, next + 1);
        return cap;
    }
    /* Past the budget a class of small objects still gets a little, so that a loop of malloc and free stays in its
     * magazine. */
    if (mag_kind_of(cls) == MAG_LARGE)
        return before;
    return before != 0 ? before : MIN(cap, (unsigned)(FIRST_MAX_BYTES / slab_geometry_of(cls)->size_bytes));
}

/* --- pop --- */

/* m, which is not empty, becomes the magazine of this id's slot if that is still empty. */
static void install_nonempty(struct mag_region *r, unsigned slot, u64 m) {
    u64 old;
    if (region_swap_if_empty(SLOT_OFF(slot), m, &old) != RSEQ_DONE) {
        spare_put(r, slot, m);
        return;
    }
    if (!mag_is_null(old))
        spare_put(r, slot, (u64)mag_header(old));
}

/* Fills a new magazine of the class from the slabs, lower addresses on top. Returns its top, or 0 when there is no
 * memory for either. */
static u64 refill(struct mag_region *r, unsigned slot, unsigned cap, u64 empty) {
    COUNT(r, refills);
    depot_regret(slot);
    if (empty != 0 && mag_cap(empty) != cap) {
        mag_unmake(empty);
        empty = 0;
    }
    u64 m = empty != 0 ? empty : mag_make(cap, region_home(r));
    if (m == 0)
        return 0;
    u64 *w = (u64 *)m; // NOLINT(performance-no-int-to-ptr)
    unsigned got = slab_take(slot_class(slot), slot_node(slot), cap, (void **)(w + cap + 1), NULL);
    if (got == 0) {
        mag_unmake(m);
        return 0;
    }
    /* slab_take fills from the top down: close the gap below. */
    for (unsigned i = 0; got < cap && i < got; i++)
        w[1 + i] = w[1 + cap - got + i];
    return (u64)(w + got);
}

/* One object straight from a slab. When the node has none, not even a run for a new slab, the nearest that has. */
static void *alloc_one(unsigned cls, unsigned node, enum mag_near near, bool *ret_zero) {
    void *obj;
    if (LIKELY(slab_take(cls, node, 1, &obj + 1, ret_zero) == 1))
        return obj;
    for (unsigned nth = 1; near == MAG_NEAR && nth < page_nodes_nr(); nth++) {
        if (slab_take(cls, page_node_near(node, nth), 1, &obj + 1, ret_zero) == 1) {
            node_count_astray(1);
            return obj;
        }
    }
    return NULL;
}

/* A magazine with at least one object, out of spare, depot or (unless told not to) slabs; 0 when the class has none
 * here or memory is out. */
static u64 find_nonempty(struct mag_region *r, unsigned slot, bool no_refill) {
    unsigned cls = slot_class(slot);
    u64 spare = slot_node(slot) == region_home(r) ? region_take_spare(cls) : 0, m;
    if (spare != 0 && spare_serves(slot, spare))
        return spare;
    if (spare != 0 && !mag_is_empty(spare)) {
        magazine_dispose(r, cls, spare);
        spare = 0;
    }
    if ((m = depot_get(slot)) != 0) {
        COUNT(r, depot_gets);
        mag_unmake(spare);
        level_raise(r, cls, mag_count(m));
        return m;
    }
    unsigned cap = no_refill ? 0 : next_cap(r, cls);
    if (cap == 0) {
        mag_unmake(spare);
        return 0;
    }
    return refill(r, slot, cap, spare);
}

/* One object for a caller who wants zeros: of a large class better a single one whose content is known than a magazine
 * full of which nothing is known. */
static bool wants_single(unsigned cls, const bool *ret_zero) {
    return ret_zero != NULL && slab_geometry_of(cls)->size_bytes >= SINGLE_ZERO_BYTES;
}

/* Of a class without a slot there is no magazine in any region. */
static ALWAYS_INLINE struct mag_region *region_for(unsigned cls) {
    return slab_has_slot(cls) ? region_mine_racy() : NULL;
}

/* untried: the caller has not looked into the magazine of this very node. */
static ALWAYS_INLINE void *alloc_in(struct mag_region *r, unsigned cls, unsigned node, enum mag_near near,
                                    bool *ret_zero, bool untried) {
    unsigned slot = slot_at(cls, node);
    void *obj;
    if (ret_zero != NULL)
        *ret_zero = false;
    if (UNLIKELY(r == NULL))
        return alloc_one(cls, node, near, ret_zero);
    COUNT(r, slow_allocs);
    if ((untried || region_untried(r)) && region_pop(slot, &obj) == RSEQ_DONE)
        return obj;
    class_missed(r, cls);
    unused_look(r, cls);
    look_if_use_grows(r, cls);
    u64 m = find_nonempty(r, slot, wants_single(cls, ret_zero));
    if (m == 0)
        return alloc_one(cls, node, near, ret_zero);
    obj = (void *)*(u64 *)m; // NOLINT(performance-no-int-to-ptr)
    install_nonempty(r, slot, m - sizeof(u64));
    return obj;
}

void *mag_alloc_node(unsigned cls, unsigned node, enum mag_near near, bool *ret_zero) {
    (void)thread_joins();
    return alloc_in(region_for(cls), cls, node, near, ret_zero, true);
}

/* The region first: when it is the second, nodes are looked for, and nothing comes from the wrong one meanwhile. */
void *mag_alloc(unsigned cls, bool *ret_zero) {
    bool joined = thread_joins();
    struct mag_region *r = region_for(cls);
    unsigned node = LIKELY(page_nodes_nr() == 1 && !page_nodes_are_wanted()) ? 0 : node_settle(PAGE_OPEN_WAIT);
    /* With several nodes the fast path may have tried another one's. */
    return alloc_in(r, cls, node, MAG_NEAR, ret_zero, joined || UNLIKELY(page_nodes_nr() != 1));
}

/* --- push --- */

/* Objects of other nodes are only on their way: what may wait of all other nodes together is no more than what is kept
 * here for use. Of a magazine for one there is no use. */
static unsigned cap_away(unsigned cls, unsigned cap) {
    unsigned few = MIN(cap, (unsigned)(AWAY_MIN_BYTES / slab_geometry_of(cls)->size_bytes));
    cap = MAX(cap >> bits_log2_up(page_nodes_nr()), few);
    return cap == 1 ? 0 : cap;
}

/* An empty magazine, out of the spare or new; 0 when the class has none here. A full spare makes room in the depot. */
static u64 find_empty(struct mag_region *r, unsigned slot) {
    unsigned cls = slot_class(slot);
    /* The program holds less than it did: its magazines shrink with it. */
    look_if_use_falls(r, cls);
    bool shrink = shrink_if_over(r, cls);
    unsigned cap = next_cap(r, cls);
    bool home = slot_node(slot) == region_home(r);
    if (UNLIKELY(!home))
        cap = cap_away(cls, cap);
    u64 spare = home ? region_take_spare(cls) : 0;
    if (spare != 0 && mag_is_empty(spare) && mag_cap(spare) == cap)
        return spare;
    if (spare != 0 && shrink)
        magazine_flush(r, spare);
    else if (spare != 0)
        magazine_dispose(r, cls, spare);
    return cap == 0 ? 0 : mag_make(cap, region_home(r));
}

/* Frees of objects of a class this id never allocated, at first: their cache lines are better left to those who share
 * them. */
static bool goes_straight(struct mag_region *r, unsigned cls) {
    if (level_get(r, cls) != 0)
        return false;
    u8 direct = atomic_load_explicit(&region_class(r, cls)->direct, memory_order_relaxed);
    if (direct >= DIRECT_FREES)
        return false;
    atomic_store_explicit(&region_class(r, cls)->direct, (u8)(direct + 1), memory_order_relaxed);
    return true;
}

/*
 * A full magazine made way for one at least twice as large: its objects follow, instead of making it the spare. Else a
 * program that takes and returns a few more objects than it holds would empty the one and fill the other in each turn,
 * for good, since both are then found as they are wanted and none grows.
 */
static bool outgrown(u64 old_full, unsigned cap) {
    unsigned nr = mag_count(old_full);
    return nr <= MAG_RUN_MAX && 2 * nr <= cap;
}

static void objects_follow(unsigned slot, u64 old_full) {
    u64 *w = mag_header(old_full);
    unsigned nr = (unsigned)((u64 *)old_full - w); // NOLINT(performance-no-int-to-ptr)
    unsigned done = (unsigned)region_push_run(slot, nr, (void *const *)(w + 1));
    if (done < nr)
        slab_give((void *const *)(w + 1 + done), nr - done);
    mag_unmake((u64)w);
}

void mag_free(unsigned slot, void *p) {
    bool bare = slot_class(slot) == SLAB_BARE;
    bool joined = thread_joins();
    if (UNLIKELY(page_nodes_nr() != 1))
        (void)node_settle(PAGE_OPEN_TRY);
    struct mag_region *r = bare ? NULL : region_mine_racy();
    if (r != NULL) {
        COUNT(r, slow_frees);
        if ((joined || region_untried(r)) && region_push(slot, p) == RSEQ_DONE)
            return;
        class_missed(r, slot_class(slot));
    }
    u64 m = r == NULL || goes_straight(r, slot_class(slot)) ? 0 : find_empty(r, slot);
    if (m == 0) {
        node_count_remote(r == NULL ? page_node_here() : region_home(r), slot_node(slot), 1);
        slab_give(&p, 1);
        return;
    }
    unsigned cap = mag_cap(m);
    u64 *top = (u64 *)m; // NOLINT(performance-no-int-to-ptr)
    u64 old;
    top[1] = (u64)p;
    m = (u64)(top + 1);
    if (region_swap_if_full(SLOT_OFF(slot), m, &old) != RSEQ_DONE) {
        mag_flush(m); /* another thread was quicker; rare */
        return;
    }
    if (mag_is_null(old))
        return;
    if (mag_count(old) > cap) { /* the class shrinks */
        node_count_remote(region_home(r), slot_node(slot), mag_count(old));
        magazine_flush(r, old);
    } else if (outgrown(old, cap)) {
        objects_follow(slot, old);
    } else {
        spare_put(r, slot, old);
    }
}

/* --- start --- */

static const char *mode_name = "locked";
const char *mag_mode_name(void) { return mode_name; }

/* Whether quarry is to register areas where libc has registered none. */
static bool registering_wanted(void) {
    return rt_opt.rseq == OPT_RSEQ_OWN ||
           (rt_opt.rseq == OPT_RSEQ_AUTO && !sys_rseq_is_off(sys_secure() ? NULL : sys_environ()));
}

/* Ids by rseq, if the options and the system agree. Not in a child of vfork, nor in one that such a child forked:
 * libc's area shows an id there, and the kernel knows of none. */
static void mode_choose(void) {
    ptrdiff_t offset;
    if (!QUARRY_RSEQ || rt_opt.percpu == OPT_PERCPU_OFF || rt_opt.fake_cpus != 0 || thread_area_is_closed())
        return;
    enum sys_rseq have = sys_rseq_probe(&offset);
    bool own = have == SYS_RSEQ_NONE && registering_wanted();
    if (own) {
        have = sys_rseq_filled();
        offset = (char *)&mag_rseq_own - (char *)sys_thread_self(); // NOLINT(performance-no-int-to-ptr)
    }
    if (have == SYS_RSEQ_NONE || (have == SYS_RSEQ_CPU_ID && rt_opt.percpu == OPT_PERCPU_MM_CID))
        return;
    bool by_cid = have == SYS_RSEQ_MM_CID && rt_opt.percpu != OPT_PERCPU_CPU_ID;
    mag_id_offset =
        offset + (ptrdiff_t)(by_cid ? offsetof(struct mag_rseq_area, mm_cid) : offsetof(struct mag_rseq_area, cpu_id));
    mag_rseq_offset = offset;
    if (!own || threads_register()) /* where it cannot, no area says an id */
        mode_name = by_cid ? "mm_cid" : "cpu_id";
}

/* By RSEQ_POP_ENTRY; absent where the entry point is. */
extern HIDDEN const struct mag_section mag_section_malloc __attribute__((weak));
extern HIDDEN const struct mag_section mag_section_new __attribute__((weak));

static void entries_init(void) {
    if (&mag_section_malloc != NULL)
        mag_tabs.entries.malloc = mag_section_malloc;
    if (&mag_section_new != NULL)
        mag_tabs.entries.new = mag_section_new;
}

int mag_init(void) {
    entries_init();
    magazines_init();
    if (slab_init(&mag_tabs.classes) != 0 || regions_init() != 0)
        return -1;
    mode_choose();
    mag_tabs.small_limit = SLAB_SMALL_MAX + 1;
    mag_tabs.medium_limit = SLAB_MEDIUM_MAX;
    mag_tabs.large_limit = MIN(rt_opt.vmalloc_threshold, (u64)SLAB_OBJECT_MAX);
    return 0;
}
