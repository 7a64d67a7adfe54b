/* SPDX-License-Identifier: MIT */
/* See weave_slabs.h. What stands here for other files is the page tier, the metadata pool and the clock. */
#include "weave_slabs.h"

#include "rt/pool.h"
#include "rt/usage.h"
#include "slab/class.h"
#include "weave.h"
#include "weave_heap.h"

#include <stdlib.h>

enum { GRANULES = 4, NOBJ_MAX = 16, SLABS_MAX = 3, HAND_MAX = NOBJ_MAX };
enum { ID_BITS = 34, TAG_BITS = 3, SEQ_BITS = 2, MAP_NR = 256, KEPT_ELSEWHERE = 2 };
#define TAG_MASK ((((u64)1 << TAG_BITS) - 1) << ID_BITS)
#define ID_MASK (((u64)1 << ID_BITS) - 1)
#define SEQ_MASK ((((u64)1 << SEQ_BITS) - 1) << SLAB_SEQ_SHIFT)
#define STATE_MASK (((u64)1 << SLAB_SEQ_SHIFT) - 1)
#define SLAB_BYTES (GRANULES * GRANULE_BYTES)
#define SLABS_AT ((char *)((uintptr_t)1 << 32)) // NOLINT(performance-no-int-to-ptr)

static const char *scripts[WEAVE_THREADS_MAX];
static unsigned cls;
static unsigned slabs_nr;
static s32 kept_elsewhere;
static struct hand { unsigned objs[HAND_MAX], nr; /* slab * nobj() + index */ } hands[WEAVE_THREADS_MAX];
static u64 objects[SLABS_MAX * NOBJ_MAX]; /* whose each is */
static _Atomic(u32) runs_free;            /* a bit for each slab that was given back */
static _Atomic(s64) given_back_bytes;     /* memory of free pages inside slabs, less that of slabs that are gone */
static _Atomic(u32) may_refill;

static struct slab_class *class_here(void) { return slab_class_at(0, cls); }
static const struct slab_geometry *geometry(void) { return &slab_geometry[cls]; }
static unsigned nobj(void) { return geometry()->nobj; }
static char *base_of(unsigned slab) { return SLABS_AT + (size_t)slab * SLAB_BYTES; }
static unsigned slab_number(const void *p) {
    size_t slab = (size_t)((const char *)p - SLABS_AT) / SLAB_BYTES;
    weave_must(slab < slabs_nr);
    return (unsigned)slab;
}

/* --- what slab.c, give.c and sweep.c call --- */

__thread _Atomic(u8) rt_context_word; /* of all threads here */
_Atomic(u32) rt_chores;
_Atomic(s64) rt_usage_out_bytes, rt_usage_empty_bytes;
size_t sys_page_bytes(void) { return 4096; }
u64 sys_clock_ms(void) { return 0; }
void rt_usage_regretted(void) {}
bool rt_usage_in_waves(void) { return false; }
size_t page_backed_bytes_racy(void) { return 0; }
/* Hints of how many slabs are worth keeping: here none beyond the few. */
bool slab_kept_admits(s64 bytes) {
    (void)bytes;
    return false;
}
s32 slab_kept_more(const struct slab_class *c) {
    (void)c;
    return 0;
}
void slab_kept_look(void) {}
void slab_kept_tick(void) {}
void slab_kept_note(struct slab_class *c, s32 empties) { (void)c, (void)empties; }
void slab_kept_retired(struct slab_class *c, unsigned of) { (void)c, (void)of; }
void slab_kept_fork_child(void) {}
void slab_kept_forget(struct slab_class *c, const struct slab_geometry *g) { (void)c, (void)g; }
void slab_kept_made(struct slab_class *c, unsigned of) { (void)c, (void)of; }
bool slab_kept_elsewhere(const struct slab_class *c, unsigned of) {
    (void)c, (void)of;
    return false;
}
void slab_kept_yield(unsigned asking) { (void)asking; }
void page_map_set(const void *addr, size_t granules_nr, unsigned value) {
    weave_must(page_map_get(addr) == value && granules_nr == GRANULES);
}

/* Nobody has what lies there, and all that was done with it is over. */
static void object_gone(unsigned object) {
    weave_must(objects[object] == 0);
    objects[object] = 0;
}

u64 page_purge_inside(const struct sys_range *ranges, unsigned nr) {
    for (unsigned i = 0; i < nr; i++) {
        const char *from = ranges[i].addr, *to = from + ranges[i].bytes;
        unsigned slab = slab_number(from);
        for (unsigned index = 0; index < nobj(); index++) {
            const char *object = base_of(slab) + (size_t)index * geometry()->size_bytes;
            if (object < to && object + geometry()->size_bytes > from)
                object_gone(slab * nobj() + index);
        }
        atomic_fetch_add_explicit(&given_back_bytes, (s64)ranges[i].bytes, memory_order_relaxed);
    }
    return bits_mask(nr);
}

bool page_refill_inside_try(void *addr, size_t bytes) {
    (void)addr, (void)bytes;
    return atomic_load_explicit(&may_refill, memory_order_relaxed) != 0;
}

void page_forget_inside(void *addr, size_t bytes) {
    (void)addr;
    atomic_fetch_sub_explicit(&given_back_bytes, (s64)bytes, memory_order_relaxed);
}

/* What was a slab before, at its place. */
void *page_run_alloc(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    weave_must(node == 0 && granules_nr == GRANULES && align_nr == geometry()->align);
    u32 seen = atomic_load_explicit(&runs_free, memory_order_relaxed);
    do {
        if (seen == 0)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&runs_free, &seen, seen & (seen - 1), memory_order_acquire,
                                                    memory_order_relaxed));
    *ret_content = PAGE_DIRTY;
    return base_of(bits_lowest(seen));
}

void page_run_free(void *run, unsigned granules_nr) {
    unsigned slab = slab_number(run);
    weave_must(granules_nr == GRANULES && run == base_of(slab));
    for (unsigned index = 0; index < nobj(); index++)
        object_gone(slab * nobj() + index);
    u32 old = atomic_fetch_or_explicit(&runs_free, (u32)1 << slab, memory_order_release);
    weave_must((old >> slab & 1) == 0);
}

#define NEVER_CALLED(what) weave_broken(what " is asked for something")
struct slab_class *slab_made_class(unsigned node, unsigned cls) {
    (void)node, (void)cls;
    NEVER_CALLED("a made class");
}
void slab_made_construct(unsigned cls, char *base) {
    (void)cls, (void)base;
    NEVER_CALLED("a made class");
}
void *rt_pool_get(enum rt_pool_kind kind, unsigned node, unsigned shift) {
    (void)kind, (void)node, (void)shift;
    NEVER_CALLED("the pool");
}
void rt_pool_put(enum rt_pool_kind kind, unsigned node, void *block, unsigned shift) {
    (void)kind, (void)node, (void)block, (void)shift;
    NEVER_CALLED("the pool");
}
void *page_run_alloc_warm(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content,
                          enum page_warm *ret_why) {
    (void)ret_why;
    return page_run_alloc(node, granules_nr, align_nr, ret_content);
}
void *page_run_alloc_reclaimable(unsigned node, unsigned granules_nr, unsigned align_nr,
                                 enum page_content *ret_content) {
    (void)node, (void)granules_nr, (void)align_nr, (void)ret_content;
    NEVER_CALLED("the part of the tier that can be reclaimed");
}
void page_bring(char *p, size_t bytes) {
    (void)p, (void)bytes;
    NEVER_CALLED("memory that is not there");
}
void *page_reserve_take(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    (void)node, (void)granules_nr, (void)align_nr, (void)ret_content;
    NEVER_CALLED("the reserve");
}

/* --- threads --- */

static void take(unsigned self, unsigned want) {
    struct hand *h = &hands[self];
    void *stack[HAND_MAX];
    unsigned got = slab_take(cls, 0, MIN(want, HAND_MAX - h->nr), stack + HAND_MAX, NULL);
    weave_must(got <= want);
    for (unsigned i = 0; i < got; i++) {
        const char *p = stack[HAND_MAX - 1 - i];
        unsigned slab = slab_number(p), index = slab_index(geometry(), (u64)(p - base_of(slab)));
        weave_must(objects[slab * nobj() + index] == 0);
        objects[slab * nobj() + index] = self + 1;
        h->objs[h->nr++] = slab * nobj() + index;
    }
}

static void give(unsigned self, unsigned nr) {
    struct hand *h = &hands[self];
    void *batch[HAND_MAX];
    if (h->nr == 0)
        return;
    for (unsigned i = 0; i < nr; i++) {
        unsigned object = h->objs[i];
        weave_must(objects[object] == self + 1);
        objects[object] = 0;
        batch[i] = base_of(object / nobj()) + (size_t)(object % nobj()) * geometry()->size_bytes;
    }
    h->nr -= nr;
    for (unsigned i = 0; i < h->nr; i++)
        h->objs[i] = h->objs[i + nr];
    slab_give(batch, nr);
}

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = (key + h->objs[i] + 1) * 0x9e3779b97f4a7c15u;
    return key;
}

void slabs_thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 't': take(self, 1); break;
        case 'T': take(self, 2); break;
        case 'g': give(self, 1); break;
        case 'G': give(self, hands[self].nr); break;
        case 's': slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_NO); break;
        case 'r': slab_sweep(cls, SLAB_KEEP_NONE, SLAB_PURGE_NO); break;
        case 'p': slab_sweep(cls, SLAB_KEEP_SOME, SLAB_PURGE_INSIDE); break;
        default: atomic_store_explicit(&may_refill, 1, memory_order_relaxed); break;
        }
        weave_forget(all_it_knows(&hands[self], (unsigned)(at - scripts[self])));
    }
}

/* --- at the end --- */

static bool is_gone(unsigned slab) { return (atomic_load_explicit(&runs_free, memory_order_relaxed) >> slab & 1) != 0; }

static void lists_check(void) {
    unsigned seen[SLABS_MAX] = {0}, nr = 0;
    char *listed[SLABS_MAX];
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++) {
        for (char *base = partial_take_all(class_here(), list); base != NULL; base = partial_next(base)) {
            weave_must(nr < slabs_nr);
            seen[slab_number(base)]++;
            listed[nr++] = base;
        }
    }
    for (unsigned i = 0; i < nr; i++)
        partial_push(class_here(), listed[i], geometry()->nobj, geometry()->nobj);
    for (unsigned i = 0; i < slabs_nr; i++) {
        enum slab_state state = slab_word_state(slab_word_load(slab_at(base_of(i))));
        weave_must(state == (is_gone(i) ? SLAB_EMPTY : seen[i] != 0 ? SLAB_LISTED : SLAB_FULL));
        weave_must(seen[i] <= 1);
    }
}

/* What is out has memory. */
static void memory_check(void) {
    size_t unit = slab_purge_unit(geometry());
    for (unsigned object = 0; object < slabs_nr * nobj(); object++) {
        size_t from = (size_t)(object % nobj()) * geometry()->size_bytes, to = from + geometry()->size_bytes;
        u32 pages = (u32)(bits_mask((unsigned)((to + unit - 1) / unit)) & ~bits_mask((unsigned)(from / unit)));
        weave_must(objects[object] == 0 || (slab_at(base_of(object / nobj()))->purged & pages) == 0);
    }
}

/* Objects that were never carved have no bit. */
static int bits_nr(struct slab *s) {
    return (int)bits_count(atomic_load_explicit(&s->bits, memory_order_relaxed)) + geometry()->nobj -
           (int)slab_carved(s, geometry());
}

static void accounts_check(unsigned out_nr) {
    s32 empties = kept_elsewhere, there = 0;
    s64 purged = 0;
    unsigned free_nr = 0;
    for (unsigned i = 0; i < slabs_nr; i++) {
        struct slab *s = slab_at(base_of(i));
        int free_here = is_gone(i) ? geometry()->nobj : slab_word_free(slab_word_load(s));
        weave_must(is_gone(i) || bits_nr(s) == free_here);
        there += !is_gone(i);
        empties += !is_gone(i) && free_here == geometry()->nobj;
        purged += (s64)bits_count(s->purged) * (s64)slab_purge_unit(geometry());
        free_nr += (unsigned)free_here;
    }
    weave_must(free_nr + out_nr == slabs_nr * nobj());
    weave_must(atomic_load_explicit(&class_here()->slabs, memory_order_relaxed) == there);
    weave_must(atomic_load_explicit(&class_here()->sweeping, memory_order_relaxed) == 0);
    weave_must(atomic_load_explicit(&class_here()->out_objs, memory_order_relaxed) == (s64)out_nr);
    weave_must(atomic_load_explicit(&rt_usage_out_bytes, memory_order_relaxed) == (s64)out_nr * geometry()->size_bytes);
    weave_must(atomic_load_explicit(&slab_regret_bytes, memory_order_relaxed) ==
               atomic_load_explicit(&given_back_bytes, memory_order_relaxed) - purged);
    weave_must(atomic_load_explicit(&class_here()->empties, memory_order_relaxed) == empties);
    weave_must(atomic_load_explicit(&class_here()->purged_bytes, memory_order_relaxed) == purged);
}

/* Free, and not to be had: of a full slab too few for it to be listed, and of one that is gone where none is made. */
static unsigned withheld_nr(void) {
    unsigned nr = 0;
    for (unsigned i = 0; i < slabs_nr; i++) {
        slab_word_t w = slab_word_load(slab_at(base_of(i)));
        if (is_gone(i))
            nr += rt_may_block() ? 0 : nobj();
        else if (slab_word_state(w) == SLAB_FULL)
            nr += (unsigned)slab_word_free(w);
        weave_must(is_gone(i) || slab_word_state(w) != SLAB_FULL || slab_word_free(w) < geometry()->threshold);
    }
    return nr;
}

void slabs_finish(void) {
    unsigned out_nr = 0, withheld = withheld_nr();
    void *stack[SLABS_MAX * NOBJ_MAX];
    for (unsigned i = 0; i < slabs_nr * nobj(); i++)
        out_nr += objects[i] != 0;
    lists_check();
    memory_check();
    accounts_check(out_nr);
    atomic_store_explicit(&may_refill, 1, memory_order_relaxed);
    unsigned rest = slabs_nr * nobj() - withheld, got = slab_take(cls, 0, rest - out_nr, stack + rest, NULL);
    weave_must(got == rest - out_nr);
    accounts_check(rest);
}

/* --- setup --- */

/* The page map and the chunk's table are constants here, and not modelled. */
static void chunk_make(void) {
    u32 *map = malloc(MAP_NR * sizeof(*map));
    size_t bytes = round_up(META_UNIT + sizeof(struct chunk), (size_t)META_UNIT);
    rt_meta.base = aligned_alloc(META_UNIT, bytes);
    rt_meta.chunks = calloc(1, sizeof(*rt_meta.chunks));
    if (rt_meta.base == NULL || rt_meta.chunks == NULL || map == NULL)
        abort();
    atomic_store_explicit(rt_meta.chunks, 1, memory_order_relaxed);
    for (unsigned i = 0; i < MAP_NR; i++)
        map[i] = slab_slot_of(cls) * PAGE_SLOT_BYTES;
    rt_meta.map_end = map + MAP_NR;
    rt_meta.map_ones = -(u64)MAP_NR;
}

void slabs_add(int free_nr, unsigned purged) {
    unsigned i = slabs_nr++;
    struct slab *s = slab_at(base_of(i));
    slab_word_t none = {0};
    weave_must(i < SLABS_MAX);
    *s = (struct slab){.word = slab_word_next(none, free_nr, free_nr > 0 ? SLAB_LISTED : SLAB_FULL).bits,
                       .bits = bits_mask((unsigned)free_nr),
                       .purged = purged,
                       .first = (u8)nobj(),
                       .kind = slab_kind(cls, 0)};
    for (unsigned granule = 1; granule < GRANULES; granule++)
        (s + granule)->back = (u8)granule;
    for (unsigned object = (unsigned)free_nr; object < nobj(); object++)
        objects[i * nobj() + object] = WEAVE_THREADS_MAX + 1;
    weave_range(s, sizeof(*s));
    weave_narrow(&s->word, STATE_MASK | SEQ_MASK, SEQ_MASK);
    struct slab_class *c = class_here();
    s64 bytes = (s64)bits_count(purged) * (s64)slab_purge_unit(geometry());
    atomic_fetch_add_explicit(&given_back_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->slabs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->purged_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->out_objs, geometry()->nobj - free_nr, memory_order_relaxed);
    atomic_fetch_add_explicit(&rt_usage_out_bytes, (geometry()->nobj - free_nr) * (s64)geometry()->size_bytes,
                              memory_order_relaxed);
    if (free_nr > 0)
        slab_do_duty(SLAB_DUTY_LIST, c, base_of(i), geometry(), free_nr);
}

void slabs_hand_over(unsigned slab, unsigned first, unsigned nr, unsigned self) {
    for (unsigned object = slab * nobj() + first; nr > 0; object++, nr--) {
        weave_must(objects[object] == WEAVE_THREADS_MAX + 1 && hands[self].nr < HAND_MAX);
        objects[object] = self + 1;
        hands[self].objs[hands[self].nr++] = object;
    }
}

void slabs_keep_no_more(void) {
    kept_elsewhere = KEPT_ELSEWHERE;
    atomic_fetch_add_explicit(&class_here()->empties, KEPT_ELSEWHERE, memory_order_relaxed);
    weave_must(!slab_empties_admit(class_here(), geometry()));
}

void slabs_setup(enum slabs_class of, enum rt_context context, const char *first, const char *second,
                 const char *third) {
    cls = of;
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    atomic_store_explicit(&rt_context_word, (u8)context, memory_order_relaxed);
    atomic_store_explicit(&may_refill, context == RT_MAY_BLOCK, memory_order_relaxed);
    slab_classes[0] = calloc(SLAB_CLASSES_NR, sizeof(struct slab_class));
    if (slab_classes[0] == NULL)
        abort();
    weave_must(geometry()->granules == GRANULES && geometry()->bitmap_shift == 3 && nobj() <= NOBJ_MAX);
    weave_must(geometry()->threshold == (of == SLABS_OF_8 ? 1 : 2));
    chunk_make();
    weave_range(class_here(), sizeof(struct slab_class));
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++)
        weave_narrow(list == BUCKET_UNBACKED ? &class_here()->unbacked : &class_here()->partial[list],
                     ID_MASK | TAG_MASK, TAG_MASK);
    weave_count(&class_here()->out_objs);
    weave_count(&class_here()->purged_bytes);
    weave_count(&class_here()->slabs);
    weave_count(&class_here()->empties);
    weave_count(&class_here()->sparse);
    weave_count(&class_here()->grown_ms);
    weave_count(&slab_regret_bytes);
    weave_count(&rt_usage_out_bytes);
    weave_count(&rt_usage_empty_bytes);
    weave_count(&rt_chores);
    weave_count(&given_back_bytes);
}
