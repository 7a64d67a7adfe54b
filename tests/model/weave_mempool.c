/* SPDX-License-Identifier: MIT */
/*
 * Memory pools (src/kmem/mempool.c), explored (weave.h): threads take elements, wait for some, free them, and resize
 * the pool meanwhile, which begins with one node (few/kmem/most.h). Who has an element writes to it. In the end each
 * element is in one hand, in the reserve, or given to the pool's function, and no node is lost; the reserve lacks only
 * what is in hands; and whoever waits has got what it waited for, by nobody's clock: a wake that is lost leaves threads
 * that wait for each other. The tags are cut to three bits.
 */
#include "kmem/debug.h"
#include "kmem/gfp.h"

#include "weave.h"
#include "weave_sleep.h"

#pragma GCC visibility push(default)
#include "quarry/mempool.h"
#pragma GCC visibility pop

#include <string.h>

enum { ELEMENTS_NR = 4, BULK_NR = 2, TAG_BITS = 3, ARENA_BYTES = 1024 };
#define TAG_MASK ((((u64)1 << TAG_BITS) - 1) << 32)

static quarry_mempool_t pool;
static struct element { u64 owner; } elements[ELEMENTS_NR];
static _Atomic(u64) store;                     /* a bit for each element that the pool's function has */
static bool has_memory[WEAVE_THREADS_MAX + 1]; /* whom that function gives some of it; the last: setup */
static bool running;
static unsigned kept_least, nodes_most;

/* What a thread does: a takes an element, waiting for it, n without, b takes two, f frees the last and F all, 1 and 2
 * resize the pool. */
static const char *scripts[WEAVE_THREADS_MAX];
static struct hand {
    struct element *element[ELEMENTS_NR];
    unsigned nr;
} hands[WEAVE_THREADS_MAX];

/* --- what mempool.c calls --- */

static _Alignas(CACHE_LINE) char arena[ARENA_BYTES];
static _Atomic(size_t) arena_used;

void *quarry_core1_alloc(size_t size) {
    size_t at = atomic_fetch_add_explicit(&arena_used, round_up(size, sizeof(u64)), memory_order_relaxed);
    weave_must(at + size <= sizeof(arena));
    return arena + at;
}
void *quarry_core1_alloc_node(size_t size, int node, bool only) {
    (void)node, (void)only;
    return quarry_core1_alloc(size);
}
void *quarry_core1_alloc_atomic(size_t size, bool reserve) {
    (void)reserve;
    return quarry_core1_alloc(size);
}
void quarry_core1_free(void *p) { (void)p, weave_broken("the pool is for good"); }
void *kmem_gfp_try(kmem_try_fn *try, const void *what, quarry_gfp_t flags) { return try(what, flags); }
bool kmem_gfp_has_reserve(quarry_gfp_t flags) { return (void)flags, false; }
void kmem_warn_once(_Atomic(bool) *said, quarry_gfp_t flags, const char *line) {
    (void)said, (void)flags, (void)line;
    weave_broken("it warns");
}
void quarry_core1_wait(unsigned *word, unsigned expected, unsigned ms) {
    (void)ms;
    /* What is there now and nothing older: the kernel's lock, and its fence on either side. */
    if (__atomic_fetch_add(word, 0, __ATOMIC_RELAXED) != expected)
        return;
    sleeper_add(weave_self());
    while (is_asleep(weave_self()))
        weave_wait();
}
void quarry_core1_wake(unsigned *word, unsigned nr) {
    weave_must(word == &pool.wakes);
    sleepers_wake(nr);
}

/* What pools of other elements call, and those whose elements are poison. */
#define NEVER weave_broken("that is another pool's")
bool kmem_debug_pages_poison(void) { NEVER; }
bool kmem_debug_kmalloc_poisons(size_t size) { (void)size, NEVER; }
void kmem_report_begin(void) { NEVER; }
void kmem_report_end(void) { NEVER; }
void kmem_stack_print(void) { NEVER; }
void kmem_print(const char *format, ...) { (void)format, NEVER; }
void *quarry_kmem_cache_alloc(struct quarry_kmem_cache *s, quarry_gfp_t flags) { (void)s, (void)flags, NEVER; }
void *quarry_kmalloc(size_t size, quarry_gfp_t flags) { (void)size, (void)flags, NEVER; }
#ifndef __x86_64__ /* where pages may have several sizes */
unsigned quarry_page_shift(void) { NEVER; }
#endif
struct quarry_page *quarry_alloc_pages(quarry_gfp_t flags, unsigned order) {
    (void)flags, (void)order, NEVER;
}

static void *element_make(quarry_gfp_t flags, void *unused) {
    (void)flags, (void)unused;
    if (!has_memory[running ? weave_self() : WEAVE_THREADS_MAX])
        return NULL;
    for (unsigned i = 0; i < ELEMENTS_NR; i++) {
        u64 bit = (u64)1 << i;
        if ((atomic_fetch_and_explicit(&store, ~bit, memory_order_acquire) & bit) != 0)
            return &elements[i];
    }
    return NULL;
}
static void element_unmake(void *element, void *unused) {
    (void)unused;
    u64 bit = (u64)1 << ((struct element *)element - elements);
    weave_must((atomic_fetch_or_explicit(&store, bit, memory_order_release) & bit) == 0);
}

/* --- threads --- */

static void hand_add(struct hand *h, unsigned self, struct element *e) {
    if (e == NULL)
        return;
    weave_must(e->owner == 0 && h->nr < ELEMENTS_NR);
    e->owner = self + 1;
    h->element[h->nr++] = e;
}

static struct element *hand_take(struct hand *h, unsigned self) {
    struct element *e = h->element[--h->nr];
    weave_must(e->owner == self + 1);
    e->owner = 0;
    return e;
}

static void hand_wait(struct hand *h, unsigned self) {
    struct element *e = quarry_mempool_alloc(&pool, QUARRY_GFP_KERNEL);
    weave_must(e != NULL);
    hand_add(h, self, e);
}

static void hand_wait_bulk(struct hand *h, unsigned self) {
    void *entries[BULK_NR] = {NULL};
    quarry_mempool_alloc_bulk(&pool, entries, BULK_NR);
    for (unsigned i = 0; i < BULK_NR; i++) {
        weave_must(entries[i] != NULL);
        hand_add(h, self, entries[i]);
    }
}

static void hand_free(struct hand *h, unsigned self) {
    if (h->nr != 0)
        quarry_mempool_free(hand_take(h, self), &pool);
}

static void hand_free_bulk(struct hand *h, unsigned self) {
    void *gone[ELEMENTS_NR];
    unsigned nr = 0;
    while (h->nr != 0)
        gone[nr++] = hand_take(h, self);
    for (unsigned kept = quarry_mempool_free_bulk(&pool, gone, nr); kept < nr; kept++)
        element_unmake(gone[kept], NULL);
}

static u64 all_it_knows(const struct hand *h, unsigned done) {
    u64 key = done;
    for (unsigned i = 0; i < h->nr; i++)
        key = key * ELEMENTS_NR + (u64)(h->element[i] - elements);
    return key * (ELEMENTS_NR + 1) + h->nr;
}

static void thread(unsigned self) {
    struct hand *h = &hands[self];
    for (const char *at = scripts[self]; *at != 0; at++) {
        switch (*at) {
        case 'a': hand_wait(h, self); break;
        case 'n': hand_add(h, self, quarry_mempool_alloc(&pool, 0)); break;
        case 'b': hand_wait_bulk(h, self); break;
        case 'f': hand_free(h, self); break;
        case 'F': hand_free_bulk(h, self); break;
        default: weave_must(quarry_mempool_resize(&pool, *at - '0') == 0); break;
        }
        weave_forget(all_it_knows(h, (unsigned)(at - scripts[self])));
    }
}

/* --- ends --- */

/* Puts into the reserve what it has room for, and takes it out again: as many as there are counted. */
static void nodes_check(struct element *const *all, unsigned nr) {
    for (unsigned i = 0; i < nr; i++)
        quarry_mempool_free(all[i], &pool);
    weave_must(pool.curr_nr == (int)MIN(nr, (unsigned)pool.min_nr));
    for (int left = pool.curr_nr; left > 0; left--)
        weave_must(quarry_mempool_alloc_preallocated(&pool) != NULL);
    weave_must(quarry_mempool_alloc_preallocated(&pool) == NULL && pool.curr_nr == 0);
}

static void finish(void) {
    struct element *kept[ELEMENTS_NR];
    u64 seen = atomic_load_explicit(&store, memory_order_relaxed);
    unsigned kept_nr = 0, held_nr = 0;
    weave_must(pool.waiters == 0 && sleepers_get() == 0 && pool.curr_nr <= (int)nodes_most);
    for (int left = pool.curr_nr; left > 0; left--) {
        struct element *e = kept[kept_nr++] = quarry_mempool_alloc_preallocated(&pool);
        weave_must(e != NULL && e->owner == 0 && (seen & (u64)1 << (e - elements)) == 0);
        seen |= (u64)1 << (e - elements);
    }
    weave_must(quarry_mempool_alloc_preallocated(&pool) == NULL);
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        for (unsigned i = 0; i < hands[t].nr; i++, held_nr++) {
            const struct element *e = hands[t].element[i];
            weave_must(e->owner == t + 1 && (seen & (u64)1 << (e - elements)) == 0);
            seen |= (u64)1 << (e - elements);
        }
    }
    weave_must(seen == ((u64)1 << ELEMENTS_NR) - 1);
    weave_must(kept_nr + held_nr >= kept_least);
    nodes_check(kept, kept_nr);
}

/* --- models --- */

struct start {
    unsigned min_nr;
    unsigned held[WEAVE_THREADS_MAX]; /* in the beginning */
    unsigned from_reserve;            /* the first so many of those are the pool's */
    unsigned memory_of;               /* the threads, by bit, that get more; nobody: there is none */
    unsigned kept_least;
};

static void setup(const struct start *s, const char *const texts[WEAVE_THREADS_MAX]) {
    unsigned taken = 0;
    atomic_store_explicit(&store, ((u64)1 << ELEMENTS_NR) - 1, memory_order_relaxed);
    has_memory[WEAVE_THREADS_MAX] = true;
    weave_must(quarry_mempool_init(&pool, (int)s->min_nr, element_make, element_unmake, NULL) == 0);
    for (unsigned t = 0; t < WEAVE_THREADS_MAX; t++) {
        scripts[t] = texts[t];
        has_memory[t] = (s->memory_of >> t & 1) != 0;
        for (unsigned i = 0; i < s->held[t]; i++)
            hand_add(&hands[t], t,
                     taken++ < s->from_reserve ? quarry_mempool_alloc_preallocated(&pool)
                                               : element_make(QUARRY_GFP_KERNEL, NULL));
    }
    kept_least = s->kept_least;
    nodes_most = MAX(s->min_nr, 2u);
    running = true;
    sleepers_start();
    weave_count(&arena_used);
    for (u64 *head = (u64 *)pool.reserve; head < (u64 *)pool.reserve + 2; head++) /* idle and kept */
        weave_narrow(head, UINT32_MAX | TAG_MASK, TAG_MASK);
}

#define SETUP(name, first, second, third, ...)                                                                         \
    static void setup_##name(void) {                                                                                   \
        setup(&(const struct start){__VA_ARGS__}, (const char *const[WEAVE_THREADS_MAX]){first, second, third});       \
    }
SETUP(wait, "a", "f", "", .min_nr = 1, .held = {0, 1}, .from_reserve = 2, .kept_least = 1)
SETUP(wait_both, "af", "faf", "", .min_nr = 1, .held = {0, 1}, .from_reserve = 2, .kept_least = 1)
SETUP(both, "nf", "nf", "", .min_nr = 1, .kept_least = 1)
SETUP(free, "f", "f", "", .min_nr = 1, .held = {1, 1}, .from_reserve = 1, .kept_least = 1)
SETUP(free_both, "f", "f", "", .min_nr = 2, .held = {1, 1}, .from_reserve = 2, .kept_least = 2)
SETUP(take_both, "n", "n", "", .min_nr = 2, .kept_least = 2)
SETUP(take_free, "n", "f", "", .min_nr = 2, .held = {0, 1}, .from_reserve = 1, .kept_least = 2)
SETUP(bulk, "b", "ff", "", .min_nr = 2, .held = {0, 2}, .from_reserve = 2, .kept_least = 2)
SETUP(bulk_both, "bF", "bF", "", .min_nr = 2, .kept_least = 2)
SETUP(bulk_one, "b", "nff", "", .min_nr = 2, .held = {0, 1}, .from_reserve = 2, .kept_least = 2)
SETUP(more, "2", "ff", "", .min_nr = 1, .held = {0, 2}, .memory_of = 1, .kept_least = 2)
SETUP(more_none, "2", "nff", "", .min_nr = 1, .held = {0, 1}, .kept_least = 1)
SETUP(more_wait, "2", "a", "", .min_nr = 1, .held = {0, 1}, .from_reserve = 2, .memory_of = 1, .kept_least = 2)
SETUP(fewer, "1", "nf", "", .min_nr = 2, .memory_of = 1, .kept_least = 1)
SETUP(three, "n", "n", "nf", .min_nr = 2, .kept_least = 2)

static const struct weave_model models[] = {
    {"one waits, one frees", 2, setup_wait, thread, finish, WEAVE_BOTH},
    {"two take and free", 2, setup_both, thread, finish, WEAVE_BOTH},
    {"two free where one is kept", 2, setup_free, thread, finish, WEAVE_BOTH},
    {"two free, and both are kept", 2, setup_free_both, thread, finish, WEAVE_BOTH},
    {"two take the last two", 2, setup_take_both, thread, finish, WEAVE_BOTH},
    {"one takes, one frees", 2, setup_take_free, thread, finish, WEAVE_BOTH},
    {"a pool grows beside frees", 2, setup_more, thread, finish, WEAVE_BOTH},
    {"a pool grows without memory", 2, setup_more_none, thread, finish, WEAVE_BOTH},
    {"a pool grows beside who waits", 2, setup_more_wait, thread, finish, WEAVE_SC},
    {"a pool shrinks", 2, setup_fewer, thread, finish, WEAVE_SC},
    {"two wait in turn", 2, setup_wait_both, thread, finish, WEAVE_SC},
    {"one waits for two", 2, setup_bulk, thread, finish, WEAVE_BOTH},
    {"three take, one frees", 3, setup_three, thread, finish, WEAVE_SC},
    {"one waits for two, one takes and frees", 2, setup_bulk_one, thread, finish, WEAVE_SOAK},
    {"two take two and free them", 2, setup_bulk_both, thread, finish, WEAVE_SOAK},
};

#define REVERSED "it orders stores to two places, which the machine never shows reversed to who swaps"

static const struct weave_excuse excuses[] = {
    {"stack_pop", "swap stack", WEAVE_NO_ACQUIRE, "it swaps the very head that was read before, by acquire"},
    {"stack_pop", "swap stack#2", WEAVE_NO_RELEASE,
     "links were read before it, and the machine lets no load see what is stored later; of waiters there is the fence"},
    {"stack_pop", "swap stack#2", WEAVE_LOST,
     "that it compares says so here, where a swap sees the last head; of waiters there is the fence"},
    {"reserve_wait", "fence#1", WEAVE_NO_FENCE, "that there are too few is said by a swap, which releases"},
    {"reserve_wait", "fence#2", WEAVE_NO_FENCE, "that there are too few is said by a swap, which sees the last push"},
    {"place_reserve", "&pool->min_nr", WEAVE_NO_ACQUIRE, REVERSED},
    {"place_reserve", "&pool->curr_nr", WEAVE_NO_ACQUIRE, REVERSED},
    {"reserve_take_all", "&pool->curr_nr", WEAVE_NO_RELEASE, REVERSED},
    {"quarry_mempool_resize", "&pool->min_nr", WEAVE_NO_RELEASE, REVERSED},
    {"quarry_mempool_resize", "&pool->min_nr", WEAVE_LATE,
     "who frees until it is done keeps one more, as who looked just before may anyway"},
    {"wake", "&pool->wakes", WEAVE_SPLIT, "who is counted late has put its element back before the other's count"},
};

/* Without each of these something breaks. */
static const struct weave_check checks[] = {
    {"place_reserve", "if (nr >= least", WEAVE_NEVER},
    {"wake", "if (waiters == 0", WEAVE_ALWAYS},
    {"stack_pop", "if (found == nr", WEAVE_ALWAYS},
};

WEAVE_MAIN("memory pools")
