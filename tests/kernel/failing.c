/* SPDX-License-Identifier: MIT */
/*
 * What each call does when memory is out. The driver has every object of a cache, and of kmalloc up to 8192 bytes, fail
 * after the first some (slab_debug=A, failslab's space), but for __GFP_NOFAIL; areas and pages are to be had. Each
 * failure is told, and not looked at here.
 */
#include "cases.h"
#include "kernel.h"

#include <errno.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/vmalloc.h>

struct thing {
    long nr;
    u64 parts[4];
};

static char text[] = "text";
static struct kmem_cache *cache;

/* --- NULL --- */

static void *do_kmalloc(void) { return kmalloc(opaque_size(100), GFP_KERNEL); }
static void *do_kmalloc_constant(void) { return kmalloc(100, GFP_KERNEL); }
static void *do_kmalloc_atomic(void) { return kmalloc(opaque_size(100), GFP_ATOMIC); }
static void *do_kzalloc(void) { return kzalloc(100, GFP_KERNEL); }
static void *do_kmalloc_array(void) { return kmalloc_array(10, 10, GFP_KERNEL); }
static void *do_kcalloc(void) { return kcalloc(10, 10, GFP_KERNEL); }
static void *do_kmalloc_node(void) { return kmalloc_node(100, GFP_KERNEL, 0); }
static void *do_kmalloc_array_node(void) { return kmalloc_array_node(10, 10, GFP_KERNEL, 0); }
static void *do_kmalloc_nolock(void) { return kmalloc_nolock(100, 0, NUMA_NO_NODE); }
static void *do_kmalloc_obj(void) { return kmalloc_obj(struct thing); }
static void *do_krealloc(void) { return krealloc(NULL, 100, GFP_KERNEL); }
static void *do_krealloc_array(void) { return krealloc_array(NULL, 10, 10, GFP_KERNEL); }
static void *do_krealloc_aligned(void) { return krealloc_node_align(NULL, 100, 64, GFP_KERNEL, NUMA_NO_NODE); }
static void *do_kstrdup(void) { return kstrdup(text, GFP_KERNEL); }
static void *do_kstrdup_const(void) { return (void *)(uintptr_t)kstrdup_const(text, GFP_KERNEL); }
static void *do_kstrndup(void) { return kstrndup(text, 2, GFP_KERNEL); }
static void *do_kmemdup(void) { return kmemdup(text, 2, GFP_KERNEL); }
static void *do_kmemdup_nul(void) { return kmemdup_nul(text, 2, GFP_KERNEL); }
static void *do_kmemdup_array(void) { return kmemdup_array(text, 2, 2, GFP_KERNEL); }
/* A page or less has no other place. */
static void *do_kvmalloc(void) { return kvmalloc(PAGE_SIZE, GFP_KERNEL); }
static void *do_kvcalloc(void) { return kvcalloc(4, PAGE_SIZE / 4, GFP_KERNEL); }
static void *do_kvmemdup(void) { return kvmemdup(text, 4, GFP_KERNEL); }
static void *do_kvrealloc(void) { return kvrealloc(NULL, PAGE_SIZE, GFP_KERNEL); }
static void *do_kvmalloc_obj(void) { return kvmalloc_obj(struct thing); }
/* Nor has what may not wait. */
static void *do_kvmalloc_atomic(void) { return kvmalloc(PAGE_SIZE + 1, GFP_ATOMIC); }
static void *do_kvmalloc_nowait(void) { return kvmalloc_node(PAGE_SIZE + 1, GFP_NOWAIT, 0); }
static void *do_cache(void) { return kmem_cache_alloc(cache, GFP_KERNEL); }
static void *do_cache_zeroed(void) { return kmem_cache_zalloc(cache, GFP_KERNEL); }
static void *do_cache_node(void) { return kmem_cache_alloc_node(cache, GFP_KERNEL, 0); }
static void *do_cache_lru(void) { return kmem_cache_alloc_lru(cache, NULL, GFP_KERNEL); }
static void *do_cache_atomic(void) { return kmem_cache_alloc(cache, GFP_ATOMIC); }
static void *do_sheaf(void) { return kmem_cache_prefill_sheaf(cache, GFP_KERNEL, 3); }
static void *do_pool_of_kmalloc(void) { return mempool_create_kmalloc_pool(2, 100); }
static void *do_pool_of_cache(void) { return mempool_create_slab_pool(2, cache); }
static void *do_shrinker(void) { return shrinker_alloc(0, "none"); }

static const struct call {
    const char *name;
    void *(*get)(void);
} calls[] = {
    {"kmalloc", do_kmalloc},
    {"kmalloc, constant", do_kmalloc_constant},
    {"kmalloc, atomic", do_kmalloc_atomic},
    {"kzalloc", do_kzalloc},
    {"kmalloc_array", do_kmalloc_array},
    {"kcalloc", do_kcalloc},
    {"kmalloc_node", do_kmalloc_node},
    {"kmalloc_array_node", do_kmalloc_array_node},

    {"kmalloc_nolock", do_kmalloc_nolock},
    {"kmalloc_obj", do_kmalloc_obj},
    {"krealloc", do_krealloc},
    {"krealloc_array", do_krealloc_array},
    {"krealloc_node_align", do_krealloc_aligned},
    {"kstrdup", do_kstrdup},
    {"kstrdup_const", do_kstrdup_const},
    {"kstrndup", do_kstrndup},
    {"kmemdup", do_kmemdup},
    {"kmemdup_nul", do_kmemdup_nul},
    {"kmemdup_array", do_kmemdup_array},
    {"kvmalloc", do_kvmalloc},
    {"kvcalloc", do_kvcalloc},
    {"kvmemdup", do_kvmemdup},
    {"kvrealloc", do_kvrealloc},
    {"kvmalloc_obj", do_kvmalloc_obj},
    {"kvmalloc, atomic", do_kvmalloc_atomic},
    {"kvmalloc_node, not to wait", do_kvmalloc_nowait},
    {"kmem_cache_alloc", do_cache},
    {"kmem_cache_zalloc", do_cache_zeroed},
    {"kmem_cache_alloc_node", do_cache_node},
    {"kmem_cache_alloc_lru", do_cache_lru},
    {"kmem_cache_alloc, atomic", do_cache_atomic},
    {"kmem_cache_prefill_sheaf", do_sheaf},
    {"mempool_create_kmalloc_pool", do_pool_of_kmalloc},
    {"mempool_create_slab_pool", do_pool_of_cache},
    {"shrinker_alloc", do_shrinker},
};

static size_t objects_out(void) {
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(cache, &info);
    return info.active_objs;
}

/* With what is left before all fails; then nothing is. */
static void make_cache(void) {
    CHECK((cache = kmem_cache_create("failing", 100, 0, SLAB_NO_MERGE, NULL)) != NULL);
    for (size_t size = 8192; size >= 8; size /= 2) {
        void *p;
        while ((p = kmalloc(opaque_size(size), GFP_KERNEL)) != NULL)
            kfree(p);
    }
}

static void fails(size_t unused) {
    (void)unused;
    make_cache();
    errno = 7;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        CHECK_MSG(calls[i].get() == NULL, "%s did not fail", calls[i].name);
    CHECK(errno == 7 && objects_out() == 0);
}

/* --- what is not to be had now leaves all as it was --- */

static void objects_stay(size_t unused) {
    (void)unused;
    make_cache();
    char *p = kmalloc(100, GFP_KERNEL | __GFP_NOFAIL);
    CHECK(p != NULL);
    size_t room = ksize(p);
    memset(p, 0x11, 100);
    CHECK(krealloc(p, room + 1, GFP_KERNEL) == NULL && krealloc_array(p, 10, room, GFP_KERNEL) == NULL);
    CHECK(krealloc_node_align(p, 10, 4096, GFP_KERNEL, NUMA_NO_NODE) == NULL || (uintptr_t)p % 4096 == 0);
    CHECK(kvrealloc(p, PAGE_SIZE, GFP_KERNEL) == NULL && kvrealloc(p, PAGE_SIZE + 1, GFP_ATOMIC) == NULL);
    CHECK(bytes_are(p, 0, 100, 0x11));
    CHECK(krealloc(p, 50, GFP_KERNEL) == p && krealloc(p, 100, GFP_KERNEL) == p); /* nothing is asked for */
    char *area = kvrealloc(p, PAGE_SIZE + 1, GFP_KERNEL);
    CHECK(is_vmalloc_addr(area) && bytes_are(area, 0, 50, 0x11));
    kvfree(area);
    /* What may not fail takes an area, too, where kmalloc has nothing: it does not wait for kmalloc. */
    CHECK((p = kmalloc(100, GFP_KERNEL | __GFP_NOFAIL)) != NULL);
    memset(p, 0x33, 100);
    area = kvrealloc(p, PAGE_SIZE + 1, GFP_KERNEL | __GFP_NOFAIL);
    CHECK(is_vmalloc_addr(area) && bytes_are(area, 0, 100, 0x33));
    kvfree(area);
}

static void more_than_a_page(size_t unused) {
    static const size_t sizes[] = {4097, 8192, 8193, 100000};
    static char large[8192];
    kmem_buckets *b = kmem_buckets_create("failing", 0, 0, 0, NULL);
    (void)unused;
    make_cache();
    CHECK(b != NULL && kmem_buckets_alloc(b, 100, GFP_KERNEL) == NULL &&
          kmem_buckets_valloc(b, PAGE_SIZE, GFP_KERNEL) == NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bool to_area = sizes[i] <= KMALLOC_MAX_CACHE_SIZE && sizes[i] > PAGE_SIZE;
        char *p = kvzalloc(sizes[i], GFP_KERNEL), *q = kvmalloc_array(1, sizes[i], GFP_KERNEL);
        char *r = kmem_buckets_valloc(b, sizes[i], GFP_KERNEL | __GFP_ZERO);
        CHECK(sizes[i] <= PAGE_SIZE || (is_vmalloc_addr(p) == to_area && is_vmalloc_addr(q) == to_area));
        CHECK(sizes[i] <= PAGE_SIZE || (is_vmalloc_addr(r) == to_area && bytes_are(r, 0, sizes[i], 0)));
        CHECK(sizes[i] <= PAGE_SIZE || bytes_are(p, 0, sizes[i], 0));
        kvfree(p);
        kvfree(q);
        kvfree(r);
    }
    memset(large, 0x22, sizeof(large));
    char *copy = kvmemdup(large, sizeof(large), GFP_KERNEL);
    CHECK((copy == NULL) == (PAGE_SIZE >= sizeof(large)) && (copy == NULL || bytes_are(copy, 0, sizeof(large), 0x22)));
    kvfree(copy);
}

static void many_at_once(size_t unused) {
    void *objs[4] = {NULL};
    mempool_t pool;
    (void)unused;
    make_cache();
    CHECK(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 4, objs) == 0 && objects_out() == 0);
    CHECK(mempool_init_slab_pool(&pool, 1, cache) == -ENOMEM && !mempool_initialized(&pool));
    CHECK(mempool_init_kmalloc_pool(&pool, 1, 100) == -ENOMEM);
    mempool_exit(&pool);
    struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(cache, GFP_KERNEL | __GFP_NOFAIL, 2);
    CHECK(sheaf != NULL && kmem_cache_refill_sheaf(cache, GFP_KERNEL, &sheaf, 3) == -ENOMEM);
    CHECK(kmem_cache_sheaf_size(sheaf) == 2 && kmem_cache_refill_sheaf(cache, GFP_KERNEL, &sheaf, 2) == 0);
    /* What was set aside cannot fail. */
    for (int i = 0; i < 2; i++)
        CHECK((objs[i] = kmem_cache_alloc_from_sheaf(cache, GFP_NOWAIT, sheaf)) != NULL);
    kmem_cache_return_sheaf(cache, GFP_KERNEL, sheaf);
    CHECK(objects_out() == 2);
    kmem_cache_free_bulk(cache, 2, objs);
    CHECK(objects_out() == 0);
}

static void nofail(size_t unused) {
    (void)unused;
    make_cache();
    void *all[] = {kmalloc(100, GFP_KERNEL | __GFP_NOFAIL), kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOFAIL),
                   kstrdup(text, GFP_KERNEL | __GFP_NOFAIL), kvmalloc(PAGE_SIZE, GFP_KERNEL | __GFP_NOFAIL),
                   kcalloc(10, 10, GFP_NOFS | __GFP_NOFAIL)};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        CHECK_MSG(all[i] != NULL, "the %zu. of those that must not fail", i + 1);
        kfree(all[i]);
    }
}

static const struct test_case table[] = {
    {"each call fails", fails, 0, CASE_QUARRY},
    {"objects stay", objects_stay, 0, CASE_QUARRY},
    {"more than a page", more_than_a_page, 0, CASE_QUARRY},
    {"many at once", many_at_once, 0, CASE_QUARRY},
    {"nofail", nofail, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
