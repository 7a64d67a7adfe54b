/* SPDX-License-Identifier: MIT */
/*
 * Slabs whose free pages' memory is refused (src/slab/slab.c, with the lists of src/slab/partial.c), explored
 * (weave.h): allocations that may not block meet slabs that were purged, at a limit that forbids to bring the memory
 * again, while others allocate, free, sweep, and lift the limit. Who owns a slab writes to its record's plain field,
 * and who has an object to the object. At the end each slab with something free is on one list, once, each object is
 * out or free, once, the accounts are true, and without a limit all that is free can be had. The sequence of slab words
 * and the tag of lists are cut to two and three bits.
 */
#include "rt/context.h"
#include "rt/pool.h"
#include "rt/usage.h"
#include "slab/class.h"
#include "weave.h"
#include "weave_heap.h"

#include <stdlib.h>

/* CLS has eight objects in four granules. */
enum { CLS = 48, NOBJ = 8, GRANULES = 4, SLABS_MAX = 3, HAND_MAX = 4, ID_BITS = 34, TAG_BITS = 3, SEQ_BITS = 2 };
#define TAG_MASK ((((u64)1 << TAG_BITS) - 1) << ID_BITS)
#define ID_MASK (((u64)1 << ID_BITS) - 1)
#define SEQ_MASK ((((u64)1 << SEQ_BITS) - 1) << SLAB_SEQ_SHIFT)
#define STATE_MASK (((u64)1 << SLAB_SEQ_SHIFT) - 1)
#define SLABS_AT ((char *)((uintptr_t)1 << 32)) // NOLINT(performance-no-int-to-ptr)

/* t take one object, T two, g give back what it has had longest, s sweep, l lift the limit. */
static const char *scripts[WEAVE_THREADS_MAX];
static unsigned slabs_nr;
static struct hand { unsigned objs[HAND_MAX], nr; /* slab * NOBJ + index */ } hands[WEAVE_THREADS_MAX];
static u64 objects[SLABS_MAX * NOBJ]; /* whose each is */
static s64 purged_bytes;              /* in the beginning */
static _Atomic(u32) may_refill;

/* --- what slab.c calls --- */

__thread _Atomic(u8) rt_context_word = RT_ATOMIC; /* of all threads here */
_Atomic(s64) rt_usage_out_bytes;
size_t sys_page_bytes(void) { return 4096; }
void rt_usage_regretted(void) {}

bool page_refill_inside_try(void *addr, size_t bytes) {
    (void)addr, (void)bytes;
    return atomic_load_explicit(&may_refill, memory_order_relaxed) != 0;
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
void *page_run_alloc(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    (void)node, (void)granules_nr, (void)align_nr, (void)ret_content;
    NEVER_CALLED("the page tier");
}
void *page_run_alloc_reclaimable(unsigned node, unsigned granules_nr, unsigned align_nr,
                                 enum page_content *ret_content) {
    return page_run_alloc(node, granules_nr, align_nr, ret_content);
}
void *page_reserve_take(unsigned node, unsigned granules_nr, unsigned align_nr, enum page_content *ret_content) {
    return page_run_alloc(node, granules_nr, align_nr, ret_content);
}
void page_run_free(void *run, unsigned granules_nr) {
    (void)run, (void)granules_nr;
    NEVER_CALLED("the page tier");
}
void page_forget_inside(void *addr, size_t bytes) {
    (void)addr, (void)bytes;
    NEVER_CALLED("the page tier");
}
void page_map_set(const void *addr, size_t granules_nr, unsigned value) {
    (void)addr, (void)granules_nr, (void)value;
    NEVER_CALLED("the page map");
}
u64 sys_clock_ms(void) { NEVER_CALLED("the clock"); }

/* --- threads --- */

static struct slab_class *class_here(void) { return slab_class_at(0, CLS); }
static const struct slab_geometry *geometry(void) { return &slab_geometry[CLS]; }
static char *base_of(unsigned slab) { return SLABS_AT + (size_t)slab * GRANULES * GRANULE_BYTES; }

static void take(unsigned self, unsigned want) {
    struct hand *h = &hands[self];
    void *stack[HAND_MAX];
    unsigned got = slab_take(CLS, 0, MIN(want, HAND_MAX - h->nr), stack + HAND_MAX, NULL);
    for (unsigned i = 0; i < got; i++) {
        size_t offset = (size_t)((char *)stack[HAND_MAX - 1 - i] - SLABS_AT);
        unsigned slab = (unsigned)(offset / (GRANULES * GRANULE_BYTES));
        unsigned object = slab * NOBJ + slab_index(geometry(), offset % (GRANULES * GRANULE_BYTES));
        weave_must(slab < slabs_nr);
        objects[object] = self + 1;
        h->objs[h->nr++] = object;
    }
}

/* As give.c: the bit first, and then the count. */
static void give(unsigned self) {
    struct hand *h = &hands[self];
    if (h->nr == 0)
        return;
    unsigned object = h->objs[0];
    for (unsigned i = 1; i < h->nr; i++)
        h->objs[i - 1] = h->objs[i];
    h->nr--;
    weave_must(objects[object] == self + 1);
    objects[object] = 0;
    char *base = base_of(object / NOBJ);
    struct slab *s = slab_at(base);
    enum slab_duty duty;
    u64 bit = (u64)1 << object % NOBJ;
    weave_must((atomic_fetch_or_explicit(&s->bits, bit, memory_order_release) & bit) == 0);
    slab_word_t was = SLAB_TRANSITION(s, slab_word_add(w, 1, NOBJ, geometry()->threshold, &duty));
    slab_do_duty(duty, class_here(), base, geometry(), slab_word_free(was) + 1);
    if (slab_word_state(was) == SLAB_LISTED && slab_word_free(was) + 1 == NOBJ)
        slab_empties_add(class_here(), geometry(), 1);
    atomic_fetch_sub_explicit(&class_here()->out_objs, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&rt_usage_out_bytes, geometry()->size_bytes, memory_order_relaxed);
}

/* As sweep.c: files what is listed by what is free now, and leaves refused slabs where they are. */
static void sweep(void) {
    char *heads[PARTIAL_LISTS_NR];
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++)
        heads[list] = partial_take_all(class_here(), list);
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++) {
        for (char *base = heads[list], *next; base != NULL; base = next) {
            enum slab_duty duty;
            struct slab *s = slab_at(base);
            next = partial_next(base);
            slab_word_t was = SLAB_TRANSITION(s, slab_word_claim(w));
            if (slab_word_free(was) == NOBJ)
                slab_empties_add(class_here(), geometry(), -1);
            bool refused = list == BUCKET_UNBACKED && s->purged != 0;
            was = SLAB_TRANSITION(s, slab_word_unbind(w, 0, 1, &duty));
            (refused ? slab_do_duty_unbacked : slab_do_duty)(duty, class_here(), base, geometry(), slab_word_free(was));
        }
    }
}

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = key * 32 + h->objs[i];
    return key * 8 + h->nr;
}

static void thread(unsigned self) {
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 't': take(self, 1); break;
        case 'T': take(self, 2); break;
        case 'g': give(self); break;
        case 's': sweep(); break;
        default: atomic_store_explicit(&may_refill, 1, memory_order_relaxed); break;
        }
        weave_forget(all_it_knows(&hands[self], (unsigned)(at - scripts[self])));
    }
}

/* --- at the end --- */

static void lists_check(void) {
    unsigned seen[SLABS_MAX] = {0}, nr = 0;
    char *listed[SLABS_MAX];
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++) {
        for (char *base = partial_take_all(class_here(), list); base != NULL; base = partial_next(base)) {
            weave_must(nr < slabs_nr);
            seen[(size_t)(base - SLABS_AT) / (GRANULES * GRANULE_BYTES)]++;
            listed[nr++] = base;
        }
    }
    for (unsigned i = 0; i < nr; i++)
        partial_push(class_here(), listed[i], NOBJ, NOBJ);
    for (unsigned i = 0; i < slabs_nr; i++) {
        enum slab_state state = slab_word_state(slab_word_load(slab_at(base_of(i))));
        weave_must(state == SLAB_LISTED || state == SLAB_FULL);
        weave_must(seen[i] == (state == SLAB_LISTED));
    }
}

static void accounts_check(unsigned out_nr) {
    s32 empties = 0;
    s64 purged = 0;
    unsigned free_nr = 0;
    for (unsigned i = 0; i < slabs_nr; i++) {
        struct slab *s = slab_at(base_of(i));
        int free_here = slab_word_free(slab_word_load(s));
        weave_must(__builtin_popcountll(atomic_load_explicit(&s->bits, memory_order_relaxed)) == free_here);
        empties += free_here == NOBJ;
        purged += __builtin_popcount(s->purged) * (s64)slab_purge_unit(geometry());
        free_nr += (unsigned)free_here;
    }
    weave_must(free_nr + out_nr == slabs_nr * NOBJ);
    weave_must(atomic_load_explicit(&class_here()->out_objs, memory_order_relaxed) == (s64)out_nr);
    weave_must(atomic_load_explicit(&rt_usage_out_bytes, memory_order_relaxed) == (s64)out_nr * geometry()->size_bytes);
    weave_must(atomic_load_explicit(&slab_regret_bytes, memory_order_relaxed) == purged_bytes - purged);
    weave_must(atomic_load_explicit(&class_here()->empties, memory_order_relaxed) == empties);
    weave_must(atomic_load_explicit(&class_here()->purged_bytes, memory_order_relaxed) == purged);
}

static void finish(void) {
    unsigned out_nr = 0;
    void *stack[SLABS_MAX * NOBJ];
    for (unsigned i = 0; i < slabs_nr * NOBJ; i++)
        out_nr += objects[i] != 0;
    lists_check();
    accounts_check(out_nr);
    atomic_store_explicit(&may_refill, 1, memory_order_relaxed);
    unsigned all = slabs_nr * NOBJ, got = slab_take(CLS, 0, all - out_nr, stack + all, NULL);
    weave_must(got == all - out_nr);
    accounts_check(all);
}

/* --- setup --- */

static void chunk_make(void) {
    size_t bytes = round_up(META_UNIT + sizeof(struct chunk), (size_t)META_UNIT);
    rt_meta.base = aligned_alloc(META_UNIT, bytes);
    rt_meta.chunks = calloc(1, sizeof(*rt_meta.chunks));
    if (rt_meta.base == NULL || rt_meta.chunks == NULL)
        abort();
    atomic_store_explicit(rt_meta.chunks, 1, memory_order_relaxed);
}

/* A slab whose lowest objects are free and purged of purged pages; the rest is somebody's for good. On no list: full.
 */
static void slab_put(unsigned i, int free_nr, u32 purged) {
    struct slab *s = slab_at(base_of(i));
    slab_word_t none = {0};
    *s = (struct slab){.word = slab_word_next(none, free_nr, free_nr > 0 ? SLAB_LISTED : SLAB_FULL).bits,
                       .bits = bits_mask((unsigned)free_nr),
                       .purged = purged,
                       .first = NOBJ,
                       .kind = slab_kind(CLS, 0)};
    for (unsigned object = (unsigned)free_nr; object < NOBJ; object++)
        objects[i * NOBJ + object] = WEAVE_THREADS_MAX + 1;
    weave_range(s, sizeof(*s));
    weave_narrow(&s->word, STATE_MASK | SEQ_MASK, SEQ_MASK);
    struct slab_class *c = class_here();
    s64 bytes = __builtin_popcount(purged) * (s64)slab_purge_unit(geometry());
    purged_bytes += bytes;
    atomic_fetch_add_explicit(&c->purged_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->out_objs, NOBJ - free_nr, memory_order_relaxed);
    atomic_fetch_add_explicit(&rt_usage_out_bytes, (NOBJ - free_nr) * (s64)geometry()->size_bytes,
                              memory_order_relaxed);
    if (free_nr > 0)
        slab_do_duty(SLAB_DUTY_LIST, c, base_of(i), geometry(), free_nr);
}

/* The last object of the slab is the thread's. */
static void hand_over(unsigned i, unsigned self) {
    unsigned object = i * NOBJ + NOBJ - 1;
    objects[object] = self + 1;
    hands[self].objs[hands[self].nr++] = object;
}

static void setup(const char *first, const char *second, const char *third) {
    scripts[0] = first;
    scripts[1] = second;
    scripts[2] = third;
    slab_classes[0] = calloc(SLAB_CLASSES_NR, sizeof(struct slab_class));
    if (slab_classes[0] == NULL)
        abort();
    weave_must(geometry()->nobj == NOBJ && geometry()->granules == GRANULES && geometry()->bitmap_shift == 3);
    chunk_make();
    weave_range(class_here(), sizeof(struct slab_class));
    for (unsigned list = 0; list < PARTIAL_LISTS_NR; list++)
        weave_narrow(list == BUCKET_UNBACKED ? &class_here()->unbacked : &class_here()->partial[list],
                     ID_MASK | TAG_MASK, TAG_MASK);
    weave_count(&class_here()->out_objs);
    weave_count(&class_here()->purged_bytes);
    weave_count(&class_here()->empties);
    weave_count(&slab_regret_bytes);
    weave_count(&rt_usage_out_bytes);
}

/* Slabs with two free objects each, without memory. */
static void refused(unsigned nr, const char *first, const char *second, const char *third) {
    setup(first, second, third);
    slabs_nr = nr;
    for (unsigned i = 0; i < nr; i++)
        slab_put(i, 2, 1);
}

static void setup_takes(void) { refused(1, "t", "t", ""); }
static void setup_takes_of_two(void) { refused(2, "t", "t", ""); }
static void setup_lift(void) { refused(1, "t", "lt", ""); }
static void setup_lift_of_two(void) { refused(2, "T", "lt", ""); }
static void setup_sweep(void) { refused(1, "t", "s", ""); }
static void setup_sweep_of_two(void) { refused(2, "t", "s", ""); }
static void setup_swept_lift(void) { refused(1, "t", "ls", ""); }
static void setup_give(void) {
    refused(1, "T", "g", "");
    hand_over(0, 1);
}
static void setup_last_give(void) {
    setup("t", "g", "");
    slabs_nr = 1;
    slab_put(0, NOBJ - 1, 1);
    hand_over(0, 1);
}
/* One without memory, and a full one that comes back. */
static void setup_full(void) {
    setup("Tg", "g", "");
    slabs_nr = 2;
    slab_put(0, 1, 1);
    slab_put(1, 0, 0);
    hand_over(1, 1);
}
/* One that has memory; its object comes back while others are taken. */
static void setup_in_use(void) {
    setup("T", "g", "");
    slabs_nr = 1;
    slab_put(0, 1, 0);
    hand_over(0, 1);
}
/* Who takes the last object has brought the memory; who gives one back lists the slab, and takes from it. */
static void setup_handed_on(void) {
    setup("lT", "gt", "");
    slabs_nr = 1;
    slab_put(0, 1, 1);
    hand_over(0, 1);
}
static void setup_three(void) { refused(1, "t", "t", "l"); }
static void setup_three_sweep(void) { refused(1, "t", "s", "l"); }

static const struct weave_model models[] = {
    {"two allocate where all is refused", 2, setup_takes, thread, finish, WEAVE_BOTH},
    {"the limit is lifted", 2, setup_lift, thread, finish, WEAVE_BOTH},
    {"the limit on two slabs is lifted", 2, setup_lift_of_two, thread, finish, WEAVE_SC},
    {"a sweep during a refusal", 2, setup_sweep, thread, finish, WEAVE_BOTH},
    {"a sweep of two slabs during a refusal", 2, setup_sweep_of_two, thread, finish, WEAVE_SC},
    {"a sweep, and the limit is lifted", 2, setup_swept_lift, thread, finish, WEAVE_BOTH},
    {"a free into a slab that is refused", 2, setup_give, thread, finish, WEAVE_BOTH},
    {"the last object comes back during a refusal", 2, setup_last_give, thread, finish, WEAVE_BOTH},
    {"a full slab comes back beside a refused one", 2, setup_full, thread, finish, WEAVE_BOTH},
    {"a free into a slab that has memory", 2, setup_in_use, thread, finish, WEAVE_BOTH},
    {"memory is brought to a slab that then is full", 2, setup_handed_on, thread, finish, WEAVE_BOTH},
    {"two allocate while the limit is lifted", 3, setup_three, thread, finish, WEAVE_SC},
    {"one allocates, one sweeps, one lifts", 3, setup_three_sweep, thread, finish, WEAVE_SC},
    {"two allocate where two slabs are refused", 2, setup_takes_of_two, thread, finish, WEAVE_SOAK},
};

#define BY_EITHER "by the list's head or by the slab's word: either acquires what its owner before did"
static const struct weave_excuse excuses[] = {
    {"partial_pop", "swap head", WEAVE_NO_ACQUIRE, BY_EITHER},
    {"partial_take_all", "swap head", WEAVE_NO_ACQUIRE, BY_EITHER},
    {"slab_claim", "swap &(s)->word", WEAVE_NO_ACQUIRE, BY_EITHER ", and of objects their bits do"},
    {"slab_claim", "swap &(s)->word", WEAVE_NO_RELEASE, "who claims a slab, or is refused, has written nothing to it"},
    {"slab_take", "swap &(s)->word", WEAVE_NO_ACQUIRE, "who lets go of a slab looks at nothing in it any more"},
    {"slab_empties_add", "&empty_bytes", WEAVE_ANY, "what all classes keep together: nobody here asks"},
};

static const struct weave_suite suite = {
    "slabs whose memory is refused", models, ARRAY_NR(models), excuses, ARRAY_NR(excuses), false};

int main(int argc, char **argv) { return weave_main(&suite, argc, argv); }
