/* SPDX-License-Identifier: MIT */
/* What allocation flags mean, one by one. The driver gives the program a hard limit of 64 MiB. */
#include "cases.h"
#include "check.h"
#include "fill.h"
#include "shrink.h"

#include <errno.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_MIB = 64 };

/* A mapping is never at hand: what atomic contexts left to do is done. */
static void slow_call(void) { kfree(kmalloc(opaque_size(3 << 20), GFP_KERNEL)); }

/* The kernel's values (6.12), by which tracers and dumps name them, and what is made of them. */
static const struct {
    gfp_t flags, value;
} values[] = {
    {__GFP_DMA, 0x1},
    {__GFP_HIGHMEM, 0x2},
    {__GFP_DMA32, 0x4},
    {__GFP_MOVABLE, 0x8},
    {__GFP_RECLAIMABLE, 0x10},
    {__GFP_HIGH, 0x20},
    {__GFP_IO, 0x40},
    {__GFP_FS, 0x80},
    {__GFP_ZERO, 0x100},
    {__GFP_DIRECT_RECLAIM, 0x400},
    {__GFP_KSWAPD_RECLAIM, 0x800},
    {__GFP_WRITE, 0x1000},
    {__GFP_NOWARN, 0x2000},
    {__GFP_RETRY_MAYFAIL, 0x4000},
    {__GFP_NOFAIL, 0x8000},
    {__GFP_NORETRY, 0x10000},
    {__GFP_MEMALLOC, 0x20000},
    {__GFP_COMP, 0x40000},
    {__GFP_NOMEMALLOC, 0x80000},
    {__GFP_HARDWALL, 0x100000},
    {__GFP_THISNODE, 0x200000},
    {__GFP_ACCOUNT, 0x400000},
    {__GFP_RECLAIM, 0xc00},
    {GFP_ATOMIC, 0x820},
    {GFP_KERNEL, 0xcc0},
    {GFP_KERNEL_ACCOUNT, 0x400cc0},
    {GFP_NOWAIT, 0x2800},
    {GFP_NOIO, 0xc00},
    {GFP_NOFS, 0xc40},
    {GFP_USER, 0x100cc0},
    {GFP_DMA, 0x1},
    {GFP_DMA32, 0x4},
    {GFP_HIGHUSER, 0x100cc2},
    {GFP_HIGHUSER_MOVABLE, 0x100cca},
    {GFP_TRANSHUGE_LIGHT, 0x1c20ca},
    {GFP_TRANSHUGE, 0x1c24ca},
};

static void combinations(size_t unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        CHECK_MSG(values[i].flags == values[i].value, "%zu: %#x is %#x in the kernel", i, values[i].flags,
                  values[i].value);
    CHECK(!gfpflags_allow_blocking(GFP_ATOMIC) && !gfpflags_allow_blocking(GFP_NOWAIT));
    CHECK(gfpflags_allow_blocking(GFP_KERNEL) && gfpflags_allow_blocking(GFP_NOFS));
}

/* Who may not block gets what is at hand, GFP_ATOMIC the reserve besides, and it is filled again by who may. */
static void reserve(size_t reserve_bytes) {
    for (int round = 0; round < 3; round++) {
        kfree(kmalloc(PIECE, GFP_KERNEL));
        (void)take_all(GFP_NOWAIT);
        CHECK(kmalloc(PIECE, GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN) != NULL || reserve_bytes == 0 ||
              held_nr == 0); /* leaks one object of the case's own process */
        size_t got = take_all(GFP_ATOMIC) * PIECE;
        CHECK_MSG(got >= reserve_bytes / 2 && (reserve_bytes != 0 || got == 0), "%zu bytes of a reserve of %zu", got,
                  reserve_bytes);
        CHECK(kmalloc(PIECE, GFP_ATOMIC | __GFP_NOWARN) == NULL);
        char *small = kzalloc(40, GFP_ATOMIC); /* another class may still have something at hand */
        CHECK(small == NULL || small[0] == 0);
        kfree(small);
        give_all();
        slow_call();
    }
}

static void reserve_by_scope(size_t unused) {
    (void)unused;
    (void)take_all(GFP_NOWAIT);
    CHECK(take_all(GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOMEMALLOC) == 0);
    CHECK(take_all(GFP_NOWAIT | __GFP_MEMALLOC) > 0);
    give_all();
    slow_call();
    (void)take_all(GFP_NOWAIT);
    unsigned flags = memalloc_noreclaim_save();
    CHECK(take_all(GFP_NOWAIT) > 0);
    memalloc_noreclaim_restore(flags);
    give_all();
}

/* What objects without the flag have, those with it have: memory at hand of theirs, and the reserve. */
static void short_lived(size_t of_reserve) {
    enum { SIZE = 200, PLAIN_NR = 256 };
    static void *plain[PLAIN_NR];
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((size_t)sched_getcpu(), &here);
    CHECK(sched_setaffinity(0, sizeof(here), &here) == 0); /* what it frees is at hand there */
    kfree(kmalloc(SIZE, GFP_KERNEL | __GFP_RECLAIMABLE));
    for (int i = 0; i < PLAIN_NR && !of_reserve; i++)
        CHECK((plain[i] = kmalloc(opaque_size(SIZE), GFP_KERNEL)) != NULL);
    for (size_t size = 1 << 20; size >= 16; size = size > 2048 ? size / 2 : size - 16) {
        gfp_t life = size <= 8192 ? __GFP_RECLAIMABLE : 0;
        while (kmalloc(size, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN | life) != NULL) {
        }
    }
    CHECK(kmalloc(SIZE, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN | __GFP_RECLAIMABLE) == NULL);
    if (!of_reserve) {
        CHECK(kmalloc(SIZE, GFP_NOWAIT | __GFP_RECLAIMABLE) == NULL);
        kfree_bulk(PLAIN_NR, plain);
        CHECK(kmalloc(SIZE, GFP_NOWAIT | __GFP_RECLAIMABLE) != NULL);
        CHECK(kmalloc(SIZE, GFP_KERNEL | __GFP_NORETRY | __GFP_NOFAIL | __GFP_RECLAIMABLE) != NULL);
        return;
    }
    CHECK(kmalloc(SIZE, GFP_KERNEL | __GFP_MEMALLOC | __GFP_NORETRY | __GFP_RECLAIMABLE) != NULL);
    CHECK(kmalloc(SIZE, GFP_KERNEL | __GFP_HIGH | __GFP_NORETRY | __GFP_RECLAIMABLE) != NULL);
    unsigned flags = memalloc_noreclaim_save();
    CHECK(kmalloc(SIZE, GFP_KERNEL | __GFP_RECLAIMABLE) != NULL);
    memalloc_noreclaim_restore(flags);
    char *p = kzalloc(SIZE, GFP_ATOMIC | __GFP_RECLAIMABLE);
    CHECK(p != NULL && p[0] == 0 && p[SIZE - 1] == 0);
}

/* Slabs that have free objects, but no memory for them, stand before the reserve, and the limit forbids to bring any.
 */
static void reserve_behind_purged(size_t caches) {
    enum { SIZE = 200, NR = 8192, KEEP = 64 };
    static void *all[NR];
    struct kmem_cache *s = kmem_cache_create("purged", SIZE, 0, SLAB_NO_MERGE, NULL);
    CHECK(s != NULL);
    for (int i = 0; i < NR; i++)
        CHECK((all[i] = caches ? kmem_cache_alloc(s, GFP_KERNEL) : kmalloc(opaque_size(SIZE), GFP_KERNEL)) != NULL);
    for (int i = 0; i < NR; i++)
        kfree(i % KEEP == 0 ? NULL : all[i]);
    quarry_trim(0);
    for (size_t size = 1 << 20; size >= 512; size /= 2) {
        while (kmalloc(size, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) != NULL) {
        }
    }
    while ((caches ? kmem_cache_alloc(s, GFP_NOWAIT) : kmalloc(opaque_size(SIZE), GFP_NOWAIT)) != NULL) {
    }
    for (int i = 0; i < 20; i++) {
        void *p = caches ? kmem_cache_alloc(s, GFP_ATOMIC) : kmalloc(opaque_size(SIZE), GFP_ATOMIC);
        CHECK_MSG(p != NULL, "the reserve is not asked, after %d", i);
        memset(p, 1, SIZE);
    }
    gfp_t high = GFP_KERNEL | __GFP_HIGH | __GFP_NORETRY;
    CHECK((caches ? kmem_cache_alloc(s, high) : kmalloc(opaque_size(SIZE), high)) != NULL);
    high = GFP_KERNEL | __GFP_MEMALLOC | __GFP_NORETRY;
    CHECK((caches ? kmem_cache_alloc(s, high) : kmalloc(opaque_size(SIZE), high)) != NULL);
    /* Two of a class that nobody had an object of. */
    CHECK(kmem_cache_alloc(s, GFP_ATOMIC) != NULL && kmalloc(5000, GFP_ATOMIC) != NULL);
    CHECK(kmalloc(opaque_size(32), high) != NULL && kmalloc(32, GFP_ATOMIC) != NULL);
}

/* --- the reserve behind slabs that are half free --- */

enum half_free { HALF_KMALLOC, HALF_CACHE, HALF_CACHE_NO_MAGAZINES };
enum { HALF_SIZE = 200, HALF_NR = 8192 };

static struct kmem_cache *half_cache;

/* The first that has no magazines, after those that have taken all there are. */
static struct kmem_cache *cache_without_magazines(void) {
    struct quarry_kmem_cache_info info;
    struct kmem_cache *s;
    int made = 0;
    do {
        char name[32];
        (void)snprintf(name, sizeof(name), "half-%d", made);
        CHECK(made++ < 1000 && (s = kmem_cache_create(name, HALF_SIZE, 0, SLAB_NO_MERGE, NULL)) != NULL);
        quarry_kmem_cache_info_get(s, &info);
    } while (info.percpu);
    return s;
}

static void half_start(enum half_free kind) {
    if (kind == HALF_CACHE)
        CHECK((half_cache = kmem_cache_create("half", HALF_SIZE, 0, SLAB_NO_MERGE, NULL)) != NULL);
    if (kind == HALF_CACHE_NO_MAGAZINES)
        half_cache = cache_without_magazines();
}

static void *half_alloc(gfp_t flags) {
    return half_cache != NULL ? kmem_cache_alloc(half_cache, flags) : kmalloc(opaque_size(HALF_SIZE), flags);
}

/* Of each slab every second stretch of 8 KiB, or of a page where that is more, is free, and no memory is behind that,
 * which the limit forbids to bring again. What the reserve then gives must go to as many objects as it holds, not to a
 * slab of the reserve's for each. */
static void reserve_behind_half_free(size_t kind) {
    enum { LEAST_BYTES = 8192, SLAB_BYTES = 32768, RESERVE_BYTES = 1 << 20 };
    static char *all[HALF_NR];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), stretch = page > LEAST_BYTES ? page : LEAST_BYTES;
    if (page >= SLAB_BYTES)
        check_skip("a page of %zu bytes holds a slab, or more", page);
    half_start((enum half_free)kind);
    for (int i = 0; i < HALF_NR; i++)
        CHECK((all[i] = half_alloc(GFP_KERNEL)) != NULL);
    size_t freed = 0;
    for (int i = 0; i < HALF_NR; i++) {
        if ((uintptr_t)all[i] / stretch % 2 != 0) {
            kfree(all[i]);
            freed++;
        }
    }
    quarry_trim(0);
    for (size_t size = 1 << 20; size >= 512; size /= 2) {
        while (kmalloc(size, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) != NULL) {
        }
    }
    size_t at_hand = 0, reserved = 0;
    while (half_alloc(GFP_NOWAIT) != NULL)
        at_hand++;
    CHECK_MSG(freed > HALF_NR / 3 && at_hand < freed / 2, "%zu objects of %zu were at hand", at_hand, freed);
    for (char *p; (p = half_alloc(GFP_ATOMIC)) != NULL; reserved++)
        memset(p, 1, HALF_SIZE);
    CHECK_MSG(reserved >= RESERVE_BYTES / 2 / 256, "%zu objects of the reserve", reserved); /* in slots of 256 bytes */
}

/* A cache that is made at the second attempt, with what a shrinker gave. */
static void *given[2000];

static unsigned times(const char *text, const char *what) {
    unsigned nr = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        nr++;
    return nr;
}

static void warned_once(size_t unused) {
    static struct shrinker shrinker = {
        .count_objects = shrink_count, .scan_objects = shrink_scan, .seeks = DEFAULT_SEEKS};
    static char said[4096];
    int fds[2], before = dup(STDERR_FILENO);
    (void)unused;
    CHECK(pipe(fds) == 0 && before >= 0);
    dup2(fds[1], STDERR_FILENO);
    CHECK(kmem_cache_create("a name", 300, 0, 0, NULL) != NULL);
    CHECK(read(fds[0], said, sizeof(said) - 1) > 0);
    dup2(before, STDERR_FILENO);
    memset(said, 0, sizeof(said));
    shrink_objs = given;
    for (; shrink_nr < 2000; shrink_nr++)
        CHECK((given[shrink_nr] = kmalloc(opaque_size(16 + 16 * (shrink_nr % 60)), GFP_KERNEL)) != NULL);
    for (size_t size = 1 << 20; size >= 16; size = size > 2048 ? size / 2 : size - 16) {
        while (kmalloc(opaque_size(size), GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) != NULL) {
        }
    }
    CHECK(register_shrinker(&shrinker, "given") == 0);
    dup2(fds[1], STDERR_FILENO);
    struct kmem_cache *s = kmem_cache_create_usercopy("a name", 320, 0, 0, 300, 100, NULL);
    dup2(before, STDERR_FILENO);
    CHECK(write(fds[1], ".", 1) == 1 && read(fds[0], said, sizeof(said) - 1) > 0);
    CHECK_MSG(s != NULL && shrink_nr == 0, "%zu objects were not asked for, and it said: %s", shrink_nr, said);
    CHECK_MSG(times(said, "already exists") == 1 && times(said, "with a blank") == 1 && times(said, "usercopy") == 1,
              "it said: %s", said);
}

static void sizes(size_t unused) {
    (void)unused;
    for (size_t size = 1; size <= 262144; size = size * 3 / 2 + 1) {
        char *p = kzalloc(size, GFP_ATOMIC);
        CHECK_MSG(p != NULL, "no %zu bytes of a fresh reserve", size);
        CHECK((uintptr_t)p % (size & -size) == 0 && p[0] == 0 && p[size - 1] == 0);
        memset(p, 0xee, ksize(p));
        kfree(p);
        slow_call();
    }
    CHECK(kmalloc(opaque_size(3 << 20), GFP_ATOMIC) == NULL);
    CHECK(kmalloc(opaque_size(0), GFP_ATOMIC) == ZERO_SIZE_PTR);
}

/* --- shrinkers: a cache of objects that fills all there is --- */

static struct {
    unsigned long scans, counts;
    gfp_t seen;
    bool empty;
} cache;

static unsigned long cache_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s;
    cache.counts++;
    cache.seen = sc->gfp_mask;
    return cache.empty ? SHRINK_EMPTY : held_nr;
}

static unsigned long cache_scan(struct shrinker *s, struct shrink_control *sc) {
    unsigned long freed = 0;
    cache.scans++;
    CHECK(s->private_data == &cache && sc->nr_to_scan > 0 && sc->nr_to_scan <= 32);
    void *own = kmalloc(100, GFP_KERNEL | __GFP_NOWARN); /* may recurse into nothing */
    kfree(own);
    if ((sc->gfp_mask & __GFP_FS) == 0)
        return SHRINK_STOP;
    for (; freed < sc->nr_to_scan && held_nr > 0; freed++)
        kfree(held[--held_nr]);
    return freed;
}

static struct shrinker *cache_register(void) {
    struct shrinker *s = shrinker_alloc(0, "test-%d", 1);
    CHECK(s != NULL && s->seeks == DEFAULT_SEEKS);
    s->count_objects = cache_count;
    s->scan_objects = cache_scan;
    s->batch = 32;
    s->private_data = &cache;
    shrinker_register(s);
    return s;
}

static void shrinking(size_t unused) {
    void *p;
    (void)unused;
    (void)take_all(GFP_KERNEL | __GFP_NORETRY);
    CHECK(held_nr * PIECE > (LIMIT_MIB - 16) << 20 && kmalloc(1 << 20, GFP_KERNEL) == NULL);
    kfree(held[--held_nr]); /* room for the shrinker itself */
    struct shrinker *s = cache_register();
    CHECK(kmalloc(1 << 20, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) == NULL && cache.scans == 0);
    CHECK(kmalloc(1 << 20, GFP_NOFS | __GFP_NOWARN) == NULL && cache.counts > 0 &&
          cache.seen == (GFP_NOFS | __GFP_NOWARN));
    unsigned flags = memalloc_nofs_save();
    CHECK(kmalloc(1 << 20, GFP_KERNEL) == NULL && (cache.seen & (__GFP_FS | __GFP_IO)) == __GFP_IO);
    CHECK(current_gfp_context(GFP_KERNEL) == GFP_NOFS);
    unsigned inner = memalloc_noio_save();
    CHECK(kmalloc(1 << 20, GFP_KERNEL) == NULL && (cache.seen & (__GFP_FS | __GFP_IO)) == 0);
    memalloc_noio_restore(inner);
    CHECK(current_gfp_context(GFP_KERNEL) == GFP_NOFS);
    memalloc_nofs_restore(flags);
    CHECK(current_gfp_context(GFP_KERNEL) == GFP_KERNEL);
    unsigned long counts = cache.counts;
    flags = memalloc_noreclaim_save();
    CHECK(kmalloc(4 << 20, GFP_KERNEL) == NULL && cache.counts == counts);
    memalloc_noreclaim_restore(flags);
    CHECK((p = kmalloc(1 << 20, GFP_KERNEL)) != NULL && cache.scans > 0 && (cache.seen & __GFP_FS) != 0);
    kfree(p);
    CHECK((p = malloc(2 << 20)) != NULL); /* malloc's allocations as well */
    free(p);
    cache.empty = true;
    while (take_all(GFP_KERNEL) != 0)
        continue;
    unsigned long scans = cache.scans;
    CHECK(kmalloc(1 << 20, GFP_KERNEL) == NULL && cache.scans == scans);
    shrinker_free(s);
    shrinker_free(NULL);
    counts = cache.counts;
    CHECK(kmalloc(1 << 20, GFP_KERNEL) == NULL && cache.counts == counts);
    give_all();
}

static unsigned long self_scan(struct shrinker *s, struct shrink_control *sc) {
    (void)sc;
    unregister_shrinker(s);
    cache.scans++;
    return 0;
}

/* The old form; and a shrinker that takes itself off, with others before and behind it. */
static void unregistering(size_t unused) {
    static struct shrinker old[3];
    (void)unused;
    CHECK(register_shrinker(&old[0]) == -EINVAL);
    for (int i = 0; i < 3; i++) {
        old[i] = (struct shrinker){.count_objects = cache_count, .scan_objects = self_scan, .seeks = DEFAULT_SEEKS};
        CHECK(register_shrinker(&old[i], "old-%d", i) == 0);
    }
    (void)take_all(GFP_KERNEL);
    CHECK_MSG(cache.scans == 3, "%lu scans of three shrinkers that take themselves off", cache.scans);
    give_all();
}

/* --- effort --- */

static void nofail(size_t unused) {
    pthread_t thread;
    (void)unused;
    thread_stack_is_there();
    (void)take_all(GFP_KERNEL);
    CHECK(kmalloc(2 << 20, GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN) == NULL);
    CHECK(pthread_create(&thread, NULL, free_later, NULL) == 0);
    void *p = kmalloc(2 << 20, GFP_KERNEL | __GFP_NOFAIL);
    CHECK(p != NULL);
    CHECK(pthread_join(thread, NULL) == 0);
    kfree(p);
}

static void this_node(size_t unused) {
    (void)unused;
    char *p = kzalloc(5000, GFP_KERNEL | __GFP_THISNODE);
    CHECK(p != NULL && p[4999] == 0);
    kfree(p);
}

/* With QUARRY_ZERO=on, which a case of its own program asks for, nothing keeps what was in it. */
static void zeroed(void) {
    for (size_t size = 8; size <= 262144; size *= 2) {
        for (int round = 0; round < 50; round++) {
            unsigned char *p = kmalloc(size, GFP_ATOMIC);
            CHECK(p != NULL);
            for (size_t i = 0; i < ksize(p); i++)
                CHECK_MSG(p[i] == 0, "byte %zu of %zu is %d", i, size, p[i]);
            memset(p, 0xee, ksize(p));
            kfree(p);
        }
        slow_call();
    }
}

/* What kfree left undone is done by the next slow call of anybody: memory goes back all the same. */
static void giving_back(size_t unused) {
    uint64_t slabs_before = 0, slabs_full = 0, slabs_after = 0;
    (void)unused;
    CHECK(quarry_stat("slabs", &slabs_before) == 0);
    for (held_nr = 0; held_nr < HELD_NR; held_nr++)
        CHECK((held[held_nr] = kmalloc(3000, GFP_KERNEL)) != NULL);
    CHECK(quarry_stat("slabs", &slabs_full) == 0);
    give_all();
    slow_call();
    CHECK(quarry_stat("slabs", &slabs_after) == 0);
    CHECK_MSG(slabs_after - slabs_before < (slabs_full - slabs_before) / 4, "%lu slabs, then %lu, then %lu",
              (unsigned long)slabs_before, (unsigned long)slabs_full, (unsigned long)slabs_after);
}

/* The same of pages, whose blocks go back but for a few. */
static void giving_pages_back(size_t unused) {
    enum { BLOCKS_NR = 16, ORDER = 9 };
    unsigned long blocks[BLOCKS_NR];
    uint64_t free_bytes = 0;
    (void)unused;
    for (int i = 0; i < BLOCKS_NR; i++) {
        CHECK((blocks[i] = __get_free_pages(GFP_KERNEL, ORDER)) != 0);
        memset((void *)blocks[i], 1, PAGE_SIZE << ORDER);
    }
    for (int i = 0; i < BLOCKS_NR; i++)
        free_pages(blocks[i], ORDER);
    CHECK(quarry_stat("pages_free_bytes", &free_bytes) == 0 && free_bytes >= (BLOCKS_NR - 1) * PAGE_SIZE << ORDER);
    slow_call();
    CHECK(quarry_stat("pages_free_bytes", &free_bytes) == 0);
    CHECK_MSG(free_bytes <= 3 * PAGE_SIZE << ORDER, "%lu bytes of free pages are kept", (unsigned long)free_bytes);
}

static const struct test_case table[] = {
    {"combinations", combinations, 0, CASE_QUARRY},
    {"reserve", reserve, 1 << 20, CASE_QUARRY},
    {"reserve by scope", reserve_by_scope, 0, CASE_QUARRY},
    {"reserve, short-lived", short_lived, 1, CASE_QUARRY},
    {"at hand, short-lived", short_lived, 0, CASE_QUARRY},
    {"reserve behind purged slabs", reserve_behind_purged, 0, CASE_QUARRY},
    {"reserve behind purged slabs, of a cache", reserve_behind_purged, 1, CASE_QUARRY},
    {"reserve behind half-free slabs", reserve_behind_half_free, HALF_KMALLOC, CASE_QUARRY},
    {"reserve behind half-free slabs, of a cache", reserve_behind_half_free, HALF_CACHE, CASE_QUARRY},
    {"reserve behind half-free slabs, no magazines", reserve_behind_half_free, HALF_CACHE_NO_MAGAZINES, CASE_QUARRY},
    {"warned once", warned_once, 0, CASE_QUARRY},
    {"atomic sizes", sizes, 0, CASE_QUARRY},
    {"shrinkers", shrinking, 0, CASE_QUARRY},
    {"shrinkers that leave", unregistering, 0, CASE_QUARRY},
    {"nofail", nofail, 0, CASE_QUARRY},
    {"this node", this_node, 0, CASE_QUARRY},
    {"giving back", giving_back, 0, CASE_QUARRY},
    {"giving pages back", giving_pages_back, 0, CASE_QUARRY},
};

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "zeroed") == 0) {
        zeroed();
        return 0;
    }
    return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
