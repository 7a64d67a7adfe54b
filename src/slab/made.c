/* SPDX-License-Identifier: MIT */
/*
 * Classes made while the program runs. Contract in made.h.
 *
 * States      An id is OPEN (a class), CLOSED (a class its owner has alone) or FREE (closed, too). Its geometry, once
 *             there, stays where a late reader may still look at it: equal geometries share one record, and records
 *             are never freed.
 * Invariants  [G1] A visitor is inside only while the id is OPEN, or was when it came: who closes it waits for those.
 *             [G2] An id is FREE only when its class has no slab, no magazine and no visitor.
 * Ordering    Closing and coming in are read-modify-writes of one word: of the two, the later sees the earlier. Who
 *             comes in after an opening sees what was written before it. [slab.visit]
 * Progress    Who closes waits for visitors, who never wait for it: a visit is a bounded piece of housekeeping.
 * Reclamation None.
 */
#include "slab/made.h"

#include "base/bits.h"
#include "slab/class.h"
#include "sys/sys.h"

enum {
    SLAB_GRANULES_MAX = 8, /* of slabs with several objects */
    TAIL_PART = 32,
    RUN_GRANULES_MAX = 64,
    NOBJ_MAX = 1024,
    THRESHOLD_PART = 8,
    THRESHOLD_MAX = 16,
    WORD_BITS = 64,
    BITMAP_SHIFT_MIN = 3,
    VISIT_SLEEP_MS = 1,
};
#define VISITS_CLOSED ((u32)1 << 31)
#define LARGE_BYTES (SLAB_GRANULES_MAX * GRANULE_BYTES / 2)

/* All of a class but its slabs. */
struct made {
    struct slab_class class;
    _Atomic(const struct slab_geometry *) geometry; /* NULL for an id that no class ever had */
    _Atomic(u32) visitors;                          /* inside now | VISITS_CLOSED */
    slab_ctor_fn ctor;
    bool in_use, has_slot;
    _Atomic(bool) debugged; /* or watched: slab_made_watch() */
};

_Atomic(unsigned) slab_ids_end = SLAB_CLASSES_NR;

/* Reserved with the first class, so that processes that make none have no page of it. Written once, before slab_ids_end
 * says that there is something in it. */
static struct made *made;

/* The same classes' lists on further nodes. */
static struct slab_class *made_nodes[PAGE_NODES_MAX];

const struct slab_made_view slab_made_view = {&made, sizeof(struct made), offsetof(struct made, class),
                                              offsetof(struct made, geometry), made_nodes};

static ALWAYS_INLINE struct made *made_at(unsigned cls) { return &made[cls - SLAB_CLASSES_NR]; }

struct slab_class *slab_made_class(unsigned node, unsigned cls) {
    return LIKELY(node == 0) ? &made_at(cls)->class : &made_nodes[node][cls - SLAB_CLASSES_NR];
}

int slab_made_node_make(unsigned node) {
    if (made_nodes[node] == NULL)
        made_nodes[node] = rt_meta_alloc_near(node, SLAB_MADE_NR * sizeof(struct slab_class), CACHE_LINE);
    return made_nodes[node] != NULL ? 0 : -1;
}

const struct slab_geometry *slab_made_geometry(unsigned cls) {
    /* order: acquire: the geometry was written before its address was.                            pairs: [slab.made] */
    const struct slab_geometry *g = atomic_load_explicit(&made_at(cls)->geometry, memory_order_acquire);
    return g != NULL ? g : &slab_geometry[0];
}

/* Visits of this thread, one in a handler on top of the other. volatile: for a handler that forks. */
static __thread volatile u32 visits_here;

bool slab_visit_begin(unsigned cls) {
    visits_here++;
    /* order: acquire: what was done before the class was opened; and after those who visit it.  pairs: [slab.visit] */
    u32 was = atomic_fetch_add_explicit(&made_at(cls)->visitors, 1, memory_order_acquire);
    if (LIKELY((was & VISITS_CLOSED) == 0))
        return true;
    slab_visit_end(cls);
    return false;
}

void slab_visit_end(unsigned cls) {
    /* order: release: what the visitor did is seen by who finds it gone.                        pairs: [slab.visit] */
    (void)atomic_fetch_sub_explicit(&made_at(cls)->visitors, 1, memory_order_release);
    visits_here--;
}

void slab_made_close(unsigned cls) {
    /* order: acquire: what the visitors did.                                                    pairs: [slab.visit] */
    u32 inside = atomic_fetch_or_explicit(&made_at(cls)->visitors, VISITS_CLOSED, memory_order_acquire);
    while ((inside & ~VISITS_CLOSED) != 0) {
        sys_sleep_ms(VISIT_SLEEP_MS);
        /* order: acquire: as above.                                                             pairs: [slab.visit] */
        inside = atomic_load_explicit(&made_at(cls)->visitors, memory_order_acquire);
    }
}

void slab_made_open(unsigned cls) {
    /* order: release: the class is as visitors may find it.                                     pairs: [slab.visit] */
    (void)atomic_fetch_and_explicit(&made_at(cls)->visitors, ~VISITS_CLOSED, memory_order_release);
}

/* --- geometry: the rules of tools/dev/gen_sizeclass.py --- */

/* Several objects for each visit to a slab, while that does not make slabs large. */
static unsigned objs_min(size_t size) { return size <= 4 * KIB ? 8 : size <= 16 * KIB ? 4 : 1; }

static size_t tail_bytes(unsigned granules, size_t size) { return granules * GRANULE_BYTES % size; }

static unsigned granules_for(size_t size) {
    if (size > LARGE_BYTES)
        return (unsigned)((size + GRANULE_BYTES - 1) / GRANULE_BYTES);
    unsigned best = 0;
    for (unsigned g = 1; g <= SLAB_GRANULES_MAX; g++) {
        size_t bytes = g * GRANULE_BYTES;
        if (bytes < size)
            continue;
        if (bytes / size >= objs_min(size) && tail_bytes(g, size) * TAIL_PART <= bytes)
            return g;
        if (best == 0 || tail_bytes(g, size) * best < tail_bytes(best, size) * g)
            best = g;
    }
    return best;
}

static struct slab_geometry geometry_of(const struct slab_make *make) {
    size_t size = make->size_bytes;
    unsigned granules = granules_for(size), nobj = (unsigned)MIN(granules * GRANULE_BYTES / size, (size_t)NOBJ_MAX);
    return (struct slab_geometry){
        .recip = SLAB_RECIP(size),
        .size_bytes = (u32)size,
        .nobj = (u16)nobj,
        .threshold = (u16)CLAMP(nobj / THRESHOLD_PART, 1u, (unsigned)THRESHOLD_MAX),
        .granules = (u8)granules,
        .align = (u8)MAX(make->align_bytes / GRANULE_BYTES, (size_t)1),
        .bitmap_shift = (u8)MAX(bits_log2_up((nobj + 7) / 8), (unsigned)BITMAP_SHIFT_MIN),
        .reclaimable = make->reclaimable,
    };
}

static bool geometry_equal(const struct slab_geometry *a, const struct slab_geometry *b) {
    return a->size_bytes == b->size_bytes && a->align == b->align && a->reclaimable == b->reclaimable;
}

/* Size, alignment and lifetime decide all the rest. */
static const struct slab_geometry *geometry_intern(const struct slab_geometry *want) {
    struct record {
        struct slab_geometry geometry;
        struct record *next;
    };
    static struct record *records;
    for (const struct record *r = records; r != NULL; r = r->next) {
        if (geometry_equal(&r->geometry, want))
            return &r->geometry;
    }
    struct record *r = rt_meta_alloc(sizeof(*r), _Alignof(struct record));
    if (r == NULL)
        return NULL;
    *r = (struct record){*want, records};
    records = r;
    return &r->geometry;
}

/* --- making --- */

/* The lowest: those whose slots are there from the start, with slots, without. A class that has no use for a slot
 * leaves the first to others. */
static unsigned id_find(const struct slab_make *make) {
    unsigned first = make->debugged ? PAGE_MAP_FURTHER : SLAB_CLASSES_NR;
    for (unsigned cls = first; cls < SLAB_IDS_NR; cls = slab_id_after(cls)) {
        if (!made_at(cls)->in_use)
            return cls;
    }
    return 0;
}

/* A handle in the place of a class (engine/debug.h) is behind all ids. */
bool slab_made_has_slot(unsigned cls) {
    return cls >= PAGE_MAP_FURTHER && cls < SLAB_SLOT_IDS_NR && made_at(cls)->has_slot;
}

unsigned slab_make(const struct slab_make *make) {
    struct slab_geometry want = geometry_of(make);
    const struct slab_geometry *g = geometry_intern(&want);
    if (made == NULL)
        made = rt_meta_alloc(SLAB_MADE_NR * sizeof(*made), CACHE_LINE);
    unsigned cls = g != NULL && made != NULL ? id_find(make) : 0;
    if (cls == 0)
        return 0;
    struct made *m = made_at(cls);
    /* Where the id was never used it is open, but beyond the end of all walks. */
    m->in_use = true;
    m->has_slot = !make->debugged && cls < SLAB_SLOT_IDS_NR;
    m->ctor = make->ctor;
    atomic_store_explicit(&m->debugged, make->debugged, memory_order_relaxed);
    atomic_store_explicit(&m->class.keeps, make->ctor != NULL || make->pinned, memory_order_relaxed);
    atomic_store_explicit(&m->class.pinned, make->pinned, memory_order_relaxed);
    atomic_store_explicit(&m->class.unpinned, false, memory_order_relaxed);
    /* order: release: publishes the record.                                                      pairs: [slab.made] */
    atomic_store_explicit(&m->geometry, g, memory_order_release);
    /* order: release: publishes the table.                                                        pairs: [slab.ids] */
    if (cls >= slab_ids_end_get())
        atomic_store_explicit(&slab_ids_end, cls + 1, memory_order_release);
    slab_made_open(cls);
    return cls;
}

void slab_made_pin(unsigned cls, enum slab_pin pin) {
    for (unsigned node = 0; node < page_nodes_nr(); node++)
        atomic_store_explicit(&slab_made_class(node, cls)->unpinned, pin == SLAB_UNPINNED, memory_order_relaxed);
}

void slab_unmake(unsigned cls) { made_at(cls)->in_use = false; }

bool slab_made_debugged(unsigned cls) {
    return cls >= SLAB_CLASSES_NR && atomic_load_explicit(&made_at(cls)->debugged, memory_order_relaxed);
}

/* Who may free the object meanwhile had it from who watches it, and so sees both. The slab stays while the object is
 * out; several who watch it write the same. */
bool slab_made_watch(const void *p) {
    char *base;
    const struct slab *s = slab_of(p, &base);
    unsigned cls = slab_cls(s);
    if (cls < SLAB_CLASSES_NR)
        return false;
    atomic_store_explicit(&made_at(cls)->debugged, true, memory_order_relaxed);
    if (page_map_get(base) % PAGE_MAP_CLASSES != SLAB_BARE)
        page_map_set(base, slab_geometry_of(cls)->granules, SLAB_BARE | slab_node(s) << PAGE_MAP_CLASS_BITS);
    return true;
}

bool slab_keeps_contents(unsigned cls) { return cls >= SLAB_CLASSES_NR && slab_keeps(slab_made_class(0, cls)); }

void slab_made_construct(unsigned cls, char *base) {
    const struct slab_geometry *g = slab_geometry_of(cls);
    slab_ctor_fn ctor = made_at(cls)->ctor;
    for (unsigned i = 0; ctor != NULL && i < g->nobj; i++)
        ctor(base + (size_t)i * g->size_bytes);
}

unsigned slab_id_bare(const void *p) {
    char *base;
    return slab_cls(slab_of(p, &base));
}

/* On top of a visit of this thread's own, which ends later, all counts stay: too many visitors are waited for by who
 * unmakes the class, one too few would close it for good. */
void slab_made_fork_child(void) {
    if (visits_here != 0)
        return;
    for (unsigned cls = SLAB_CLASSES_NR; cls < slab_ids_end_get(); cls++) {
        u32 word = atomic_load_explicit(&made_at(cls)->visitors, memory_order_relaxed);
        if (word != 0)
            atomic_store_explicit(&made_at(cls)->visitors, word & VISITS_CLOSED, memory_order_relaxed);
    }
}

/* --- walking --- */

struct walk {
    unsigned cls, entry;
    void (*fn)(void *arg, const struct slab_seen *slab);
    void *arg;
};

/* The slab that begins with this granule, if one of the class does. */
static void walk_granule(const struct walk *w, struct chunk *c, char *granule) {
    unsigned entry = page_map_get(granule) % PAGE_MAP_CLASSES;
    bool may_be = w->cls == SLAB_ANY_CLASS ? slab_entry_is_slab(entry) : entry == w->entry || entry == SLAB_BARE;
    if (!may_be)
        return;
    struct slab *s = (struct slab *)chunk_desc(c, granule);
    if (s->back != 0 || (w->cls != SLAB_ANY_CLASS && slab_cls(s) != w->cls))
        return;
    slab_word_t word = slab_word_load(s);
    struct slab_seen seen = {granule, slab_word_state(word), (unsigned)MAX(slab_word_free(word), 0), slab_cls(s)};
    if (seen.state != SLAB_EMPTY)
        w->fn(w->arg, &seen);
}

static void walk_chunk(void *walk, struct chunk *c) {
    const struct walk *w = walk;
    for (struct hpage *h = c->hpages; h < c->hpages + CHUNK_HPAGES; h++) {
        if (atomic_load_explicit(&h->state, memory_order_relaxed) != HPAGE_RUNS)
            continue;
        for (unsigned i = 0; i < HPAGE_GRANULES; i++)
            walk_granule(w, c, h->addr + i * GRANULE_BYTES);
    }
}

void slab_made_walk(unsigned cls, void (*fn)(void *arg, const struct slab_seen *slab), void *arg) {
    struct walk w = {cls, slab_slot_of(cls), fn, arg};
    chunks_each(walk_chunk, &w);
}

struct slab_spot slab_made_spot(const void *p) {
    char *base;
    struct slab *s = slab_of(p, &base);
    const struct slab_geometry *g = slab_geometry_of(slab_cls(s));
    return (struct slab_spot){.cls = slab_cls(s),
                              .base = base,
                              .geometry = g,
                              .free_nr = (unsigned)MAX(slab_word_free(slab_word_load(s)), 0),
                              .index = slab_index(g, (size_t)((const char *)p - base))};
}

bool slab_made_is_out(unsigned cls, char *base, unsigned index) {
    const struct slab_geometry *g = slab_geometry_of(cls);
    struct slab *s = slab_at(base);
    if (index >= slab_carved(s, g))
        return false;
    /* order: acquire: what the last owner wrote into an object it freed.                         pairs: [slab.free] */
    u64 word = atomic_load_explicit(&slab_bitmap(s, g)[index / WORD_BITS], memory_order_acquire);
    return (word >> (index % WORD_BITS) & 1) == 0;
}
