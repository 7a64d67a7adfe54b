/* SPDX-License-Identifier: MIT */
/* Memory pools: the kernel's edge cases, who waits and who is woken, and a resize under pressure. */
#include "cases.h"
#include "kernel.h"

#include <errno.h>
#include <linux/memcontrol.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Elements under the test's control: how many there may be, and how many there are. */
static atomic_int allowed, live, calls;
static struct kmem_cache *cache;

static void *limited_alloc(gfp_t flags, void *pool_data) {
    atomic_fetch_add(&calls, 1);
    int nr = atomic_load(&live);
    do {
        if (nr >= atomic_load(&allowed))
            return NULL;
    } while (!atomic_compare_exchange_weak(&live, &nr, nr + 1));
    void *element = mempool_alloc_slab(flags | __GFP_DIRECT_RECLAIM, pool_data);
    CHECK(element != NULL);
    return element;
}

static void limited_free(void *element, void *pool_data) {
    mempool_free_slab(element, pool_data);
    CHECK(atomic_fetch_sub(&live, 1) > 0);
}

static mempool_t *limited_pool(int min_nr, int limit) {
    atomic_store(&allowed, limit);
    cache = kmem_cache_create("elements", 100, 0, SLAB_NO_MERGE, NULL);
    mempool_t *pool = mempool_create(min_nr, limited_alloc, limited_free, cache);
    CHECK(pool != NULL && pool->min_nr == min_nr && pool->curr_nr == (min_nr > 0 ? min_nr : 1));
    return pool;
}

static void limited_end(mempool_t *pool) {
    mempool_destroy(pool);
    CHECK(atomic_load(&live) == 0);
    kmem_cache_destroy(cache);
}

/* --- one thread --- */

static void kinds(size_t unused) {
    (void)unused;
    struct kmem_cache *s = kmem_cache_create("slab", 300, 0, SLAB_NO_MERGE, NULL);
    mempool_t *pools[] = {mempool_create_slab_pool(4, s), mempool_create_kmalloc_pool(4, 300),
                          mempool_create_node(4, mempool_kmalloc, mempool_kfree, (void *)300, GFP_KERNEL, -1)};
    for (int k = 0; k < 3; k++) {
        void *all[100];
        CHECK(pools[k] != NULL && mempool_is_saturated(pools[k]) && mempool_initialized(pools[k]));
        for (int i = 0; i < 100; i++) {
            CHECK((all[i] = mempool_alloc(pools[k], GFP_KERNEL)) != NULL && ksize(all[i]) >= 300);
            memset(all[i], i, 300);
        }
        for (int i = 0; i < 100; i++) {
            CHECK(bytes_are(all[i], 0, 300, (unsigned char)i));
            mempool_free(all[i], pools[k]);
        }
        CHECK(pools[k]->curr_nr == 4 && mempool_is_saturated(pools[k]));
        mempool_free(NULL, pools[k]);
        mempool_destroy(pools[k]);
    }
    mempool_destroy(NULL);
    kmem_cache_destroy(s); /* would say so if an element were left */
}

static uint64_t stat_of(const char *name) {
    uint64_t value = 0;
    CHECK(quarry_stat(name, &value) == 0);
    return value;
}

/* Elements of pages are their records. */
static void pages(size_t order) {
    mempool_t *pool = mempool_create_page_pool(3, (int)order), again;
    struct page *all[20];
    CHECK(pool != NULL && pool->curr_nr == 3 && stat_of("pages_live_bytes") == 3 * PAGE_SIZE << order);
    for (int i = 0; i < 20; i++) {
        CHECK((all[i] = mempool_alloc(pool, GFP_KERNEL)) != NULL && page_count(all[i]) == 1);
        CHECK(((unsigned long)page_address(all[i]) & ((PAGE_SIZE << order) - 1)) == 0);
        memset(page_address(all[i]), i, PAGE_SIZE << order);
    }
    for (int i = 0; i < 20; i++) {
        CHECK(bytes_are(page_address(all[i]), 0, PAGE_SIZE << order, (unsigned char)i));
        mempool_free(all[i], pool);
    }
    CHECK(mempool_is_saturated(pool) && stat_of("pages_live_bytes") == 3 * PAGE_SIZE << order);
    mempool_destroy(pool);
    CHECK(mempool_init_page_pool(&again, 2, (int)order) == 0 && again.curr_nr == 2);
    mempool_exit(&again);
    CHECK(stat_of("pages_live_bytes") == 0);
    void *too_large = (void *)(uintptr_t)(MAX_PAGE_ORDER + 1);
    CHECK(mempool_create_node(1, mempool_alloc_pages, mempool_free_pages, too_large, GFP_KERNEL | __GFP_NOWARN, -1) ==
          NULL);
}

/* Larger than kmalloc's sizes, and than none. */
static void kvmallocs(size_t size) {
    mempool_t *pool = mempool_create_kvmalloc_pool(2, size), again;
    char *all[5];
    CHECK(pool != NULL && pool->curr_nr == 2);
    for (int i = 0; i < 5; i++) {
        CHECK((all[i] = mempool_alloc(pool, GFP_KERNEL)) != NULL &&
              is_vmalloc_addr(all[i]) == (size > KMALLOC_MAX_SIZE));
        all[i][0] = all[i][size - 1] = (char)i;
    }
    for (int i = 0; i < 5; i++) {
        CHECK(all[i][0] == i && all[i][size - 1] == i);
        mempool_free(all[i], pool);
    }
    CHECK(mempool_is_saturated(pool));
    mempool_destroy(pool);
    CHECK(mempool_init_kvmalloc_pool(&again, 2, size) == 0 && again.curr_nr == 2);
    mempool_exit(&again);
    CHECK(stat_of("big_regions") == 0);
}

static void in_place(size_t unused) {
    (void)unused;
    mempool_t zeros = {0}, pool;
    mempool_exit(&zeros);
    CHECK(!mempool_initialized(&zeros));
    CHECK(mempool_init(&pool, -1, mempool_kmalloc, mempool_kfree, (void *)8) == -EINVAL);
    CHECK(mempool_init_kmalloc_pool(&pool, 3, 64) == 0 && pool.curr_nr == 3);
    mempool_exit(&pool);
    CHECK(!mempool_initialized(&pool));
    mempool_exit(&pool);
    CHECK(mempool_init_node(&pool, 2, mempool_kmalloc, mempool_kfree, (void *)64, GFP_KERNEL, -1) == 0);
    mempool_exit(&pool);
    /* Not enough for the reserve: all of it goes back. */
    atomic_store(&allowed, 4);
    cache = kmem_cache_create("few", 100, 0, SLAB_NO_MERGE, NULL);
    CHECK(mempool_init(&pool, 5, limited_alloc, limited_free, cache) == -ENOMEM);
    CHECK(atomic_load(&live) == 0 && mempool_create(5, limited_alloc, limited_free, cache) == NULL);
    kmem_cache_destroy(cache);
}

/* New elements first, then the reserve, then NULL for who may not wait; a free fills the reserve first. */
static void order(size_t unused) {
    (void)unused;
    void *all[10];
    mempool_t *pool = limited_pool(4, 6);
    for (int i = 0; i < 2; i++)
        CHECK((all[i] = mempool_alloc(pool, __GFP_NOWARN)) != NULL && pool->curr_nr == 4);
    for (int i = 2; i < 6; i++)
        CHECK((all[i] = mempool_alloc(pool, __GFP_NOWARN)) != NULL && pool->curr_nr == 5 - i);
    CHECK(mempool_alloc(pool, __GFP_NOWARN) == NULL && mempool_alloc_preallocated(pool) == NULL);
    CHECK(!mempool_is_saturated(pool));
    for (int i = 0; i < 4; i++) {
        mempool_free(all[i], pool);
        CHECK(pool->curr_nr == i + 1 && atomic_load(&live) == 6);
    }
    mempool_free(all[4], pool);
    CHECK(pool->curr_nr == 4 && atomic_load(&live) == 5);
    for (int i = 0; i < 4; i++)
        CHECK((all[i] = mempool_alloc_preallocated(pool)) != NULL);
    CHECK(mempool_alloc_preallocated(pool) == NULL);
    for (int i = 0; i < 4; i++)
        mempool_free(all[i], pool);
    mempool_free(all[5], pool);
    limited_end(pool);
}

/* Several at once: what is there stays, new elements first, the rest from the reserve in one piece. Back they fill the
 * reserve from the first on, and what is too many is left. */
static void bulk(size_t unused) {
    enum { NR = 4 };
    (void)unused;
    mempool_t *pool = limited_pool(NR, NR + 2);
    void *given = mempool_alloc(pool, GFP_KERNEL), *all[NR] = {NULL, given, NULL, NULL};
    int before = atomic_load(&calls);
    CHECK(mempool_alloc_bulk(pool, all, NR, 1) == 0 && all[1] == given && pool->curr_nr == 2);
    CHECK(atomic_load(&calls) == before + 2); /* once in vain, and not again for each */
    for (int i = 0; i < NR; i++) {
        CHECK(all[i] != NULL);
        for (int j = 0; j < i; j++)
            CHECK(all[i] != all[j]);
    }
    CHECK(mempool_alloc_bulk(pool, all, NR, NR) == 0 && mempool_alloc_bulk(pool, NULL, 0, 0) == 0);
    CHECK(atomic_load(&calls) == before + 2 && pool->curr_nr == 2);
    CHECK(mempool_free_bulk(pool, all, NR) == 2 && pool->curr_nr == NR && atomic_load(&live) == NR + 2);
    CHECK(all[0] == NULL && all[1] == NULL && all[2] != NULL && all[3] != NULL);
    CHECK(mempool_free_bulk(pool, all + 2, 2) == 0 && mempool_free_bulk(pool, NULL, 0) == 0 && all[2] != NULL);
    mempool_free(all[2], pool);
    mempool_free(all[3], pool);
    limited_end(pool);
}

/* Flags that alloc was called with, of which the first times are in vain. */
static gfp_t asked[8];
static int asked_nr, in_vain;

static void *asking_alloc(gfp_t flags, void *pool_data) {
    CHECK(asked_nr < 8);
    asked[asked_nr++] = flags;
    return in_vain-- > 0 ? NULL : mempool_kmalloc(flags | __GFP_NOFAIL | __GFP_DIRECT_RECLAIM, pool_data);
}

/* First without waiting; what lacks is not taken from the heap's reserve, and nothing is said of it. */
static void flags(size_t unused) {
    (void)unused;
    mempool_t *pool = mempool_create_node(1, asking_alloc, mempool_kfree, (void *)100, GFP_NOFS, NUMA_NO_NODE);
    CHECK(pool != NULL && asked_nr == 1 && asked[0] == GFP_NOFS);
    void *reserved = mempool_alloc_preallocated(pool);
    CHECK(reserved != NULL && asked_nr == 1);
    in_vain = 1;
    void *p = mempool_alloc(pool, GFP_KERNEL);
    CHECK(p != NULL && asked_nr == 3);
    CHECK(asked[1] == ((GFP_KERNEL & ~(__GFP_DIRECT_RECLAIM | __GFP_IO)) | __GFP_NOMEMALLOC | __GFP_NOWARN));
    CHECK(asked[2] == (GFP_KERNEL | __GFP_NOMEMALLOC | __GFP_NOWARN));
    in_vain = 1;
    CHECK(mempool_alloc(pool, GFP_ATOMIC) == NULL && asked_nr == 4 &&
          asked[3] == (GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN));
    mempool_free(NULL, pool);
    CHECK(pool->curr_nr == 0);
    mempool_free(p, pool);
    mempool_free(reserved, pool);
    mempool_destroy(pool);
}

static bool kmalloc_debugged(void) { return getenv("QUARRY_SLAB_DEBUG") != NULL; }

static bool is_poison(const void *p, size_t bytes) {
    return bytes_are(p, 0, bytes - 1, 0x6b) && bytes_are(p, bytes - 1, bytes, 0xa5);
}

/* An element of the reserve: poison where its memory is debugged, else what it was, as it is in any case if a function
 * of the program's made it. */
static void kept_is(mempool_t *pool, size_t bytes, bool poisoned) {
    char *p = mempool_alloc_preallocated(pool);
    CHECK(p != NULL && (!poisoned || bytes_are(p, 0, bytes, 0x5a)));
    memset(p, 0x11, bytes);
    mempool_free(p, pool);
    CHECK(pool->curr_nr == 1 && (poisoned ? is_poison(p, bytes) : bytes_are(p, 0, bytes, 0x11)));
    CHECK(mempool_alloc_preallocated(pool) == p && bytes_are(p, 0, bytes, poisoned ? 0x5a : 0x11));
    mempool_free(p, pool);
    mempool_destroy(pool);
}

static void kept(size_t unused) {
    struct kmem_cache *poisoned = kmem_cache_create("poisoned", 50, 0, SLAB_POISON, NULL);
    struct kmem_cache *plain = kmem_cache_create("plain", 50, 0, SLAB_NO_MERGE | SLAB_NO_USER_FLAGS, NULL);
    (void)unused;
    CHECK(poisoned != NULL && plain != NULL);
    kept_is(mempool_create(1, mempool_alloc_slab, mempool_free_slab, poisoned), 50, true);
    kept_is(mempool_create_slab_pool(1, poisoned), 50, true);
    kept_is(mempool_create_slab_pool(1, plain), 50, false);
    kept_is(mempool_create_kmalloc_pool(1, 100), 100, kmalloc_debugged());
    kept_is(mempool_create_kmalloc_pool(1, 9000), 9000, false); /* larger than what is debugged */
    kept_is(mempool_create(1, asking_alloc, mempool_kfree, (void *)100), 100, false);
    kmem_cache_destroy(poisoned);
    kmem_cache_destroy(plain);
}

static void resizing(size_t unused) {
    (void)unused;
    void *all[300];
    mempool_t *pool = limited_pool(20, 1000);
    CHECK(mempool_resize(pool, 0) == -EINVAL && mempool_resize(pool, -3) == -EINVAL && pool->min_nr == 20);
    CHECK(mempool_resize(pool, 30) == 0 && pool->min_nr == 30 && pool->curr_nr == 30 && atomic_load(&live) == 30);
    CHECK(mempool_resize(pool, 5) == 0 && pool->min_nr == 5 && pool->curr_nr == 5 && atomic_load(&live) == 5);
    CHECK(mempool_resize(pool, 300) == 0 && pool->curr_nr == 300);
    atomic_store(&allowed, 300);
    for (int i = 0; i < 300; i++)
        CHECK((all[i] = mempool_alloc(pool, __GFP_NOWARN)) != NULL);
    CHECK(mempool_resize(pool, 100) == 0 && pool->curr_nr == 0);
    CHECK(mempool_resize(pool, 310) == 0 && pool->min_nr == 310 && pool->curr_nr == 0); /* nothing to be had */
    for (int i = 0; i < 300; i++)
        mempool_free(all[i], pool);
    CHECK(pool->curr_nr == 300);
    atomic_store(&allowed, 1000);
    CHECK(mempool_resize(pool, 310) == 0 && pool->curr_nr == 310);
    limited_end(pool);
}

/* --- threads --- */

enum { THREADS = 16, TURNS = 3000, HELD_MAX = 3 };

static mempool_t *shared;
static atomic_int finished;
static atomic_long got_nr, lacked_nr;

/* Holds up to HELD_MAX elements, of which there are too few for all: but one of them are asked for without waiting. */
static void *taker(void *arg) {
    long me = (long)arg;
    for (long turn = 0; turn < TURNS; turn++) {
        long *held[HELD_MAX] = {mempool_alloc(shared, GFP_KERNEL)};
        CHECK_MSG(held[0] != NULL, "an allocation that may wait failed");
        for (int i = 1; i < HELD_MAX; i++)
            held[i] = mempool_alloc(shared, __GFP_NOWARN);
        for (int i = 0; i < HELD_MAX; i++) {
            if (held[i] != NULL)
                held[i][0] = held[i][11] = me << 32 | turn << 2 | i;
        }
        if (turn % 16 == me)
            (void)sched_yield();
        for (int i = 0; i < HELD_MAX; i++) {
            CHECK_MSG(held[i] == NULL || (held[i][0] == (me << 32 | turn << 2 | i) && held[i][11] == held[i][0]),
                      "an element has two owners");
            mempool_free(held[i], shared);
        }
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

static void takers_run(void (*meanwhile)(void)) {
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, taker, (void *)i) == 0);
    while (meanwhile != NULL && atomic_load(&finished) < THREADS)
        meanwhile();
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Five elements and never one more, for sixteen threads: all of them wait most of the time. A waker that is lost costs
 * its waiter five seconds, which the driver does not give it many times. */
static void waiters(size_t min_nr) {
    shared = limited_pool((int)min_nr, min_nr > 0 ? (int)min_nr : 1);
    takers_run(NULL);
    CHECK(shared->curr_nr == (min_nr > 0 ? (int)min_nr : 1) && shared->waiters == 0);
    CHECK(atomic_load(&live) == (min_nr > 0 ? (int)min_nr : 1));
    limited_end(shared);
}

/* One element for three threads, which wait for it nearly each time. */
enum { BATON_THREADS = 3, BATON_TURNS = 40000 };
static void *baton_runner(void *arg) {
    long me = (long)arg;
    for (long turn = 0; turn < BATON_TURNS; turn++) {
        long *baton = mempool_alloc(shared, GFP_KERNEL);
        CHECK(baton != NULL);
        *baton = me << 32 | turn;
        CHECK_MSG(*(long *)opaque(baton) == (me << 32 | turn), "an element has two owners");
        mempool_free(baton, shared);
    }
    return NULL;
}

static void threads_run(int nr, void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (long i = 0; i < nr; i++)
        CHECK(pthread_create(&threads[i], NULL, body, (void *)i) == 0);
    for (int i = 0; i < nr; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void baton(size_t unused) {
    (void)unused;
    shared = limited_pool(1, 1);
    threads_run(BATON_THREADS, baton_runner);
    limited_end(shared);
}

/* As many kept as there are nodes, and some elements more, so that a free always finds the last place. */
enum { HAMMER_TURNS = 60000, KEPT = 16 };
static void *hammer(void *arg) {
    long me = (long)arg;
    for (long turn = 0; turn < HAMMER_TURNS; turn++) {
        long *held[2] = {mempool_alloc_preallocated(shared), mempool_alloc(shared, __GFP_NOWARN)};
        for (int i = 0; i < 2; i++) {
            if (held[i] != NULL)
                held[i][0] = held[i][11] = me << 32 | turn << 1 | i;
        }
        for (int i = 0; i < 2; i++) {
            CHECK_MSG(held[i] == NULL || (held[i][0] == (me << 32 | turn << 1 | i) && held[i][11] == held[i][0]),
                      "an element has two owners");
            mempool_free(held[i], shared);
        }
    }
    return NULL;
}

static void hammered(size_t unused) {
    (void)unused;
    shared = limited_pool(KEPT, KEPT + 2);
    threads_run(THREADS, hammer);
    CHECK(shared->curr_nr == KEPT);
    limited_end(shared);
}

/* Five elements for all, of which each thread wants up to all at once, among threads that want one: who got a part and
 * waited for the rest would wait for ever, and who is not woken for what others left lying, five seconds each time. */
enum { BULK_THREADS = 6, BULK_TURNS = 4000, BULK_MAX = 5 };
static void *bulk_taker(void *arg) {
    long me = (long)arg;
    for (long turn = 0; turn < BULK_TURNS; turn++) {
        long *held[BULK_MAX] = {NULL};
        unsigned nr = me % 2 == 0 ? 1 : 1 + (unsigned)((turn + me) % BULK_MAX);
        if (nr == 1)
            held[0] = mempool_alloc(shared, GFP_KERNEL);
        else
            CHECK(mempool_alloc_bulk(shared, (void **)held, nr, 0) == 0);
        for (unsigned i = 0; i < nr; i++) {
            CHECK(held[i] != NULL);
            held[i][0] = held[i][11] = me << 32 | turn << 3 | i;
        }
        if (turn % 16 == me)
            (void)sched_yield();
        for (unsigned i = 0; i < nr; i++)
            CHECK_MSG(held[i][0] == (me << 32 | turn << 3 | i) && held[i][11] == held[i][0],
                      "an element has two owners");
        for (unsigned i = mempool_free_bulk(shared, (void **)held, nr); i < nr; i++)
            mempool_free(held[i], shared);
    }
    return NULL;
}

static void bulk_waiters(size_t unused) {
    (void)unused;
    shared = limited_pool(BULK_MAX, BULK_MAX);
    threads_run(BULK_THREADS, bulk_taker);
    CHECK(shared->curr_nr == BULK_MAX && shared->waiters == 0 && atomic_load(&live) == BULK_MAX);
    limited_end(shared);
}

static void resize_to_and_fro(void) {
    static int turn;
    int nr = turn++ % 2 ? 20 : 30;
    atomic_store(&allowed, nr);
    CHECK(mempool_resize(shared, nr) == 0);
    CHECK(shared->curr_nr <= 30);
    (void)sched_yield();
}

static void resize_under_pressure(size_t unused) {
    (void)unused;
    shared = limited_pool(20, 20);
    takers_run(resize_to_and_fro);
    atomic_store(&allowed, 30);
    CHECK(mempool_resize(shared, 30) == 0);
    CHECK_MSG(shared->min_nr == 30 && shared->curr_nr == 30 && atomic_load(&live) == 30,
              "%d of %d are kept, %d are there", shared->curr_nr, shared->min_nr, atomic_load(&live));
    limited_end(shared);
}

/* The same with mempool_create_slab_pool, whose function is the library's: what makes its memory short is the limit of
 * an account, which the cache's objects are charged to. A turn asks for more than there may be, so that all
 * of the reserve goes out in each. */
enum { SLAB_THREADS = 4, SLAB_TURNS = 1000, SLAB_HELD = 32, SLAB_BYTES = 100 };
static struct mem_cgroup *tenant;

static void *slab_taker(void *arg) {
    long me = (long)arg;
    (void)set_active_memcg(tenant);
    for (long turn = 0; turn < SLAB_TURNS; turn++) {
        long *held[SLAB_HELD] = {mempool_alloc(shared, GFP_KERNEL)};
        CHECK_MSG(held[0] != NULL, "an allocation that may wait failed");
        for (int i = 1; i < SLAB_HELD; i++)
            held[i] = mempool_alloc(shared, GFP_NOWAIT);
        for (int i = 0; i < SLAB_HELD; i++) {
            if (held[i] != NULL)
                held[i][0] = held[i][11] = me << 32 | turn << 5 | i;
            atomic_fetch_add(held[i] != NULL ? &got_nr : &lacked_nr, 1);
        }
        if (turn % 64 == me)
            (void)sched_yield();
        for (int i = 0; i < SLAB_HELD; i++) {
            CHECK_MSG(held[i] == NULL || (held[i][0] == (me << 32 | turn << 5 | i) && held[i][11] == held[i][0]),
                      "an element has two owners");
            mempool_free(held[i], shared);
        }
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

static void slab_pool_under_pressure(size_t unused) {
    pthread_t threads[SLAB_THREADS];
    struct quarry_account_info info;
    bool larger = false;
    (void)unused;
    CHECK((cache = kmem_cache_create("elements", SLAB_BYTES, 0, SLAB_ACCOUNT, NULL)) != NULL);
    CHECK((tenant = quarry_account_create("short", 0)) != NULL);
    (void)set_active_memcg(tenant);
    CHECK((shared = mempool_create_slab_pool(20, cache)) != NULL && shared->curr_nr == 20);
    quarry_account_info_get(tenant, &info);
    CHECK(info.objects == 20);
    size_t each = info.charged_bytes / 20;
    quarry_account_limit(tenant, 20 * each);
    for (long i = 0; i < SLAB_THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, slab_taker, (void *)i) == 0);
    while (atomic_load(&finished) < SLAB_THREADS || larger) {
        larger = !larger;
        quarry_account_limit(tenant, (larger ? 30 : 20) * each);
        CHECK(mempool_resize(shared, larger ? 30 : 20) == 0);
        quarry_account_info_get(tenant, &info);
        CHECK_MSG(info.charged_bytes <= 30 * each, "%zu bytes are charged", info.charged_bytes);
        (void)sched_yield();
    }
    for (int i = 0; i < SLAB_THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_MSG(atomic_load(&got_nr) >= SLAB_THREADS * SLAB_TURNS &&
                  atomic_load(&lacked_nr) >= 2 * SLAB_THREADS * SLAB_TURNS,
              "%ld elements were had, %ld not", atomic_load(&got_nr), atomic_load(&lacked_nr));
    quarry_account_limit(tenant, 30 * each);
    CHECK(mempool_resize(shared, 30) == 0);
    quarry_account_info_get(tenant, &info);
    CHECK_MSG(shared->min_nr == 30 && shared->curr_nr == 30 && info.objects == 30, "%d of %d are kept, %zu are there",
              shared->curr_nr, shared->min_nr, (size_t)info.objects);
    CHECK(mempool_alloc_preallocated(shared) != NULL && shared->curr_nr == 29);
    mempool_destroy(shared);
    quarry_account_info_get(tenant, &info);
    CHECK(info.objects == 1);
}

/* A waiter is woken by memory that becomes free elsewhere, at the latest after the kernel's five seconds. */
static atomic_int got_it;
static void *one_taker(void *unused) {
    (void)unused;
    void *element = mempool_alloc(shared, GFP_KERNEL);
    CHECK(element != NULL);
    atomic_store(&got_it, 1);
    mempool_free(element, shared);
    return NULL;
}

static void wait_is_needed(size_t unused) {
    (void)unused;
    pthread_t thread;
    shared = limited_pool(1, 1);
    void *only = mempool_alloc(shared, GFP_KERNEL);
    CHECK(pthread_create(&thread, NULL, one_taker, NULL) == 0);
    while (__atomic_load_n(&shared->waiters, __ATOMIC_SEQ_CST) == 0)
        (void)sched_yield();
    CHECK(atomic_load(&got_it) == 0);
    mempool_free(only, shared);
    CHECK(pthread_join(thread, NULL) == 0 && atomic_load(&got_it) == 1);
    limited_end(shared);
}

/* One free for one waiter, again and again, at any moment of the waiter's way to sleep: nobody else frees who would
 * heal a wake that was lost. */
enum { ALONE_MS = 500, SLEPT_THROUGH_MS = 4900 }; /* who is not woken looks again after 5 s */
static atomic_long round_nr, served_nr;
static atomic_bool alone_over;

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The nth CPU this process may use, where there are so many. */
static void pin_to(int nth) {
    cpu_set_t may, one;
    CPU_ZERO(&one);
    CHECK(sched_getaffinity(0, sizeof(may), &may) == 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &may) && nth-- == 0)
            CPU_SET(cpu, &one);
    }
    if (CPU_COUNT(&one) == 1)
        CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
}

static void *served(void *unused) {
    (void)unused;
    pin_to(1);
    for (long round = 1;; round++) {
        while (atomic_load(&round_nr) < round) {
            if (atomic_load(&alone_over))
                return NULL;
            (void)sched_yield();
        }
        void *element = mempool_alloc(shared, GFP_KERNEL);
        CHECK(element != NULL);
        mempool_free(element, shared);
        atomic_store(&served_nr, round);
    }
}

static void every_wake_counts(size_t unused) {
    (void)unused;
    pthread_t thread;
    shared = limited_pool(1, 1);
    CHECK(pthread_create(&thread, NULL, served, NULL) == 0);
    pin_to(0);
    for (long round = 1, end = now_ms() + ALONE_MS; now_ms() < end; round++) {
        void *only = mempool_alloc(shared, GFP_KERNEL);
        atomic_store(&round_nr, round);
        while (__atomic_load_n(&shared->waiters, __ATOMIC_RELAXED) == 0)
            (void)sched_yield();
        for (volatile int spin = (int)(round * 37 % 200); spin > 0; spin--)
            continue;
        mempool_free(only, shared);
        long freed = now_ms();
        while (atomic_load(&served_nr) < round)
            (void)sched_yield();
        CHECK_MSG(now_ms() - freed < SLEPT_THROUGH_MS, "a waiter was not woken in round %ld", round);
    }
    atomic_store(&alone_over, true);
    CHECK(pthread_join(thread, NULL) == 0);
    limited_end(shared);
}

/* Who waits for two leaves the one that came back to who waits for one, and that one is woken for it. */
static atomic_int got_two;
static void *two_taker(void *unused) {
    void *two[2] = {NULL, NULL};
    (void)unused;
    CHECK(mempool_alloc_bulk(shared, two, 2, 0) == 0);
    atomic_store(&got_two, 1);
    CHECK(mempool_free_bulk(shared, two, 2) == 2);
    return NULL;
}

static void waiters_beside(size_t unused) {
    pthread_t two, one;
    (void)unused;
    shared = limited_pool(2, 2);
    void *first = mempool_alloc(shared, GFP_KERNEL), *second = mempool_alloc(shared, GFP_KERNEL);
    atomic_store(&got_it, 0);
    atomic_store(&got_two, 0);
    CHECK(pthread_create(&two, NULL, two_taker, NULL) == 0);
    (void)usleep(50000); /* asleep by then, or the case shows less */
    CHECK(pthread_create(&one, NULL, one_taker, NULL) == 0);
    (void)usleep(50000);
    long freed = now_ms();
    mempool_free(first, shared);
    CHECK(pthread_join(one, NULL) == 0 && atomic_load(&got_it) == 1 && atomic_load(&got_two) == 0);
    CHECK_MSG(now_ms() - freed < SLEPT_THROUGH_MS, "who waited for one was not woken");
    mempool_free(second, shared);
    CHECK(pthread_join(two, NULL) == 0 && atomic_load(&got_two) == 1);
    limited_end(shared);
}

/* --- signals --- */

enum { SIGNALS_MIN = 500, PERIOD_US = 100, ROUNDS = 2000000 };
static volatile sig_atomic_t handled_nr;

static void on_alarm(int signal_nr) {
    (void)signal_nr;
    long *p = mempool_alloc_preallocated(shared), *q = mempool_alloc(shared, __GFP_NOWARN);
    if (p != NULL)
        *p = 1;
    if (q != NULL)
        *q = 2;
    mempool_free(p, shared);
    mempool_free(q, shared);
    handled_nr++;
}

static void in_handlers(size_t unused) {
    (void)unused;
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval on = {{0, PERIOD_US}, {0, PERIOD_US}}, off = {{0, 0}, {0, 0}};
    shared = mempool_create_kmalloc_pool(3, 64);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &on, NULL) == 0);
    for (long i = 0; i < ROUNDS || handled_nr < SIGNALS_MIN; i++) {
        long *p = mempool_alloc_preallocated(shared);
        if (p == NULL)
            continue;
        *p = i + 10;
        CHECK(*(long *)opaque(p) == i + 10);
        mempool_free(p, shared);
    }
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    CHECK_MSG(shared->curr_nr == 3, "%d of 3 elements are left after %d signals", shared->curr_nr, (int)handled_nr);
    for (int i = 0; i < 3; i++)
        CHECK(mempool_alloc_preallocated(shared) != NULL);
    CHECK(mempool_alloc_preallocated(shared) == NULL);
}

/* Of node 7 there is nothing here; what counts is that the heap is asked for it, by what the pool takes for itself. */
static size_t node_bytes, node_calls;

void *quarry_core1_alloc_node(size_t size, int node, bool strict);
void *quarry_core1_alloc_node(size_t size, int node, bool strict) {
    CHECK(node == 7 && !strict);
    node_bytes += size;
    node_calls++;
    return malloc(size);
}

static void of_node(size_t unused) {
    (void)unused;
    mempool_t held, *pool = mempool_create_node(4, mempool_kmalloc, mempool_kfree, (void *)100, GFP_KERNEL, 7);
    size_t made = node_calls, bytes = node_bytes;
    CHECK(pool != NULL && made == 3 && bytes > sizeof(*pool) + 16 * sizeof(void *));
    CHECK(mempool_resize(pool, 300) == 0 && pool->curr_nr == 300);
    CHECK_MSG(node_calls > made && node_bytes - bytes >= 284 * sizeof(void *), "%zu bytes of the node",
              node_bytes - bytes);
    void *p = mempool_alloc(pool, GFP_KERNEL);
    mempool_free(p, pool);
    mempool_destroy(pool);
    made = node_calls;
    CHECK(mempool_init_node(&held, 2, mempool_kmalloc, mempool_kfree, (void *)100, GFP_KERNEL, 7) == 0);
    CHECK(node_calls == made + 2);
    mempool_exit(&held);
    pool = mempool_create_node(4, mempool_kmalloc, mempool_kfree, (void *)100, GFP_KERNEL, NUMA_NO_NODE);
    CHECK(pool != NULL && mempool_resize(pool, 100) == 0 && node_calls == made + 2);
    mempool_destroy(pool);
}

static const struct test_case table[] = {
    {"of a node", of_node, 0, CASE_QUARRY},
    {"kinds", kinds, 0, CASE_QUARRY},
    {"pages", pages, 0, CASE_QUARRY},
    {"pages of order 3", pages, 3, CASE_QUARRY},
    {"kvmalloc", kvmallocs, 3000, CASE_QUARRY},
    {"kvmalloc, areas", kvmallocs, 5 << 20, CASE_QUARRY},
    {"in place", in_place, 0, CASE_QUARRY},
    {"order", order, 0, CASE_QUARRY},
    {"bulk", bulk, 0, CASE_QUARRY},
    {"flags", flags, 0, CASE_QUARRY},
    {"kept", kept, 0, CASE_QUARRY},
    {"resizing", resizing, 0, CASE_QUARRY},
    {"waiters for five", waiters, 5, CASE_QUARRY},
    {"waiters for one", waiters, 1, CASE_QUARRY},
    {"waiters for none kept", waiters, 0, CASE_QUARRY},
    {"one baton", baton, 0, CASE_QUARRY},
    {"bulk, waiters for five", bulk_waiters, 0, CASE_QUARRY},
    {"hammered", hammered, 0, CASE_QUARRY},
    {"20 to 30 under pressure", resize_under_pressure, 0, CASE_QUARRY},
    {"slab pool, 20 to 30 under pressure", slab_pool_under_pressure, 0, CASE_QUARRY},
    {"a free wakes", wait_is_needed, 0, CASE_QUARRY},
    {"waiters beside", waiters_beside, 0, CASE_QUARRY},
    {"every wake counts", every_wake_counts, 0, CASE_QUARRY},
    {"in signal handlers", in_handlers, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
