/* SPDX-License-Identifier: MIT */
/*
 * Memory pools: some elements kept in reserve, and a wait for whoever may wait. Owns the reserve; elements come from
 * and go to the functions the pool was made with. No lock, so that an element may be freed in a signal handler on top
 * of any of this.
 *
 * States      A node is IDLE (on one stack), KEPT (on the other, with an element), or in the hands of one thread.
 *             Several are taken off by one change of the head, all or none.
 * Invariants  [P1] curr_nr is raised before an idle node is taken, up to min_nr at most, and lowered after the node is
 *             idle again. So nodes that are not idle are never more than curr_nr, and who raised it finds an idle one:
 *             there are always as many nodes as min_nr ever was. [P2] Nodes are never freed while the pool is used.
 * Ordering    A push releases and a pop acquires the node's element. [mempool.node] Who frees puts the element into the
 *             reserve, then looks for waiters; who waits announces itself, then looks into the reserve: with a fence
 *             between the two steps of each, at least one sees the other. [mempool.wait]
 * Progress    Lock-free, but for the wait that is asked for. An element that a free put back may be taken by somebody
 *             who did not wait; the one it woke then waits for the next.
 * Reclamation None: a link read through an old head is discarded, because every change of a head changes its tag. Of a
 *             thread that is inside at a fork, the child may lose the nodes it has in hand, and keep as many elements
 *             less.
 */
#include "kmem/debug.h"
#include "kmem/gfp.h"
#include "kmem/most.h"

#pragma GCC visibility push(default)
#include "quarry/mempool.h"
#pragma GCC visibility pop

#include "base/bits.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum {
    BLOCKS_NR = 27,
    WAIT_MS = 5000,
    TAG_SHIFT = 32,
    BULK_WAITER = 1 << 10, /* in the count of waiters, who waits for several: so many who wait for one are all woken */
};

struct node {
    void *element;
    _Atomic(u32) next; /* number of the node below on its stack; 0 none */
};

/* Nodes have numbers from 1 on. Block b has MEMPOOL_FIRST_NODES << b of them. */
struct quarry_mempool_reserve {
    _Atomic(u64) idle, kept; /* number of the top node | tag << 32 */
    u32 nodes_nr;
    int numa_node;       /* that all of this is preferred to lie on; negative: none in particular */
    size_t poison_bytes; /* of an element, while it is kept; 0: it is left as it is */
    struct node *blocks[BLOCKS_NR];
};

/* --- stacks of nodes --- */

static struct node *node_at(struct quarry_mempool_reserve *r, u32 number) {
    u32 at = number - 1 + MEMPOOL_FIRST_NODES;
    unsigned top = bits_highest(at);
    return &r->blocks[top - bits_highest(MEMPOOL_FIRST_NODES)][at - ((u32)1 << top)];
}

static u64 head_next(u64 head, u32 number) { return ((head >> TAG_SHIFT) + 1) << TAG_SHIFT | number; }

static void stack_push(struct quarry_mempool_reserve *r, _Atomic(u64) *stack, u32 number) {
    struct node *n = node_at(r, number);
    u64 head = atomic_load_explicit(stack, memory_order_relaxed);
    do {
        atomic_store_explicit(&n->next, (u32)head, memory_order_relaxed);
        /* order: release: publishes the element and the link.                                 pairs: [mempool.node] */
    } while (!atomic_compare_exchange_weak_explicit(stack, &head, head_next(head, number), memory_order_release,
                                                    memory_order_relaxed));
}

/* The first of nr nodes, which lead one to the next; 0: there are fewer. */
static u32 stack_pop(struct quarry_mempool_reserve *r, _Atomic(u64) *stack, u32 nr) {
    /* order: acquire: the links are at least as new as the head; and the elements. That there are fewer says a swap
     * that changes but the tag, and releases: the links were read before it.                       pairs:
     * [mempool.node] */
    u64 head = atomic_load_explicit(stack, memory_order_acquire);
    for (;;) {
        u64 seen = head;
        u32 below = (u32)head, found = 0;
        for (; found < nr && below != 0; found++)
            below = atomic_load_explicit(&node_at(r, below)->next, memory_order_relaxed);
        if (found == nr) {
            if (atomic_compare_exchange_weak_explicit(stack, &head, head_next(head, below), memory_order_acquire,
                                                      memory_order_acquire))
                return (u32)seen;
        } else if (atomic_compare_exchange_strong_explicit(stack, &head, head_next(head, (u32)head),
                                                           memory_order_acq_rel, memory_order_acquire)) {
            return 0; /* this head had no more */
        }
    }
}

/* --- poison, as the kernel's check_element() --- */

/* Elements of the pool's own making have no content while they are kept, and where their memory is debugged with P it
 * is known that nobody writes to them. What a program's function makes may have some. */
static size_t poison_bytes(const quarry_mempool_t *pool) {
    if (pool->alloc == quarry_mempool_alloc_slab) {
        const struct quarry_kmem_cache *s = pool->pool_data;
        return s->debug != NULL && s->debug->poisons_object ? s->object_bytes : 0;
    }
    size_t data = (size_t)pool->pool_data;
    if (pool->alloc == quarry_mempool_alloc_pages)
        return data <= QUARRY_MAX_PAGE_ORDER && kmem_debug_pages_poison() ? QUARRY_PAGE_SIZE << data : 0;
    return pool->alloc == quarry_mempool_kmalloc && data != 0 && kmem_debug_kmalloc_poisons(data) ? data : 0;
}

/* Where an element's bytes are: of a page pool it is their record. */
static u8 *element_bytes(const quarry_mempool_t *pool, void *element) {
    return pool->alloc == quarry_mempool_alloc_pages ? (u8 *)((struct quarry_page *)element)->quarry_addr : element;
}

static void poison_set(u8 *element, size_t bytes) {
    memset(element, KMEM_POISON_FREE, bytes - 1);
    element[bytes - 1] = KMEM_POISON_END;
}

/* at: the first byte that is wrong. */
static void poison_report(const quarry_mempool_t *pool, const u8 *element, size_t bytes, size_t at) {
    enum { AROUND = 8, HEX_CHARS = 3 };
    size_t from = at - MIN(at, (size_t)AROUND), to = MIN(at + AROUND, bytes);
    char shown[2 * AROUND * HEX_CHARS + 1] = "";
    int chars = 0;
    for (size_t i = from; i < to; i++)
        chars += snprintf(shown + chars, sizeof(shown) - (size_t)chars, "%x ", element[i]);
    kmem_report_begin();
    kmem_print("BUG: mempool element poison mismatch\n");
    kmem_print("Mempool %p size %zu\n", (const void *)pool, bytes);
    kmem_print(" nr=%d @ %p: %s0x%s%s\n", __atomic_load_n(&pool->curr_nr, __ATOMIC_RELAXED), (const void *)element,
               from > 0 ? "... " : "", shown, to < bytes ? "..." : "");
    kmem_stack_print();
    kmem_report_end();
}

static void poison_check(const quarry_mempool_t *pool, u8 *element, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (element[i] != (i == bytes - 1 ? KMEM_POISON_END : KMEM_POISON_FREE)) {
            poison_report(pool, element, bytes, i);
            return;
        }
    }
    memset(element, KMEM_POISON_INUSE, bytes);
}

/* --- the reserve --- */

/* A pool that is to keep none still keeps one, for those who wait. */
static int least(int min_nr) { return MAX(min_nr, 1); }

struct wanted {
    size_t size;
    int numa_node;
};

static void *alloc_on(const void *what, quarry_gfp_t flags) {
    const struct wanted *w = what;
    (void)flags;
    return w->numa_node < 0 ? quarry_core1_alloc(w->size) : quarry_core1_alloc_node(w->size, w->numa_node, false);
}

/* What the pool itself takes, with the effort that flags ask for. Of the rest of them only elements hear, which need
 * not come from here. */
static void *zalloc_on(size_t size, quarry_gfp_t flags, int numa_node) {
    bool blocks = kmem_may_block(flags), reserve = kmem_gfp_has_reserve(flags);
    const struct wanted w = {size, numa_node};
    void *p = blocks ? kmem_gfp_try(alloc_on, &w, flags & ~QUARRY___GFP_THISNODE) : NULL;
    if (p == NULL && (reserve || !blocks))
        p = quarry_core1_alloc_atomic(size, reserve);
    return p == NULL ? NULL : memset(p, 0, size);
}

/* So that there are nr nodes. The new ones are idle. */
static bool nodes_make(struct quarry_mempool_reserve *r, u32 nr, quarry_gfp_t flags) {
    while (r->nodes_nr < nr) {
        unsigned b = bits_highest(r->nodes_nr + MEMPOOL_FIRST_NODES) - bits_highest(MEMPOOL_FIRST_NODES);
        u32 more = (u32)MEMPOOL_FIRST_NODES << b, first = r->nodes_nr + 1;
        struct node *block = b < BLOCKS_NR ? zalloc_on(more * sizeof(*block), flags, r->numa_node) : NULL;
        if (block == NULL)
            return false;
        r->blocks[b] = block;
        r->nodes_nr += more;
        for (u32 i = 0; i < more; i++)
            stack_push(r, &r->idle, first + i);
    }
    return true;
}

static void nodes_free(struct quarry_mempool_reserve *r) {
    for (unsigned b = 0; b < BLOCKS_NR; b++)
        quarry_core1_free(r->blocks[b]);
    quarry_core1_free(r);
}

/* [P1] */
static bool place_reserve(quarry_mempool_t *pool) {
    int nr = __atomic_load_n(&pool->curr_nr, __ATOMIC_RELAXED);
    do {
        /* order: acquire, both: the nodes that make up min_nr, and the one whose place this was, are there.
         * pairs: [mempool.place] */
        if (nr >= least(__atomic_load_n(&pool->min_nr, __ATOMIC_ACQUIRE)))
            return false;
    } while (!__atomic_compare_exchange_n(&pool->curr_nr, &nr, nr + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

/* One, who finds the element unless somebody is faster. Where somebody waits for several, who may find too few of them
 * yet and leave what there is to others: all. */
static void wake(quarry_mempool_t *pool) {
    /* order: seq_cst fence: the element is there before waiters are looked for.               pairs: [mempool.wait] */
    atomic_thread_fence(memory_order_seq_cst);
    unsigned waiters = __atomic_load_n(&pool->waiters, __ATOMIC_RELAXED);
    if (waiters == 0)
        return;
    (void)__atomic_fetch_add(&pool->wakes, 1, __ATOMIC_RELAXED);
    quarry_core1_wake(&pool->wakes, waiters < BULK_WAITER ? 1 : INT_MAX);
}

/* False: there are enough. */
static bool reserve_put(quarry_mempool_t *pool, void *element) {
    struct quarry_mempool_reserve *r = pool->reserve;
    if (!place_reserve(pool))
        return false;
    if (UNLIKELY(r->poison_bytes != 0))
        poison_set(element_bytes(pool, element), r->poison_bytes);
    u32 number = stack_pop(r, &r->idle, 1);
    node_at(r, number)->element = element;
    stack_push(r, &r->kept, number);
    wake(pool);
    return true;
}

/* nr elements into entries that are NULL, of which there are as many. False: there are fewer in the reserve, which
 * keeps them: two who had a part of them each would wait for each other. */
static bool reserve_take_all(quarry_mempool_t *pool, u32 nr, void **entries) {
    struct quarry_mempool_reserve *r = pool->reserve;
    u32 number = stack_pop(r, &r->kept, nr), below;
    if (number == 0)
        return false;
    for (u32 taken = 0; taken < nr; taken++, number = below) {
        while (*entries != NULL)
            entries++;
        below = atomic_load_explicit(&node_at(r, number)->next, memory_order_relaxed);
        void *element = *entries = node_at(r, number)->element;
        stack_push(r, &r->idle, number);
        /* order: release: the node is idle before its place is free for another.              pairs: [mempool.place] */
        (void)__atomic_fetch_sub(&pool->curr_nr, 1, __ATOMIC_RELEASE);
        if (UNLIKELY(r->poison_bytes != 0))
            poison_check(pool, element_bytes(pool, element), r->poison_bytes);
    }
    return true;
}

/* NULL: there is none. */
static void *reserve_take(quarry_mempool_t *pool) {
    void *element = NULL;
    (void)reserve_take_all(pool, 1, &element);
    return element;
}

/* Elements until there are enough, or there is no memory for more. */
static bool reserve_fill(quarry_mempool_t *pool, quarry_gfp_t flags) {
    while (__atomic_load_n(&pool->curr_nr, __ATOMIC_RELAXED) < least(pool->min_nr)) {
        void *element = pool->alloc(flags, pool->pool_data);
        if (element == NULL)
            return false;
        if (!reserve_put(pool, element))
            pool->free(element, pool->pool_data);
    }
    return true;
}

/* --- making --- */

int quarry_mempool_init_node(quarry_mempool_t *pool, int min_nr, quarry_mempool_alloc_t *alloc,
                             quarry_mempool_free_t *free_fn, void *pool_data, quarry_gfp_t flags, int node) {
    *pool = (quarry_mempool_t){.min_nr = min_nr, .pool_data = pool_data, .alloc = alloc, .free = free_fn};
    if (min_nr < 0)
        return -EINVAL;
    pool->reserve = zalloc_on(sizeof(*pool->reserve), flags, node);
    if (pool->reserve == NULL)
        return -ENOMEM;
    pool->reserve->numa_node = node;
    pool->reserve->poison_bytes = poison_bytes(pool);
    if (nodes_make(pool->reserve, (u32)least(min_nr), flags) && reserve_fill(pool, flags))
        return 0;
    quarry_mempool_exit(pool);
    return -ENOMEM;
}

int quarry_mempool_init(quarry_mempool_t *pool, int min_nr, quarry_mempool_alloc_t *alloc,
                        quarry_mempool_free_t *free_fn, void *pool_data) {
    return quarry_mempool_init_node(pool, min_nr, alloc, free_fn, pool_data, QUARRY_GFP_KERNEL, QUARRY_NUMA_NO_NODE);
}

quarry_mempool_t *quarry_mempool_create_node(int min_nr, quarry_mempool_alloc_t *alloc, quarry_mempool_free_t *free_fn,
                                             void *pool_data, quarry_gfp_t flags, int node) {
    quarry_mempool_t *pool = zalloc_on(sizeof(*pool), flags, node);
    if (pool != NULL && quarry_mempool_init_node(pool, min_nr, alloc, free_fn, pool_data, flags, node) != 0) {
        quarry_core1_free(pool);
        return NULL;
    }
    return pool;
}

quarry_mempool_t *quarry_mempool_create(int min_nr, quarry_mempool_alloc_t *alloc, quarry_mempool_free_t *free_fn,
                                        void *pool_data) {
    return quarry_mempool_create_node(min_nr, alloc, free_fn, pool_data, QUARRY_GFP_KERNEL, QUARRY_NUMA_NO_NODE);
}

void quarry_mempool_exit(quarry_mempool_t *pool) {
    if (pool->reserve == NULL)
        return;
    for (void *element = reserve_take(pool); element != NULL; element = reserve_take(pool))
        pool->free(element, pool->pool_data);
    nodes_free(pool->reserve);
    pool->reserve = NULL;
}

void quarry_mempool_destroy(quarry_mempool_t *pool) {
    if (pool == NULL)
        return;
    quarry_mempool_exit(pool);
    quarry_core1_free(pool);
}

int quarry_mempool_resize(quarry_mempool_t *pool, int new_min_nr) {
    if (new_min_nr <= 0)
        return -EINVAL;
    if (!nodes_make(pool->reserve, (u32)new_min_nr, QUARRY_GFP_KERNEL))
        return -ENOMEM;
    /* order: release: the nodes are there before anybody counts on them.                      pairs: [mempool.place] */
    __atomic_store_n(&pool->min_nr, new_min_nr, __ATOMIC_RELEASE);
    while (__atomic_load_n(&pool->curr_nr, __ATOMIC_RELAXED) > new_min_nr) {
        void *element = reserve_take(pool);
        if (element == NULL)
            break;
        pool->free(element, pool->pool_data);
    }
    (void)reserve_fill(pool, QUARRY_GFP_KERNEL);
    return 0;
}

/* --- elements --- */

/* As reserve_take_all(), after a wait if need be; false when it was in vain. */
static bool reserve_wait(quarry_mempool_t *pool, u32 nr, void **entries) {
    unsigned counted = nr == 1 ? 1 : BULK_WAITER;
    (void)__atomic_fetch_add(&pool->waiters, counted, __ATOMIC_RELAXED);
    /* order: seq_cst fence: announced before the reserve is looked into.                      pairs: [mempool.wait] */
    atomic_thread_fence(memory_order_seq_cst);
    unsigned wakes = __atomic_load_n(&pool->wakes, __ATOMIC_RELAXED);
    /* order: acquire fence: a free that is counted in wakes has put its element back.         pairs: [mempool.wait] */
    atomic_thread_fence(memory_order_acquire);
    bool taken = reserve_take_all(pool, nr, entries);
    if (!taken)
        quarry_core1_wait(&pool->wakes, wakes, WAIT_MS);
    (void)__atomic_fetch_sub(&pool->waiters, counted, __ATOMIC_RELAXED);
    return taken;
}

/* The pool's own function may have something again without a free to the pool: so it is asked after each wait. */
static NOINLINE void *alloc_waiting(quarry_mempool_t *pool, quarry_gfp_t flags) {
    for (;;) {
        void *element = pool->alloc(flags, pool->pool_data);
        if (element != NULL || reserve_wait(pool, 1, &element))
            return element;
    }
}

/* What lacks is in this reserve, and not to be taken from the heap's; but by __GFP_HIGH, which has that all the same.
 */
#define FLAGS_OF_POOLS (QUARRY___GFP_NOWARN | QUARRY___GFP_NOMEMALLOC)
/* Not those the pool's function has when it is asked first. */
#define FLAGS_OF_EFFORT (QUARRY___GFP_DIRECT_RECLAIM | QUARRY___GFP_IO)

void *quarry_mempool_alloc(quarry_mempool_t *pool, quarry_gfp_t flags) {
    static _Atomic(bool) said;
    if (UNLIKELY((flags & QUARRY___GFP_ZERO) != 0))
        kmem_warn_once(&said, flags, "quarry: warning: __GFP_ZERO for a mempool dropped\n");
    flags = (flags & ~QUARRY___GFP_ZERO) | FLAGS_OF_POOLS;
    void *element = pool->alloc(flags & ~FLAGS_OF_EFFORT, pool->pool_data);
    if (element == NULL)
        element = reserve_take(pool);
    if (LIKELY(element != NULL) || !kmem_may_block(flags))
        return element;
    return alloc_waiting(pool, flags);
}

/* Asks the pool's function for what is NULL, until it has nothing. Returns how many are NULL still. */
static u32 entries_fill(quarry_mempool_t *pool, quarry_gfp_t flags, u32 nr, void **entries) {
    u32 missing = 0;
    for (u32 i = 0; i < nr; i++) {
        if (entries[i] == NULL && missing == 0)
            entries[i] = pool->alloc(flags, pool->pool_data);
        missing += entries[i] == NULL;
    }
    return missing;
}

void quarry_mempool_alloc_bulk(quarry_mempool_t *pool, void **entries, unsigned nr) {
    static _Atomic(bool) said;
    quarry_gfp_t flags = QUARRY_GFP_KERNEL | FLAGS_OF_POOLS;
    if (UNLIKELY(nr > (unsigned)least(__atomic_load_n(&pool->min_nr, __ATOMIC_RELAXED))))
        kmem_warn_once(&said, 0, "quarry: warning: mempool_alloc_bulk of more elements than the pool keeps\n");
    u32 missing = entries_fill(pool, flags & ~FLAGS_OF_EFFORT, nr, entries);
    if (missing == 0 || reserve_take_all(pool, missing, entries))
        return;
    do
        missing = entries_fill(pool, flags, nr, entries);
    while (missing != 0 && !reserve_wait(pool, missing, entries));
}

void *quarry_mempool_alloc_preallocated(quarry_mempool_t *pool) { return reserve_take(pool); }

void quarry_mempool_free(void *element, quarry_mempool_t *pool) {
    if (element != NULL && !reserve_put(pool, element))
        pool->free(element, pool->pool_data);
}

unsigned quarry_mempool_free_bulk(quarry_mempool_t *pool, void **elements, unsigned nr) {
    unsigned kept = 0;
    for (; kept < nr && reserve_put(pool, elements[kept]); kept++)
        elements[kept] = NULL;
    return kept;
}

/* --- what elements are made of --- */

/* An element of the reserve is not as its constructor left it. */
void *quarry_mempool_alloc_slab(quarry_gfp_t flags, void *pool_data) {
    static _Atomic(bool) said;
    const struct quarry_kmem_cache *s = pool_data;
    if (UNLIKELY(s->args.ctor != NULL))
        kmem_warn_once(&said, 0, "quarry: warning: mempool of a cache with a constructor\n");
    return quarry_kmem_cache_alloc(pool_data, flags);
}

void quarry_mempool_free_slab(void *element, void *pool_data) { quarry_kmem_cache_free(pool_data, element); }

void *quarry_mempool_kmalloc(quarry_gfp_t flags, void *pool_data) { return quarry_kmalloc((size_t)pool_data, flags); }

void quarry_mempool_kfree(void *element, void *pool_data) {
    (void)pool_data;
    quarry_kfree(element);
}

void *quarry_mempool_kvmalloc(quarry_gfp_t flags, void *pool_data) { return quarry_kvmalloc((size_t)pool_data, flags); }

void quarry_mempool_kvfree(void *element, void *pool_data) {
    (void)pool_data;
    quarry_kvfree_atomic(element);
}

void *quarry_mempool_alloc_pages(quarry_gfp_t flags, void *pool_data) {
    return quarry_alloc_pages(flags, (unsigned)(uintptr_t)pool_data);
}

void quarry_mempool_free_pages(void *element, void *pool_data) {
    quarry___free_pages(element, (unsigned)(uintptr_t)pool_data);
}
