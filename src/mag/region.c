/* SPDX-License-Identifier: MIT */
/*
 * Regions: one for each per-CPU id, and the locked ones for threads that have none. An operation is tried on the
 * caller's id first; where there is no rseq for this thread, or its id is stopped, some locked region serves, taken by
 * try-lock so that a signal handler never waits.
 *
 * Which id a thread has may change between any two instructions, so nothing here pairs two operations: each takes or
 * gives a whole magazine by one word, and whoever holds a magazine between two operations owns it alone.
 */
#include "mag/region.h"

#include "mag/most.h"
#include "rt/options.h"
#include "sys/sys.h"

u64 *mag_stopped_slots;

static struct {
    u64 **views; /* slots by id for the slow path; stopped ones where an id must not be used */
    struct mag_region **by_id;
    unsigned ids_nr;
    struct mag_region *_Atomic *locked;
    unsigned locked_nr;
} regions;

const struct mag_regions_view mag_regions_view = {&regions.by_id, &regions.ids_nr, &regions.locked, &regions.locked_nr};

static u64 mag_closed[2] = {MAG_WORD_STOPPED, MAG_WORD_STOPPED};

/*
 * Slots from PAGE_MAP_FURTHER on are filled when there is a class that has one: until then a process touches nothing of
 * them. Nobody uses one before regions_extend() returned, but who makes regions or banks meanwhile, and who looks at
 * all regions may find zeros in one that is being made, slot_is_bare():
 *
 *   [F1] Whoever makes some looks at extended when they can be found and before they are used; who extends says so
 * before it looks for regions. Of the two, one sees the other, or both, and then both write the same.
 */
static _Atomic(bool) extended;

/* The further slots of one node's bank. What has a magazine is left alone. */
static void bank_extend(struct mag_region *r, unsigned node, u64 *magazine) {
    for (unsigned cls = PAGE_MAP_FURTHER; cls < FURTHER_END; cls++) {
        if (ref_load(&r->slot[slot_at(cls, node)]) == 0)
            ref_store(&r->slot[slot_at(cls, node)], (u64)magazine);
    }
}

static void banks_extend(struct mag_region *r, unsigned from, unsigned to, u64 *magazine) {
    /* order: seq_cst fence: [F1]                                                                pairs: [mag.further] */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned node = from; node < to && atomic_load_explicit(&extended, memory_order_relaxed); node++)
        bank_extend(r, node, magazine);
}

static unsigned banks_nr(void) { return MAX(page_nodes_decided(), 1u); }

void region_complete(struct mag_region *r) { banks_extend(r, 0, banks_nr(), mag_null); }

/* The slots of one node. */
static void bank_fill(struct mag_region *r, unsigned node, u64 *magazine) {
    u64 *slots = &r->slot[slot_at(0, node)];
    for (unsigned i = 0; i < PAGE_MAP_FURTHER; i++)
        slots[i] = (u64)magazine;
    slots[PAGE_MAP_NOT_OURS] = slots[PAGE_MAP_BIG] = slots[SLAB_BARE] = (u64)mag_closed;
    slots[PAGE_MAP_PAGES] = slots[PAGE_MAP_VMALLOC] = (u64)mag_closed;
}

static void banks_fill(struct mag_region *r, unsigned from, unsigned to, u64 *magazine) {
    for (unsigned node = from; node < to; node++)
        bank_fill(r, node, magazine);
}

/*
 * The two regions that are there before it is known how many nodes there are ([N1] in page/node.h): the stopped one,
 * and that of the first id, with which most processes make do. Room that is never used is never touched.
 */
struct roomy_region {
    _Alignas(REGION_PAGE_BYTES) char lead[REGION_LEAD_BYTES];
    struct mag_region region;
    u64 banks[(PAGE_NODES_MAX - 1) * PAGE_MAP_CLASSES];
};
static struct roomy_region stopped_region, first_region;
static _Atomic(bool) first_taken;

static struct mag_region *region_make(void) {
    struct mag_region *r = &first_region.region;
    if (!atomic_load_explicit(&first_taken, memory_order_relaxed) &&
        !atomic_exchange_explicit(&first_taken, true, memory_order_relaxed)) {
        bank_fill(r, 0, mag_null);
        return r;
    }
    unsigned nodes_nr = page_nodes_decide();
    if (nodes_nr == 0)
        return NULL;
    size_t banks_bytes = (nodes_nr - 1) * PAGE_MAP_CLASSES * sizeof(u64);
    char *lead =
        rt_meta_alloc_near(page_node_decided_here(), REGION_LEAD_BYTES + sizeof(*r) + banks_bytes, REGION_PAGE_BYTES);
    if (lead == NULL)
        return NULL;
    r = (struct mag_region *)(void *)(lead + REGION_LEAD_BYTES);
    banks_fill(r, 0, nodes_nr, mag_null);
    return r;
}

/* Those made since the number is known have them already. The first may be on its way to its id: it is known here, and
 * nothing but its first bank is used yet. */
void regions_open(unsigned nodes_nr) {
    banks_fill(&stopped_region.region, 1, nodes_nr, mag_closed);
    banks_fill(&first_region.region, 1, nodes_nr, mag_null);
    banks_extend(&stopped_region.region, 1, nodes_nr, mag_closed);
    banks_extend(&first_region.region, 1, nodes_nr, mag_null);
}

/* Every slot and spare refuses; a further class's spare when its slot does. */
static struct mag_region *region_make_stopped(void) {
    struct mag_region *r = &stopped_region.region;
    banks_fill(r, 0, 1, mag_closed);
    for (unsigned cls = 0; cls < PAGE_MAP_FURTHER; cls++)
        region_class(r, cls)->spare = SPARE_STOPPED;
    for (unsigned i = 0; i < MAG_FIGURES_NR; i++)
        r->figure[i] = FIGURE_STOPPED;
    return r;
}

int regions_init(void) {
    struct mag_region *stopped = region_make_stopped();
    unsigned ids_nr = rt_meta.ids_nr;
    unsigned locked_nr = rt_opt.fake_cpus != 0 ? MIN(rt_opt.fake_cpus, LOCKED_REGIONS_MAX) : MIN(MAX(ids_nr, 4u), 64u);
    regions.views = rt_meta_alloc(ids_nr * sizeof(u64 *), CACHE_LINE);
    u64 **alloc_view = rt_meta_alloc(ids_nr * sizeof(u64 *), CACHE_LINE);
    u64 **free_view = mag_free_view();
    regions.by_id = rt_meta_alloc(ids_nr * sizeof(struct mag_region *), CACHE_LINE);
    regions.locked = rt_meta_alloc(locked_nr * sizeof(struct mag_region *), CACHE_LINE);
    if (regions.views == NULL || alloc_view == NULL || regions.by_id == NULL || regions.locked == NULL)
        return -1;
    mag_stopped_slots = stopped->slot;
    regions.locked_nr = locked_nr; /* where the start fails there are none */
    regions.ids_nr = ids_nr;
    for (unsigned id = 0; id < ids_nr; id++)
        regions.views[id] = alloc_view[id] = free_view[id] = mag_stopped_slots;
    mag_tabs.alloc_view = alloc_view;
    return 0;
}

unsigned regions_nr(void) { return regions.ids_nr + regions.locked_nr; }

/* order: acquire: the region was filled before it was published.                                      pairs:
 * [mag.region] */
struct mag_region *region_at(unsigned index) {
    if (index < regions.ids_nr)
        return __atomic_load_n(&regions.by_id[index], __ATOMIC_ACQUIRE);
    return atomic_load_explicit(&regions.locked[index - regions.ids_nr], memory_order_acquire);
}

static bool diverted;
_Atomic(bool) mag_watched;
static _Atomic(bool) allocs_diverted, closed;

void mag_divert(void) { diverted = true; }
void regions_close(void) { atomic_store_explicit(&closed, true, memory_order_relaxed); }
void regions_divert_allocs(void) { atomic_store_explicit(&allocs_diverted, true, memory_order_relaxed); }
static bool allocs_are_diverted(void) { return atomic_load_explicit(&allocs_diverted, memory_order_relaxed); }
static bool allocs_are_slow(void) { return mag_is_watched() || allocs_are_diverted(); }
bool region_untried(const struct mag_region *r) { return diverted || allocs_are_slow() || r->locked_kind; }
bool region_is_locked_kind(unsigned index) { return index >= regions.ids_nr; }

void regions_extend(void) {
    if (atomic_load_explicit(&extended, memory_order_relaxed))
        return;
    atomic_store_explicit(&extended, true, memory_order_relaxed);
    /* order: seq_cst fence: [F1], before it is asked how many banks there are.                  pairs: [mag.further] */
    atomic_thread_fence(memory_order_seq_cst);
    banks_extend(&stopped_region.region, 0, banks_nr(), mag_closed);
    for (unsigned cls = PAGE_MAP_FURTHER; cls < FURTHER_END; cls++)
        ref_store(&region_class(&stopped_region.region, cls)->spare, SPARE_STOPPED);
    region_complete(&first_region.region);
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        if (r != NULL)
            region_complete(r);
    }
}

unsigned region_home(const struct mag_region *r) {
    return UNLIKELY(r->locked_kind) ? page_node_here() : atomic_load_explicit(&r->home, memory_order_relaxed);
}

/* slow: what allocs_are_slow() said; who asks it again afterwards must know what was published. */
static void region_publish(struct mag_region *r, unsigned id, bool slow) {
    bool stopped = atomic_load_explicit(&r->stops, memory_order_relaxed) != 0 ||
                   atomic_load_explicit(&closed, memory_order_relaxed);
    u64 *slots = stopped ? mag_stopped_slots : r->slot;
    u64 *fast = diverted ? mag_stopped_slots : slots;
    unsigned home = atomic_load_explicit(&r->home, memory_order_relaxed);
    u64 *bank = fast == r->slot ? &r->slot[slot_at(0, home)] : fast;
    slow = slow || atomic_load_explicit(&r->wary, memory_order_relaxed) != 0;
    /* order: release: the region was filled before. Its reader, an rseq section, follows the pointer and needs no
     * acquire. pairs: [mag.region] */
    __atomic_store_n(&regions.views[id], slots, __ATOMIC_RELEASE);
    __atomic_store_n(&mag_tabs.alloc_view[id], slow ? mag_stopped_slots : bank, __ATOMIC_RELEASE);
    __atomic_store_n(&mag_free_view()[id], fast, __ATOMIC_RELEASE);
}

void regions_stop_allocs(unsigned id) {
    __atomic_store_n(&mag_tabs.alloc_view[id], mag_stopped_slots, __ATOMIC_RELAXED);
}

void regions_publish(struct mag_region *r, unsigned id) { region_publish(r, id, allocs_are_slow()); }

/* Two threads may make one id's region at once: the second's block is wasted. */
struct mag_region *region_for_id(unsigned id) {
    if (id >= regions.ids_nr)
        return NULL;
    /* order: acquire                                                                             pairs: [mag.region] */
    struct mag_region *r = __atomic_load_n(&regions.by_id[id], __ATOMIC_ACQUIRE);
    if (r != NULL)
        return r;
    struct mag_region *made = region_make();
    if (made == NULL)
        return NULL;
    /* order: release: publishes the filled region.                                               pairs: [mag.region] */
    if (!__atomic_compare_exchange_n(&regions.by_id[id], &r, made, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
        return r;
    region_complete(made); /* no view shows it yet */
    bool slow;
    do {
        slow = allocs_are_slow();
        region_publish(made, id, slow);
        /* order: seq_cst fence: who ends the watch either finds this region, or is seen here.    pairs: [mag.watch] */
        atomic_thread_fence(memory_order_seq_cst);
    } while (slow != allocs_are_slow());
    /* order: release: the publishing above is over before the id is stopped.                   pairs: [mag.settled] */
    atomic_store_explicit(&made->settled, true, memory_order_release);
    return made;
}

/* --- locked regions --- */

/* Half of the thread pointer, which is aligned. Two threads may have the same one: then the child of a fork takes a
 * lost holder's region for its own, and uses others. */
static u32 lock_word(void) { return (u32)sys_thread_self() | 1; }

bool region_trylock(struct mag_region *r) {
    u32 seen = atomic_load_explicit(&r->lock, memory_order_relaxed);
    /* order: acquire                                                                               pairs: [mag.lock] */
    return seen == 0 && atomic_compare_exchange_strong_explicit(&r->lock, &seen, lock_word(), memory_order_acquire,
                                                                memory_order_relaxed);
}

bool region_lock_is_mine(struct mag_region *r) {
    return atomic_load_explicit(&r->lock, memory_order_relaxed) == lock_word();
}

void region_unlock(struct mag_region *r) {
    /* order: release                                                                               pairs: [mag.lock] */
    atomic_store_explicit(&r->lock, 0, memory_order_release);
}

static struct mag_region *locked_region(unsigned index) {
    /* order: acquire                                                                             pairs: [mag.region] */
    struct mag_region *r = atomic_load_explicit(&regions.locked[index], memory_order_acquire);
    if (r != NULL)
        return r;
    struct mag_region *made = region_make();
    if (made == NULL)
        return NULL;
    made->locked_kind = true;
    atomic_store_explicit(&made->lock, lock_word(),
                          memory_order_relaxed); /* others take the next one, until it is complete */
    /* order: release: publishes the filled region.                                               pairs: [mag.region] */
    if (!atomic_compare_exchange_strong_explicit(&regions.locked[index], &r, made, memory_order_release,
                                                 memory_order_acquire))
        return r;
    region_complete(made);
    region_unlock(made);
    return made;
}

/* Threads are spread by their address; where CPUs are pretended, each also wanders, as threads do between CPUs. */
static unsigned locked_home(void) {
    u64 self = sys_thread_self() >> 12;
    if (rt_opt.fake_cpus != 0)
        self += sys_clock_ms() / 10;
    return (unsigned)(((self * 0x9e3779b97f4a7c15u >> 32) * regions.locked_nr) >> 32);
}

/* The home region or a neighbour, locked; NULL when all that were tried are held. */
static struct mag_region *locked_enter(void) {
    unsigned home = locked_home();
    for (unsigned i = 0; i < MIN(regions.locked_nr, 8u); i++) {
        struct mag_region *r = locked_region((home + i) % regions.locked_nr);
        if (r != NULL && region_trylock(r)) {
            COUNT(r, fallback_ops);
            return r;
        }
    }
    return NULL;
}

struct mag_region *region_mine_racy(void) {
    int id = rseq_id_racy();
    struct mag_region *r = id >= 0 ? region_for_id((unsigned)id) : NULL;
    return r != NULL && atomic_load_explicit(&r->stops, memory_order_relaxed) == 0 ? r : locked_region(locked_home());
}

/* --- operations --- */

static bool swap_word(s64 off, u64 expected, u64 next) {
    u64 old = SPARE_STOPPED;
    enum rseq_status st = rseq_swap_if_equal(regions.views, off, expected, next, &old);
    if (st == RSEQ_DONE || (st == RSEQ_REFUSED && old != SPARE_STOPPED && old != mag_stopped_slots[0]))
        return st == RSEQ_DONE;
    struct mag_region *r = locked_enter();
    if (r == NULL)
        return false;
    st = ref_swap_if_equal(r->slot, off, expected, next, &old);
    region_unlock(r);
    return st == RSEQ_DONE;
}

u64 region_take_spare(unsigned cls) {
    struct mag_region *r = region_mine_racy();
    u64 seen = r == NULL ? 0 : ref_load(&region_class(r, cls)->spare);
    return seen > SPARE_STOPPED && swap_word(SPARE_OFF(cls), seen, 0) ? seen : 0;
}

bool region_put_spare(unsigned cls, u64 m) { return swap_word(SPARE_OFF(cls), 0, m); }

bool region_take_slot(unsigned slot, u64 seen) { return swap_word(SLOT_OFF(slot), seen, (u64)&mag_null[0]); }

/* Whether this thread's id can be used by the slow path; then a refusal there is an answer, and no locked region is
 * asked. */
static bool id_usable_racy(void) {
    int id = rseq_id_racy();
    return id >= 0 && region_for_id((unsigned)id) != NULL &&
           __atomic_load_n(&regions.views[id], __ATOMIC_RELAXED) != mag_stopped_slots;
}

enum rseq_status region_pop(unsigned slot, void **ret_obj) {
    *ret_obj = rseq_pop(regions.views, slot);
    if (*ret_obj != NULL)
        return RSEQ_DONE;
    if (id_usable_racy())
        return RSEQ_REFUSED;
    struct mag_region *r = locked_enter();
    if (r == NULL)
        return RSEQ_ABSENT;
    *ret_obj = ref_pop(r->slot, slot);
    region_unlock(r);
    return *ret_obj != NULL ? RSEQ_DONE : RSEQ_REFUSED;
}

enum rseq_status region_push(unsigned slot, void *p) {
    if (rseq_push(regions.views, slot, p))
        return RSEQ_DONE;
    if (id_usable_racy())
        return RSEQ_REFUSED;
    struct mag_region *r = locked_enter();
    if (r == NULL)
        return RSEQ_ABSENT;
    bool pushed = ref_push(r->slot, slot, p);
    region_unlock(r);
    return pushed ? RSEQ_DONE : RSEQ_REFUSED;
}

/* Of who may get an id, nothing: that comes first, on the slow path. */
static struct mag_region *untried_enter(void) { return thread_may_join() ? NULL : locked_enter(); }

void *mag_pop_untried(unsigned cls) {
    if (allocs_are_slow() || page_nodes_nr() > 1 || !slab_has_slot(cls))
        return NULL;
    if (rseq_id_racy() >= 0)
        return diverted ? rseq_pop(regions.views, cls) : NULL;
    struct mag_region *r = untried_enter();
    if (r == NULL)
        return NULL;
    void *p = ref_pop(r->slot, cls);
    region_unlock(r);
    return p;
}

/* What others divert stays so, and where nodes are kept apart the slow path says whose objects these are. */
void *mag_pop_watched(unsigned cls) {
    if (allocs_are_diverted() || page_nodes_nr() > 1 || !slab_has_slot(cls))
        return NULL;
    void *p = rseq_pop(regions.views, cls);
    struct mag_region *r = p == NULL ? NULL : region_mine_racy();
    if (r != NULL)
        COUNT(r, slow_allocs);
    return p;
}

bool mag_push_untried(unsigned slot, void *p) {
    if (page_nodes_nr() > 1)
        return false;
    if (rseq_id_racy() >= 0)
        return diverted && rseq_push(regions.views, slot, p);
    struct mag_region *r = untried_enter();
    if (r == NULL)
        return false;
    bool pushed = ref_push(r->slot, slot, p);
    region_unlock(r);
    return pushed;
}

/* --- figures --- */

/* For who finds no region, as while it is looked how many nodes there are. */
static u64 homeless[MAG_FIGURES_NR];

/* By a section where the thread has an id: it finds the word of that id, of another one it came to meanwhile, which is
 * as good, or that of the stopped region, which is never as expected. All other words are written to here alone, and
 * atomically. */
static s64 figure_change(unsigned which, s64 more, bool take) {
    struct mag_region *r;
    for (int id;
         (id = rseq_id_racy()) >= 0 && (unsigned)id < regions.ids_nr && (r = region_at((unsigned)id)) != NULL;) {
        u64 seen = ref_load(&r->figure[which]), old = FIGURE_STOPPED, next = take ? 0 : seen + (u64)more;
        if (rseq_swap_if_equal(regions.views, FIGURE_OFF(which), seen, next, &old) == RSEQ_DONE)
            return (s64)(take ? seen : next);
        if (old == FIGURE_STOPPED)
            break;
    }
    r = locked_region(locked_home());
    u64 *word = r != NULL ? &r->figure[which] : &homeless[which];
    return (s64)(take ? __atomic_exchange_n(word, 0, __ATOMIC_RELAXED)
                      : __atomic_add_fetch(word, (u64)more, __ATOMIC_RELAXED));
}

s64 mag_figure_add(unsigned which, s64 more) { return figure_change(which, more, false); }
s64 mag_figure_take(unsigned which) { return figure_change(which, 0, true); }

s64 mag_figure_sum_racy(unsigned which) {
    u64 sum = ref_load(&homeless[which]);
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        sum += r == NULL ? 0 : ref_load(&r->figure[which]);
    }
    return (s64)sum;
}

/* --- operations by the run --- */

u64 region_pop_run(unsigned slot, u64 nr, void **objs) {
    u64 done = rseq_pop_run(regions.views, slot, nr, objs);
    if (LIKELY(done != 0) || id_usable_racy())
        return done;
    struct mag_region *r = locked_enter();
    if (r == NULL)
        return 0;
    done = ref_pop_run(r->slot, slot, nr, objs);
    region_unlock(r);
    return done;
}

u64 region_push_run(unsigned slot, u64 nr, void *const *objs) {
    u64 done = rseq_push_run(regions.views, slot, nr, objs);
    if (LIKELY(done != 0) || id_usable_racy())
        return done;
    struct mag_region *r = locked_enter();
    if (r == NULL)
        return 0;
    done = ref_push_run(r->slot, slot, nr, objs);
    region_unlock(r);
    return done;
}

static bool answered(enum rseq_status st, u64 old) {
    return st == RSEQ_DONE || (st == RSEQ_REFUSED && old != mag_stopped_slots[0]);
}

static enum rseq_status swap_locked(enum rseq_status (*swap)(u64 *, s64, u64, u64 *), s64 off, u64 next, u64 *ret_old) {
    struct mag_region *r = locked_enter();
    if (r == NULL)
        return RSEQ_ABSENT;
    enum rseq_status st = swap(r->slot, off, next, ret_old);
    region_unlock(r);
    return st;
}

enum rseq_status region_swap_if_empty(s64 off, u64 next, u64 *ret_old) {
    *ret_old = 0;
    enum rseq_status st = rseq_swap_if_empty(regions.views, off, next, ret_old);
    return answered(st, *ret_old) ? st : swap_locked(ref_swap_if_empty, off, next, ret_old);
}

enum rseq_status region_swap_if_full(s64 off, u64 next, u64 *ret_old) {
    *ret_old = 0;
    enum rseq_status st = rseq_swap_if_full(regions.views, off, next, ret_old);
    return answered(st, *ret_old) ? st : swap_locked(ref_swap_if_full, off, next, ret_old);
}
