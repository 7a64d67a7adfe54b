/* SPDX-License-Identifier: MIT */
/*
 * The regions of src/mag/region.c and their draining in src/mag/drain.c, explored (weave.h): sections that push and pop
 * (sections/mag/rseq_none.h, restarted by barriers and by each other) while an id is made, stopped, emptied and started
 * again, and while allocations begin and end to be watched. Who holds an object writes to it; at the end each object is
 * in one hand, in a magazine, or was given to the slabs, once, and every view shows what it should. So it is in the
 * child of a fork, but for what the others have in hand: it lacks that.
 */
#include "mag/rseq.h"

#include "mag/region.h"
#include "rt/options.h"
#include "sys/sys.h"
#include "weave.h"
#include "weave_heap.h"

enum { CLS = 1, CAP = 2, IDS_NR = 1, FREE_OBJECT = 2, OWN_OBJECT = 3, OBJS_NR = 3 + WEAVE_THREADS_MAX };
enum where { MADE = 1, UNMADE = 2, NO_ID = 4, WATCHED = 8 };

struct mag_tabs mag_tabs; /* of engine/sealed.S */

static struct object { u64 owner, given; } objects[OBJS_NR];
/* Each thread has one with an object, and the id may begin with one that has two. */
static _Alignas(CACHE_LINE) u64 magazines[1 + WEAVE_THREADS_MAX][CAP + 2];
static struct hand {
    struct object *obj[OBJS_NR];
    unsigned nr;
    u64 m;
} hands[WEAVE_THREADS_MAX];

/* What a thread does: o pop, u push, both on the slow path's view; O and U the same on the fast one's; m puts its
 * magazine into the slot if that has an empty one; h looks at its region, and makes it first; d drain all, w watch, n
 * watch no more; f forks: the child does the rest. */
static const char *scripts[WEAVE_THREADS_MAX];
static bool is_child;
static unsigned forked_by;
static bool no_id, ends_watched;

/* --- sections --- */

int section_id(void) { return no_id ? -1 : 0; }
u64 *section_enter(u64 *const *views) {
    if (no_id)
        return mag_stopped_slots;
    weave_section_begin(0);
    return __atomic_load_n(&views[0], __ATOMIC_ACQUIRE);
}
u64 section_load(const u64 *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
void section_store(u64 *word, u64 value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

/* --- what region.c and drain.c call --- */

bool sys_thread_alone(void) { return false; }
bool threads_joined(void) { return false; }
enum sys_barrier sys_membarrier_register(void) { return SYS_BARRIER_READY; }
bool sys_is_confined(void) { return false; }
int sys_membarrier_rseq(void) {
    weave_barrier();
    return 0;
}
/* One node. */
unsigned page_node_decided_here(void) { return 0; }
unsigned page_nodes_decide(void) { return 1; }
unsigned page_nodes_decided(void) { return 1; }
unsigned page_node_far(void) { return 0; }
size_t sys_page_bytes(void) { return (size_t)1 << 12; }
void node_count_remote(unsigned from, unsigned node, unsigned nr) { (void)from, (void)node, (void)nr; }
u64 sys_clock_ms(void) { return 0; }
void sys_sleep_ms(unsigned ms) {
    (void)ms;
    weave_wait();
}
void nodes_fork_child(void) {}
void thread_area_open(void) {}

u64 mag_null[2] = {MAG_WORD_END, MAG_WORD_END};
void mag_level_reset(struct mag_region *r, unsigned cls) { (void)r, (void)cls; }
unsigned mag_count(u64 m) {
    unsigned nr = 0;
    while ((((u64 *)m)[-(ptrdiff_t)nr] & MAG_WORD_END) == 0)
        nr++;
    return nr;
}
/* Of a magazine the caller has alone. It is empty afterwards, and nobody has it. */
void mag_flush(u64 m) {
    for (u64 *w = (u64 *)m; (*w & MAG_WORD_END) == 0; w--) {
        struct object *o = (struct object *)*w;
        o->owner = weave_self();
        weave_must(o->given++ == 0);
    }
}

/* --- threads --- */

static void hand_add(struct hand *h, struct object *o, unsigned self) {
    o->owner = self;
    weave_must(h->nr < OBJS_NR);
    h->obj[h->nr++] = o;
}

static void hand_pop(struct hand *h, unsigned self) {
    void *o;
    if (region_pop(CLS, &o) == RSEQ_DONE)
        hand_add(h, o, self);
}

static void hand_pop_fast(struct hand *h, unsigned self) {
    void *o = rseq_pop(mag_tabs.alloc_view, CLS);
    if (o != NULL)
        hand_add(h, o, self);
}

static void hand_push(struct hand *h, unsigned self, bool fast) {
    if (h->nr == 0)
        return;
    struct object *o = h->obj[h->nr - 1];
    o->owner = self;
    if (fast ? rseq_push(mag_free_view(), CLS, o) : region_push(CLS, o) == RSEQ_DONE)
        h->nr--;
}

static void hand_swap(struct hand *h, unsigned self) {
    u64 old;
    objects[OWN_OBJECT + self].owner = self;
    if (region_swap_if_empty(SLOT_OFF(CLS), h->m, &old) == RSEQ_DONE)
        h->m = 0;
}

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = key * 8 + (u64)(h->obj[i] - objects);
    return key * 16 + h->nr * 2 + (h->m != 0);
}

static void thread(unsigned self) {
    struct hand *h = &hands[self];
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 'f':
            if (!weave_fork())
                return;
            is_child = true;
            forked_by = self;
            mag_fork_child();
            break;
        case 'o': hand_pop(h, self); break;
        case 'O': hand_pop_fast(h, self); break;
        case 'u':
        case 'U': hand_push(h, self, *at == 'U'); break;
        case 'h': (void)ref_load(&region_mine_racy()->slot[CLS]); break;
        case 'm': hand_swap(h, self); break;
        case 'd': mag_drain(MAG_DRAIN_ALL); break;
        case 'w': mag_watch(MAG_WATCH_ALL); break;
        default: mag_watch(MAG_WATCH_NONE); break;
        }
        weave_forget(all_it_knows(h, (unsigned)(at - scripts[self])));
    }
}

/* --- ends --- */

static void views_check(void) {
    struct mag_region *r = region_at(0);
    if (r == NULL)
        return;
    weave_must(atomic_load_explicit(&r->stops, memory_order_relaxed) == 0);
    weave_must(atomic_load_explicit(&r->settled, memory_order_relaxed));
    weave_must(mag_free_view()[0] == r->slot);
    weave_must(mag_tabs.alloc_view[0] == (mag_is_watched() ? mag_stopped_slots : r->slot));
}

static void finish(void) {
    unsigned seen[OBJS_NR] = {0};
    weave_must(is_child || mag_is_watched() == ends_watched);
    views_check();
    for (unsigned i = 0; i < regions_nr(); i++) {
        struct mag_region *r = region_at(i);
        weave_must(r == NULL || atomic_load_explicit(&r->lock, memory_order_relaxed) == 0);
        for (u64 *w = r == NULL ? mag_null : (u64 *)r->slot[CLS]; (*w & MAG_WORD_END) == 0; w--)
            seen[(struct object *)*w - objects]++;
    }
    for (struct hand *h = hands; h < hands + WEAVE_THREADS_MAX; h++) {
        if (is_child && h != &hands[forked_by])
            continue;
        for (unsigned i = 0; i < h->nr; i++)
            seen[h->obj[i] - objects]++;
        seen[OWN_OBJECT + (h - hands)] += h->m != 0;
    }
    for (unsigned i = 0; i < OBJS_NR; i++)
        weave_must(seen[i] + objects[i].given <= 1 && (is_child || seen[i] + objects[i].given == 1));
}

static u64 magazine_make(unsigned i, struct object *first, struct object *second) {
    u64 *w = magazines[i];
    w[0] = MAG_WORD_END;
    w[1] = (u64)first;
    w[2] = (u64)second;
    w[3] = (u64)w | MAG_WORD_END;
    return (u64)&w[second == NULL ? 1 : 2];
}

static void setup_id(void) {
    (void)region_mine_racy();
    struct mag_region *r = region_at(0);
    r->slot[CLS] = magazine_make(0, &objects[0], &objects[1]);
    weave_count(&r->drained_at);
}

static void setup(unsigned where, const char *const texts[3]) {
    weave_heap_start(CLS + 1);
    rt_opt.fake_cpus = 1; /* one locked region */
    rt_meta.ids_nr = IDS_NR;
    weave_must(regions_init() == 0);
    no_id = (where & NO_ID) != 0;
    ends_watched = (where & WATCHED) != 0;
    objects[0].given = objects[1].given = (where & MADE) == 0;
    if ((where & MADE) != 0)
        setup_id();
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        hands[t].m = magazine_make(1 + t, &objects[OWN_OBJECT + t], NULL);
    }
    hands[1].obj[0] = &objects[FREE_OBJECT];
    hands[1].nr = 1;
}

#define SETUP(name, where, first, second)                                                                              \
    static void setup_##name(void) { setup(where, (const char *const[3]){first, second, ""}); }
SETUP(drain, MADE, "d", "ou")
SETUP(drain_fast, MADE, "d", "OU")
SETUP(share, MADE, "ou", "uo")
SETUP(first, UNMADE, "d", "hm")
SETUP(two_first, UNMADE, "hm", "hm")
SETUP(drains, MADE, "d", "d")
SETUP(watch, UNMADE | WATCHED, "w", "u")
SETUP(watches, UNMADE, "wn", "u")
SETUP(watch_fast, MADE | WATCHED, "w", "O")
SETUP(locked, UNMADE | NO_ID, "mo", "mu")
SETUP(locked_drain, UNMADE | NO_ID, "d", "mo")

#define SETUP_FORK(name, where, first, second)                                                                         \
    static void setup_##name(void) {                                                                                   \
        setup(where, (const char *const[3]){first, second, ""});                                                       \
        weave_forks(1);                                                                                                \
    }
SETUP_FORK(fork_drain, MADE, "foud", "d")
SETUP_FORK(fork_push, MADE, "foo", "ou")
SETUP_FORK(fork_made, UNMADE, "fmo", "hm")
SETUP_FORK(fork_locked, UNMADE | NO_ID, "fmo", "mu")

/* Mutants meet the small ones first. */
static const struct weave_model models[] = {
    {"a watch begins under a fast pop", 2, setup_watch_fast, thread, finish, WEAVE_BOTH},
    {"a locked region is emptied", 2, setup_locked_drain, thread, finish, WEAVE_BOTH},
    {"a watch begins while an id is made", 2, setup_watch, thread, finish, WEAVE_BOTH},
    {"an id is emptied under fast ones", 2, setup_drain_fast, thread, finish, WEAVE_BOTH},
    {"two threads make an id's region", 2, setup_two_first, thread, finish, WEAVE_BOTH},
    {"an id is emptied by two", 2, setup_drains, thread, finish, WEAVE_BOTH},
    {"a fork while an id is emptied", 2, setup_fork_drain, thread, finish, WEAVE_BOTH},
    {"a fork beside a pop and a push", 2, setup_fork_push, thread, finish, WEAVE_BOTH},
    {"a fork while an id is made", 2, setup_fork_made, thread, finish, WEAVE_BOTH},
    {"a fork beside one without id", 2, setup_fork_locked, thread, finish, WEAVE_BOTH},
    {"two threads on one id", 2, setup_share, thread, finish, WEAVE_BOTH},
    {"an id is emptied while it is made", 2, setup_first, thread, finish, WEAVE_BOTH},
    {"two threads without id", 2, setup_locked, thread, finish, WEAVE_BOTH},
    {"a watch begins and ends while an id is made", 2, setup_watches, thread, finish, WEAVE_BOTH},
    {"an id is emptied under a pop and a push", 2, setup_drain, thread, finish, WEAVE_BOTH},
};

static const struct weave_excuse excuses[] = {
    {"mag_ids_end_get", "&mag_ids_end", WEAVE_NO_ACQUIRE, "no class is made here; weave_visit.c has that"},
    {"page_nodes_nr", "&page_nodes_opened", WEAVE_NO_ACQUIRE, "there is one node here"},
    {"mag_drain", "&r->drained_at", WEAVE_ANY, "a hint: which ids are idle"},
    {"barrier_ready", "&barrier", WEAVE_ANY, "found out again"},
    {"region_empty", "&drains_nr", WEAVE_ANY, "a figure"},
    {"locked_enter", "fallback_ops", WEAVE_ANY, "a figure"},
    {"region_stop_and_empty", "&r->stops", WEAVE_SPLIT,
     "[D1]: under the stop lock, or in a handler on top of its holder"},
    {"region_publish", "&regions.views[id]", WEAVE_LATE, "the views have no order among them"},
    {"region_publish", "&mag_tabs.alloc_view[id]", WEAVE_LATE, "the views have no order among them"},
    {"ref_store", "word", WEAVE_LATE, "[D2]: nobody else looks at the region meanwhile"},
    {"region_unlock", "&r->lock", WEAVE_LATE, "held a little longer"},
    {"region_for_id", "&made->settled", WEAVE_LATE, "the id is stopped a little later"},
    {"region_for_id", "&made->settled", WEAVE_NO_RELEASE,
     "it orders two stores to one view by two threads, which the machine never reverses"},
    {"region_stop_and_empty", "&r->settled", WEAVE_NO_ACQUIRE,
     "it orders two stores to one view by two threads, which the machine never reverses"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"region_for_id", "if (!__atomic_compare", WEAVE_NEVER},
    {"region_for_id", "while (slow != allocs_are_slow", WEAVE_NEVER},
    {"region_stop_and_empty", "if (!atomic_load_explicit(&r->settled", WEAVE_NEVER},
    {"drain_percpu", "if (!sys_lock_try(&stop_lock", WEAVE_NEVER},
    {"drain_locked", "if (!region_trylock", WEAVE_NEVER},
    {"locked_region", "if (atomic_compare", WEAVE_ALWAYS},
    {"locked_enter", "if (r != NULL && region_trylock", WEAVE_ALWAYS},
};

WEAVE_MAIN("regions")
