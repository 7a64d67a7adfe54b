/* SPDX-License-Identifier: MIT */
/* Accounts of tenants: what is charged to whom, limits, what frees give back, and caches that were there before the
 * first account. One process for each case. */
#include "accounts.h"
#include "cases.h"
#include "kernel.h"
#include "shrink.h"

#include <limits.h>
#include <linux/sched/mm.h> /* has set_active_memcg() */
#include <linux/vmalloc.h>
#include <malloc.h>
#include <pthread.h>
#include <quarry/quarry.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY_NR = 3000, LIMIT_BYTES = 100000, MARK = 0x5eed };

static void *objs[MANY_NR];

static void *elsewhere_free(void *p) {
    kfree(p);
    return NULL;
}

static void who(size_t unused) {
    pthread_t thread;
    (void)unused;
    struct mem_cgroup *a = tenant("a", 0), *b = tenant("b", 0);
    CHECK(strcmp(info_of(a).name, "a") == 0 && quarry_account_current() == NULL);
    void *before = kmalloc(100, GFP_KERNEL_ACCOUNT);
    CHECK(set_active_memcg(a) == NULL && quarry_account_current() == a);
    void *mine = kmalloc(100, GFP_KERNEL_ACCOUNT), *plain = kmalloc(100, GFP_KERNEL);
    charged(a, 1, 100);
    charged_exactly(a, 1, ksize(mine));
    CHECK(set_active_memcg(b) == a);
    void *other = kmalloc(opaque_size(5000), GFP_ATOMIC | __GFP_ACCOUNT);
    charged(b, 1, 5000);
    /* Freed in b, and by a thread that is in none. */
    kfree(mine);
    kfree(before);
    kfree(plain);
    charged(a, 0, 0);
    CHECK(pthread_create(&thread, NULL, elsewhere_free, other) == 0 && pthread_join(thread, NULL) == 0);
    charged(b, 0, 0);
    CHECK(info_of(a).peak_bytes >= 100 && info_of(b).peak_bytes >= 5000 && info_of(b).refused == 0);
    CHECK(set_active_memcg(NULL) == b);
    quarry_account_destroy(a);
    quarry_account_destroy(b);
    CHECK(quarry_account_create(NULL, 0) == NULL);
    quarry_account_destroy(NULL);
}

static bool aligned(const void *p, size_t size) {
    size_t align = size & -size;
    return ((uintptr_t)p & ((align < 4096 ? align : 4096) - 1)) == 0;
}

/* No slot is that large: they are areas, and objects of kmalloc for whoever has one. */
static void large_sizes(size_t unused) {
    (void)unused;
    const size_t sizes[] = {(1 << 20) + 1, 1500000, 2 << 20, (2 << 20) + 4096, 3 << 20, 4 << 20};
    enum { NR = sizeof(sizes) / sizeof(sizes[0]) };
    struct mem_cgroup *a = tenant("large", 0);
    (void)set_active_memcg(a);
    for (int how = 0; how < 5; how++) {
        size_t usable = 0;
        for (size_t i = 0; i < NR; i++) {
            char *p = objs[i] = kzalloc(opaque_size(sizes[i]), GFP_KERNEL_ACCOUNT);
            CHECK(p != NULL && ksize(p) >= sizes[i] && aligned(p, sizes[i]) && bytes_are(p, 0, sizes[i], 0));
            CHECK(quarry_owns(p) && !quarry_owns(p + 1) && malloc_usable_size(p) == ksize(p));
            memset(p, 'x', sizes[i]);
            usable += ksize(p);
        }
        charged_exactly(a, NR, usable);
        for (size_t i = 0; how != 0 && i < NR; i++) {
            if (how == 1)
                kfree(objs[i]);
            else if (how == 2)
                free(objs[i]);
            else if (how == 3)
                kvfree(objs[i]);
            else
                kvfree_atomic(objs[i]);
        }
        if (how == 0)
            kfree_bulk(NR, objs);
        charged(a, 0, 0);
    }
    char *p = kmalloc(opaque_size(1100000), GFP_KERNEL_ACCOUNT);
    memset(p, 'y', 1100000);
    CHECK(krealloc(p, 1000000, GFP_KERNEL_ACCOUNT) == p);
    p = krealloc(p, 3000000, GFP_KERNEL_ACCOUNT);
    CHECK(p != NULL && bytes_are(p, 0, 1100000, 'y'));
    charged_exactly(a, 1, ksize(p));
    p = kvrealloc(p, 5000000, GFP_KERNEL_ACCOUNT);
    CHECK(p != NULL && bytes_are(p, 0, 1100000, 'y'));
    charged(a, 1, 5000000);
    p = realloc(p, 100); /* is no request of the kernel API: the copy is nobody's, or it stays */
    CHECK(bytes_are(p, 0, 100, 'y'));
    free(p);
    charged(a, 0, 0);
    quarry_account_limit(a, 3 << 20);
    CHECK((p = kmalloc(opaque_size(2 << 20), GFP_KERNEL_ACCOUNT)) != NULL);
    CHECK(kmalloc(opaque_size((1 << 20) + 1), GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN) == NULL);
    CHECK(kmalloc(opaque_size((1 << 20) + 1), GFP_NOWAIT | __GFP_ACCOUNT) == NULL);
    void *q = kmalloc(opaque_size((1 << 20) + 1), GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
    CHECK(q != NULL);
    charged_exactly(a, 2, ksize(p) + ksize(q));
    kfree(p);
    kfree(q);
    charged(a, 0, 0);
    (void)set_active_memcg(NULL);
}

/* As objects of kmalloc in all else: every size, by all the ways to free. */
static void sizes(size_t unused) {
    (void)unused;
    struct mem_cgroup *a = tenant("sizes", 0);
    (void)set_active_memcg(a);
    size_t nr = 0, usable = 0;
    for (size_t size = 1; size <= (size_t)1 << 20; size += 1 + size / 4, nr++) {
        char *p = kmalloc(opaque_size(size), GFP_KERNEL_ACCOUNT);
        CHECK(p != NULL && ksize(p) >= size && aligned(p, size));
        memset(p, 'x', size);
        objs[nr] = p;
        usable += ksize(p);
    }
    charged_exactly(a, nr, usable);
    kfree_bulk(nr, objs);
    charged(a, 0, 0);
    for (size_t size = 1; size <= 70000; size *= 3) {
        char *p = kzalloc(opaque_size(size), GFP_KERNEL_ACCOUNT);
        CHECK(bytes_are(p, 0, size, 0));
        memset(p, 'x', size);
        p = krealloc(p, 2 * size + 20, GFP_KERNEL_ACCOUNT);
        CHECK(bytes_are(p, 0, size, 'x'));
        charged(a, 1, 2 * size + 20);
        p = realloc(p, 5 * size + 50); /* is no request of the kernel API: the copy is nobody's, or it stays */
        CHECK(bytes_are(p, 0, size, 'x'));
        free(p);
        charged(a, 0, 0);
    }
    void *p = kvmalloc(9000, GFP_KERNEL_ACCOUNT), *q = kmalloc_nolock(700, __GFP_ACCOUNT, NUMA_NO_NODE);
    void *r = kmalloc_node(60, GFP_KERNEL_ACCOUNT, 0), *s = kmemdup("copy", 5, GFP_KERNEL_ACCOUNT);
    charged(a, 4, 9000 + 700 + 60 + 5);
    charged_exactly(a, 4, ksize(p) + ksize(q) + ksize(r) + ksize(s));
    kvfree(p);
    kfree_nolock(q);
    kfree_sensitive(r);
    kfree(s);
    charged(a, 0, 0);
    CHECK(kmalloc(opaque_size(0), GFP_KERNEL_ACCOUNT) == ZERO_SIZE_PTR);
    (void)set_active_memcg(NULL);
    p = kmalloc(opaque_size((1 << 20) + 1), GFP_KERNEL_ACCOUNT);
    CHECK(p != NULL);
    kfree(p);
}

/* Areas are charged with their pages, however they grow and shrink. */
static void areas(size_t unused) {
    (void)unused;
    struct mem_cgroup *a = tenant("areas", 40 << 20);
    (void)set_active_memcg(a);
    char *p = __vmalloc(100000, GFP_KERNEL_ACCOUNT), *plain = vmalloc(100000);
    charged(a, 1, 100000);
    CHECK(info_of(a).charged_bytes < 110000);
    memset(p, 'x', 100000);
    (void)set_active_memcg(NULL);
    CHECK((p = vrealloc(p, 30 << 20, GFP_KERNEL)) != NULL && bytes_are(p, 0, 100000, 'x'));
    charged(a, 1, 30 << 20);
    /* Growth beyond the limit is refused, and nothing is changed by that. */
    CHECK(vrealloc(p, 41 << 20, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) == NULL);
    CHECK(info_of(a).charged_bytes == 30 << 20 && info_of(a).refused == 1 && bytes_are(p, 0, 100000, 'x'));
    CHECK((p = vrealloc(p, 5 << 20, GFP_KERNEL)) != NULL && info_of(a).charged_bytes == 5 << 20);
    (void)set_active_memcg(a);
    char *q = kvmalloc(3 << 20, GFP_KERNEL_ACCOUNT), *r = kvzalloc(8 << 20, GFP_KERNEL_ACCOUNT);
    CHECK(is_vmalloc_addr(q) && is_vmalloc_addr(r) && info_of(a).charged_bytes == 16 << 20);
    CHECK(__vmalloc(25 << 20, GFP_KERNEL_ACCOUNT | __GFP_NORETRY) == NULL && info_of(a).charged_bytes == 16 << 20);
    CHECK((q = kvrealloc(q, 4 << 20, GFP_KERNEL_ACCOUNT)) != NULL && info_of(a).charged_bytes == 17 << 20);
    vfree_atomic(p);
    vfree(plain);
    charged(a, 2, 12 << 20);
    kvfree(q);
    kvfree_atomic(r);
    charged(a, 0, 0);
    /* Nobody's that grows for the tenant is the tenant's whole, or as it was. */
    CHECK((p = vmalloc(1 << 20)) != NULL && (p = vrealloc(p, 2 << 20, GFP_KERNEL)) != NULL);
    charged(a, 0, 0);
    memset(p, 'x', 2 << 20);
    CHECK(vrealloc(p, 41 << 20, GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN) == NULL);
    charged(a, 0, 0);
    CHECK((p = vrealloc(p, 1 << 20, GFP_KERNEL_ACCOUNT)) != NULL);
    charged(a, 0, 0);
    CHECK((p = kvrealloc(p, 3 << 20, GFP_KERNEL_ACCOUNT)) != NULL && bytes_are(p, 0, 1 << 20, 'x'));
    charged(a, 1, 3 << 20);
    CHECK(info_of(a).charged_bytes == 3 << 20);
    vfree(p);
    charged(a, 0, 0);
    /* What comes to lie where they were is nobody's. */
    for (int i = 0; i < 20; i++) {
        CHECK((p = vmalloc((size_t)100000 << (i % 8))) != NULL);
        charged(a, 0, 0);
        vfree(p);
        charged(a, 0, 0);
    }
}

/* --- limits --- */

static size_t fill(size_t size, gfp_t flags) {
    size_t nr = 0;
    while (nr < MANY_NR && (objs[nr] = kmalloc(opaque_size(size), flags)) != NULL)
        nr++;
    CHECK_MSG(nr < MANY_NR, "there is no limit");
    return nr;
}

/* Who may not wait meets the limit, unless the reserve is for him; so does nobody in the scope of who frees memory. */
static void contexts(size_t unused) {
    (void)unused;
    struct mem_cgroup *a = tenant("contexts", 0);
    (void)set_active_memcg(a);
    size_t nr = 0, before;
    for (; nr < 400; nr++)
        CHECK((objs[nr] = kmalloc(200, GFP_KERNEL_ACCOUNT)) != NULL);
    size_t slot = info_of(a).charged_bytes / nr;
    for (size_t i = 0; i < nr; i += 2)
        kfree(objs[i]); /* so that there is room in slabs */
    quarry_account_limit(a, before = info_of(a).charged_bytes);
    CHECK(kmalloc(200, GFP_NOWAIT | __GFP_ACCOUNT) == NULL && info_of(a).refused == 1);
    CHECK((objs[0] = kmalloc(200, GFP_ATOMIC | __GFP_ACCOUNT)) != NULL);
    CHECK(info_of(a).charged_bytes == before + slot && info_of(a).refused == 1);
    CHECK((objs[2] = kmalloc(200, GFP_KERNEL_ACCOUNT | __GFP_HIGH)) != NULL);
    unsigned scope = memalloc_noreclaim_save();
    CHECK((objs[4] = kmalloc(200, GFP_NOWAIT | __GFP_ACCOUNT)) != NULL);
    memalloc_noreclaim_restore(scope);
    CHECK(info_of(a).charged_bytes == before + 3 * slot && info_of(a).refused == 1);
    CHECK(kmalloc(200, GFP_NOWAIT | __GFP_ACCOUNT) == NULL && info_of(a).refused == 2);
    quarry_account_limit(a, before + 4 * slot);
    CHECK((objs[6] = kmalloc(200, GFP_NOWAIT | __GFP_ACCOUNT)) != NULL);
    CHECK(kmalloc(200, GFP_NOWAIT | __GFP_ACCOUNT) == NULL);
    for (size_t i = 0; i < nr; i++)
        kfree(i % 2 != 0 || i < 8 ? objs[i] : NULL);
    charged(a, 0, 0);
}

static void limits(size_t flags) {
    static struct shrinker shrinker = {
        .count_objects = shrink_count, .scan_objects = shrink_scan, .seeks = DEFAULT_SEEKS};
    gfp_t gfp = (gfp_t)flags;
    struct mem_cgroup *a = tenant("limited", LIMIT_BYTES), *b = tenant("beside", LIMIT_BYTES);
    (void)set_active_memcg(a);
    size_t nr = fill(200, gfp);
    struct quarry_account_info info = info_of(a);
    CHECK_MSG(info.charged_bytes <= LIMIT_BYTES && info.charged_bytes > LIMIT_BYTES * 9 / 10 && info.refused > 0,
              "%zu bytes of %d", info.charged_bytes, LIMIT_BYTES);
    CHECK(info.limit_bytes == LIMIT_BYTES && info.objects == nr);
    CHECK_MSG(nr == LIMIT_BYTES / (info.charged_bytes / nr), "%zu objects", nr);
    /* It is this account that is full, and what is freed is there again. */
    void *p = kmalloc(200, GFP_KERNEL), *q;
    (void)set_active_memcg(b);
    CHECK(p != NULL && (q = kmalloc(200, gfp)) != NULL);
    (void)set_active_memcg(a);
    kfree(p);
    kfree(q);
    kfree(objs[--nr]);
    CHECK((objs[nr] = kmalloc(200, gfp)) != NULL && kmalloc(200, gfp) == NULL);
    nr++;
    /* What may not fail is charged all the same. */
    CHECK((p = kmalloc(60000, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL)) != NULL);
    CHECK(info_of(a).charged_bytes > LIMIT_BYTES && kmalloc(1, gfp) == NULL);
    kfree(p);
    quarry_account_limit(a, 2 * LIMIT_BYTES);
    CHECK((p = kmalloc(200, gfp)) != NULL);
    quarry_account_limit(a, LIMIT_BYTES / 2);
    CHECK(kmalloc(1, gfp) == NULL);
    kfree(p);
    quarry_account_limit(a, LIMIT_BYTES);
    CHECK((p = kmalloc(1, gfp)) != NULL); /* the last slot is smaller than 200 bytes, and there is room for it */
    kfree(p);
    /* Who may block asks the shrinkers. */
    CHECK(register_shrinker(&shrinker, "accounts") == 0);
    shrink_objs = objs;
    shrink_nr = nr;
    p = kmalloc(200, gfp);
    CHECK(p != NULL && asked > 0);
    kfree(p);
    kfree_bulk(shrink_nr, objs);
    charged(a, 0, 0);
}

/* --- caches --- */

struct thing {
    unsigned mark;
    char bytes[196];
};

static void construct(void *p) { ((struct thing *)p)->mark = MARK; }

static void taken(struct kmem_cache *s, size_t nr) {
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, nr, objs) == (int)nr);
    for (size_t i = 0; i < nr; i++)
        CHECK(((struct thing *)objs[i])->mark == MARK);
}

/* Objects from before stay nobody's; the others are the tenant's, whichever way they come and go. */
static void caches(size_t late) {
    struct kmem_cache *s = NULL, *plain = kmem_cache_create("plain", sizeof(struct thing), 0, SLAB_NO_MERGE, construct);
    void *before[10];
    if (late == 0)
        s = kmem_cache_create("things", sizeof(struct thing), 0, SLAB_ACCOUNT, construct);
    for (int i = 0; s != NULL && i < 10; i++)
        CHECK((before[i] = kmem_cache_alloc(s, GFP_KERNEL)) != NULL);
    struct mem_cgroup *a = tenant("caches", 0);
    if (late != 0)
        s = kmem_cache_create("things", sizeof(struct thing), 0, SLAB_ACCOUNT, construct);
    CHECK(s != NULL && plain != NULL);
    taken(s, 100);
    charged(a, 0, 0);
    kmem_cache_free_bulk(s, 100, objs);
    (void)set_active_memcg(a);
    taken(s, 500);
    charged(a, 500, 500 * sizeof(struct thing));
    kmem_cache_free_bulk(s, 500, objs);
    charged(a, 0, 0);
    /* Slots that were charged for once are nobody's, when nobody is in an account. */
    taken(s, 1);
    void *kept = objs[0];
    (void)set_active_memcg(NULL);
    taken(s, 600);
    kmem_cache_free_bulk(s, 600, objs);
    charged(a, 1, sizeof(struct thing));
    (void)set_active_memcg(a);
    kmem_cache_free(s, kept);
    taken(plain, 10);
    charged(a, 0, 0);
    kmem_cache_free_bulk(plain, 10, objs);
    struct thing *t = kmem_cache_alloc(s, GFP_KERNEL), *u = kmem_cache_alloc(s, GFP_ATOMIC),
                 *v = kmem_cache_alloc_node(s, GFP_KERNEL, 0);
    CHECK(t != NULL && t->mark == MARK && u != NULL && u->mark == MARK && v != NULL && v->mark == MARK);
    charged(a, 3, 3 * sizeof(struct thing));
    CHECK(ksize(t) >= sizeof(*t));
    kmem_cache_free(s, t);
    kfree(u);
    free(v);
    charged(a, 0, 0);
    /* Memory of the limit: none, not even for the plain request the compiler knows. */
    quarry_account_limit(a, 10 * sizeof(struct thing));
    size_t nr = 0;
    while (nr < MANY_NR && (objs[nr] = kmem_cache_alloc(s, GFP_KERNEL)) != NULL)
        nr++;
    CHECK_MSG(nr > 0 && nr <= 10, "%zu objects of 10", nr);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, 11, objs + nr) == 0);
    charged(a, nr, 0);
    kmem_cache_free_bulk(s, nr, objs);
    (void)set_active_memcg(NULL);
    for (int i = 0; late == 0 && i < 10; i++)
        kmem_cache_free(s, before[i]);
    CHECK(kmem_cache_shrink(s) == 0);
    kmem_cache_destroy(s);
    kmem_cache_destroy(plain);
    /* Nothing remained of either. */
    CHECK((s = kmem_cache_create("things", sizeof(struct thing), 0, SLAB_ACCOUNT | SLAB_TYPESAFE_BY_RCU, construct)) !=
          NULL);
    (void)set_active_memcg(a);
    quarry_account_limit(a, 0);
    taken(s, 50);
    charged(a, 50, 50 * sizeof(struct thing));
    kmem_cache_free_bulk(s, 50, objs);
    kmem_cache_destroy(s);
    charged(a, 0, 0);
}

/* Shrinkers of who holds a lock of the file system must not need it. */
static gfp_t seen;

static unsigned long mask_count(struct shrinker *s, struct shrink_control *sc) {
    (void)s;
    asked++;
    seen |= sc->gfp_mask;
    return 0;
}

static size_t cache_fill(struct kmem_cache *s, gfp_t flags, size_t bulk) {
    size_t nr = 0;
    while (nr < MANY_NR && (bulk != 0 ? kmem_cache_alloc_bulk(s, flags, 1, &objs[nr]) == 1
                                      : (objs[nr] = kmem_cache_alloc(s, flags)) != NULL))
        nr++;
    CHECK_MSG(nr < MANY_NR, "there is no limit");
    return nr;
}

static void masks(size_t bulk) {
    static struct shrinker shrinker = {
        .count_objects = mask_count, .scan_objects = shrink_scan, .seeks = DEFAULT_SEEKS};
    struct kmem_cache *s = kmem_cache_create("things", sizeof(struct thing), 0, SLAB_ACCOUNT, construct);
    (void)set_active_memcg(tenant("masks", LIMIT_BYTES));
    CHECK(s != NULL && register_shrinker(&shrinker, "masks") == 0);
    size_t nr = cache_fill(s, GFP_NOFS, bulk);
    CHECK_MSG(asked > 0 && (seen & __GFP_FS) == 0 && (seen & __GFP_IO) != 0, "%lu times by %#x", asked, seen);
    seen = 0;
    CHECK(kmem_cache_alloc(s, GFP_NOIO) == NULL && seen != 0 && (seen & (__GFP_FS | __GFP_IO)) == 0);
    CHECK(kmem_cache_alloc_node(s, GFP_NOIO, 0) == NULL && (seen & (__GFP_FS | __GFP_IO)) == 0);
    CHECK(kmem_cache_alloc(s, GFP_KERNEL) == NULL && (seen & __GFP_FS) != 0);
    asked = 0;
    CHECK(kmem_cache_alloc(s, GFP_KERNEL | __GFP_NORETRY) == NULL && asked == 0);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL | __GFP_NORETRY, 2, objs + nr) == 0 && asked == 0);
    /* And what passes the limit asks nobody. */
    void *p = kmem_cache_alloc(s, GFP_KERNEL | __GFP_NOFAIL),
         *q = kmem_cache_alloc_node(s, GFP_KERNEL | __GFP_NOFAIL, 0);
    CHECK(p != NULL && q != NULL && asked == 0);
    kmem_cache_free(s, p);
    kmem_cache_free(s, q);
    kmem_cache_free_bulk(s, nr, objs);
    unregister_shrinker(&shrinker);
    kmem_cache_destroy(s);
}

/* The plain request of a cache at the limit gets what a shrinker gives. */
static void gift(size_t unused) {
    static struct shrinker shrinker = {
        .count_objects = shrink_count, .scan_objects = shrink_scan, .seeks = DEFAULT_SEEKS};
    struct kmem_cache *s = kmem_cache_create("things", sizeof(struct thing), 0, SLAB_ACCOUNT, construct);
    struct mem_cgroup *a = tenant("gift", LIMIT_BYTES);
    (void)unused;
    (void)set_active_memcg(a);
    shrink_objs = objs;
    shrink_nr = cache_fill(s, GFP_KERNEL, 0);
    CHECK(register_shrinker(&shrinker, "gift") == 0);
    struct thing *t = kmem_cache_alloc(s, GFP_KERNEL);
    CHECK_MSG(t != NULL && t->mark == MARK, "nothing, after the shrinker was asked %lu times", asked);
    kmem_cache_free(s, t);
    kfree_bulk(shrink_nr, objs);
    charged(a, 0, 0);
}

/* --- the accounts themselves --- */

static void ends(size_t unused) {
    static struct mem_cgroup *all[QUARRY_ACCOUNTS_MAX];
    (void)unused;
    for (int i = 0; i < QUARRY_ACCOUNTS_MAX; i++) {
        all[i] = tenant("one of all", 3000);
        (void)set_active_memcg(all[i]);
        CHECK((objs[i] = kmalloc(300, GFP_KERNEL_ACCOUNT)) != NULL);
        CHECK(kmalloc(3000, GFP_KERNEL_ACCOUNT | __GFP_NORETRY) == NULL);
    }
    CHECK(quarry_account_create("one more", 0) == NULL);
    (void)set_active_memcg(NULL);
    /* As long as something is charged to it, it is not another's. */
    quarry_account_destroy(all[7]);
    CHECK(quarry_account_create("one more", 0) == NULL);
    kfree(objs[7]);
    struct mem_cgroup *again = tenant("again", 0);
    CHECK(again == all[7] && info_of(again).peak_bytes == 0 && info_of(again).refused == 0);
    for (int i = 0; i < QUARRY_ACCOUNTS_MAX; i++) {
        if (i != 7)
            kfree(objs[i]);
        charged(all[i], 0, 0);
    }
}

static void forked(size_t unused) {
    int status;
    (void)unused;
    struct mem_cgroup *a = tenant("forked", 0);
    (void)set_active_memcg(a);
    void *p = kmalloc(100, GFP_KERNEL_ACCOUNT);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        void *q = kmalloc(100, GFP_KERNEL_ACCOUNT);
        charged(a, 2, 200);
        kfree(p);
        kfree(q);
        charged(a, 0, 0);
        (void)tenant("of the child", 0);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    charged(a, 1, 100);
    kfree(p);
    charged(a, 0, 0);
}

/* Of areas, which are not counted where they are made: the peak is that of the rest. Calls are counted
 * by the driver's wish. */
static void peak_stays(size_t unused) {
    enum { LARGE = 3 << 20, HELD = 100 << 20 };
    uint64_t peak = 0;
    (void)unused;
    (void)set_active_memcg(tenant("peak", 0));
    for (int i = 0; i < 20; i++)
        kfree(kmalloc(opaque_size(LARGE), GFP_KERNEL_ACCOUNT));
    (void)set_active_memcg(NULL);
    void *p = malloc(opaque_size(HELD));
    CHECK(p != NULL);
    free(p);
    CHECK(quarry_stat("peak_live_bytes", &peak) == 0); /* asked later, for that looks at what is live */
    CHECK_MSG(getenv("QUARRY_STATS") == NULL || peak >= HELD, "peak %lu", (unsigned long)peak);
}

static const struct test_case table[] = {
    {"peak stays", peak_stays, 0, CASE_QUARRY},
    {"who", who, 0, CASE_QUARRY},
    {"large sizes", large_sizes, 0, CASE_QUARRY},
    {"sizes", sizes, 0, CASE_QUARRY},
    {"areas", areas, 0, CASE_QUARRY},
    {"limits", limits, GFP_KERNEL_ACCOUNT, CASE_QUARRY},
    {"limits, contexts", contexts, 0, CASE_QUARRY},
    {"masks", masks, 0, CASE_QUARRY},
    {"masks, bulk", masks, 1, CASE_QUARRY},
    {"a shrinker's gift", gift, 0, CASE_QUARRY},
    {"caches", caches, 0, CASE_QUARRY},
    {"caches, late", caches, 1, CASE_QUARRY},
    {"ends", ends, 0, CASE_QUARRY},
    {"forked", forked, 0, CASE_QUARRY},
};

static void wrong_free(bool twice, size_t size) {
    (void)set_active_memcg(tenant("wrong", 0));
    char *p = kmalloc(size, GFP_KERNEL_ACCOUNT);
    if (twice)
        kfree(p);
    kfree(opaque(p + (twice ? 0 : 16)));
}

/* With an argument of our own: what must end the program. */
int main(int argc, char **argv) {
    if (argc >= 2 && argv[1][0] != '-') {
        wrong_free(strcmp(argv[1], "twice") == 0, argc > 2 ? strtoul(argv[2], NULL, 10) : 100);
        return 0;
    }
    return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0]));
}
