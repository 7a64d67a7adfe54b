/* SPDX-License-Identifier: MIT */
/* Slab caches, sheaves and buckets: the kernel's edge cases, and what the counters say. One process for each case. */
#include "cases.h"
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OBJS_MAX = 4096 };

static void *objs[OBJS_MAX];

static struct quarry_kmem_cache_info info_of(struct kmem_cache *s) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(s, &info);
    return info;
}

static struct kmem_cache *cache_of(unsigned size) {
    static atomic_uint nr;
    char name[32];
    (void)snprintf(name, sizeof(name), "own-%u", atomic_fetch_add(&nr, 1));
    struct kmem_cache *s = kmem_cache_create(name, size, 0, SLAB_NO_MERGE, NULL);
    CHECK(s != NULL);
    return s;
}

/* --- making --- */

static void nothing(void *p) { (void)p; }

struct point {
    _Alignas(32) long x;
    long y;
    char name[7];
};

struct point_of_user {
    long x;
    char name[7];
};

static void forms(size_t unused) {
    (void)unused;
    struct kmem_cache_args args = {.align = 128, .useroffset = 8, .usersize = 16};
    const struct kmem_cache_args freeptr = {.use_freeptr_offset = true, .freeptr_offset = 8, .ctor = nothing};
    struct kmem_cache *five = kmem_cache_create("five", 20, 0, SLAB_NO_MERGE, NULL);
    struct kmem_cache *four = kmem_cache_create("four", 200, &args, SLAB_NO_MERGE);
    struct kmem_cache *plain = kmem_cache_create("plain", 200, NULL, SLAB_NO_MERGE);
    struct kmem_cache *of_type = KMEM_CACHE(point, SLAB_NO_MERGE);
    struct kmem_cache *of_field = KMEM_CACHE_USERCOPY(point_of_user, 0, name);
    struct kmem_cache *constructed = kmem_cache_create("constructed", 40, &freeptr, 0);
    CHECK(five && four && plain && of_type && of_field && constructed);
    CHECK(kmem_cache_size(five) == 20 && info_of(five).slot_bytes == 32 && info_of(five).align_bytes == 16);
    struct quarry_kmem_cache_info info = info_of(four);
    CHECK(info.object_bytes == 200 && info.slot_bytes == 256 && info.align_bytes == 128);
    CHECK(info.useroffset == 8 && info.usersize == 16 && info.percpu && strcmp(info.name, "four") == 0);
    CHECK(info_of(plain).slot_bytes == 208);
    CHECK(kmem_cache_size(of_type) == sizeof(struct point) && info_of(of_type).align_bytes == 32);
    CHECK(strcmp(info_of(of_type).name, "point") == 0);
    char name[] = "kept";
    struct kmem_cache *named = kmem_cache_create(name, 20, 0, SLAB_NO_MERGE, NULL);
    name[0] = 'x';
    CHECK(named != NULL && strcmp(info_of(named).name, "kept") == 0); /* the name is copied */
    kmem_cache_destroy(named);
    info = info_of(of_field);
    CHECK(info.useroffset == offsetof(struct point_of_user, name) && info.usersize == 7);
    kmem_cache_destroy(five);
    kmem_cache_destroy(four);
    kmem_cache_destroy(plain);
    kmem_cache_destroy(of_type);
    kmem_cache_destroy(of_field);
    kmem_cache_destroy(constructed);
    kmem_cache_destroy(NULL);
}

/* size, align asked for, flags, align that must come of it. */
static const struct {
    unsigned size, align, expected;
    slab_flags_t flags;
} alignments[] = {
    {1, 0, 16, 0},
    {100, 0, 64, SLAB_HWCACHE_ALIGN},
    {32, 0, 32, SLAB_HWCACHE_ALIGN},
    {33, 0, 64, SLAB_HWCACHE_ALIGN},
    {17, 0, 32, SLAB_HWCACHE_ALIGN},
    {8, 0, 16, SLAB_HWCACHE_ALIGN},
    {24, 8, 16, 0},
    {24, 64, 64, 0},
    {5000, 4096, 4096, 0},
    {100, 65536, 65536, 0},
    {40000, 32768, 32768, SLAB_HWCACHE_ALIGN},
    {100, 3, 16, 0}, /* in whole words */
    {100, 12, 16, 0},
    {100, 25, 32, 0},
    {100, 57, 64, SLAB_HWCACHE_ALIGN},
};

static void alignment(size_t unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
        unsigned align = alignments[i].expected;
        struct kmem_cache *s = kmem_cache_create("aligned", alignments[i].size, alignments[i].align,
                                                 alignments[i].flags | SLAB_NO_MERGE, NULL);
        CHECK_MSG(info_of(s).align_bytes == align, "size %u is aligned to %u", alignments[i].size,
                  info_of(s).align_bytes);
        for (int k = 0; k < 300; k++) {
            objs[k] = kmem_cache_alloc(s, GFP_KERNEL);
            CHECK(objs[k] != NULL && (uintptr_t)objs[k] % align == 0);
            memset(objs[k], k, alignments[i].size);
        }
        for (int k = 0; k < 300; k++) {
            CHECK(bytes_are(objs[k], 0, alignments[i].size, (unsigned char)k));
            kmem_cache_free(s, objs[k]);
        }
        kmem_cache_destroy(s);
    }
}

static void panicking(void) { (void)kmem_cache_create("panic", 8, 24, SLAB_PANIC, NULL); }

/* With a limit of 32 MiB: all or nothing, and nothing lost; with magazines, and without. */
static void out_of_memory(struct kmem_cache *s) {
    enum { FEW = 100 };
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, OBJS_MAX, objs) == 0);
    CHECK_MSG(info_of(s).active_objs == 0, "%zu objects of a bulk that failed are out", info_of(s).active_objs);
    CHECK(kmem_cache_prefill_sheaf(s, GFP_KERNEL, OBJS_MAX) == NULL && info_of(s).active_objs == 0);
    struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(s, GFP_KERNEL, FEW);
    CHECK(sheaf != NULL && kmem_cache_refill_sheaf(s, GFP_KERNEL, &sheaf, OBJS_MAX) == -ENOMEM);
    CHECK(kmem_cache_sheaf_size(sheaf) == FEW && info_of(s).active_objs == FEW);
    kmem_cache_return_sheaf(s, GFP_KERNEL, sheaf);
    size_t nr = 0;
    while (nr < OBJS_MAX && (objs[nr] = kmem_cache_alloc(s, GFP_KERNEL)) != NULL)
        memset(objs[nr++], 1, kmem_cache_size(s));
    CHECK_MSG(nr > FEW && nr < OBJS_MAX, "%zu objects", nr);
    kmem_cache_free_bulk(s, nr, objs);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, FEW, objs) == FEW);
    kmem_cache_free_bulk(s, FEW, objs);
    kmem_cache_destroy(s);
}

static void limited(void) {
    out_of_memory(cache_of(16384));
    int nr = 0;
    while (info_of(cache_of(64)).percpu)
        nr++;
    CHECK_MSG(nr == 412, "%d caches with magazines", nr);
    struct kmem_cache *bare = cache_of(16384);
    CHECK(!info_of(bare).percpu);
    out_of_memory(bare);
}

/* The largest of all, and what is not to be had. The driver reads what is said. */
static void refused(void) {
    struct kmem_cache_args bad_align = {.align = 24}, bad_freeptr = {.use_freeptr_offset = true, .freeptr_offset = 8};
    struct kmem_cache_args far_freeptr = {.use_freeptr_offset = true, .freeptr_offset = 64};
    struct kmem_cache_args odd_freeptr = {.use_freeptr_offset = true, .freeptr_offset = 4};
    struct kmem_cache_args large_align = {.align = UINT_MAX};
    CHECK(kmem_cache_create("zero", 0, 0, 0, NULL) == NULL);
    CHECK(kmem_cache_create("huge", QUARRY_KMEM_CACHE_MAX_SIZE + 1, 0, 0, NULL) == NULL);
    CHECK(kmem_cache_create("flags", 8, 0, 0x40000000, NULL) == NULL);
    CHECK(kmem_cache_create("align", 8, &bad_align, 0) == NULL);
    CHECK(kmem_cache_create("freeptr", 64, &bad_freeptr, 0) == NULL);
    CHECK(kmem_cache_create("freeptr", 64, &far_freeptr, SLAB_TYPESAFE_BY_RCU) == NULL);
    CHECK(kmem_cache_create("freeptr", 64, &odd_freeptr, SLAB_TYPESAFE_BY_RCU) == NULL);
    CHECK(kmem_cache_create("align", 64, &large_align, 0) == NULL);
    CHECK(quarry_kmem_cache_create(NULL, 8, 0, 0, NULL) == NULL);
}

static void largest(size_t size) {
    struct kmem_cache *s = cache_of((unsigned)size);
    char *p = kmem_cache_alloc(s, GFP_KERNEL), *q = kmem_cache_zalloc(s, GFP_KERNEL);
    CHECK(p != NULL && q != NULL && ksize(p) >= size && kmem_cache_size(s) == size);
    memset(p, 1, size);
    CHECK(bytes_are(q, 0, size, 0));
    kmem_cache_free(s, p);
    CHECK((p = kmem_cache_zalloc(s, GFP_KERNEL)) != NULL && bytes_are(p, 0, size, 0));
    kmem_cache_free(s, p);
    kmem_cache_free(s, q);
    kmem_cache_destroy(s);
}

/* To free nothing does nothing, whatever the cache's slabs are. */
static void nothing_freed(size_t unused) {
    static const struct {
        unsigned size;
        slab_flags_t flags;
    } kinds[] = {{64, 0},
                 {64, SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE},
                 {64, SLAB_CACHE_DMA},
                 {2 << 20, 0},
                 {64, SLAB_TYPESAFE_BY_RCU}};
    (void)unused;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct kmem_cache *s = kmem_cache_create("freed", kinds[i].size, 0, kinds[i].flags | SLAB_NO_MERGE, NULL);
        CHECK(s != NULL);
        kmem_cache_free(s, opaque(NULL));
        quarry_kmem_cache_free(s, opaque(NULL));
        objs[0] = objs[1] = NULL;
        kmem_cache_free_bulk(s, 2, objs);
        CHECK(info_of(s).active_objs == 0 && info_of(s).slabs == 0);
        kmem_cache_destroy(s);
    }
}

/* --- merging --- */

static void merging(size_t unused) {
    (void)unused;
    struct kmem_cache_args sheafy = {.sheaf_capacity = 8}, user = {.usersize = 4};
    struct kmem_cache *first = kmem_cache_create("first", 90, 0, 0, NULL);
    struct kmem_cache *alias = kmem_cache_create("alias", 96, 0, 0, NULL);
    CHECK(first == alias && kmem_cache_size(first) == 96 && info_of(first).aliases == 1);
    struct kmem_cache *others[] = {
        kmem_cache_create("larger", 97, 0, 0, NULL),
        kmem_cache_create("no-merge", 96, 0, SLAB_NO_MERGE, NULL),
        kmem_cache_create("typesafe", 96, 0, SLAB_TYPESAFE_BY_RCU, NULL),
        kmem_cache_create("account", 96, 0, SLAB_ACCOUNT, NULL),
        kmem_cache_create("reclaim", 96, 0, SLAB_RECLAIM_ACCOUNT, NULL),
        kmem_cache_create("constructed", 96, 0, 0, nothing),
        kmem_cache_create("aligned", 96, 32, 0, NULL),
        kmem_cache_create("sheafy", 96, &sheafy, 0),
        kmem_cache_create("user", 96, &user, 0),
        kmem_cache_create("no-trace", 96, 0, SLAB_NOLEAKTRACE, NULL),
    };
    enum { OTHERS_NR = sizeof(others) / sizeof(others[0]) };
    for (int i = 0; i < OTHERS_NR; i++) {
        CHECK(others[i] != NULL && others[i] != first);
        for (int k = 0; k < i; k++)
            CHECK(others[i] != others[k]);
    }
    CHECK(kmem_cache_create("account-too", 90, 0, SLAB_ACCOUNT, NULL) == others[3]);
    kmem_cache_destroy(others[3]);
    void *p = kmem_cache_alloc(alias, GFP_KERNEL);
    kmem_cache_destroy(first); /* the other name is left, and its object */
    memset(p, 1, 96);
    CHECK(info_of(alias).aliases == 0 && info_of(alias).active_objs == 1);
    kmem_cache_free(alias, p);
    kmem_cache_destroy(alias);
    for (int i = 0; i < OTHERS_NR; i++)
        kmem_cache_destroy(others[i]);
}

/* --- constructors --- */

static int ctor_nr;
static void stamp(void *p) {
    *(int *)p = 0x600d;
    ctor_nr++;
}

static void constructed_once(size_t unused) {
    (void)unused;
    struct kmem_cache *s = kmem_cache_create("constructed", 200, 0, 0, stamp);
    int per_slab = (int)info_of(s).objs_per_slab;
    CHECK(ctor_nr == 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1000; i++) {
            objs[i] = kmem_cache_alloc(s, GFP_KERNEL);
            CHECK(*(int *)objs[i] == 0x600d);
            CHECK_MSG(((int *)objs[i])[1] == 0 || round > 0, "a new object is not as its constructor left it");
            ((int *)objs[i])[1] = 1;
        }
        CHECK_MSG(ctor_nr == per_slab * (int)info_of(s).slabs, "%d calls for %zu slabs of %d", ctor_nr,
                  info_of(s).slabs, per_slab);
        for (int i = 0; i < 1000; i++)
            kmem_cache_free(s, objs[i]);
        CHECK(ctor_nr % per_slab == 0);
    }
    int before = ctor_nr;
    kmem_cache_shrink(s);
    CHECK(info_of(s).slabs == 0);
    kmem_cache_free(s, kmem_cache_alloc(s, GFP_KERNEL));
    CHECK(ctor_nr == before + per_slab);
    kmem_cache_destroy(s);
}

/* --- objects --- */

static void zeroed(size_t size) {
    struct kmem_cache *s = cache_of((unsigned)size);
    for (int round = 0; round < 50; round++) {
        char *p = kmem_cache_alloc(s, GFP_KERNEL);
        memset(p, 0xee, size);
        kmem_cache_free(s, p);
        p = round % 2 ? kmem_cache_zalloc(s, GFP_KERNEL) : kmem_cache_alloc_node(s, GFP_KERNEL | __GFP_ZERO, -1);
        CHECK(bytes_are(p, 0, size, 0));
        memset(p, 0xee, size);
        kfree(p);
    }
    kmem_cache_destroy(s);
}

static void one_heap(size_t unused) {
    (void)unused;
    struct kmem_cache *a = cache_of(72), *b = cache_of(72);
    for (int i = 0; i < 1000; i++) {
        kfree(kmem_cache_alloc(a, GFP_KERNEL));
        free(opaque(kmem_cache_alloc(a, GFP_KERNEL)));
        kmem_cache_free(b, kmem_cache_alloc(a, GFP_KERNEL)); /* goes to a */
        kmem_cache_free(a, NULL);
        kmem_cache_free(a, kmem_cache_alloc_lru(a, NULL, GFP_KERNEL));
    }
    void *p = kmem_cache_alloc(a, GFP_KERNEL);
    CHECK(ksize(p) == 80);
    p = krealloc(p, 500, GFP_KERNEL);
    CHECK(ksize(p) >= 500);
    kfree(p);
    errno = 7;
    CHECK(info_of(a).active_objs == 0 && info_of(b).active_objs == 0);
    kmem_cache_destroy(a);
    kmem_cache_destroy(b);
    CHECK(errno == 7);
}

static void at_hand(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of(48);
    CHECK(kmem_cache_alloc(s, __GFP_NOWARN) == NULL);
    CHECK(kmem_cache_alloc_bulk(s, __GFP_NOWARN, 4, objs) == 0);
    kmem_cache_free(s, kmem_cache_alloc(s, GFP_KERNEL));
    void *p = kmem_cache_zalloc(s, __GFP_NOWARN);
    CHECK(p == NULL || bytes_are(p, 0, 48, 0));
    kmem_cache_free(s, p);
    size_t before = info_of(s).slabs;
    CHECK(kmem_cache_alloc_bulk(s, __GFP_NOWARN, OBJS_MAX, objs) == 0);
    CHECK(info_of(s).slabs == before && info_of(s).active_objs == 0);
    kmem_cache_destroy(s);
}

static void bulk(size_t size) {
    struct kmem_cache *s = cache_of((unsigned)size);
    void *mixed[4];
    for (size_t round = 0; round < 300; round++) {
        size_t nr = round * 37 % (size > 1000 ? 100 : 1000);
        CHECK(kmem_cache_alloc_bulk(s, round % 3 ? GFP_KERNEL : GFP_KERNEL | __GFP_ZERO, nr, objs) == (int)nr);
        for (size_t i = 0; i < nr; i++) {
            CHECK(round % 3 || bytes_are(objs[i], 0, size, 0));
            memset(objs[i], (int)i, size);
        }
        for (size_t i = 0; i < nr; i++)
            CHECK_MSG(bytes_are(objs[i], 0, size, (unsigned char)i), "object %zu of %zu was overwritten", i, nr);
        CHECK(info_of(s).active_objs == nr);
        if (round % 2)
            kmem_cache_free_bulk(s, nr, objs);
        else
            kmem_cache_free_bulk(NULL, nr, objs);
        CHECK(info_of(s).active_objs == 0);
    }
    mixed[0] = kmem_cache_alloc(s, GFP_KERNEL);
    mixed[1] = kmalloc(100, GFP_KERNEL);
    mixed[2] = NULL;
    mixed[3] = kmem_cache_alloc(s, GFP_KERNEL);
    kmem_cache_free_bulk(s, 4, mixed);
    CHECK(info_of(s).active_objs == 0);
    kmem_cache_destroy(s);
}

/* --- magazines --- */

static uint64_t slow_calls(void) {
    uint64_t allocs = 0, frees = 0;
    CHECK(quarry_stat("slow_allocs", &allocs) == 0 && quarry_stat("slow_frees", &frees) == 0);
    return allocs + frees;
}

/* However this thread comes to its magazines, and by whichever flags: hardly a call goes further. */
static void from_magazines(size_t unused) {
    enum { TURNS = 1000 };
    static const gfp_t flags[] = {GFP_KERNEL, GFP_ATOMIC, GFP_NOWAIT, GFP_KERNEL | __GFP_ZERO};
    (void)unused;
    struct kmem_cache *s = cache_of(200);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        gfp_t wanted = (gfp_t)opaque_size(flags[i]);
        kmem_cache_free(s, kmem_cache_alloc(s, wanted));
        kfree(kmalloc(200, wanted));
        uint64_t before = slow_calls();
        for (int turn = 0; turn < TURNS; turn++) {
            void *p = kmem_cache_alloc(s, wanted), *q = kmalloc(200, wanted);
            CHECK(p != NULL && q != NULL);
            kfree(q);
            kmem_cache_free(s, p);
        }
        uint64_t slow = slow_calls() - before;
        CHECK_MSG(slow < TURNS / 4, "flags %zu: %lu of %d calls left the fast path", i, (unsigned long)slow, 4 * TURNS);
    }
    kmem_cache_destroy(s);
}

/* --- slabs --- */

static void counters(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of(1000);
    unsigned per_slab = info_of(s).objs_per_slab;
    CHECK(info_of(s).slabs == 0 && kmem_cache_shrink(s) == 0);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, 10 * per_slab - 1, objs) == (int)(10 * per_slab - 1));
    kmem_cache_shrink(s);
    struct quarry_kmem_cache_info info = info_of(s);
    CHECK_MSG(info.slabs == 10 && info.full == 9 && info.partial == 1 && info.empty == 0,
              "%zu slabs: %zu full, %zu partial, %zu empty", info.slabs, info.full, info.partial, info.empty);
    CHECK(info.active_objs == 10 * per_slab - 1 && info.cached_objs == 0);
    CHECK(info.slab_bytes >= per_slab * 1008);
    kmem_cache_free(s, objs[0]);
    CHECK(info_of(s).active_objs == 10 * per_slab - 2);
    CHECK(kmem_cache_shrink(s) == 1);
    kmem_cache_free_bulk(s, 10 * per_slab - 2, objs + 1);
    CHECK(info_of(s).active_objs == 0);
    CHECK(kmem_cache_shrink(s) == 0 && info_of(s).slabs == 0);
    kmem_cache_destroy(s);
}

/* As many as a large program has, and more than have magazines. */
static void many(size_t nr) {
    static struct kmem_cache *caches[1000];
    char name[32];
    for (size_t i = 0; i < nr; i++) {
        (void)snprintf(name, sizeof(name), "cache-%zu", i);
        caches[i] = kmem_cache_create(name, (unsigned)(16 + i * 16 % 4096), 0, SLAB_NO_MERGE, i % 3 ? NULL : nothing);
        CHECK_MSG(caches[i] != NULL, "cache %zu of %zu", i, nr);
        objs[i] = kmem_cache_alloc(caches[i], GFP_KERNEL);
        memset(objs[i], (int)i, 16 + i * 16 % 4096);
    }
    for (size_t i = 0; i < nr; i++) {
        void *run[20];
        CHECK(kmem_cache_alloc_bulk(caches[i], GFP_KERNEL, 20, run) == 20);
        kmem_cache_free_bulk(caches[i], 20, run);
        CHECK(bytes_are(objs[i], 0, 16 + i * 16 % 4096, (unsigned char)i));
        kmem_cache_free(caches[i], objs[i]);
    }
    for (size_t i = 0; i < nr; i++)
        kmem_cache_destroy(caches[i]);
}

/* Ids are used again: many more lives than ids. */
static void again(size_t unused) {
    (void)unused;
    for (unsigned i = 0; i < 3000; i++) {
        struct kmem_cache *s = cache_of(16 + i % 100 * 16);
        CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, 50, objs) == 50);
        for (int k = 0; k < 50; k++)
            memset(objs[k], 1, kmem_cache_size(s));
        kmem_cache_free_bulk(s, 50, objs);
        CHECK(info_of(s).percpu);
        kmem_cache_destroy(s);
    }
}

/* --- sheaves and buckets --- */

static void sheaves(size_t unused) {
    (void)unused;
    struct kmem_cache *s = cache_of(100), *other = cache_of(100);
    struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(s, GFP_KERNEL, 10);
    CHECK(sheaf != NULL && kmem_cache_sheaf_size(sheaf) == 10);
    CHECK(kmem_cache_prefill_sheaf(s, GFP_KERNEL, 0) == NULL);
    CHECK(kmem_cache_refill_sheaf(other, GFP_KERNEL, &sheaf, 10) == -EINVAL && kmem_cache_sheaf_size(sheaf) == 10);
    CHECK(kmem_cache_alloc_from_sheaf(other, GFP_KERNEL, sheaf) == NULL);
    for (int i = 0; i < 10; i++) {
        CHECK((objs[i] = kmem_cache_alloc_from_sheaf(s, i % 2 ? __GFP_ZERO : 0, sheaf)) != NULL);
        CHECK(i % 2 == 0 || bytes_are(objs[i], 0, 100, 0));
        memset(objs[i], 0xee, 100);
    }
    CHECK(kmem_cache_alloc_from_sheaf(s, GFP_KERNEL, sheaf) == NULL);
    CHECK(kmem_cache_refill_sheaf(s, GFP_KERNEL, &sheaf, 7) == 0 && kmem_cache_sheaf_size(sheaf) == 7);
    CHECK(kmem_cache_refill_sheaf(s, GFP_KERNEL, &sheaf, 5) == 0 && kmem_cache_sheaf_size(sheaf) == 7);
    CHECK(kmem_cache_refill_sheaf(s, GFP_KERNEL, &sheaf, 300) == 0 && kmem_cache_sheaf_size(sheaf) == 300);
    CHECK(info_of(s).active_objs == 310);
    for (int i = 10; i < 110; i++)
        CHECK((objs[i] = kmem_cache_alloc_from_sheaf(s, 0, sheaf)) != NULL);
    kmem_cache_return_sheaf(s, GFP_KERNEL, sheaf);
    CHECK(info_of(s).active_objs == 110);
    kmem_cache_free_bulk(s, 110, objs);
    kmem_cache_return_sheaf(s, GFP_KERNEL, NULL);
    kmem_cache_destroy(s);
    kmem_cache_destroy(other);
}

/* Buckets, kmalloc and areas, one after the other. */
static void buckets_valloc(size_t unused) {
    static const size_t sizes[] = {1, 16, 4096, 4097, 8192, 8193, 1 << 20, KMALLOC_MAX_SIZE, KMALLOC_MAX_SIZE + 1};
    (void)unused;
    kmem_buckets *b = kmem_buckets_create("valloc", 0, 0, 0, NULL);
    CHECK(b != NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *p = kmem_buckets_valloc(b, sizes[i], GFP_KERNEL | __GFP_ZERO);
        CHECK(p != NULL && p[0] == 0 && p[sizes[i] - 1] == 0);
        CHECK(is_vmalloc_addr(p) == (sizes[i] > KMALLOC_MAX_SIZE));
        memset(p, 1, sizes[i]);
        kvfree(p);
    }
    CHECK(kmem_buckets_valloc(b, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(kmem_buckets_valloc(b, (size_t)INT_MAX + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(kmem_buckets_valloc(b, KMALLOC_MAX_SIZE + 1, GFP_NOWAIT) == NULL);
    void *p = kmem_buckets_valloc(NULL, 100, GFP_KERNEL);
    CHECK(p != NULL);
    kvfree(p);
}

/* Who may not block finds the caches of a set it did not allocate from before, each with the reserve behind it. */
static void buckets_atomic(size_t unused) {
    (void)unused;
    CHECK(kmem_buckets_create("wrong", 1u << 31, 0, 0, NULL) == NULL &&
          kmem_buckets_create(NULL, 0, 0, 0, NULL) == NULL);
    kmem_buckets *b = kmem_buckets_create("atomic", 0, 0, 0, NULL);
    char text[1 << 16];
    CHECK(b != NULL && quarry_slabinfo(text, sizeof(text)) < sizeof(text));
    for (size_t size = 16; size <= 8192; size *= 2) {
        char row[32];
        (void)snprintf(row, sizeof(row), "\natomic-%zu ", size);
        CHECK_MSG(strstr(text, row) != NULL, "no row of %s", row);
        char *p = kmem_buckets_alloc(b, size, GFP_ATOMIC),
             *q = kmem_buckets_alloc(b, size - 1, GFP_ATOMIC | __GFP_ZERO);
        CHECK_MSG(p != NULL && q != NULL && p != q, "%zu bytes", size);
        CHECK(ksize(p) >= size && bytes_are(q, 0, size - 1, 0));
        memset(p, 1, size);
        memset(q, 2, size - 1);
        CHECK(bytes_are(p, 0, size, 1));
        char *r = kmem_buckets_alloc(b, size, GFP_NOWAIT); /* out of the slab there is now */
        CHECK(r != NULL || ksize(p) > 4096);
        kfree(r);
        kfree(p);
        kfree(q);
    }
    CHECK(kmem_buckets_valloc(b, 3000, GFP_ATOMIC) != NULL);
}

static void buckets(size_t unused) {
    (void)unused;
    kmem_buckets *b = kmem_buckets_create("bucket", 0, 0, 8, NULL);
    CHECK(b != NULL);
    for (size_t size = 1; size <= 20000; size = size * 5 / 4 + 1) {
        char *p = kmem_buckets_alloc(b, size, GFP_KERNEL), *q = kmem_buckets_alloc(b, size, GFP_KERNEL | __GFP_ZERO);
        CHECK(p != NULL && ksize(p) >= size && bytes_are(q, 0, size, 0));
        CHECK((uintptr_t)p % (size > 8192 || (size > 64 && size <= 192) ? 16 : size > 16 ? 32 : 16) == 0);
        memset(p, 1, size);
        /* Never where kmalloc's objects of this size are. */
        char *k = kmalloc(ksize(p), GFP_KERNEL);
        CHECK(size > 8192 || (uintptr_t)k / 16384 != (uintptr_t)p / 16384);
        kfree(k);
        kfree(p);
        kfree(q);
    }
    CHECK(kmem_buckets_alloc(b, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    void *p = kmem_buckets_alloc(NULL, 100, GFP_KERNEL);
    CHECK(p != NULL);
    kfree(p);
}

/* --- fork --- */

static atomic_bool over;
static void *churn(void *unused) {
    (void)unused;
    while (!over) {
        struct kmem_cache *s = cache_of(64);
        for (int i = 0; i < 10; i++)
            kmem_cache_free(s, kmem_cache_alloc(s, GFP_KERNEL));
        kmem_cache_destroy(s);
    }
    return NULL;
}

/* While another thread makes and destroys, the child must be able to. */
static void fork_works(size_t unused) {
    (void)unused;
    pthread_t thread;
    struct kmem_cache *kept = cache_of(200);
    CHECK(kmem_cache_alloc_bulk(kept, GFP_KERNEL, 100, objs) == 100);
    memset(objs[50], 0x5a, 200);
    CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            struct kmem_cache *s = cache_of(64);
            for (int k = 100; k < 1100; k++)
                objs[k] = kmem_cache_alloc(s, GFP_KERNEL);
            kmem_cache_free_bulk(s, 1000, objs + 100);
            kmem_cache_destroy(s);
            CHECK(bytes_are(objs[50], 0, 200, 0x5a));
            kmem_cache_free_bulk(kept, 100, objs);
            kmem_cache_destroy(kept);
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    over = true;
    CHECK(pthread_join(thread, NULL) == 0);
    kmem_cache_free_bulk(kept, 100, objs);
    kmem_cache_destroy(kept);
}

/* --- lifetimes --- */

enum { HUGEPAGE_SHIFT = 21, HUGEPAGES_MAX = 64, LIFETIME_NR = 3000 };
struct hugepages {
    uintptr_t all[HUGEPAGES_MAX];
    unsigned nr;
};

static bool hugepage_has(const struct hugepages *h, const void *p) {
    for (unsigned i = 0; i < h->nr; i++) {
        if (h->all[i] == (uintptr_t)p >> HUGEPAGE_SHIFT)
            return true;
    }
    return false;
}

static void *hugepage_add(struct hugepages *h, void *p) {
    CHECK(p != NULL);
    if (!hugepage_has(h, p)) {
        CHECK(h->nr < HUGEPAGES_MAX);
        h->all[h->nr++] = (uintptr_t)p >> HUGEPAGE_SHIFT;
    }
    return p;
}

static bool kmalloc_debugged(void) { return getenv("QUARRY_SLAB_DEBUG") != NULL; }

/* What lives long and what does not, in turns: no hugepage has both. */
static void lifetimes(size_t unused) {
    static void *kept[LIFETIME_NR][2], *short_lived[LIFETIME_NR][2];
    static struct hugepages of_kept, of_short;
    struct kmem_cache *plain = cache_of(400);
    struct kmem_cache *reclaimable = kmem_cache_create("reclaimable", 400, 0, SLAB_RECLAIM_ACCOUNT, NULL);
    gfp_t flags = kmalloc_debugged() ? GFP_KERNEL : GFP_KERNEL | __GFP_RECLAIMABLE; /* debugged objects are not moved */
    struct hugepages *of_kmalloc = kmalloc_debugged() ? &of_kept : &of_short;
    (void)unused;
    CHECK(reclaimable != NULL);
    for (size_t i = 0; i < LIFETIME_NR; i++) {
        size_t size = 1 + i * 13 % 8192;
        kept[i][0] = hugepage_add(&of_kept, kmalloc(size, GFP_KERNEL));
        kept[i][1] = hugepage_add(&of_kept, kmem_cache_alloc(plain, GFP_KERNEL));
        short_lived[i][0] = hugepage_add(of_kmalloc, kmalloc(size, flags));
        short_lived[i][1] = hugepage_add(&of_short, kmem_cache_alloc(reclaimable, GFP_KERNEL));
        CHECK(ksize(short_lived[i][0]) >= size);
    }
    for (size_t i = 0; i < LIFETIME_NR; i++) {
        CHECK(!hugepage_has(&of_short, kept[i][0]) && !hugepage_has(&of_short, kept[i][1]));
        CHECK(!hugepage_has(&of_kept, short_lived[i][1]));
        kfree(short_lived[i][0]);
        kmem_cache_free(reclaimable, short_lived[i][1]);
        kfree(kept[i][0]);
        kmem_cache_free(plain, kept[i][1]);
    }
    kmem_cache_destroy(plain);
    kmem_cache_destroy(reclaimable);
}

/* kmalloc's edges with the flag: the kernel's sizes, its alignment, zeros, growing, and what may not wait. */
static void reclaimable_kmalloc(size_t unused) {
    static char text[1 << 16];
    gfp_t flags = GFP_KERNEL | __GFP_RECLAIMABLE;
    char *p = kmalloc(24, GFP_KERNEL);
    (void)unused;
    kfree(p);
    CHECK((p = kmalloc(24, GFP_NOWAIT | __GFP_RECLAIMABLE)) != NULL); /* no cache yet: as without the flag */
    kfree(p);
    CHECK(kmalloc(0, flags) == ZERO_SIZE_PTR && kmalloc(KMALLOC_MAX_SIZE + 1, flags | __GFP_NOWARN) == NULL);
    CHECK((p = kzalloc(200, flags)) != NULL && ksize(p) >= 200 && p[0] == 0 && p[199] == 0);
    CHECK(kmalloc_debugged() || ksize(p) == 256);
    memset(p, 7, 200);
    CHECK((p = krealloc(p, 5000, flags)) != NULL && p[0] == 7 && p[199] == 7);
    CHECK(kmalloc_debugged() || ksize(p) == 8192);
    CHECK((p = krealloc(p, 20000, flags)) != NULL && p[199] == 7); /* larger than there are caches */
    kfree(p);
    for (size_t size = 1; size <= 8192; size++) {
        CHECK((p = kmalloc(size, flags)) != NULL && ((uintptr_t)p & ((size & -size) - 1)) == 0);
        kfree(p);
    }
    CHECK((p = kmalloc(200, GFP_ATOMIC | __GFP_RECLAIMABLE)) != NULL);
    CHECK(quarry_slabinfo(text, sizeof(text)) < sizeof(text));
    CHECK(kmalloc_debugged() || strstr(text, "\nkmalloc-rcl-256 ") != NULL);
    kfree(p);
}

static bool slabinfo_has(const char *name) {
    static char text[1 << 18];
    CHECK(quarry_slabinfo(text, sizeof(text)) < sizeof(text));
    return strstr(text, name) != NULL;
}

/* Where no cache can be made for them they are as others, and it is not tried again each time, but now and then. */
static void reclaimable_without_class(size_t unused) {
    enum { BUCKETS_MAX = 2000, CALLS_BETWEEN = 1024 };
    struct kmem_cache *one = cache_of(64);
    size_t nr = 0;
    (void)unused;
    if (kmalloc_debugged())
        return;
    for (const void *p = one; p != NULL; nr++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "many-%zu", nr);
        kmem_buckets *b = kmem_buckets_create(name, 0, 0, 0, NULL);
        CHECK(nr < BUCKETS_MAX);
        p = b;
    }
    /* And one by one, what a set is too many for; the last is refused with a line. */
    int before = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(before >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    for (const void *p = one; p != NULL; nr++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "rest-%zu", nr);
        p = kmem_cache_create(name, 64, 0, SLAB_NO_MERGE, NULL);
    }
    CHECK(dup2(before, STDERR_FILENO) >= 0);
    for (int calls = 0; calls < CALLS_BETWEEN; calls++) {
        void *p = kmalloc(400, GFP_KERNEL | __GFP_RECLAIMABLE);
        CHECK(p != NULL);
        kfree(p);
        if (calls == 0)
            kmem_cache_destroy(one);
    }
    CHECK(!slabinfo_has("\nkmalloc-rcl-512 "));
    kfree(kmalloc(400, GFP_KERNEL | __GFP_RECLAIMABLE));
    CHECK(slabinfo_has("\nkmalloc-rcl-512 "));
}

/* With harden=on: sealed as others, and a second free is told. */
static void hardened(void) {
    char *p = kmalloc(opaque_size(200), GFP_KERNEL | __GFP_RECLAIMABLE);
    CHECK(p != NULL && !slabinfo_has("\nkmalloc-rcl-"));
    kfree(p);
    kfree(opaque(p));
}

static const struct test_case table[] = {
    {"forms", forms, 0, CASE_QUARRY},
    {"alignment", alignment, 0, CASE_QUARRY},
    {"largest", largest, 1 << 20, CASE_QUARRY},
    {"nothing freed", nothing_freed, 0, CASE_QUARRY},
    {"merging", merging, 0, CASE_QUARRY},
    {"constructed once", constructed_once, 0, CASE_QUARRY},
    {"zeroed 24", zeroed, 24, CASE_QUARRY},
    {"zeroed 20000", zeroed, 20000, CASE_QUARRY},
    {"one heap", one_heap, 0, CASE_QUARRY},
    {"at hand", at_hand, 0, CASE_QUARRY},
    {"bulk 40", bulk, 40, CASE_QUARRY},
    {"bulk 3000", bulk, 3000, CASE_QUARRY},
    {"from magazines", from_magazines, 0, CASE_QUARRY},
    {"counters", counters, 0, CASE_QUARRY},
    {"fifty caches", many, 50, CASE_QUARRY},
    {"900 caches", many, 900, CASE_QUARRY},
    {"ids are used again", again, 0, CASE_QUARRY},
    {"sheaves", sheaves, 0, CASE_QUARRY},
    {"lifetimes", lifetimes, 0, CASE_QUARRY},
    {"kmalloc, short-lived", reclaimable_kmalloc, 0, CASE_QUARRY},
    {"kmalloc, short-lived, no class", reclaimable_without_class, 0, CASE_QUARRY},
    {"buckets", buckets, 0, CASE_QUARRY},
    {"buckets, valloc", buckets_valloc, 0, CASE_QUARRY},
    {"buckets, atomic", buckets_atomic, 0, CASE_QUARRY},
    {"fork", fork_works, 0, CASE_QUARRY},
};

/* With an argument of our own: what the driver gives an environment to, or reads the stderr of. */
int main(int argc, char **argv) {
    const char *own = argc == 2 ? argv[1] : "";
    if (strcmp(own, "refused") == 0)
        refused();
    else if (strcmp(own, "panicking") == 0)
        panicking();
    else if (strcmp(own, "limited") == 0)
        limited();
    else if (strcmp(own, "hardened") == 0)
        hardened();
    if (argc == 2 && own[0] != '-')
        return 0;
    return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
