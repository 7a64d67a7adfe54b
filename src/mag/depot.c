/* SPDX-License-Identifier: MIT */
/*
 * The depot: full magazines between the CPUs and the slabs, for each class and node some lock-free stacks, of which an
 * id has one, and the others' besides where slabs have few free objects. How much it may hold follows demand without a
 * clock: each one asked for earns room for two, each one put in costs room for one, so that threads that pass objects
 * on, or free and allocate in turn, keep a full depot, and a program that only frees soon has none. That matters for
 * memory: objects freed in random order pin a slab each. Beyond that it is bounded in bytes, in proportion to what the
 * class has in use, and trimmed by working set: what stayed unused through two intervals goes back to the slabs (the
 * magazine layer of libumem). A bound that sent objects to their slabs which were wanted again at once was too low: by
 * what is regretted it grows, until it lies idle.
 */
#include "mag/region.h"
#include "mag/rseq.h"
#include "rt/options.h"
#include "rt/pool.h"
#include "rt/usage.h"
#include "slab/made.h"

#define DEPOT_MIN_BYTES (512 * KIB)
#define REGRET_MAX_BYTES ((s64)(4 * MIB)) /* all depots together */
#define REGRET_OBJECT_MIN_BYTES 1024      /* what is smaller keeps more than its own size from being given back */

enum {
    STACKS_NR = 4, /* as many as fit into a line with the rest */
    PLENTY_MAGAZINES = 4,
    LIVE_PART = 8,
    CREDIT_START = 4, /* magazines */
    CREDIT_MIN = 0,
    CREDIT_MAX = 64,
    CREDIT_PER_GET = 2,
    REGRET_AFTER = 16,    /* refills of what was refused, between two trims */
    REGRET_FADES_BY = 16, /* one part with each trim */
};

static struct mag_depot {
    struct rt_stack full[STACKS_NR]; /* by id */
    _Atomic(s32) objs;
    _Atomic(s32) objs_min;  /* fewest since the last trim */
    _Atomic(s32) idle_objs; /* unused through the interval before */
    _Atomic(s32) credit;  /* magazines it may hold, less CREDIT_START. Approximate under contention, as what follows. */
    _Atomic(s32) refused; /* objects that found no room since the last trim, and were not wanted yet */
    _Atomic(s32) refills; /* since the last trim, of those */
    _Atomic(s32) regretted; /* objects for which there is more room, because they were wanted; never below 0 */
} depots[SLAB_SLOT_IDS_NR];

/* Those of further nodes, made with them. */
static struct mag_depot *node_depots[PAGE_NODES_MAX];

const struct mag_depots_view mag_depots_view = {&depots[0].objs, sizeof(depots[0]), node_depots,
                                                offsetof(struct mag_depot, objs)};

int depots_make(unsigned nodes_nr) {
    for (unsigned node = 1; node < nodes_nr; node++) {
        if (node_depots[node] == NULL)
            node_depots[node] = rt_meta_alloc_near(node, sizeof(depots), CACHE_LINE);
        if (node_depots[node] == NULL)
            return -1;
    }
    return 0;
}

static struct mag_depot *depot_at(unsigned cls, unsigned node) {
    return LIKELY(node == 0) ? &depots[cls] : &node_depots[node][cls];
}

static struct mag_depot *depot_for(unsigned slot) { return depot_at(slot_class(slot), slot_node(slot)); }

/* Bytes in all depots together, and how many of them there is more room for. */
static _Atomic(s64) total_bytes[MAG_KINDS_NR], regretted_bytes;

static void total_add(unsigned cls, s64 bytes) {
    atomic_fetch_add_explicit(&total_bytes[mag_kind_of(cls)], bytes, memory_order_relaxed);
}

static s64 total_get(enum mag_kind kind) { return atomic_load_explicit(&total_bytes[kind], memory_order_relaxed); }

/* In proportion to what the class has out beyond the depot itself. */
static size_t depot_max_bytes(const struct mag_depot *d, unsigned cls, s32 objs) {
    size_t size_bytes = slab_geometry_of(cls)->size_bytes;
    struct slab_class_stats st;
    slab_class_stats_get(cls, &st);
    u64 live = st.out_objs - MIN(st.out_objs, (u64)MAX(objs, 0));
    size_t regretted = (size_t)atomic_load_explicit(&d->regretted, memory_order_relaxed);
    size_t least = DEPOT_MIN_BYTES + regretted * size_bytes;
    return MIN(MAX(live * size_bytes / LIVE_PART, least), rt_opt.depot_bytes);
}

/* All classes share what one alone may have at least, or a part of all that is out: a program with many classes that
 * freed everything and sleeps must not keep a full depot for each. Large objects have no such part: in a depot they
 * serve one class, and as the free runs that their slabs become all of them. */
static bool depots_full(enum mag_kind kind, size_t more_bytes) {
    s64 least = (s64)DEPOT_MIN_BYTES;
    if (rt_usage_in_waves())
        least += atomic_load_explicit(&regretted_bytes, memory_order_relaxed);
    s64 large = total_get(MAG_LARGE) + (s64)more_bytes, all = total_get(MAG_SMALL) + large;
    return (kind == MAG_LARGE && large > least) || all > MAX(rt_usage_out_get() / LIVE_PART, least);
}

/* --- regret --- */

/* No more is remembered than there may ever be room for. */
static void refused_add(struct mag_depot *d, unsigned cls, s32 objs) {
    s32 most = (s32)(REGRET_MAX_BYTES / slab_geometry_of(cls)->size_bytes);
    s32 refused = atomic_load_explicit(&d->refused, memory_order_relaxed);
    atomic_store_explicit(&d->refused, MIN(refused + objs, most), memory_order_relaxed);
}

/* A refill wants some of what was refused, nobody knows how much of it: half. Once or twice between two trims a program
 * only passes by. */
void depot_regret(unsigned slot) {
    unsigned cls = slot_class(slot);
    struct mag_depot *d = depot_for(slot);
    s32 refused = atomic_load_explicit(&d->refused, memory_order_relaxed), objs = refused - refused / 2;
    s32 refills = atomic_load_explicit(&d->refills, memory_order_relaxed);
    if (objs <= 0 || slab_geometry_of(cls)->size_bytes < REGRET_OBJECT_MIN_BYTES)
        return;
    if (refills < REGRET_AFTER) {
        atomic_store_explicit(&d->refills, refills + 1, memory_order_relaxed);
        return;
    }
    atomic_store_explicit(&d->refused, refused - objs, memory_order_relaxed);
    s64 more = (s64)objs * slab_geometry_of(cls)->size_bytes;
    if (atomic_load_explicit(&regretted_bytes, memory_order_relaxed) + more > REGRET_MAX_BYTES)
        return;
    atomic_fetch_add_explicit(&d->regretted, objs, memory_order_relaxed);
    atomic_fetch_add_explicit(&regretted_bytes, more, memory_order_relaxed);
}

/* idle: objects that nobody wanted. Regret fades besides: who still has cause shows it again. Several threads may be
 * here for one depot, and each takes what it took alone. */
static void regret_fade(struct mag_depot *d, unsigned cls, s32 idle) {
    s32 regretted = atomic_load_explicit(&d->regretted, memory_order_relaxed), less;
    do {
        less = MIN(regretted, MAX(idle, regretted / REGRET_FADES_BY + 1));
    } while (less > 0 && !atomic_compare_exchange_weak_explicit(&d->regretted, &regretted, regretted - less,
                                                                memory_order_relaxed, memory_order_relaxed));
    if (less > 0)
        atomic_fetch_sub_explicit(&regretted_bytes, (s64)less * slab_geometry_of(cls)->size_bytes,
                                  memory_order_relaxed);
    atomic_store_explicit(&d->refused, 0, memory_order_relaxed);
    atomic_store_explicit(&d->refills, 0, memory_order_relaxed);
}

/* --- put and get --- */

/* What is put in is counted first, so that it is never more than the count says. */
static bool depot_is_empty(const struct mag_depot *d) {
    return atomic_load_explicit(&d->objs, memory_order_relaxed) == 0;
}

static void credit_add(struct mag_depot *d, s32 magazines) {
    s32 credit = atomic_load_explicit(&d->credit, memory_order_relaxed) + magazines;
    atomic_store_explicit(&d->credit, CLAMP(credit, CREDIT_MIN - CREDIT_START, CREDIT_MAX), memory_order_relaxed);
}

static s32 depot_max_objs(const struct mag_depot *d, unsigned cls, s32 objs, s32 cap) {
    s32 credit = atomic_load_explicit(&d->credit, memory_order_relaxed) + CREDIT_START;
    return MIN(credit * cap, (s32)(depot_max_bytes(d, cls, objs) / slab_geometry_of(cls)->size_bytes));
}

/* Of the ids of this stack, which share it where there are more of them than stacks. A hint. */
static unsigned stack_mine(void) {
    int id = rseq_id_racy();
    return id < 0 ? 0 : (unsigned)id % STACKS_NR;
}

/* A full magazine's block, or NULL: out of so many stacks, from first on. */
static u64 *depot_take(struct mag_depot *d, unsigned cls, unsigned first, unsigned stacks_nr) {
    u64 *w = NULL;
    for (unsigned nth = 0; w == NULL && nth < stacks_nr; nth++)
        w = rt_stack_pop(&d->full[(first + nth) % STACKS_NR]);
    if (w == NULL)
        return NULL;
    s32 cap = (s32)mag_cap((u64)w);
    s32 left = atomic_fetch_sub_explicit(&d->objs, cap, memory_order_relaxed) - cap;
    total_add(cls, -(s64)cap * slab_geometry_of(cls)->size_bytes);
    if (left < atomic_load_explicit(&d->objs_min, memory_order_relaxed))
        atomic_store_explicit(&d->objs_min, left, memory_order_relaxed);
    return w;
}

/* To be given back: others' first. */
static u64 *depot_take_any(struct mag_depot *d, unsigned cls) {
    return depot_take(d, cls, stack_mine() + 1, STACKS_NR);
}

/*
 * What another id put in lies in its CPU's cache, the words of the magazine as well as the objects, and is what that id
 * will look for next: who takes it waits for each line, and leaves the other to do the same. Out of slabs that have
 * enough an id gets objects for a few lines of bitmaps, and no memory that is not there yet.
 */
static bool slabs_have_plenty(unsigned cls) {
    struct slab_class_stats st;
    slab_class_stats_get(cls, &st);
    return st.slabs * slab_geometry_of(cls)->nobj >= st.out_objs + PLENTY_MAGAZINES * mag_class_cap_get(cls);
}

u64 depot_get(unsigned slot) {
    struct mag_depot *d = depot_for(slot);
    unsigned cls = slot_class(slot), mine = stack_mine();
    /* Finding nothing is demand as well. */
    credit_add(d, CREDIT_PER_GET);
    u64 *w = depot_take(d, cls, mine, 1);
    if (!depot_is_empty(d) && w == NULL && !slabs_have_plenty(cls))
        w = depot_take(d, cls, mine + 1, STACKS_NR - 1);
    if (w == NULL)
        return 0;
    return (u64)(w + mag_cap((u64)w));
}

bool depot_put(unsigned slot, u64 m_full) {
    struct mag_depot *d = depot_for(slot);
    u64 *w = (u64 *)(((u64 *)m_full)[1] & ~(u64)MAG_WORD_END); // NOLINT(performance-no-int-to-ptr)
    s32 cap = (s32)mag_cap((u64)w);
    unsigned cls = slot_class(slot);
    credit_add(d, -1);
    s32 objs = atomic_load_explicit(&d->objs, memory_order_relaxed);
    s32 max = depot_max_objs(d, cls, objs, cap);
    size_t bytes = (size_t)cap * slab_geometry_of(cls)->size_bytes;
    if (objs + cap > max || depots_full(mag_kind_of(cls), bytes)) {
        refused_add(d, cls, cap);
        /* What no longer has room goes too, a magazine at a time. */
        u64 *extra = objs > max || depots_full(mag_kind_of(cls), 0) ? depot_take_any(d, cls) : NULL;
        if (extra != NULL)
            mag_flush((u64)(extra + mag_cap((u64)extra)));
        return false;
    }
    atomic_fetch_add_explicit(&d->objs, cap, memory_order_relaxed);
    total_add(cls, (s64)bytes);
    rt_stack_push(&d->full[stack_mine()], w);
    return true;
}

u64 depot_bytes_racy(void) {
    u64 bytes = 0;
    for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls))
        bytes += (u64)depot_objs_racy(cls) * slab_geometry_of(cls)->size_bytes;
    return bytes;
}

s64 depot_objs_racy(unsigned cls) {
    s64 objs = 0;
    for (unsigned node = 0; node < page_nodes_nr(); node++)
        objs += MAX(atomic_load_explicit(&depot_at(cls, node)->objs, memory_order_relaxed), 0);
    return objs;
}

static void depot_give(struct mag_depot *d, unsigned cls, s32 objs) {
    u64 *w;
    while (objs > 0 && (w = depot_take_any(d, cls)) != NULL) {
        objs -= (s32)mag_cap((u64)w);
        mag_flush((u64)(w + mag_cap((u64)w)));
    }
}

static void depot_fit(struct mag_depot *d, unsigned cls) {
    enum mag_kind kind = mag_kind_of(cls);
    if (depot_is_empty(d) || !slab_made_enter(cls))
        return;
    for (u64 *w; depots_full(kind, 0) && (w = depot_take_any(d, cls)) != NULL;)
        mag_flush((u64)(w + mag_cap((u64)w)));
    slab_made_leave(cls);
}

void depots_fit(void) {
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls))
            depot_fit(depot_at(cls, node), cls);
    }
}

static void depot_trim(struct mag_depot *d, unsigned cls, enum mag_drain which) {
    bool idles = depot_is_empty(d) && atomic_load_explicit(&d->refused, memory_order_relaxed) == 0 &&
                 atomic_load_explicit(&d->regretted, memory_order_relaxed) == 0;
    if (idles || !slab_made_enter(cls))
        return;
    s32 idle = MAX(atomic_load_explicit(&d->objs_min, memory_order_relaxed), 0);
    if (which == MAG_DRAIN_ALL)
        depot_give(d, cls, INT32_MAX);
    else
        depot_give(d, cls, MIN(idle, atomic_load_explicit(&d->idle_objs, memory_order_relaxed)));
    regret_fade(d, cls, which == MAG_DRAIN_ALL ? INT32_MAX : idle);
    atomic_store_explicit(&d->idle_objs, idle, memory_order_relaxed);
    atomic_store_explicit(&d->objs_min, atomic_load_explicit(&d->objs, memory_order_relaxed), memory_order_relaxed);
    slab_made_leave(cls);
}

void mag_depot_trim(enum mag_drain which) {
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls))
            depot_trim(depot_at(cls, node), cls, which);
    }
}

void depot_empty(unsigned cls) {
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        depot_give(depot_at(cls, node), cls, INT32_MAX);
        regret_fade(depot_at(cls, node), cls, INT32_MAX);
    }
}

void depot_forget(unsigned cls) {
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        struct mag_depot *d = depot_at(cls, node);
        regret_fade(d, cls, INT32_MAX);
        atomic_store_explicit(&d->objs_min, 0, memory_order_relaxed);
        atomic_store_explicit(&d->idle_objs, 0, memory_order_relaxed);
        atomic_store_explicit(&d->credit, 0, memory_order_relaxed);
    }
}
