/* SPDX-License-Identifier: MIT */
/*
 * How further slots are filled ([F1] in src/mag/region.c), explored (weave.h): the first class that has one is made
 * (src/mag/class.c) while others make regions, or banks for a second node. Who was handed the class finds a magazine in
 * its slot, wherever it comes by; who walks to the end of ids finds one in whatever region it has for itself; and the
 * child of a fork takes no magazine away. There is one further slot for each bank (few/mag/most.h).
 */
#include "mag/rseq.h"

#include "mag/region.h"
#include "rt/options.h"
#include "sys/sys.h"
#include "weave.h"
#include "weave_heap.h"

enum { CLS = PAGE_MAP_FURTHER, CAP = 1, IDS_NR = 2, NODES_NR = 2, NO_ID = -1 };

struct mag_tabs mag_tabs; /* of engine/sealed.S */

/* c make the class, and hand it to the program; u use it, if it was handed over; r have a region; n decide that there
 * are two nodes, make their banks and open them; w walk to the end of ids. */
static const char *scripts[WEAVE_THREADS_MAX];
static int ids[WEAVE_THREADS_MAX];

static _Atomic(bool) handed_over;
static _Atomic(unsigned) decision;
/* Each thread has one for each node, full. */
static _Alignas(CACHE_LINE) u64 magazines[WEAVE_THREADS_MAX][NODES_NR][3], object;
static u64 mine[WEAVE_THREADS_MAX][NODES_NR]; /* 0: it is in a slot */

void thread_area_open(void) {}

/* --- sections --- */

int section_id(void) { return ids[weave_self()]; }
u64 *section_enter(u64 *const *views) {
    if (section_id() == NO_ID)
        return mag_stopped_slots;
    weave_section_begin((unsigned)section_id());
    return __atomic_load_n(&views[section_id()], __ATOMIC_ACQUIRE);
}
u64 section_load(const u64 *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
void section_store(u64 *word, u64 value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

/* --- what region.c, class.c and drain.c call --- */

u64 sys_clock_ms(void) { return 0; }
size_t sys_page_bytes(void) { return (size_t)1 << 12; }
void nodes_fork_child(void) {}

unsigned page_node_far(void) { return 0; }
unsigned page_node_decided_here(void) { return 0; }
unsigned page_nodes_decided(void) { return atomic_load_explicit(&decision, memory_order_acquire); }
/* One node, unless a thread has decided upon two. */
unsigned page_nodes_decide(void) {
    unsigned seen = 0;
    return atomic_compare_exchange_strong_explicit(&decision, &seen, 1, memory_order_acq_rel, memory_order_acquire)
               ? 1
               : seen;
}

u64 mag_null[2] = {MAG_WORD_END, MAG_WORD_END};
_Atomic(u16) mag_class_cap[SLAB_SLOT_IDS_NR];
unsigned mag_cap_for(size_t size_bytes) { return size_bytes == 0; }
unsigned slab_make(const struct slab_make *make) {
    (void)make;
    return CLS;
}
bool slab_made_has_slot(unsigned cls) { return cls == CLS; }

/* --- threads --- */

static void make(void) {
    static const struct slab_make small = {.size_bytes = 16};
    weave_must(mag_class_make(&small, CAP) == CLS);
    atomic_store_explicit(&handed_over, true, memory_order_release);
}

/* A slot without a magazine would be followed to nowhere. */
static void use(unsigned self) {
    u64 old;
    if (!atomic_load_explicit(&handed_over, memory_order_acquire))
        return;
    unsigned node = page_nodes_nr() - 1;
    if (region_swap_if_empty(SLOT_OFF(slot_at(CLS, node)), mine[self][node], &old) == RSEQ_DONE)
        mine[self][node] = 0;
}

static void nodes(void) {
    unsigned undecided = 0;
    if (!atomic_compare_exchange_strong_explicit(&decision, &undecided, NODES_NR, memory_order_acq_rel,
                                                 memory_order_acquire))
        return;
    regions_open(NODES_NR);
    atomic_store_explicit(&page_nodes_opened, NODES_NR, memory_order_release);
}

/* In the region it has, which is filled: no other thread is on its id. */
static void walk(void) {
    struct mag_region *r = region_mine_racy();
    for (unsigned cls = CLS; cls < mag_ids_end_get(); cls = slab_id_after(cls)) {
        for (unsigned node = 0; node < page_nodes_nr(); node++)
            weave_must(ref_load(&r->slot[slot_at(cls, node)]) != 0);
    }
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 'c': make(); break;
        case 'u': use(self); break;
        case 'r': (void)region_mine_racy(); break;
        case 'n': nodes(); break;
        default: walk(); break;
        }
        weave_forget(((u64)(at - scripts[self]) * 2 + (mine[self][0] != 0)) * 2 + (mine[self][1] != 0));
    }
}

/* --- ends --- */

static void slots_check(struct mag_region *r, unsigned banks_nr, unsigned *found) {
    for (unsigned node = 0; node < banks_nr; node++) {
        u64 m = r->slot[slot_at(CLS, node)];
        weave_must(m != 0);
        *found += !mag_is_null(m);
    }
}

static void finish(void) {
    unsigned found = 0, kept = 0, banks_nr = MAX(page_nodes_decided(), 1u);
    weave_must(mag_ids_end_get() == CLS + 1 && mag_class_cap_get(CLS) == CAP);
    mag_fork_child();
    for (unsigned i = 0; i < regions_nr(); i++) {
        if (region_at(i) != NULL)
            slots_check(region_at(i), banks_nr, &found);
    }
    for (unsigned i = 0; i < WEAVE_THREADS_MAX * NODES_NR; i++)
        kept += mine[i / NODES_NR][i % NODES_NR] != 0;
    weave_must(kept + found == WEAVE_THREADS_MAX * NODES_NR);
    for (unsigned id = 0; id < IDS_NR; id++) {
        struct mag_region *r = region_at(id);
        weave_must(r == NULL || (mag_tabs.alloc_view[id] == r->slot && mag_free_view()[id] == r->slot));
    }
    /* Of the stand-in each refuses. */
    for (unsigned node = 0; node < banks_nr; node++)
        weave_must(mag_stopped_slots[slot_at(CLS, node)] == mag_stopped_slots[0]);
    u64 *spare = (u64 *)((char *)mag_stopped_slots + SPARE_OFF(CLS));
    weave_must(*spare == SPARE_STOPPED);
}

static void magazine_make(unsigned t, unsigned node) {
    u64 *w = magazines[t][node];
    w[0] = MAG_WORD_END;
    w[1] = (u64)&object;
    w[2] = (u64)w | MAG_WORD_END;
    mine[t][node] = (u64)&w[1];
}

/* began: the first so many have regions. */
static void setup(unsigned began, const int of[3], const char *first, const char *second, const char *third) {
    weave_heap_start(SLAB_BARE);
    rt_opt.fake_cpus = 1; /* one locked region */
    rt_meta.ids_nr = IDS_NR;
    weave_must(regions_init() == 0);
    for (unsigned i = 0; i < began; i++) {
        ids[0] = ids[1] = ids[2] = of[i];
        (void)region_mine_racy();
    }
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        ids[t] = of[t];
        for (unsigned node = 0; node < NODES_NR; node++)
            magazine_make(t, node);
    }
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
}

#define SETUP(name, began, a, b, c, first, second, third)                                                              \
    static void setup_##name(void) { setup(began, (const int[3]){a, b, c}, first, second, third); }
SETUP(id, 0, 0, 1, 0, "c", "ru", "")
SETUP(walk, 2, 0, 1, 0, "c", "w", "")
SETUP(walk_made, 0, 0, 1, 0, "c", "w", "")
SETUP(locked, 0, 0, NO_ID, 0, "c", "u", "")
SETUP(locked_made, 0, 0, NO_ID, 0, "c", "ru", "")
SETUP(nodes, 1, 0, 1, 0, "cu", "n", "")
SETUP(nodes_used, 1, 1, 0, 0, "c", "nu", "")
SETUP(nodes_region, 1, 0, 1, 0, "c", "nr", "")
SETUP(used, 2, 0, 1, 0, "cu", "u", "")
SETUP(shared, 0, 0, 0, 0, "cr", "ru", "")

static const struct weave_model models[] = {
    {"a region is made meanwhile", 2, setup_id, thread, finish, WEAVE_BOTH},
    {"a walk meanwhile", 2, setup_walk, thread, finish, WEAVE_BOTH},
    {"a walk in a region made meanwhile", 2, setup_walk_made, thread, finish, WEAVE_BOTH},
    {"a use before there is a region", 2, setup_locked, thread, finish, WEAVE_BOTH},
    {"a locked region is made meanwhile", 2, setup_locked_made, thread, finish, WEAVE_BOTH},
    {"banks for a second node are made meanwhile", 2, setup_nodes, thread, finish, WEAVE_BOTH},
    {"and used", 2, setup_nodes_used, thread, finish, WEAVE_BOTH},
    {"and a region with them", 2, setup_nodes_region, thread, finish, WEAVE_SOAK},
    {"both have regions", 2, setup_used, thread, finish, WEAVE_BOTH},
    {"both on one id", 2, setup_shared, thread, finish, WEAVE_SOAK},
};

#define ONE_LOCKED "one thread at most is without an id here"
#define MADE_BY "how a region is published is explored by weave_region.c"

static const struct weave_excuse excuses[] = {
    {"region_at", "regions.by_id", WEAVE_NO_ACQUIRE, MADE_BY},
    {"region_at", "regions.locked", WEAVE_NO_ACQUIRE, MADE_BY},
    {"region_for_id", "regions.by_id", WEAVE_NO_ACQUIRE, MADE_BY},
    {"region_for_id", "regions.by_id", WEAVE_NO_ACQUIRE_FAILED, MADE_BY},
    {"region_for_id", "regions.by_id", WEAVE_NO_RELEASE, MADE_BY},
    {"region_for_id", "regions.by_id", WEAVE_BLIND, MADE_BY},
    {"region_for_id", "regions.by_id", WEAVE_SPLIT, MADE_BY},
    {"region_for_id", "fence", WEAVE_NO_FENCE, "nobody watches here"},
    {"region_for_id", "&made->settled", WEAVE_ANY, "no id is stopped here"},
    {"region_make", "&first_taken", WEAVE_SPLIT, MADE_BY},
    {"region_make", "&first_taken", WEAVE_LOST, MADE_BY},
    {"locked_region", "regions.locked", WEAVE_NO_ACQUIRE, MADE_BY},
    {"locked_region", "regions.locked", WEAVE_NO_ACQUIRE_FAILED, MADE_BY},
    {"locked_region", "regions.locked", WEAVE_NO_RELEASE, MADE_BY},
    {"locked_region", "regions.locked", WEAVE_BLIND, MADE_BY},
    {"locked_region", "regions.locked", WEAVE_SPLIT, MADE_BY},
    {"locked_region", "&made->lock", WEAVE_ANY, ONE_LOCKED},
    {"region_trylock", "&r->lock", WEAVE_ANY, ONE_LOCKED},
    {"region_unlock", "&r->lock", WEAVE_ANY, ONE_LOCKED},
    {"locked_enter", "fallback_ops", WEAVE_ANY, "a figure"},
    {"mag_fork_child", "&r->", WEAVE_ANY, "no thread is there that has stopped an id, or holds a lock"},
    {"region_publish", "regions.views[id]", WEAVE_ANY, MADE_BY},
    {"region_publish", "mag_tabs.alloc_view[id]", WEAVE_NO_RELEASE, MADE_BY},
    {"region_publish", "mag_tabs.alloc_view[id]", WEAVE_LATE, MADE_BY},
    {"region_publish", "mag_free_view()[id]", WEAVE_NO_RELEASE, MADE_BY},
    {"region_publish", "mag_free_view()[id]", WEAVE_LATE, MADE_BY},
    {"mag_ids_end_get", "&mag_ids_end", WEAVE_NO_ACQUIRE,
     "of its copies, that of who makes classes, one at a time, and that of who drains them"},
    {"slots_prepare", "&mag_ids_end", WEAVE_LATE, "a walk meanwhile ends before it"},
    {"mag_class_make", "&mag_class_cap[cls]", WEAVE_LATE, "before the class is handed over, all the same"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"bank_extend", "if (ref_load", WEAVE_ALWAYS},
};

WEAVE_MAIN("further slots")
