/* SPDX-License-Identifier: MIT */
/* The forms with a prefix that are made of others, and that their headers bring no name without one: such names are
 * this program's own here. */
enum { kmalloc, kfree, gfp_t, list_head, PAGE_SIZE, GFP_KERNEL, size_add, kmem_cache, mempool_t, dma_addr_t, shrinker };

#include <quarry/kmem.h>
#include <quarry/kmem_percpu.h>
#include <quarry/kmem_rcu.h>
#include <quarry/kmem_shrinker.h>

#include "check.h"

#include <string.h>

struct part {
    long nr;
    _Alignas(32) char name[7];
};

struct whole {
    long nr;
    unsigned char parts[];
};

static void by_type(void) {
    struct part *p = quarry_kzalloc_obj(struct part), *q = quarry_kvmalloc_objs(*p, 10, QUARRY_GFP_NOFS);
    CHECK(p != NULL && p->nr == 0 && q != NULL && quarry_ksize(q) >= 10 * sizeof(*q));
    struct whole *w = quarry_kzalloc_flex(struct whole, parts, 100), *v = quarry_kvzalloc_flex(*w, parts, 5);
    CHECK(w != NULL && w->parts[99] == 0 && quarry_ksize(w) >= sizeof(*w) + 100 && v != NULL);
    CHECK(quarry_kmalloc_objs(*p, opaque_size(SIZE_MAX), QUARRY_GFP_KERNEL | QUARRY___GFP_NOWARN) == NULL);
    CHECK(quarry_kmalloc_flex(*w, parts, opaque_size(SIZE_MAX), QUARRY_GFP_KERNEL | QUARRY___GFP_NOWARN) == NULL);
    CHECK(quarry_size_add(SIZE_MAX, 1) == SIZE_MAX && quarry_size_add(3, 4) == 7);
    void *all[] = {p, q, w, v};
    quarry_kfree_bulk(4, all);
}

static void pages(void) {
    struct quarry_page *one = quarry_alloc_page(QUARRY_GFP_KERNEL), *bulk[3] = {NULL, one, NULL};
    CHECK(one != NULL && quarry_page_count(one) == 1);
    CHECK(quarry_alloc_pages_bulk_node(QUARRY_GFP_KERNEL, 0, 3, bulk) == 3 && bulk[1] == one && bulk[0] != bulk[2]);
    for (int i = 0; i < 3; i++)
        quarry___free_page(bulk[i]);
    unsigned long addr = quarry___get_free_page(QUARRY_GFP_KERNEL);
    memset((void *)addr, 1, QUARRY_PAGE_SIZE);
    quarry_free_page(addr);
    CHECK((addr = quarry_get_zeroed_page(QUARRY_GFP_KERNEL)) != 0 && memchr((void *)addr, 1, QUARRY_PAGE_SIZE) == NULL);
    quarry_free_page(addr);
    quarry_free_page(0);
    struct quarry_page *compound = quarry_alloc_pages(QUARRY_GFP_TRANSHUGE, 9);
    char *inside = (char *)quarry_page_address(compound) + 5 * QUARRY_PAGE_SIZE + 1;
    CHECK(quarry_virt_to_head_page(inside) == compound && quarry_virt_to_head_page(&addr) == NULL);
    quarry___free_pages(compound, 9);
    char *exact = quarry_alloc_pages_exact_nid(0, 3 * QUARRY_PAGE_SIZE, QUARRY_GFP_KERNEL);
    CHECK(exact != NULL && quarry_alloc_pages_exact_nid(0, opaque_size(0), QUARRY_GFP_KERNEL) == NULL);
    CHECK(quarry_alloc_pages_exact_nid(0, opaque_size(SIZE_MAX), QUARRY_GFP_KERNEL | QUARRY___GFP_NOWARN) == NULL);
    quarry_free_pages_exact(exact, 3 * QUARRY_PAGE_SIZE);
    addr = quarry___get_dma_pages(QUARRY_GFP_KERNEL | QUARRY___GFP_NOWARN, 1); /* with the rights alone */
    quarry_free_pages(addr, 1);
}

static void caches(void) {
    struct quarry_kmem_cache *s = QUARRY_KMEM_CACHE(part, QUARRY_SLAB_NO_MERGE);
    struct quarry_kmem_cache_info info;
    CHECK(s != NULL && quarry_kmem_cache_size(s) == sizeof(struct part));
    quarry_kmem_cache_info_get(s, &info);
    CHECK(strcmp(info.name, "part") == 0 && info.align_bytes == 32 && info.usersize == 0);
    quarry_kmem_cache_destroy(s);
    s = QUARRY_KMEM_CACHE_USERCOPY(part, QUARRY_SLAB_NO_MERGE, name);
    CHECK(s != NULL && quarry_kmem_cache_size(s) == sizeof(struct part));
    quarry_kmem_cache_info_get(s, &info);
    CHECK(info.useroffset == offsetof(struct part, name) && info.usersize == 7);
    quarry_kmem_cache_destroy(s);
    quarry_mempool_t pool, *made = quarry_mempool_create_node(2, quarry_mempool_kmalloc, quarry_mempool_kfree,
                                                              (void *)64, QUARRY_GFP_NOIO, QUARRY_NUMA_NO_NODE);
    CHECK(made != NULL && made->curr_nr == 2);
    quarry_mempool_destroy(made);
    CHECK(quarry_mempool_init_node(&pool, 3, quarry_mempool_kmalloc, quarry_mempool_kfree, (void *)64,
                                   QUARRY_GFP_KERNEL, 0) == 0);
    CHECK(pool.curr_nr == 3);
    quarry_mempool_exit(&pool);
}

static void scopes(void) {
    unsigned nofs = quarry_memalloc_nofs_save();
    CHECK(quarry_current_gfp_context(QUARRY_GFP_KERNEL) == QUARRY_GFP_NOFS);
    unsigned noio = quarry_memalloc_noio_save();
    CHECK(quarry_current_gfp_context(QUARRY_GFP_KERNEL) == QUARRY_GFP_NOIO);
    quarry_memalloc_noio_restore(noio);
    CHECK(quarry_current_gfp_context(QUARRY_GFP_KERNEL) == QUARRY_GFP_NOFS);
    quarry_memalloc_nofs_restore(nofs);
    quarry_memalloc_noreclaim_restore(quarry_memalloc_noreclaim_save());
    CHECK(quarry_current_gfp_context(QUARRY_GFP_KERNEL) == QUARRY_GFP_KERNEL);
    CHECK(quarry_gfpflags_allow_blocking(QUARRY_GFP_NOIO) && !quarry_gfpflags_allow_blocking(QUARRY_GFP_ATOMIC));
}

int main(void) {
    CHECK(shrinker - kmalloc == 10);
    by_type();
    pages();
    caches();
    scopes();
    char *p = quarry_kmalloc(10, QUARRY_GFP_KERNEL);
    memset(p, 7, 10);
    CHECK((p = quarry_krealloc_node(p, 1000, QUARRY_GFP_KERNEL, 0)) != NULL && p[9] == 7);
    quarry_kfree(p);
    return 0;
}
