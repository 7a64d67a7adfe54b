/* SPDX-License-Identifier: MIT */
/*
 * Taking an id out of use: for a moment, to empty its magazines from another thread, or while a vfork child runs that
 * shares an rseq area the kernel does not keep for it.
 *
 * States      An id's views show its region, or the stopped slots. stops counts the reasons for the latter.
 * Invariants  [D1] Views and stops change only under stop_lock. [D2] Who holds stop_lock, has published the stopped
 * slots and then passed a membarrier(RSEQ), or is the only thread, has the region alone: no section that read the old
 * view can still commit.
 * Ordering    The barrier orders the publication before, and the region's reads after, every section of every thread.
 * Progress    A drain gives up where the lock is held. A vfork parent or child waits for a drain in progress, some
 * microseconds. Reclamation Regions are never freed.
 */
#include "mag/region.h"
#include "rt/context.h"
#include "slab/made.h"
#include "sys/sys.h"

/* What stops counts, in one word: so the child of a fork knows which of them it came beside. */
enum { STOP_VFORK = 1, STOP_DRAIN = 1 << 16 };

static struct sys_lock stop_lock;
static _Atomic(u64) drains_nr;

static _Atomic(int) barrier; /* enum sys_barrier; refused until it is asked for */

/* A thread that is alone needs no barrier: none of its sections is under way while it is here, and a handler's is over
 * when the handler is. So a sandboxed process of one thread asks for nothing at its exit that its filter may punish.
 * libc counts its own threads. One that a system call made has sections only once its area is registered: by quarry,
 * which knows then, or by the thread itself, which nobody is known to do. */
static bool alone(void) { return sys_thread_alone() && !threads_joined(); }

static bool barrier_in_reach(void) {
    return alone() || atomic_load_explicit(&barrier, memory_order_relaxed) == SYS_BARRIER_READY;
}

/* What was refused once for lack of memory is asked for again, so that magazines do not stay undrained for ever. */
static bool barrier_ready(void) {
    if (!barrier_in_reach() && !sys_is_confined() &&
        atomic_load_explicit(&barrier, memory_order_relaxed) == SYS_BARRIER_REFUSED)
        atomic_store_explicit(&barrier, (int)sys_membarrier_register(), memory_order_relaxed);
    return barrier_in_reach();
}

/* Refused after all, there is a filter now, or who restored this process from a file did not register again: the next
 * drain asks anew. */
static bool barrier_pass(void) {
    bool passed = alone() || (!sys_is_confined() && sys_membarrier_rseq() == 0);
    if (!passed)
        atomic_store_explicit(&barrier, SYS_BARRIER_REFUSED, memory_order_relaxed);
    return passed;
}

/* One magazine of a region the caller has alone. */
static void region_empty_slot(struct mag_region *r, unsigned slot) {
    u64 m = ref_load(&r->slot[slot]);
    if (mag_is_null(m))
        return;
    ref_store(&r->slot[slot], (u64)&mag_null[0]);
    node_count_remote(region_home(r), slot_node(slot), mag_count(m));
    mag_flush(m);
}

/* The magazines of one class, of a region the caller has alone. */
static void region_empty_class(struct mag_region *r, unsigned cls) {
    u64 spare = ref_load(&region_class(r, cls)->spare);
    for (unsigned node = 0; node < page_nodes_nr(); node++)
        region_empty_slot(r, slot_at(cls, node));
    if (spare != 0) {
        ref_store(&region_class(r, cls)->spare, 0);
        mag_flush(spare);
    }
}

/* Objects of a region the caller has alone. */
static void region_empty(struct mag_region *r) {
    for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls)) {
        mag_level_reset(r, cls);
        if (!slab_made_enter(cls))
            continue;
        region_empty_class(r, cls);
        slab_made_leave(cls);
    }
    atomic_fetch_add_explicit(&drains_nr, 1, memory_order_relaxed);
}

enum { ALL_CLASSES = 0 };

/* Stops the id and empties its magazines of one class, or of all. False: it could not be stopped: its maker is about to
 * publish it once more. Under the stop lock. */
static bool region_stop_and_empty(struct mag_region *r, unsigned id, unsigned cls) {
    /* order: acquire                                                                           pairs: [mag.settled] */
    if (!atomic_load_explicit(&r->settled, memory_order_acquire))
        return false;
    atomic_fetch_add_explicit(&r->stops, STOP_DRAIN, memory_order_relaxed);
    regions_publish(r, id);
    bool alone = barrier_pass();
    if (alone && cls == ALL_CLASSES)
        region_empty(r);
    else if (alone)
        region_empty_class(r, cls);
    atomic_fetch_sub_explicit(&r->stops, STOP_DRAIN, memory_order_relaxed);
    regions_publish(r, id);
    return alone;
}

/* False: there is no barrier, and so none for any other id. */
static bool drain_percpu(struct mag_region *r, unsigned id) {
    if (!barrier_ready())
        return false;
    if (!sys_lock_try(&stop_lock))
        return true;
    (void)region_stop_and_empty(r, id, ALL_CLASSES);
    sys_lock_release(&stop_lock);
    return barrier_in_reach();
}

static void drain_locked(struct mag_region *r) {
    if (!region_trylock(r))
        return;
    region_empty(r);
    region_unlock(r);
}

/* Changes when the id was used, on the slow path or, unless every slot came back to where it stood, on the fast one. */
static u64 activity(struct mag_region *r) {
    u64 sum = atomic_load_explicit(&r->counts.slow_allocs, memory_order_relaxed) +
              atomic_load_explicit(&r->counts.slow_frees, memory_order_relaxed);
    for (unsigned node = 0; node < page_nodes_nr(); node++) {
        for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls))
            sum += ref_load(&r->slot[slot_at(cls, node)]);
    }
    return sum;
}

static bool region_holds_any(struct mag_region *r) {
    return atomic_load_explicit(&r->capacity_bytes[MAG_SMALL], memory_order_relaxed) > 0 ||
           atomic_load_explicit(&r->capacity_bytes[MAG_LARGE], memory_order_relaxed) > 0;
}

void mag_drain(enum mag_drain which) {
    bool in_reach = true; /* the ids; asked for once, not once for each */
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        if (r == NULL)
            continue;
        u64 now = activity(r);
        bool idle = now == atomic_exchange_explicit(&r->drained_at, now, memory_order_relaxed) && region_holds_any(r);
        if (which == MAG_DRAIN_IDLE && !idle)
            continue;
        if (region_is_locked_kind(i))
            drain_locked(r);
        else
            in_reach = in_reach && drain_percpu(r, i);
    }
}

/* What regions_publish() asks has changed. Under the stop lock. */
static void publish_all(void) {
    /* order: seq_cst fence: before the regions are looked for.                                 pairs: [mag.watch] */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; !region_is_locked_kind(i); i++) {
        struct mag_region *r = region_at(i);
        if (r != NULL)
            regions_publish(r, i);
    }
}

/* [D1] No barrier: a section that read the old view may still commit, to the same magazines. */
void mag_watch(enum mag_watch which) {
    if (!sys_lock_try(&stop_lock))
        return;
    atomic_store_explicit(&mag_watched, which == MAG_WATCH_ALL, memory_order_relaxed);
    publish_all();
    sys_lock_release(&stop_lock);
}

/*
 * A thread that sleeps after some hundred calls has another id each time (Linux before 6.13), and would be served from
 * where that one was used last: an id that changes its node again within a few slow allocations stays on the slow path,
 * which looks each time, until it was on one node for as many as such a thread makes at once. Not counted is who takes
 * nodes in turn by a policy: it changes them every few slow allocations, and each of those would put the end off.
 */
enum { CALM_CALLS = 4, WARY_CALLS = 255 };

static u8 wary_after_move(struct mag_region *r) {
    u16 now = (u16)atomic_load_explicit(&r->counts.slow_allocs, memory_order_relaxed);
    u16 calm_in = (u16)(atomic_load_explicit(&r->calm_at, memory_order_relaxed) - now); /* far away once it is over */
    bool roams = atomic_load_explicit(&r->wary, memory_order_relaxed) != 0 || (calm_in != 0 && calm_in <= CALM_CALLS);
    atomic_store_explicit(&r->calm_at, (u16)(now + CALM_CALLS), memory_order_relaxed);
    return roams ? WARY_CALLS : 0;
}

/* One call nearer to its end, an allocation, a free or a tick: each looked. True: there it is. */
static bool wary_ends(struct mag_region *r) {
    u8 left = atomic_load_explicit(&r->wary, memory_order_relaxed);
    if (left != 0)
        atomic_store_explicit(&r->wary, (u8)(left - 1), memory_order_relaxed);
    return left == 1;
}

/* [D1] No barrier, as above: both banks are the id's. */
void region_follow(unsigned node) {
    int id = rseq_id_racy();
    struct mag_region *r = id < 0 || !rt_may_block() ? NULL : region_at((unsigned)id);
    if (r == NULL)
        return;
    bool moves = atomic_load_explicit(&r->home, memory_order_relaxed) != node;
    bool calm = !moves && wary_ends(r);
    if (LIKELY(!moves && !calm && !atomic_load_explicit(&r->nudged, memory_order_relaxed)))
        return;
    /* order: acquire                                                                           pairs: [mag.settled] */
    if (!atomic_load_explicit(&r->settled, memory_order_acquire) || !sys_lock_try(&stop_lock)) {
        if (calm)
            atomic_store_explicit(&r->wary, 1, memory_order_relaxed); /* the next call tries again */
        return;
    }
    if (moves && !page_node_is_in_turn())
        atomic_store_explicit(&r->wary, wary_after_move(r), memory_order_relaxed);
    atomic_store_explicit(&r->home, (u8)node, memory_order_relaxed);
    atomic_store_explicit(&r->nudged, false, memory_order_relaxed);
    regions_publish(r, (unsigned)id);
    sys_lock_release(&stop_lock);
    if (moves)
        node_count_move();
}

/*
 * Who may not block does not answer, nor does who asks for a node: an id where nobody else allocates is let go at the
 * next turn, and not told again before the one after. True: told now; false: let go. A free or a tick may answer for
 * it each time, which of the calls of an id that roams are one: where it was on one node for enough allocations since,
 * it roams no more.
 */
static bool region_nudge(struct mag_region *r) {
    u32 now = (u32)atomic_load_explicit(&r->counts.slow_allocs, memory_order_relaxed);
    bool unanswered = atomic_load_explicit(&r->nudged, memory_order_relaxed) &&
                      atomic_load_explicit(&r->nudged_at, memory_order_relaxed) != now;
    u16 stayed_calls = (u16)(now - atomic_load_explicit(&r->calm_at, memory_order_relaxed) + CALM_CALLS);
    atomic_store_explicit(&r->nudged, !unanswered, memory_order_relaxed);
    if (unanswered || stayed_calls > WARY_CALLS)
        atomic_store_explicit(&r->wary, 0, memory_order_relaxed);
    atomic_store_explicit(&r->nudged_at, now, memory_order_relaxed);
    return !unanswered;
}

/* [D1] No barrier: a section that read the old view may still commit. An id that nobody uses stays as it is until
 * somebody does. */
void mag_nodes_nudge(void) {
    if (page_nodes_nr() == 1 || !sys_lock_try(&stop_lock))
        return;
    for (unsigned id = 0; id < regions_nr() && !region_is_locked_kind(id); id++) {
        struct mag_region *r = region_at(id);
        /* order: acquire                                                                       pairs: [mag.settled] */
        if (r == NULL || !atomic_load_explicit(&r->settled, memory_order_acquire))
            continue;
        if (region_nudge(r))
            regions_stop_allocs(id);
        else
            regions_publish(r, id);
    }
    sys_lock_release(&stop_lock);
}

/* --- one class --- */

/* Whether a region has a magazine of the class. Nobody allocates of the class or frees to it: a fast path that did so
 * before is seen, because whoever unmakes a cache has synchronised with it. */
static bool region_has_class(struct mag_region *r, unsigned cls) {
    bool has = ref_load(&region_class(r, cls)->spare) != 0;
    for (unsigned node = 0; node < page_nodes_nr(); node++)
        has = has || !slot_is_bare(ref_load(&r->slot[slot_at(cls, node)]));
    return has;
}

/* False: its holder is this thread itself, below a handler, or is not in this child of a fork: lock_word(). */
static bool drain_locked_class(struct mag_region *r, unsigned cls) {
    while (!region_trylock(r)) {
        if (region_lock_is_mine(r))
            return false;
        sys_sleep_ms(1);
    }
    region_empty_class(r, cls);
    region_unlock(r);
    return true;
}

/* Without the stop lock: a handler on top of a holder may wait for that, as a child of vfork does. */
static bool drain_all_locked_class(unsigned cls) {
    bool all = true;
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_is_locked_kind(i) ? region_at(i) : NULL;
        if (r == NULL)
            continue;
        if (region_has_class(r, cls))
            all = drain_locked_class(r, cls) && all;
        mag_level_reset(r, cls);
    }
    return all;
}

/* in_reach becomes false where there is no barrier, for no other id either. */
static bool drain_percpu_class(struct mag_region *r, unsigned id, unsigned cls, bool *in_reach) {
    bool emptied = *in_reach && barrier_ready() && region_stop_and_empty(r, id, cls);
    *in_reach = barrier_in_reach();
    return emptied;
}

bool mag_class_drain(unsigned cls) {
    bool all = true, in_reach = true; /* the ids, as in mag_drain() */
    if (!sys_lock_acquire(&stop_lock))
        return false;
    for (unsigned i = 0; !region_is_locked_kind(i); i++) {
        struct mag_region *r = region_at(i);
        if (r == NULL)
            continue;
        if (region_has_class(r, cls))
            all = drain_percpu_class(r, i, cls, &in_reach) && all;
        mag_level_reset(r, cls);
    }
    sys_lock_release(&stop_lock);
    return drain_all_locked_class(cls) && all;
}

/* --- vfork --- */

/* An area that was not registered before stays so: the kernel would fill it for the child, and the parent take what the
 * child leaves in it for an id. */
enum { VFORK_NOTHING = -1, VFORK_CLOSED = -2 };

int mag_vfork_enter(void) {
    int id = rseq_id_racy();
    if (id < 0)
        return thread_area_close() ? VFORK_CLOSED : VFORK_NOTHING;
    struct mag_region *r = region_for_id((unsigned)id); /* or the child would make it, and be on the id alone */
    if (r == NULL) {
        mag_percpu_off();
        return VFORK_NOTHING;
    }
    /* False: the parent itself is inside, below us; it goes on only after us. */
    bool locked = sys_lock_acquire(&stop_lock);
    atomic_fetch_add_explicit(&r->stops, STOP_VFORK, memory_order_relaxed);
    regions_publish(r, (unsigned)id);
    if (locked)
        sys_lock_release(&stop_lock);
    return id;
}

void mag_vfork_leave(int id) {
    if (id == VFORK_CLOSED)
        thread_area_open();
    struct mag_region *r = id < 0 ? NULL : region_at((unsigned)id);
    if (r == NULL)
        return;
    bool locked = sys_lock_acquire(&stop_lock);
    atomic_fetch_sub_explicit(&r->stops, STOP_VFORK, memory_order_relaxed);
    regions_publish(r, (unsigned)id);
    if (locked)
        sys_lock_release(&stop_lock);
}

/* change: of what regions_publish() asks. */
static void regions_change(void (*change)(void)) {
    bool locked = sys_lock_acquire(&stop_lock);
    change();
    publish_all();
    if (locked)
        sys_lock_release(&stop_lock);
}

void mag_percpu_off(void) {
    threads_register_no_more();
    regions_change(regions_close);
}
void mag_divert_allocs(void) { regions_change(regions_divert_allocs); }

/* Only this thread is left: no drain, no vfork child, no holder of a region, but what a handler that forks is on top
 * of, which goes on with it. */
void mag_fork_child(void) {
    bool drains = sys_lock_is_mine(&stop_lock);
    int id = rseq_id_racy();
    struct mag_region *shown = id >= 0 ? region_at((unsigned)id) : NULL;
    /* A child of vfork forked: its area shows its parent's id, and the kernel knows neither of them. So it is as well
     * where another thread was in vfork on this id, which is rare. */
    if (shown != NULL && atomic_load_explicit(&shown->stops, memory_order_relaxed) % STOP_DRAIN != 0)
        regions_close();
    else if (id < 0 && !drains)
        thread_area_open();
    if (!drains)
        sys_lock_reset(&stop_lock);
    nodes_fork_child();
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        if (r == NULL)
            continue;
        if (region_is_locked_kind(i) && !region_lock_is_mine(r))
            atomic_store_explicit(&r->lock, 0, memory_order_relaxed);
        region_complete(r);
        if (region_is_locked_kind(i) || drains)
            continue;
        atomic_store_explicit(&r->stops, 0, memory_order_relaxed);
        atomic_store_explicit(&r->settled, true, memory_order_relaxed); /* or its maker is not here */
        regions_publish(r, i);
    }
}

/* --- accounts --- */

static u64 slot_bytes(u64 m, unsigned cls) {
    return m <= SPARE_STOPPED || mag_is_null(m) ? 0 : (u64)mag_count_racy(m) * slab_geometry_of(cls)->size_bytes;
}

static void region_stats_add(struct mag_region *r, struct mag_stats *s) {
    for (unsigned cls = 1; cls < mag_ids_end_get(); cls = slab_id_after(cls)) {
        s->cached_bytes += slot_bytes(ref_load(&region_class(r, cls)->spare), cls);
        for (unsigned node = 0; node < page_nodes_nr(); node++)
            s->cached_bytes += slot_bytes(ref_load(&r->slot[slot_at(cls, node)]), cls);
    }
    s->slow_allocs += atomic_load_explicit(&r->counts.slow_allocs, memory_order_relaxed);
    s->slow_frees += atomic_load_explicit(&r->counts.slow_frees, memory_order_relaxed);
    s->refills += atomic_load_explicit(&r->counts.refills, memory_order_relaxed);
    s->flushes += atomic_load_explicit(&r->counts.flushes, memory_order_relaxed);
    s->depot_gets += atomic_load_explicit(&r->counts.depot_gets, memory_order_relaxed);
    s->depot_puts += atomic_load_explicit(&r->counts.depot_puts, memory_order_relaxed);
    s->fallback_ops += atomic_load_explicit(&r->counts.fallback_ops, memory_order_relaxed);
}

void mag_stats_get(struct mag_stats *ret_stats) {
    struct mag_stats s = {0};
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        if (r == NULL)
            continue;
        s.ids += !region_is_locked_kind(i);
        region_stats_add(r, &s);
    }
    s.depot_bytes = depot_bytes_racy();
    node_stats_get(&s);
    s.drains = atomic_load_explicit(&drains_nr, memory_order_relaxed);
    *ret_stats = s;
}
