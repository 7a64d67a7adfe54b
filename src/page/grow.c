/* SPDX-License-Identifier: MIT */
/*
 * Where hugepages come from: address space is reserved in large pieces and made writable in growing steps, so that a
 * small process pays for little and a large one makes few system calls. Also decides which of it asks the kernel for
 * real hugepages.
 */
#include "page/huge.h"
#include "page/tier.h"
#include "rt/leftover.h"
#include "rt/options.h"
#include "rt/usage.h"

#define RESERVE_BYTES (1 * GIB)
#define STEP_MIN_BYTES (2 * HPAGE_BYTES)
#define STEP_MAX_BYTES (64 * MIB)

enum {
    LIMITED_RESERVE_SHIFT = 5, /* of a finite RLIMIT_AS, reserve one part in 32 at a time */
    GAPS_NR = 128,             /* hugepages: a quarter of a reservation at most */
    /* Granules: all of the first record costs the same pages of page tables, of the page map and of descriptors. What
     * is left behind the last of them has room for half a record in one run. */
    FIRST_STARTS_NR = 32,
};
_Static_assert(HPAGE_GRANULES - (int)FIRST_STARTS_NR >= HPAGE_GRANULES / 2, "a large run fits behind the first start");
_Static_assert(GAPS_NR *HPAGE_BYTES <= RESERVE_BYTES / 2, "most of a reservation is the heap's");

void page_place(void *p, size_t bytes) {
    switch (rt_opt.numa) {
    case OPT_NUMA_INTERLEAVE: (void)sys_vm_place(p, bytes, SYS_NUMA_INTERLEAVE, &rt_opt.numa_nodes); break;
    case OPT_NUMA_BIND: (void)sys_vm_place(p, bytes, SYS_NUMA_BIND, &rt_opt.numa_nodes); break;
    case OPT_NUMA_PREFER: (void)sys_vm_place(p, bytes, SYS_NUMA_PREFER, &rt_opt.numa_nodes); break;
    default: break;
    }
}

/* Nodes that memory is interleaved over: those of the option, or all that this process may use, asked for once. */
static unsigned interleaved_nr(void) {
    static _Atomic(unsigned) known;
    unsigned nr = atomic_load_explicit(&known, memory_order_relaxed);
    struct sys_nodes allowed;
    if (nr != 0)
        return nr;
    nr = sys_nodes_count(&rt_opt.numa_nodes);
    if (nr == 0 && sys_nodes_allowed(&allowed))
        nr = sys_nodes_count(&allowed);
    nr = MAX(nr, 1u);
    atomic_store_explicit(&known, nr, memory_order_relaxed);
    return nr;
}

/* The kernel puts neighbouring hugepages on one node after the other, so that a node has at most one more than another:
 * few of them are not even. */
size_t page_huge_min_bytes(size_t usual_bytes) {
    enum { HPAGES_PER_NODE = 20 };
    if (LIKELY(rt_opt.numa != OPT_NUMA_INTERLEAVE))
        return usual_bytes;
    return MAX(usual_bytes, (size_t)interleaved_nr() * HPAGES_PER_NODE * HPAGE_BYTES);
}

bool page_huge_unwanted(void) { return rt_opt.thp == OPT_THP_NEVER || rt_opt.numa == OPT_NUMA_INTERLEAVE; }

void page_place_near(void *p, size_t bytes, int id) {
    struct sys_nodes where = {{0}};
    if (id < 0)
        return;
    if (page_nodes_nr() > 1) /* the kernel takes no node without memory */
        id = page_node_id(page_node_nearest(id));
    sys_nodes_add(&where, (unsigned)id);
    (void)sys_vm_place(p, bytes, SYS_NUMA_PREFER, &where);
}

/* Memory of a node's tiers is that node's, whoever touches it first. */
static void place_on_node(unsigned node, void *p, size_t bytes) { page_place_near(p, bytes, page_node_id(node)); }

/* Records that follow each other as one range. */
static void chunk_place_first(void *unused, struct chunk *c) {
    (void)unused;
    unsigned run = 0;
    for (unsigned i = 0; i <= CHUNK_HPAGES; i++) {
        const struct hpage *h = &c->hpages[i];
        if (i < CHUNK_HPAGES && atomic_load_explicit(&h->state, memory_order_relaxed) == HPAGE_RUNS &&
            h->tier < NODE_TIERS_NR) {
            run++;
        } else if (run != 0) {
            place_on_node(0, c->hpages[i - run].addr, run * HPAGE_BYTES);
            run = 0;
        }
    }
}

static bool tier_place_first(struct page_tier *t, enum page_open how) {
    if (t->placed || sys_lock_is_lost(&t->lock)) /* such a one makes no more records */
        return true;
    if (!tier_lock_for(t, how))
        return false;
    if (t->fresh != t->reserved_end)
        place_on_node(0, t->fresh, (size_t)(t->reserved_end - t->fresh));
    for (unsigned i = 0; i < ARRAY_NR(t->steps); i++) {
        const struct tier_step *s = &t->steps[i];
        if (s->at != s->end)
            place_on_node(0, s->at, (size_t)(s->end - s->at));
    }
    t->placed = true;
    tier_unlock(t);
    return true;
}

/*
 * First what is to come, then what has come: records are made out of what is to come, under the lock, and one that is
 * made between the two steps was placed by the first. The other way round it would be missed by both. What is reserved
 * once it was decided that there are nodes is placed as it comes (tier_reserve()), so that no tier is to be gone to
 * twice, however long the last of them makes the others wait.
 */
bool tiers_place_first(enum page_open how) {
    static bool records_placed;
    bool all = true;
    for (unsigned i = 0; i < NODE_TIERS_NR; i++)
        all = tier_place_first(tier_at(i), how) && all;
    if (all && !records_placed) {
        chunks_each(chunk_place_first, NULL);
        records_placed = true;
    }
    return all;
}

bool tier_reserve_forbidden(void) { return rt_usage_forbids(RESERVE_BYTES / CHUNK_BYTES * sizeof(struct chunk)); }

/* By chance, so that where things lie does not follow from where others do. */
static size_t place_pick(u64 of, u32 nr) { return rt_opt.layout == OPT_LAYOUT_RANDOM ? sys_layout_pick(of, nr) : 0; }

/* Between a tier's first reservation and what the kernel put beside it. What is left out stays reserved, without
 * access: so once for a tier, or one that gives its reservation back again and again would use address space up. None
 * of what is scarce. */
static size_t gap_bytes(const struct page_tier *t, const char *p, size_t bytes) {
    bool first = t->reserved_end == NULL && bytes == RESERVE_BYTES && !rt_meta.limited;
    return first ? place_pick((uintptr_t)p, GAPS_NR) * HPAGE_BYTES : 0;
}

/* The address must be free of aliases in a page map that was cut down for RLIMIT_AS: then the window of the map is
 * about 128 times the limit, and the kernel packs mappings far closer than that. */
static bool tier_reserve(struct page_tier *t) {
    size_t bytes = rt_meta.limited ? CLAMP(round_down(rt_meta.limit_bytes >> LIMITED_RESERVE_SHIFT, HPAGE_BYTES),
                                           HPAGE_BYTES, RESERVE_BYTES)
                                   : RESERVE_BYTES;
    char *p = NULL;
    if (t->low != NULL && tier_reserve_forbidden()) /* a tier's first may pass the limit, or there would be none */
        return false;
    while (bytes >= HPAGE_BYTES && (p = sys_vm_reserve(bytes, HPAGE_BYTES)) == NULL)
        bytes = round_down(bytes / 2, HPAGE_BYTES);
    if (p == NULL)
        return false;
    if (chunk_cover_near(p, bytes, tier_node(t)) != 0) {
        rt_release(p, bytes, 0);
        return false;
    }
    page_place(p, bytes);
    place_on_node(tier_node(t), p, bytes);
    if (t->now_ms == 0)
        t->now_ms = sys_clock_ms();
    if (rt_opt.thp == OPT_THP_ALWAYS)
        (void)sys_vm_huge(p, bytes);
    t->fresh = p + gap_bytes(t, p, bytes);
    t->reserved_end = p + bytes;
    t->rest_small = false;
    return true;
}

/* Which node an interleaved hugepage comes from is said by its address. Where only some are asked for, one in nine as
 * it may be, three nodes would get them on one alone: so the nodes take turns. */
static bool hugepage_has_turn(const struct page_tier *t, const char *p) {
    if (LIKELY(rt_opt.numa != OPT_NUMA_INTERLEAVE))
        return true;
    unsigned nr = interleaved_nr();
    return ((uintptr_t)p >> HPAGE_SHIFT) % nr == (t->huge_bytes >> HPAGE_SHIFT) % nr;
}

static bool hugepage_earned(struct page_tier *t) {
    return rt_opt.thp == OPT_THP_EARNED && t->used_granules * GRANULE_BYTES >= page_huge_min_bytes(rt_opt.thp_after) &&
           huge_ask(1) != HUGE_NOT_NOW;
}

bool tier_hugepage_wanted(struct page_tier *t, const char *p) {
    return rt_opt.thp == OPT_THP_ALWAYS || (hugepage_has_turn(t, p) && hugepage_earned(t));
}

static struct hpage *record_of(const char *p) { return chunk_hpage(chunk_of(p), p); }

bool tier_hugepage_tell(char *p) { return sys_vm_huge(record_of(p)->addr, HPAGE_BYTES) == 0; }

void tier_hugepage_touch(char *p) {
    struct hpage *h = record_of(p);
    (void)huge_touch(p);
    if (rt_opt.thp != OPT_THP_ALWAYS)
        (void)sys_vm_nohuge(h->addr, HPAGE_BYTES);
    /* order: release: what purges from here on does so after the touch.                        pairs: [page.awaited] */
    atomic_store_explicit(&h->awaited, false, memory_order_release);
}

/* Multi-size hugepages bring memory that was not asked for, up to so much: what a few neighbouring runs have. */
#define SMALL_HUGE_BYTES ((size_t)64 * KIB)

static bool small_hugepages_come;

/* At the start, for a program may forbid itself to open files. Exact limits want nothing unasked. */
void tiers_look(void) {
    small_hugepages_come = rt_opt.thp == OPT_THP_EARNED && rt_opt.numa != OPT_NUMA_INTERLEAVE &&
                           rt_opt.limit_hard == 0 && sys_thp_unasked_small(SYS_THP_ROOT, SMALL_HUGE_BYTES);
}

/*
 * Where 2 MiB come "always", a small process would get them for its first byte: they must be earned there too, and what
 * is to be small pages says so. But where the administrator lets small sizes alone come, the heap has them from the
 * second step on until it has earned the large one: from then on all says no, lest every other record be a mapping of
 * its own.
 */
static bool step_says_no(const struct page_tier *t) {
    bool small = small_hugepages_come && t->committed_bytes != 0 && t->used_granules * GRANULE_BYTES < rt_opt.thp_after;
    return rt_opt.thp != OPT_THP_ALWAYS && !small && !t->rest_small;
}

/* Of one place in the library, which the tests then know to reach. */
static NOINLINE bool no_hugepages(char *p, size_t bytes) { return sys_vm_nohuge(p, bytes) == 0; }

void tier_hugepage_deny(char *p) { (void)no_hugepages(p, HPAGE_BYTES); }

/* To all that follows in the reservation, once: to a part of it would split a mapping, which may be one too many. But
 * where small sizes may come from the second step on, the first is told alone. What the kernel refuses it is asked for
 * again with the next step. Under the lock, or it would come behind what is said of single hugepages. */
static void step_say_no(struct page_tier *t, size_t bytes) {
    bool alone = small_hugepages_come && t->committed_bytes == 0;
    size_t left = (size_t)(t->reserved_end - t->fresh);
    t->rest_small = no_hugepages(t->fresh, alone ? bytes : left) && !alone;
}

/* Beside others' steps a small one is enough. */
struct tier_step *tier_step_begin_locked(struct page_tier *t, struct tier_step *own) {
    struct tier_step *s = tier_step_left_locked(t);
    if (s != NULL)
        return s;
    if (t->fresh == t->reserved_end && !tier_reserve(t))
        return NULL;
    size_t usual = tier_step_is_under_way(t) ? STEP_MIN_BYTES : CLAMP(t->step_bytes, STEP_MIN_BYTES, STEP_MAX_BYTES);
    size_t bytes = MIN(usual, (size_t)(t->reserved_end - t->fresh));
    if (step_says_no(t))
        step_say_no(t, bytes);
    s = tier_step_claim_locked(t, t->fresh, bytes, own);
    t->fresh = s->end;
    return s;
}

size_t tier_step_commit(const struct tier_step *s) {
    size_t bytes = (size_t)(s->end - s->at);
    while (sys_vm_commit(s->at, bytes) != 0) {
        if (bytes == HPAGE_BYTES)
            return 0;
        bytes = round_up(bytes / 2, HPAGE_BYTES);
    }
    return bytes;
}

struct hpage *tier_record_locked(struct page_tier *t, char *p) {
    if (t->low != NULL) /* more than one record */
        page_nodes_want();
    if (t->low == NULL || p < t->low)
        __atomic_store_n(&t->low, p, __ATOMIC_RELAXED); /* for who looks without the lock */
    t->high = MAX(t->high, p + HPAGE_BYTES);
    struct hpage *h = record_of(p);
    h->addr = p;
    h->tier = t->index;
    h->longest = LONGEST_MAX;
    atomic_store_explicit(&h->state, HPAGE_RUNS, memory_order_relaxed);
    return h;
}

struct hpage *tier_fresh_locked(struct page_tier *t) {
    struct hpage *h = tier_hugetlb_fresh_locked(t);
    if (UNLIKELY(h != NULL))
        return h;
    char *p = tier_step_take_locked(t);
    if (p == NULL)
        return NULL;
    if (t->first_record == NULL) {
        t->first_record = p;
        t->first_start = (u8)place_pick(t->index, FIRST_STARTS_NR);
    }
    return tier_record_locked(t, p);
}
