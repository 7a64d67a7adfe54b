/* SPDX-License-Identifier: MIT */
/*
 * The kernel's API under the streams of ops.c: what a stream asks for comes from kmalloc, caches, their sheaves, pools,
 * vmalloc, pages and per-CPU data in turn, and goes back by any of the functions that may take it. The shadow heap
 * knows what each object holds. Owns, beside it, which function an object came from, by its address.
 *
 * kernel SEED NR [at-once]: NR streams from SEED on (with SOAK in the environment SOAK_FACTOR times as many), one
 * thread at a time, or all at once. In the end no object of a cache may be out, and no page. With slab_debug what is
 * reported on stderr is a fault, too.
 */
#include "ops.h"

#include <linux/memcontrol.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_BYTES = 16384, PLACES_NR = 4096, SOAK_FACTOR = 80, CPU = 0 };

#define QUIET (GFP_KERNEL | __GFP_NOWARN)

/* --- which function an object came from --- */

/* OBJECT: what kfree takes, of kmalloc or a cache. The others take what is theirs alone. */
enum family { OBJECT, AREA, PAGES, EXACT, PERCPU, POOLED, FAMILIES_NR };

struct place {
    void *p;
    enum family family;
    size_t size;    /* as it was asked for */
    void *of;       /* its cache, NULL if of kmalloc; its pool; the per-CPU object it is a copy of */
    unsigned order; /* of PAGES */
};

static struct place places[PLACES_NR];
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ulong came[FAMILIES_NR], cached_nr, atomic_nr, by_rcu_nr;

static void fault(const char *what, const void *p) {
    fprintf(stderr, "fuzz: %p: %s\n", p, what);
    abort();
}

static struct place *place_find(const void *p) {
    for (size_t i = 0, at = (uintptr_t)p / 16; i < PLACES_NR; i++, at++) {
        if (places[at % PLACES_NR].p == p)
            return &places[at % PLACES_NR];
    }
    return NULL;
}

/* Free places are looked for as if they were NULL's. */
static void *came_from(void *p, struct place as) {
    if (p == NULL)
        return NULL;
    as.p = p;
    (void)pthread_mutex_lock(&places_lock);
    struct place *at = NULL;
    for (size_t i = 0; i < PLACES_NR && at == NULL; i++) {
        if (places[((uintptr_t)p / 16 + i) % PLACES_NR].p == NULL)
            at = &places[((uintptr_t)p / 16 + i) % PLACES_NR];
    }
    if (place_find(p) != NULL)
        fault("handed out twice", p);
    if (at == NULL)
        fault("no place for it", p);
    *at = as;
    came[as.family]++;
    cached_nr += as.family == OBJECT && as.of != NULL;
    (void)pthread_mutex_unlock(&places_lock);
    return p;
}

static struct place place_of(const void *p) {
    (void)pthread_mutex_lock(&places_lock);
    const struct place *at = place_find(p);
    if (at == NULL)
        fault("came from nowhere", p);
    struct place found = *at;
    (void)pthread_mutex_unlock(&places_lock);
    return found;
}

/* Before it goes back: another thread may have it a moment later. */
static struct place place_leave(const void *p) {
    struct place was = place_of(p);
    (void)pthread_mutex_lock(&places_lock);
    place_find(p)->p = NULL;
    (void)pthread_mutex_unlock(&places_lock);
    return was;
}

/* --- caches and pools --- */

static const struct {
    unsigned size, align;
    slab_flags_t flags;
} kinds[] = {
    {24, 0, SLAB_NO_MERGE},
    {100, 0, SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE},
    {100, 0, SLAB_NO_MERGE | SLAB_ACCOUNT},
    {192, 0, SLAB_TYPESAFE_BY_RCU},
    {700, 0, SLAB_RECLAIM_ACCOUNT | SLAB_NO_MERGE},
    {3000, 0, SLAB_NO_MERGE},
    {9000, 4096, SLAB_NO_MERGE},
    {70000, 0, SLAB_NO_MERGE},
    {1 << 20, 0, SLAB_NO_MERGE},
    {3 << 20, 0, SLAB_NO_MERGE},
};
enum { CACHES_NR = sizeof(kinds) / sizeof(kinds[0]), POOLS_NR = 2 };
static struct kmem_cache *caches[CACHES_NR];
static mempool_t *pools[POOLS_NR];
static const size_t pool_bytes[POOLS_NR] = {256, 700};

static void stores_make(void) {
    for (int i = 0; i < CACHES_NR; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "fuzzed-%d", i);
        caches[i] = kmem_cache_create(name, kinds[i].size, kinds[i].align, kinds[i].flags, NULL);
        if (caches[i] == NULL)
            fault("no cache", NULL);
    }
    pools[0] = mempool_create_kmalloc_pool(3, pool_bytes[0]);
    pools[1] = mempool_create_slab_pool(3, caches[4]);
}

static void stores_end(void) {
    uint64_t live = 1;
    mempool_destroy(pools[0]);
    mempool_destroy(pools[1]);
    kvfree_rcu_barrier();
    for (int i = 0; i < CACHES_NR; i++) {
        struct quarry_kmem_cache_info info;
        quarry_kmem_cache_info_get(caches[i], &info);
        if (info.active_objs != 0)
            fault("a cache has objects that nobody has", caches[i]);
        kmem_cache_destroy(caches[i]);
    }
    if (quarry_stat("pages_live_bytes", &live) != 0 || live != 0)
        fault("there are pages that nobody has", NULL);
}

/* The least that holds it. */
static struct kmem_cache *cache_for(size_t size, unsigned how) {
    for (unsigned i = 0; i < CACHES_NR; i++) {
        if (kinds[i].size >= size && (how % 2 == 0 || i + 1 == CACHES_NR || kinds[i + 1].size / 4 > size))
            return caches[i];
    }
    return NULL;
}

static void *by_sheaf(struct kmem_cache *s, gfp_t flags) {
    struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(s, GFP_KERNEL, 3);
    void *p = sheaf == NULL ? NULL : kmem_cache_alloc_from_sheaf(s, flags, sheaf);
    if (sheaf != NULL)
        kmem_cache_return_sheaf(s, GFP_KERNEL, sheaf);
    return p;
}

static void *by_bulk(struct kmem_cache *s, gfp_t flags) {
    void *p[4];
    if (kmem_cache_alloc_bulk(s, flags, 4, p) == 0)
        return NULL;
    kmem_cache_free_bulk(s, 3, p + 1);
    return p[0];
}

/* --- allocating --- */

static void *by_cache(size_t size, gfp_t flags, unsigned how) {
    struct kmem_cache *s = cache_for(size, how / 8);
    void *p = s == NULL                           ? NULL
              : how % 8 == 0                      ? kmem_cache_alloc_node(s, flags, 0)
              : how % 8 == 1                      ? by_bulk(s, flags)
              : how % 8 == 2 && size <= PAGE_SIZE ? by_sheaf(s, flags)
                                                  : kmem_cache_alloc(s, flags);
    return came_from(p, (struct place){.family = OBJECT, .size = size, .of = s});
}

/* What may not wait may be refused. */
static void *by_kmalloc(size_t size, gfp_t flags, unsigned how) {
    gfp_t atomic = (flags & __GFP_ZERO) | __GFP_NOWARN | (how % 2 ? GFP_ATOMIC : GFP_NOWAIT);
    void *p = how % 8 == 0   ? kmalloc(size, atomic)
              : how % 8 == 1 ? kmalloc_nolock(size, flags & __GFP_ZERO, NUMA_NO_NODE)
                             : NULL;
    atomic_nr += p != NULL;
    if (p == NULL)
        p = how % 8 == 2   ? kmalloc_node(size, flags, 0)
            : how % 8 == 3 ? kmalloc(size, flags | __GFP_RECLAIMABLE)
            : how % 8 == 4 ? krealloc(NULL, size, flags)
            : how % 8 == 5 ? kmalloc(size, flags | __GFP_ACCOUNT)
                           : kmalloc(size, flags);
    return came_from(p, (struct place){.family = OBJECT, .size = size});
}

static void *by_area(size_t size, gfp_t flags, unsigned how) {
    void *p = how % 4 == 0 ? __vmalloc_node(size, 1, flags, NUMA_NO_NODE, NULL) : __vmalloc(size, flags);
    return came_from(p, (struct place){.family = AREA, .size = size});
}

static void *by_pages(size_t size, gfp_t flags, unsigned how) {
    if (size > PAGE_SIZE << MAX_PAGE_ORDER)
        return NULL;
    if (how % 4 == 0)
        return came_from(alloc_pages_exact(size, flags), (struct place){.family = EXACT, .size = size});
    unsigned order = (unsigned)get_order(size);
    void *p = how % 4 == 1 && order == 0 && (flags & __GFP_ZERO) != 0 ? (void *)get_zeroed_page(GFP_KERNEL)
                                                                      : (void *)__get_free_pages(flags, order);
    return came_from(p, (struct place){.family = PAGES, .size = size, .order = order});
}

static void *by_percpu(size_t size, gfp_t flags) {
    void *base = size > 512 ? NULL : __alloc_percpu_gfp(size, 16, flags);
    return base == NULL
               ? NULL
               : came_from(per_cpu_ptr((char *)base, CPU), (struct place){.family = PERCPU, .size = size, .of = base});
}

static void *by_pool(size_t size, gfp_t flags, unsigned how) {
    unsigned i = how % POOLS_NR;
    if (size > pool_bytes[i])
        return NULL;
    void *p = mempool_alloc(pools[i], flags & ~__GFP_ZERO);
    if (p != NULL && (flags & __GFP_ZERO) != 0)
        memset(p, 0, size);
    return came_from(p, (struct place){.family = POOLED, .size = size, .of = pools[i]});
}

/* kvmalloc decides which it is. */
static void *by_either(size_t size, gfp_t flags) {
    void *p = kvmalloc(size, flags);
    return came_from(p, (struct place){.family = is_vmalloc_addr(p) ? AREA : OBJECT, .size = size});
}

static void *take(size_t size, gfp_t flags, unsigned how) {
    size += size == 0;
    unsigned more = how / 8;
    void *p = NULL;
    if (size <= KMALLOC_MAX_SIZE) {
        switch (how % 8) {
        case 0:
        case 1: p = by_cache(size, flags, more); break;
        case 2:
        case 3: p = by_kmalloc(size, flags, more); break;
        case 4: p = size > 4096 || more % 8 == 0 ? by_area(size, flags, more) : NULL; break;
        case 5: p = by_pages(size, flags, more); break;
        case 6: p = by_percpu(size, flags); break;
        default: p = by_pool(size, flags, more); break;
        }
    }
    return p != NULL ? p : by_either(size, flags);
}

static void *ask(size_t size, unsigned how) { return take(size, QUIET, how); }

static void *ask_zeros(size_t nr, size_t size, unsigned how) {
    return take(size_mul(nr, size), QUIET | __GFP_ZERO, how);
}

static void *aligned(size_t align, size_t size, unsigned how) {
    size_t bytes = (size + align - 1) & -align;
    if (how % 4 == 0 && bytes <= KMALLOC_MAX_SIZE)
        return by_kmalloc(bytes, QUIET, how / 4);
    if (how % 4 == 1 && bytes <= KMALLOC_MAX_SIZE)
        return came_from(krealloc_node_align(NULL, size, align, QUIET, NUMA_NO_NODE),
                         (struct place){.family = OBJECT, .size = size});
    if (how % 4 == 2)
        return came_from(__vmalloc_node(size, align, QUIET, NUMA_NO_NODE, NULL),
                         (struct place){.family = AREA, .size = size});
    void *p = kvmalloc_node_align(size, align, QUIET, NUMA_NO_NODE);
    return came_from(p, (struct place){.family = is_vmalloc_addr(p) ? AREA : OBJECT, .size = size});
}

/* --- giving back --- */

static void object_give(struct kmem_cache *s, void *p, unsigned how) {
    switch (how % 8) {
    case 0: kvfree(p); break;
    case 1: kfree_bulk(1, &p); break;
    case 2: kfree_sensitive(p); break;
    case 3: free(p); break;
    case 4:
        kfree_rcu_mightsleep(p);
        by_rcu_nr++;
        break;
    case 5: kmem_cache_free_bulk(s, 1, &p); break;
    default:
        if (s != NULL)
            kmem_cache_free(s, p);
        else
            kfree(p);
    }
}

static void area_give(void *p, unsigned how) {
    switch (how % 4) {
    case 0: vfree(p); break;
    case 1: vfree_atomic(p); break;
    case 2: kvfree_rcu_mightsleep(p); break;
    default: kvfree(p);
    }
}

static void give(void *p, unsigned how) {
    struct place was = place_leave(p);
    switch (was.family) {
    case AREA: area_give(p, how); break;
    case PAGES: free_pages((unsigned long)p, was.order); break;
    case EXACT: free_pages_exact(p, was.size); break;
    case PERCPU: free_percpu(was.of); break;
    case POOLED: mempool_free(p, was.of); break;
    default: object_give(was.of, p, how);
    }
}

static size_t usable(void *p) {
    if (p == NULL)
        return 0;
    struct place was = place_of(p);
    return was.family == OBJECT ? ksize(p) : was.family == PAGES ? PAGE_SIZE << was.order : was.size;
}

/* The family changes with the place alone: an object of a cache that stays is still the cache's. */
static void *resize_by_kernel(struct place was, size_t size, unsigned how) {
    bool by_k = was.family == OBJECT && how % 2 == 0, by_v = was.family == AREA && how % 2 == 0;
    void *p = was.p;
    (void)place_leave(p);
    void *q = by_k ? krealloc(p, size, QUIET) : by_v ? vrealloc(p, size, QUIET) : kvrealloc(p, size, QUIET);
    if (q == NULL || q == p) {
        was.size = q == NULL ? was.size : size;
        (void)came_from(p, was);
        return q;
    }
    return came_from(q, (struct place){.family = is_vmalloc_addr(q) ? AREA : OBJECT, .size = size});
}

static void *resize(void *p, size_t size, unsigned how) {
    if (p == NULL)
        return ask(size, how);
    struct place was = place_of(p);
    if (size == 0) {
        give(p, how);
        return NULL;
    }
    if ((was.family == OBJECT || was.family == AREA) && (size <= KMALLOC_MAX_SIZE || how % 2))
        return resize_by_kernel(was, size, how);
    void *q = ask(size, how / 2);
    if (q == NULL)
        return NULL;
    memcpy(q, p, size < usable(p) ? size : usable(p));
    give(p, how);
    return q;
}

static void trim(void) {
    for (int i = 0; i < CACHES_NR; i++)
        (void)kmem_cache_shrink(caches[i]);
    kvfree_rcu_barrier();
}

static const struct fuzz_api kernel_api = {
    .malloc = ask,
    .calloc = ask_zeros,
    .realloc = resize,
    .memalign = aligned,
    .free = give,
    .usable = usable,
    .trim = trim,
};

/* What no stream came to was not tried. */
static void reached_check(void) {
    bool all = cached_nr != 0 && atomic_nr != 0 && by_rcu_nr != 0;
    for (int i = 0; i < FAMILIES_NR; i++)
        all = all && came[i] != 0;
    if (!all)
        fault("some function was never asked", NULL);
}

int main(int argc, char **argv) {
    static uint8_t stream[STREAM_BYTES];
    if (argc != 3 && (argc != 4 || strcmp(argv[3], "at-once") != 0))
        return 2;
    uint64_t factor = getenv("SOAK") != NULL ? SOAK_FACTOR : 1;
    uint64_t seed = strtoull(argv[1], NULL, 10), end = seed + factor * strtoull(argv[2], NULL, 10);
    stores_make();
    for (; seed < end; seed++) {
        if (argc == 4) {
            (void)fuzz_run_at_once(&kernel_api, seed);
            continue;
        }
        fuzz_stream(seed, stream, sizeof(stream));
        (void)fuzz_run(&kernel_api, stream, sizeof(stream));
    }
    reached_check();
    stores_end();
    return 0;
}
