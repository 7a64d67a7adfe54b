/* SPDX-License-Identifier: MIT */
/* How hard pages, vmalloc areas and objects of caches are tried for. The driver gives the program a hard limit of 64
 * MiB; gfp.c has kmalloc. */
#include "cases.h"
#include "fill.h"

#include <errno.h>
#include <linux/gfp.h>
#include <linux/mempool.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/vmalloc.h>
#include <stdatomic.h>

enum { PAGE, PAGES, AREA, AREA_GROWS, KV, OBJECT };
enum { PAGES_ORDER = 8, AREA_BYTES = 2 << 20, KV_BYTES = 5 << 20, OBJECT_BYTES = 300000 };

static struct kmem_cache *cache;
static void *area; /* that is to grow */

static void *want(size_t kind, gfp_t flags) {
    switch (kind) {
    case PAGE: return (void *)__get_free_page(flags);
    case PAGES: return (void *)__get_free_pages(flags, PAGES_ORDER);
    case AREA: return __vmalloc(AREA_BYTES, flags);
    case AREA_GROWS: return vrealloc(area, AREA_BYTES, flags);
    case KV: return kvmalloc(KV_BYTES, flags);
    default: return kmem_cache_alloc(cache, flags);
    }
}

static void unwant(size_t kind, void *p) {
    if (kind == PAGE || kind == PAGES)
        free_pages((unsigned long)p, kind == PAGE ? 0 : PAGES_ORDER);
    else
        kvfree(p);
}

/* --- a shrinker that gives nothing, or all --- */

static unsigned long counts, scans;
static bool gives;

static unsigned long held_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    counts++;
    return gives ? held_nr : 0;
}

static unsigned long held_scan(struct shrinker *s, struct shrink_control *sc) {
    unsigned long freed = held_nr;
    (void)s, (void)sc;
    scans++;
    give_all();
    return freed;
}

static void fill(void) {
    CHECK((cache = kmem_cache_create("effort", OBJECT_BYTES, 0, SLAB_NO_MERGE, NULL)) != NULL);
    CHECK((area = vmalloc(4096)) != NULL);
    thread_stack_is_there();
    (void)take_all(GFP_KERNEL | __GFP_NORETRY);
}

static void held_register(void) {
    static struct shrinker shrinker = {.count_objects = held_count, .scan_objects = held_scan, .seeks = DEFAULT_SEEKS};
    CHECK(register_shrinker(&shrinker, "held") == 0);
}

/* Flag by flag, with nothing to be had; then the shrinker has something. */
static void efforts(size_t kind) {
    held_register();
    fill();
    counts = 0;
    CHECK(want(kind, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) == NULL);
    CHECK_MSG(counts == 0, "__GFP_NORETRY asked the shrinkers %lu times", counts);
    CHECK(want(kind, GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN) == NULL);
    CHECK_MSG(counts > 2, "__GFP_RETRY_MAYFAIL asked the shrinkers %lu times", counts);
    gives = true;
    void *p = want(kind, GFP_KERNEL | __GFP_RETRY_MAYFAIL);
    CHECK(p != NULL && scans > 0);
    unwant(kind, p);
}

/* A shrinker that has something to give in the third round of asking. The limit itself has one. */
enum { LATE_ROUND = 3 };

static unsigned long late_scan(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    if (counts < LATE_ROUND)
        return 1;
    give_all();
    return SHRINK_STOP;
}

/* Plain requests, which go to the heap themselves, ask as often as any other of GFP_KERNEL. */
static void plain(size_t kind) {
    static struct shrinker late = {.count_objects = held_count, .scan_objects = late_scan, .seeks = DEFAULT_SEEKS};
    fill();
    CHECK(register_shrinker(&late, "late") == 0);
    gives = true;
    counts = 0;
    void *p = kind == OBJECT ? kmem_cache_alloc(cache, GFP_KERNEL) : kmalloc(OBJECT_BYTES, GFP_KERNEL);
    CHECK_MSG(p != NULL, "nothing, after the shrinker was asked %lu times", counts);
    CHECK(counts >= LATE_ROUND);
    kfree(p);
}

/* What shrinkers are told when memory is out: no more than who asks may do. */
static gfp_t seen;

static unsigned long mask_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s;
    counts++;
    seen |= sc->gfp_mask;
    return 0;
}

static void masks(size_t bulk) {
    static struct shrinker shrinker = {.count_objects = mask_count, .scan_objects = late_scan, .seeks = DEFAULT_SEEKS};
    void *objs[3];
    fill();
    CHECK(register_shrinker(&shrinker, "masks") == 0);
    counts = 0;
    CHECK(bulk ? kmem_cache_alloc_bulk(cache, GFP_NOFS, 3, objs) == 0 : kmem_cache_alloc(cache, GFP_NOFS) == NULL);
    CHECK_MSG(counts > 0 && (seen & __GFP_FS) == 0 && (seen & __GFP_IO) != 0, "%lu times by %#x", counts, seen);
    seen = 0;
    CHECK(bulk ? kmem_cache_alloc_bulk(cache, GFP_NOIO, 3, objs) == 0 : kmem_cache_alloc(cache, GFP_NOIO) == NULL);
    CHECK_MSG(seen != 0 && (seen & (__GFP_FS | __GFP_IO)) == 0, "by %#x", seen);
    CHECK(kmem_cache_alloc(cache, GFP_KERNEL) == NULL && (seen & __GFP_FS) != 0);
}

/* All there is, to the last small object. */
static void fill_whole(void) {
    fill();
    for (size_t size = PIECE; size >= 16; size = size > 2048 ? size / 2 : size - 16) {
        while (kmalloc(size, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) != NULL) {
        }
    }
}

/* Where the first object has a cache made on its way, which memory lacks for, that asks by no other flags. */
static void *want_made(size_t of_buckets, kmem_buckets *buckets, size_t size, gfp_t flags) {
    flags |= __GFP_NOWARN;
    return of_buckets ? kmem_buckets_alloc(buckets, size, flags)
                      : kmalloc(opaque_size(size), flags | __GFP_RECLAIMABLE);
}

static void masks_made(size_t of_buckets) {
    static struct shrinker shrinker = {.count_objects = mask_count, .scan_objects = late_scan, .seeks = DEFAULT_SEEKS};
    kmem_buckets *buckets = kmem_buckets_create("own", 0, 0, 0, NULL);
    CHECK(buckets != NULL);
    fill_whole();
    CHECK(register_shrinker(&shrinker, "masks") == 0);
    counts = 0;
    (void)want_made(of_buckets, buckets, 200, GFP_NOFS);
    CHECK_MSG(counts > 0 && (seen & __GFP_FS) == 0 && (seen & __GFP_IO) != 0, "%lu times by %#x", counts, seen);
    seen = 0;
    (void)want_made(of_buckets, buckets, 400, GFP_NOIO);
    CHECK_MSG(seen != 0 && (seen & (__GFP_FS | __GFP_IO)) == 0, "by %#x", seen);
    counts = 0;
    (void)want_made(of_buckets, buckets, 800, GFP_KERNEL | __GFP_NORETRY);
    CHECK_MSG(counts == 0, "__GFP_NORETRY asked the shrinkers %lu times", counts);
}

/* What a pool keeps its elements in is tried for by the flags of who makes it, and by GFP_KERNEL when it grows. */
static int element;
static void *element_get(gfp_t flags, void *unused) {
    (void)flags, (void)unused;
    return &element;
}
static void element_put(void *p, void *unused) { (void)p, (void)unused; }

static int pool_try(mempool_t *pool, int nr, gfp_t flags, int node) {
    counts = seen = 0;
    return mempool_init_node(pool, nr, element_get, element_put, NULL, flags, node);
}

static void masks_pool(size_t node) {
    enum { FEW = 10, MANY = 300000 };
    static struct shrinker shrinker = {.count_objects = mask_count, .scan_objects = late_scan, .seeks = DEFAULT_SEEKS};
    mempool_t pool, few;
    CHECK(pool_try(&few, FEW, GFP_KERNEL, (int)node) == 0);
    fill();
    CHECK(register_shrinker(&shrinker, "masks") == 0);
    CHECK(pool_try(&pool, MANY, GFP_NOWAIT, (int)node) == -ENOMEM && counts == 0);
    CHECK(pool_try(&pool, MANY, GFP_KERNEL | __GFP_NORETRY, (int)node) == -ENOMEM && counts == 0);
    CHECK(pool_try(&pool, MANY, GFP_NOFS, (int)node) == -ENOMEM);
    CHECK_MSG(counts > 0 && (seen & __GFP_FS) == 0 && (seen & __GFP_IO) != 0, "%lu times by %#x", counts, seen);
    counts = seen = 0;
    CHECK(mempool_resize(&few, MANY) == -ENOMEM && few.min_nr == FEW);
    CHECK_MSG(counts > 0 && (seen & __GFP_FS) != 0, "%lu times by %#x", counts, seen);
    give_all();
    CHECK(pool_try(&pool, MANY, GFP_NOFS, (int)node) == 0 && pool.curr_nr == MANY);
    mempool_exit(&pool);
    mempool_exit(&few);
}

/* A cache is made with effort, too, and then nobody holds the lock of caches, which quarry_slabinfo() takes. */
static unsigned long looking_count(struct shrinker *s, struct shrink_control *sc) {
    static char text[1 << 16];
    CHECK(quarry_slabinfo(text, sizeof(text)) > 0);
    return held_count(s, sc);
}

static void made_with_effort(size_t of_buckets) {
    static struct shrinker shrinker = {
        .count_objects = looking_count, .scan_objects = held_scan, .seeks = DEFAULT_SEEKS};
    kmem_buckets *buckets = kmem_buckets_create("own", 0, 0, 0, NULL);
    CHECK(buckets != NULL);
    fill_whole();
    CHECK(register_shrinker(&shrinker, "looking") == 0);
    gives = true;
    counts = 0;
    CHECK(of_buckets ? kmem_buckets_alloc(buckets, 200, GFP_KERNEL) != NULL
                     : kmem_cache_create("late", 200, 0, SLAB_NO_MERGE, NULL) != NULL);
    CHECK(counts > 0 && scans > 0);
}

/* A shrinker's own requests are plain ones, whoever waits for it. */
static struct kmem_cache *things;
static struct mem_cgroup *full;

static unsigned long charge_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s, (void)sc;
    counts++;
    struct mem_cgroup *before = set_active_memcg(full);
    CHECK_MSG(kmem_cache_alloc(things, GFP_KERNEL) == NULL, "the limit was passed");
    (void)set_active_memcg(before);
    return held_nr;
}

static void nested(size_t unused) {
    static struct shrinker shrinker = {
        .count_objects = charge_count, .scan_objects = held_scan, .seeks = DEFAULT_SEEKS};
    struct quarry_account_info info;
    void *objs[20];
    (void)unused;
    CHECK((things = kmem_cache_create("things", 200, 0, SLAB_ACCOUNT, NULL)) != NULL);
    CHECK((full = quarry_account_create("full", 0)) != NULL);
    (void)set_active_memcg(full);
    for (int i = 0; i < 20; i++)
        CHECK((objs[i] = kmem_cache_alloc(things, GFP_KERNEL)) != NULL);
    (void)set_active_memcg(NULL);
    kmem_cache_free_bulk(things, 10, objs); /* there is room in the slab */
    quarry_account_info_get(full, &info);
    quarry_account_limit(full, info.charged_bytes);
    fill();
    CHECK(register_shrinker(&shrinker, "nested") == 0);
    counts = 0;
    CHECK(want(OBJECT, GFP_KERNEL | __GFP_NOFAIL) != NULL && counts > 0);
}

static void nofail(size_t kind) {
    pthread_t thread;
    held_register();
    fill();
    CHECK(pthread_create(&thread, NULL, free_later, NULL) == 0);
    void *p = want(kind, GFP_KERNEL | __GFP_NOFAIL | __GFP_NOWARN);
    CHECK(p != NULL);
    CHECK(pthread_join(thread, NULL) == 0);
    unwant(kind, p);
}

/* What no effort brings is no reason to try for ever. */
static void never(size_t unused) {
    (void)unused;
    CHECK(__vmalloc(opaque_size(65 << 20), GFP_KERNEL | __GFP_NOFAIL | __GFP_NOWARN) == NULL);
    CHECK(__vmalloc(opaque_size((size_t)1 << 50), GFP_KERNEL | __GFP_NOFAIL | __GFP_NOWARN) == NULL);
    CHECK(__get_free_pages(GFP_KERNEL | __GFP_NOFAIL | __GFP_NOWARN, MAX_PAGE_ORDER + 1) == 0);
    CHECK(kvmalloc(opaque_size((size_t)1 << 40), GFP_KERNEL | __GFP_NOFAIL | __GFP_NOWARN) == NULL);
    held_register();
    fill();
    CHECK(__get_free_page(GFP_NOWAIT | __GFP_NOFAIL) == 0);
    CHECK(kmem_cache_alloc(cache, GFP_NOWAIT | __GFP_NOFAIL) == NULL);
}

static const struct test_case table[] = {
    {"efforts, a page", efforts, PAGE, CASE_QUARRY},
    {"efforts, pages", efforts, PAGES, CASE_QUARRY},
    {"efforts, an area", efforts, AREA, CASE_QUARRY},
    {"efforts, growth", efforts, AREA_GROWS, CASE_QUARRY},
    {"efforts, kvmalloc", efforts, KV, CASE_QUARRY},
    {"efforts, a cache", efforts, OBJECT, CASE_QUARRY},
    {"plain, kmalloc", plain, PAGE, CASE_QUARRY},
    {"plain, a cache", plain, OBJECT, CASE_QUARRY},
    {"masks", masks, 0, CASE_QUARRY},
    {"masks, bulk", masks, 1, CASE_QUARRY},
    {"masks, short-lived", masks_made, 0, CASE_QUARRY},
    {"masks, buckets", masks_made, 1, CASE_QUARRY},
    {"masks, a pool", masks_pool, (size_t)NUMA_NO_NODE, CASE_QUARRY},
    {"masks, a pool of a node", masks_pool, 0, CASE_QUARRY},
    {"effort for a cache", made_with_effort, 0, CASE_QUARRY},
    {"effort for buckets", made_with_effort, 1, CASE_QUARRY},
    {"nested", nested, 0, CASE_QUARRY},
    {"nofail, a page", nofail, PAGE, CASE_QUARRY},
    {"nofail, pages", nofail, PAGES, CASE_QUARRY},
    {"nofail, an area", nofail, AREA, CASE_QUARRY},
    {"nofail, growth", nofail, AREA_GROWS, CASE_QUARRY},
    {"nofail, kvmalloc", nofail, KV, CASE_QUARRY},
    {"nofail, a cache", nofail, OBJECT, CASE_QUARRY},
    {"never", never, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
