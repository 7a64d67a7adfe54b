/* SPDX-License-Identifier: MIT */
/* The forms with a prefix that are made of others, and that their headers bring no name without one: such names are
 * this program's own here. */
enum { kmalloc, kfree, gfp_t, list_head, PAGE_SIZE, GFP_KERNEL, size_add, kmem_cache, mempool_t, dma_addr_t, shrinker };
enum { nr_cpu_ids, raw_cpu_ptr, this_cpu_try_cmpxchg, kvfree_rcu, rcu_barrier, rcu_dereference, dma_mapping_error };

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
    unsigned pin = quarry_memalloc_pin_save();
    CHECK(quarry_current_gfp_context(QUARRY_GFP_HIGHUSER_MOVABLE) == QUARRY_GFP_HIGHUSER);
    quarry_memalloc_pin_restore(pin);
    CHECK(quarry_current_gfp_context(QUARRY_GFP_HIGHUSER_MOVABLE) == QUARRY_GFP_HIGHUSER_MOVABLE);
    CHECK(quarry_current_gfp_context(QUARRY_GFP_KERNEL) == QUARRY_GFP_KERNEL);
    CHECK(quarry_gfpflags_allow_blocking(QUARRY_GFP_NOIO) && !quarry_gfpflags_allow_blocking(QUARRY_GFP_ATOMIC));
}

/* --- per CPU --- */

static QUARRY_DEFINE_PER_CPU_ALIGNED(long, counter);
static QUARRY_DEFINE_PER_CPU_SHARED_ALIGNED(long, other);
static QUARRY_DEFINE_PER_CPU(unsigned char, bits);
QUARRY_DECLARE_PER_CPU_ALIGNED(long, counter);

static long sum_of(const long *p) {
    unsigned cpu, nr = 0;
    long sum = 0;
    quarry_for_each_possible_cpu(cpu) sum += *quarry_per_cpu_ptr(p, cpu);
    quarry_for_each_online_cpu(cpu) nr++;
    CHECK(nr == quarry_nr_cpu_ids && nr == quarry_num_possible_cpus() && nr >= 2);
    return sum;
}

/* A copy for each CPU: sums are the same wherever the thread ran. */
static void per_cpu(void) {
    unsigned cpu;
    quarry___this_cpu_add(counter, 10);
    quarry___this_cpu_sub(counter, 4);
    quarry___this_cpu_inc(counter);
    quarry_raw_cpu_add(counter, 100);
    quarry_raw_cpu_inc(counter);
    quarry___this_cpu_dec(counter);
    quarry_raw_cpu_dec(counter);
    CHECK(sum_of(&counter) == 106 && sum_of(&other) == 0);
    quarry_for_each_possible_cpu(cpu) {
        CHECK((uintptr_t)quarry_per_cpu_ptr(&counter, cpu) % 64 == 0);
        CHECK((uintptr_t)quarry_per_cpu_ptr(&other, cpu) % 64 == 0);
    }
    unsigned here = quarry_get_cpu();
    CHECK(quarry_raw_smp_processor_id() == here && quarry_raw_cpu_ptr(&bits) == quarry_per_cpu_ptr(&bits, here));
    quarry_raw_cpu_write(bits, 0xf0);
    quarry___this_cpu_and(bits, 0x3f);
    quarry___this_cpu_or(bits, 1);
    CHECK(quarry___this_cpu_read(bits) == 0x31 && quarry_raw_cpu_read(bits) == 0x31);
    CHECK(quarry___this_cpu_add_return(bits, 2) == 0x33 && quarry___this_cpu_sub_return(bits, 3) == 0x30);
    CHECK(quarry___this_cpu_inc_return(bits) == 0x31 && quarry___this_cpu_dec_return(bits) == 0x30);
    CHECK(quarry___this_cpu_xchg(bits, 7) == 0x30 && quarry___this_cpu_cmpxchg(bits, 8, 9) == 7);
    unsigned char old = 3;
    CHECK(!quarry_this_cpu_try_cmpxchg(bits, &old, 4) && old == 7);
    CHECK(quarry_this_cpu_try_cmpxchg(bits, &old, 4) && old == 7 && quarry_this_cpu_read(bits) == 4);
    quarry___this_cpu_write(bits, 0);
    CHECK(*quarry_per_cpu_ptr(&bits, here) == 0);
    quarry_put_cpu();
    long *p = quarry_alloc_percpu_gfp(long, QUARRY_GFP_NOFS), *q = quarry___alloc_percpu(2 * sizeof(*q), 64);
    CHECK(p != NULL && sum_of(p) == 0 && q != NULL && (uintptr_t)quarry_per_cpu_ptr(q, 0) % 64 == 0);
    CHECK(quarry___alloc_percpu_gfp(opaque_size(0), 8, QUARRY_GFP_KERNEL | QUARRY___GFP_NOWARN) == NULL);
    quarry_free_percpu(p);
    quarry_free_percpu(q);
}

/* --- RCU --- */

static unsigned rounds_nr, called_nr;
static void nobody_reads(void) { rounds_nr++; }
static void count_call(struct quarry_rcu_head *head) {
    (void)head;
    called_nr++;
}

struct shared {
    long nr;
    struct quarry_rcu_head rcu;
};

/* What is handed over is out until a barrier. Rounds are run by one at a time, and called_nr is written before a
 * barrier of this thread returns. */
static void rcu(void) {
    static const struct quarry_rcu_flavour flavour = {.synchronize = nobody_reads};
    CHECK(quarry_rcu_use(&flavour) == 0);
    struct quarry_kmem_cache *s = QUARRY_KMEM_CACHE(shared, QUARRY_SLAB_NO_MERGE);
    struct shared *published = NULL, *p[3];
    struct quarry_kmem_cache_info info;
    for (int i = 0; i < 3; i++)
        CHECK((p[i] = quarry_kmem_cache_zalloc(s, QUARRY_GFP_KERNEL)) != NULL);
    QUARRY_RCU_INIT_POINTER(published, p[0]);
    quarry_rcu_assign_pointer(published, p[1]);
    quarry_rcu_read_lock();
    CHECK(quarry_rcu_dereference(published) == p[1] && quarry_rcu_dereference_check(published, true) == p[1]);
    CHECK(quarry_rcu_dereference_raw(published) == p[1] && quarry_rcu_access_pointer(published) == p[1]);
    quarry_rcu_read_unlock();
    CHECK(quarry_rcu_replace_pointer(published, p[2], true) == p[1]);
    CHECK(quarry_rcu_dereference_protected(published, true) == p[2]);
    quarry_kvfree_rcu(p[0], rcu);
    quarry_kfree_rcu(p[1], rcu);
    quarry_kfree_rcu_mightsleep(p[2]);
    quarry_kvfree_rcu_barrier_on_cache(s);
    quarry_kmem_cache_info_get(s, &info);
    CHECK(rounds_nr >= 1 && info.active_objs == 0);
    struct quarry_rcu_head head;
    quarry_call_rcu(&head, count_call);
    quarry_rcu_barrier();
    CHECK(called_nr == 1 && rounds_nr >= 2);
    quarry_kmem_cache_destroy(s);
}

/* --- memory for devices: with the rights alone --- */

static void fragments(void) {
    struct quarry_page_frag_cache cache;
    quarry_page_frag_cache_init(&cache);
    char *p = quarry_page_frag_alloc(&cache, 100, QUARRY_GFP_KERNEL),
         *q = quarry_page_frag_alloc_align(&cache, 100, QUARRY_GFP_KERNEL, 256);
    CHECK(p != NULL && q == p + 256);
    quarry_page_frag_cache_drain(&cache);
    CHECK(cache.addr == NULL && quarry_page_count(quarry_virt_to_head_page(p)) == 2);
    quarry_page_frag_free(p);
    quarry_page_frag_free(q);
}

static void dma(void) {
    static char nowhere[100];
    quarry_dma_addr_t handle = 0;
    CHECK(quarry_dma_mapping_error(NULL, quarry_dma_map_single(NULL, nowhere, (2 << 20) + 1)));
    CHECK(!quarry_dma_mapping_error(NULL, 0));
    char *p = quarry_dma_alloc_coherent(NULL, 5000, &handle, QUARRY_GFP_KERNEL | QUARRY___GFP_NOWARN);
    if (p == NULL)
        return;
    CHECK(quarry_dma_map_single(NULL, p + 100, 50) == handle + 100);
    quarry_dma_unmap_single(NULL, handle + 100, 50);
    quarry_dma_free_coherent(NULL, 5000, p, handle);
    struct quarry_dma_pool *pool = quarry_dma_pool_create("pool", NULL, 64, 0, 0);
    CHECK(pool != NULL && (p = quarry_dma_pool_alloc(pool, QUARRY_GFP_KERNEL, &handle)) != NULL);
    memset(p, 1, 64);
    quarry_dma_pool_free(pool, p, handle);
    p = quarry_dma_pool_zalloc(pool, QUARRY_GFP_KERNEL, &handle);
    CHECK(p != NULL && memchr(p, 1, 64) == NULL);
    quarry_dma_pool_free(pool, p, handle);
    quarry_dma_pool_destroy(pool);
}

int main(void) {
    CHECK(shrinker - kmalloc == 10);
    by_type();
    pages();
    caches();
    scopes();
    per_cpu();
    rcu();
    fragments();
    dma();
    char *p = quarry_kmalloc(10, QUARRY_GFP_KERNEL);
    memset(p, 7, 10);
    CHECK((p = quarry_krealloc_node(p, 1000, QUARRY_GFP_KERNEL, 0)) != NULL && p[9] == 7);
    quarry_kfree(p);
    return 0;
}
