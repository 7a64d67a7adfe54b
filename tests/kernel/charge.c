/* SPDX-License-Identifier: MIT */
/* Objects that are charged to a tenant after they were allocated, or by the flag alone: of caches, of kmalloc, out of
 * sheaves. One process for each case. */
#include "accounts.h"
#include "cases.h"
#include "kernel.h"
#include "shrink.h"

#include <linux/sched/mm.h>
#include <linux/vmalloc.h>
#include <pthread.h>
#include <stdlib.h>

enum { MANY_NR = 3000 };

static void *objs[MANY_NR];

enum { LATE_NR = 300 };

/* Objects of s that nobody was charged for, every third of them charged to a; the others stay nobody's, whoever frees
 * them, and all come back to the slabs they are of. */
static void late_of(struct kmem_cache *s, struct mem_cgroup *a, gfp_t flags) {
    struct quarry_kmem_cache_info info;
    size_t nr = 0, slot = 0;
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, LATE_NR, objs) == LATE_NR);
    CHECK(kmem_cache_charge(objs[0], flags)); /* by a thread in no account */
    charged(a, 0, 0);
    (void)set_active_memcg(a);
    for (size_t i = 0; i < LATE_NR; i += 3, nr++) {
        CHECK(kmem_cache_charge(objs[i], flags) && kmem_cache_charge(objs[i], flags));
        slot = slot != 0 ? slot : info_of(a).charged_bytes;
    }
    charged(a, nr, nr * kmem_cache_size(s));
    CHECK(info_of(a).charged_bytes == nr * slot && ksize(objs[0]) >= kmem_cache_size(s));
    quarry_kmem_cache_info_get(s, &info);
    CHECK_MSG(info.active_objs == LATE_NR && info.slabs * info.objs_per_slab >= LATE_NR, "%zu objects, %zu slabs",
              info.active_objs, info.slabs);
    for (size_t i = 1; i < LATE_NR; i += 3)
        kmem_cache_free(s, objs[i]);
    charged(a, nr, nr * kmem_cache_size(s));
    /* Slots beside them are used again, by who is charged for nothing. */
    (void)set_active_memcg(NULL);
    for (size_t i = 1; i < LATE_NR; i += 3)
        CHECK((objs[i] = kmem_cache_alloc(s, GFP_KERNEL)) != NULL);
    charged(a, nr, nr * kmem_cache_size(s));
    for (size_t i = 0; i < LATE_NR; i += 3) {
        if (i % 2 != 0)
            kfree(objs[i]);
        else
            kmem_cache_free(s, objs[i]);
        nr--;
        charged(a, nr, nr * kmem_cache_size(s));
    }
    for (size_t i = 1; i < LATE_NR; i += 3)
        kmem_cache_free_bulk(s, 2, objs + i);
    charged(a, 0, 0);
    /* Slots that were charged once are nobody's again. */
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL, LATE_NR, objs) == LATE_NR);
    charged(a, 0, 0);
    kmem_cache_free_bulk(s, LATE_NR, objs);
    CHECK(kmem_cache_shrink(s) == 0);
    kmem_cache_destroy(s);
}

static void late_caches(size_t flags) {
    static const slab_flags_t kinds[] = {0, SLAB_ACCOUNT, SLAB_RECLAIM_ACCOUNT, SLAB_STORE_USER | SLAB_RED_ZONE};
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        for (unsigned size = 24; size <= 200000; size *= 9) {
            /* From before the first account, where there was none yet. */
            struct kmem_cache *s = kmem_cache_create("late", size, 0, kinds[kind] | SLAB_NO_MERGE, NULL);
            CHECK(s != NULL);
            late_of(s, tenant("late", 0), (gfp_t)flags);
        }
    }
}

/* Objects of kmalloc are chargeable if they were asked for so; others never are, and that is no failure. */
static void late_kmalloc(size_t unused) {
    static const size_t sizes[] = {1, 100, 5000, 300000, 1 << 20, (1 << 20) + 1, 4 << 20};
    (void)unused;
    struct mem_cgroup *a = tenant("late", 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *p = kmalloc(opaque_size(sizes[i]), GFP_KERNEL_ACCOUNT), *q = kmalloc(opaque_size(sizes[i]), GFP_KERNEL);
        CHECK(p != NULL && q != NULL && ksize(p) >= sizes[i]);
        memset(p, 'x', sizes[i]);
        charged(a, 0, 0);
        (void)set_active_memcg(a);
        CHECK(kmem_cache_charge(p, GFP_KERNEL) && kmem_cache_charge(p, GFP_KERNEL));
        charged_exactly(a, 1, ksize(p));
        CHECK(kmem_cache_charge(q, GFP_KERNEL));
        CHECK(debugged() || info_of(a).objects == 1);
        kfree(q);
        CHECK((p = krealloc(p, sizes[i] / 2 + 1, GFP_KERNEL_ACCOUNT)) != NULL &&
              bytes_are(p, 0, sizes[i] / 2 + 1, 'x'));
        charged(a, 1, sizes[i] / 2 + 1);
        (void)set_active_memcg(NULL);
        kfree(p);
        charged(a, 0, 0);
    }
    CHECK(kmem_cache_charge(NULL, GFP_KERNEL) && kmem_cache_charge(ZERO_SIZE_PTR, GFP_KERNEL));
    (void)set_active_memcg(a);
    CHECK(kmem_cache_charge(NULL, GFP_KERNEL) && kmem_cache_charge(ZERO_SIZE_PTR, GFP_KERNEL));
    void *area = vmalloc(100000), *large = malloc(opaque_size(8 << 20));
    int local = 0;
    CHECK(kmem_cache_charge(area, GFP_KERNEL) && kmem_cache_charge(large, GFP_KERNEL));
    CHECK(kmem_cache_charge(&local, GFP_KERNEL)); /* the kernel would not live through that one */
    charged(a, 0, 0);
    vfree(area);
    free(large);
    /* The slots of a cache that kmalloc has are as any cache's. */
    (void)set_active_memcg(NULL);
    kfree(kmalloc(100, GFP_KERNEL | __GFP_RECLAIMABLE));
    void *rcl = kmalloc(100, GFP_KERNEL | __GFP_RECLAIMABLE);
    (void)set_active_memcg(a);
    CHECK(rcl != NULL && kmem_cache_charge(rcl, GFP_KERNEL));
    charged(a, 1, 100);
    kfree(rcl);
    charged(a, 0, 0);
    (void)set_active_memcg(NULL);
}

/* What is charged late meets the limit by the flags' rules, and stays allocated where that says no. */
static void late_limit(size_t unused) {
    static struct shrinker shrinker = {
        .count_objects = shrink_count, .scan_objects = shrink_scan, .seeks = DEFAULT_SEEKS};
    struct kmem_cache *s = kmem_cache_create("late", 1000, 0, SLAB_NO_MERGE, NULL);
    struct mem_cgroup *a = tenant("late", 0);
    (void)unused;
    char *p = kmem_cache_zalloc(s, GFP_KERNEL), *q = kmem_cache_alloc(s, GFP_KERNEL);
    (void)set_active_memcg(a);
    CHECK((objs[0] = kmalloc(1000, GFP_KERNEL_ACCOUNT)) != NULL);
    size_t before = info_of(a).charged_bytes;
    quarry_account_limit(a, before + 8);
    CHECK(!kmem_cache_charge(p, GFP_KERNEL | __GFP_NORETRY) && info_of(a).refused == 1);
    CHECK(!kmem_cache_charge(p, GFP_NOWAIT) && info_of(a).refused == 2 && info_of(a).charged_bytes == before);
    CHECK(!kmem_cache_charge(p, GFP_KERNEL));
    memset(p, 'x', 1000);
    CHECK(kmem_cache_charge(p, GFP_ATOMIC) && kmem_cache_charge(q, GFP_KERNEL | __GFP_NOFAIL));
    charged(a, 3, 3000);
    kmem_cache_free(s, p);
    kmem_cache_free(s, q);
    charged_exactly(a, 1, ksize(objs[0]));
    /* By the flag, of a cache that charges nobody by itself: the object is not had without the charge. */
    CHECK(kmem_cache_alloc(s, GFP_KERNEL) != NULL && kmem_cache_alloc(s, GFP_KERNEL | __GFP_ACCOUNT) == NULL);
    CHECK(kmem_cache_alloc_node(s, GFP_KERNEL_ACCOUNT, 0) == NULL &&
          kmem_cache_alloc(s, GFP_NOWAIT | __GFP_ACCOUNT) == NULL);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL_ACCOUNT, 5, objs + 1) == 0 && info_of(a).objects == 1);
    /* Room is made by who has some. */
    CHECK(register_shrinker(&shrinker, "late") == 0);
    shrink_objs = objs;
    shrink_nr = 1;
    quarry_account_limit(a, before + 1000);
    p = kmem_cache_zalloc(s, GFP_KERNEL_ACCOUNT);
    CHECK(p != NULL && shrink_nr == 0 && bytes_are(p, 0, 1000, 0));
    charged(a, 1, 1000);
    unregister_shrinker(&shrinker);
    quarry_account_limit(a, 0);
    CHECK(kmem_cache_alloc_bulk(s, GFP_KERNEL_ACCOUNT | __GFP_ZERO, 50, objs) == 50 && bytes_are(objs[49], 0, 1000, 0));
    CHECK((objs[50] = kmem_cache_alloc_node(s, GFP_KERNEL_ACCOUNT, 0)) != NULL);
    CHECK((objs[51] = kmem_cache_alloc(s, GFP_ATOMIC | __GFP_ACCOUNT)) != NULL);
    charged(a, 53, 53 * 1000);
    kmem_cache_free_bulk(s, 52, objs);
    kmem_cache_free(s, p);
    charged(a, 0, 0);
    (void)set_active_memcg(NULL);
}

/* Objects in a sheaf are nobody's; who takes one is charged, whatever his limit. */
static void sheaves(size_t flags) {
    slab_flags_t kind = (slab_flags_t)flags;
    gfp_t gfp = kind == 0 ? GFP_KERNEL_ACCOUNT : GFP_KERNEL;
    struct kmem_cache *s = kmem_cache_create("sheaves", 200, 0, kind | SLAB_NO_MERGE, NULL);
    struct slab_sheaf *early = kmem_cache_prefill_sheaf(s, gfp, 10); /* before there is an account */
    struct mem_cgroup *a = tenant("filler", 100), *b = tenant("taker", 100);
    (void)set_active_memcg(a);
    struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(s, gfp, 20);
    CHECK(early != NULL && sheaf != NULL && kmem_cache_refill_sheaf(s, gfp, &sheaf, 40) == 0);
    charged(a, 0, 0);
    (void)set_active_memcg(b);
    for (size_t i = 0; i < 30; i++) {
        objs[i] = kmem_cache_alloc_from_sheaf(s, gfp | (i % 2 ? __GFP_ZERO : 0), i < 10 ? early : sheaf);
        CHECK(objs[i] != NULL && (i % 2 == 0 || bytes_are(objs[i], 0, 200, 0)));
        memset(objs[i], 'x', 200);
        charged(b, i + 1, (i + 1) * 200);
    }
    charged(a, 0, 0);
    CHECK(info_of(b).refused == 0 && kmem_cache_alloc_from_sheaf(s, gfp, early) == NULL);
    charged(b, 30, 30 * 200);
    (void)set_active_memcg(NULL);
    CHECK((objs[30] = kmem_cache_alloc_from_sheaf(s, gfp, sheaf)) != NULL);
    charged(b, 30, 30 * 200);
    kmem_cache_return_sheaf(s, gfp, sheaf);
    kmem_cache_return_sheaf(s, gfp, early);
    charged(b, 30, 30 * 200);
    for (size_t i = 0; i <= 30; i++)
        kfree(objs[i]);
    charged(b, 0, 0);
    kmem_cache_destroy(s);
}

/* Charged objects come and go with others of their slabs, and with threads that keep magazines of those. */
static struct kmem_cache *shared;
static struct mem_cgroup *shared_tenants[2];

static void *late_thread(void *arg) {
    enum { HELD = 64, STEPS = 60000 };
    unsigned long *p[HELD] = {NULL}, state = (uintptr_t)arg * 7919;
    for (int i = 0; i < STEPS; i++) {
        unsigned k = (unsigned)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33) % HELD;
        if (p[k] != NULL) {
            CHECK(p[k][0] == (unsigned long)p[k] + (uintptr_t)arg && p[k][7] == p[k][0]);
            kmem_cache_free(shared, p[k]);
            p[k] = NULL;
            continue;
        }
        CHECK((p[k] = kmem_cache_alloc(shared, i % 3 == 0 ? GFP_ATOMIC : GFP_KERNEL)) != NULL);
        p[k][0] = p[k][7] = (unsigned long)p[k] + (uintptr_t)arg;
        (void)set_active_memcg(shared_tenants[k % 2]);
        CHECK(k % 4 != 0 || kmem_cache_charge(p[k], i % 2 ? GFP_KERNEL : GFP_ATOMIC));
        (void)set_active_memcg(NULL);
    }
    for (int k = 0; k < HELD; k++)
        kfree(p[k]);
    return NULL;
}

static void late_threads(size_t unused) {
    pthread_t threads[4];
    (void)unused;
    shared = kmem_cache_create("shared", 64, 0, SLAB_NO_MERGE, NULL);
    for (int i = 0; i < 2; i++)
        shared_tenants[i] = tenant("shared", 0);
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, late_thread, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 2; i++)
        charged(shared_tenants[i], 0, 0);
    CHECK(kmem_cache_shrink(shared) == 0);
    kmem_cache_destroy(shared);
}

/* What kvmalloc lends to a thread in no account is moved, cut and freed as any other. Nobody is charged, but for what
 * grows with the flag by a thread in one: that is charged whole. */
static void grown_of_nobody(size_t inside) {
    struct mem_cgroup *a = tenant("grows", 0);
    gfp_t gfp = inside == 1 ? GFP_KERNEL : GFP_KERNEL_ACCOUNT;
    bool pays = inside == 2;
    char *p = kvmalloc(2 << 20, GFP_KERNEL_ACCOUNT);
    CHECK(p != NULL);
    p[0] = 'q';
    (void)set_active_memcg(inside ? a : NULL);
    CHECK((p = kvrealloc(p, 1 << 20, gfp)) != NULL && p[0] == 'q'); /* does not grow */
    charged_exactly(a, 0, 0);
    CHECK((p = kvrealloc(p, 3 << 20, gfp)) != NULL && p[0] == 'q');
    charged_exactly(a, pays, pays ? 3 << 20 : 0);
    p[(3 << 20) - 1] = 'z';
    CHECK((p = kvrealloc(p, 9 << 20, gfp)) != NULL && p[(3 << 20) - 1] == 'z');
    charged_exactly(a, pays, pays ? 9 << 20 : 0);
    CHECK((p = kvrealloc(p, 1 << 20, gfp)) != NULL && p[0] == 'q');
    charged_exactly(a, pays, pays ? 1 << 20 : 0);
    (void)set_active_memcg(NULL);
    kfree(p); /* an object of kmalloc all the while */
    charged(a, 0, 0);
    kfree(kmalloc_node(100, GFP_KERNEL_ACCOUNT, 0));
}

/* And what would not fit is nobody's as before, and may be charged when there is room. */
static void grown_beyond(size_t unused) {
    struct mem_cgroup *a = tenant("small", (5 << 20) / 2);
    (void)unused;
    char *p = kvmalloc(2 << 20, GFP_KERNEL_ACCOUNT), *q = kvmalloc(3 << 20, GFP_KERNEL_ACCOUNT);
    CHECK(p != NULL && q != NULL);
    p[0] = q[0] = 'q';
    (void)set_active_memcg(a);
    for (int i = 0; i < 3; i++) {
        CHECK(kvrealloc(p, 3 << 20, GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN) == NULL && p[0] == 'q');
        CHECK(vrealloc(q, 4 << 20, GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN) == NULL && q[0] == 'q');
        charged_exactly(a, 0, 0);
    }
    kfree(q);
    charged_exactly(a, 0, 0);
    CHECK((p = kvrealloc(p, 9 << 18, GFP_KERNEL_ACCOUNT)) != NULL && p[0] == 'q');
    charged_exactly(a, 1, 9 << 18);
    CHECK(kmem_cache_charge(p, GFP_KERNEL));
    charged_exactly(a, 1, 9 << 18);
    kfree(p);
    charged(a, 0, 0);
    (void)set_active_memcg(NULL);
}

/* Of a node it is as of none: who is in no account may still have it charged later. */
static void late_of_node(size_t unused) {
    struct mem_cgroup *a = tenant("later", 0);
    (void)unused;
    void *p = kmalloc_node(100, GFP_KERNEL_ACCOUNT, 0);
    (void)set_active_memcg(a);
    CHECK(p != NULL && kmem_cache_charge(p, GFP_KERNEL) && info_of(a).charged_bytes > 0);
    (void)set_active_memcg(NULL);
    kfree(p);
    CHECK(info_of(a).charged_bytes == 0);
}

static const struct test_case table[] = {
    {"late, caches", late_caches, GFP_KERNEL, CASE_QUARRY},
    {"late, caches, atomic", late_caches, GFP_ATOMIC, CASE_QUARRY},
    {"late, kmalloc", late_kmalloc, 0, CASE_QUARRY},
    {"late, limit", late_limit, 0, CASE_QUARRY},
    {"late, threads", late_threads, 0, CASE_QUARRY},
    {"late, of a node", late_of_node, 0, CASE_QUARRY},
    {"grown, of nobody", grown_of_nobody, 0, CASE_QUARRY},
    {"grown, without the flag", grown_of_nobody, 1, CASE_QUARRY},
    {"grown, by a tenant", grown_of_nobody, 2, CASE_QUARRY},
    {"grown, beyond the limit", grown_beyond, 0, CASE_QUARRY},
    {"sheaves", sheaves, SLAB_ACCOUNT, CASE_QUARRY},
    {"sheaves, by flag", sheaves, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
