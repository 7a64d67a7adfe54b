/* SPDX-License-Identifier: MIT */
/* That each function of the kernel's API has the kernel's type, so that its address may be taken for the kernel's, and
 * no argument or result is converted otherwise than there. Compiling is the test. */
#include "check.h"

#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#define IS(function, ...)                                                                                              \
    _Static_assert(__builtin_types_compatible_p(__typeof__(function), __VA_ARGS__), #function " is of another type")
/* The same of what is a macro there, or here. */
#define GIVES(expression, ...)                                                                                         \
    _Static_assert(__builtin_types_compatible_p(__typeof__(expression), __VA_ARGS__), #expression " is of another "    \
                                                                                                  "type")

typedef void ctor_t(void *);

IS(kmalloc, void *(size_t, gfp_t));
IS(kzalloc, void *(size_t, gfp_t));
IS(kmalloc_array, void *(size_t, size_t, gfp_t));
IS(kcalloc, void *(size_t, size_t, gfp_t));
IS(kmalloc_node, void *(size_t, gfp_t, int));
IS(kzalloc_node, void *(size_t, gfp_t, int));
IS(kmalloc_array_node, void *(size_t, size_t, gfp_t, int));
IS(kcalloc_node, void *(size_t, size_t, gfp_t, int));
IS(kmalloc_nolock, void *(size_t, gfp_t, int));
IS(krealloc, void *(const void *, size_t, gfp_t));
IS(krealloc_array, void *(void *, size_t, size_t, gfp_t));
IS(krealloc_node, void *(const void *, size_t, gfp_t, int));
IS(krealloc_node_align, void *(const void *, size_t, unsigned long, gfp_t, int));
IS(kfree, void(const void *));
IS(kfree_sensitive, void(const void *));
IS(kfree_nolock, void(const void *));
IS(kfree_bulk, void(size_t, void **));
IS(kfree_const, void(const void *));
IS(ksize, size_t(const void *));
IS(kmalloc_size_roundup, size_t(size_t));
IS(kstrdup, char *(const char *, gfp_t));
IS(kstrndup, char *(const char *, size_t, gfp_t));
IS(kstrdup_const, const char *(const char *, gfp_t));
IS(kmemdup, void *(const void *, size_t, gfp_t));
IS(kmemdup_nul, char *(const char *, size_t, gfp_t));
IS(kmemdup_array, void *(const void *, size_t, size_t, gfp_t));
IS(kvmemdup, void *(const void *, size_t, gfp_t));

IS(vmalloc, void *(unsigned long));
IS(vzalloc, void *(unsigned long));
IS(vmalloc_user, void *(unsigned long));
IS(vmalloc_32, void *(unsigned long));
IS(vmalloc_32_user, void *(unsigned long));
IS(vmalloc_node, void *(unsigned long, int));
IS(vzalloc_node, void *(unsigned long, int));
IS(vmalloc_huge, void *(unsigned long, gfp_t));
IS(__vmalloc, void *(unsigned long, gfp_t));
IS(__vmalloc_node, void *(unsigned long, unsigned long, gfp_t, int, const void *));
IS(vmalloc_array, void *(size_t, size_t));
IS(vcalloc, void *(size_t, size_t));
IS(vrealloc, void *(const void *, size_t, gfp_t));
IS(vfree, void(const void *));
IS(vfree_atomic, void(const void *));
IS(is_vmalloc_addr, bool(const void *));
IS(kvmalloc, void *(size_t, gfp_t));
IS(kvzalloc, void *(size_t, gfp_t));
IS(kvmalloc_node, void *(size_t, gfp_t, int));
IS(kvzalloc_node, void *(size_t, gfp_t, int));
IS(kvmalloc_node_align, void *(size_t, unsigned long, gfp_t, int));
IS(kvmalloc_array, void *(size_t, size_t, gfp_t));
IS(kvcalloc, void *(size_t, size_t, gfp_t));
IS(kvrealloc, void *(const void *, size_t, gfp_t));
IS(kvfree, void(const void *));
IS(kvfree_atomic, void(const void *));
IS(kvfree_sensitive, void(const void *, size_t));

IS(alloc_pages, struct page *(gfp_t, unsigned int));
IS(alloc_pages_node, struct page *(int, gfp_t, unsigned int));
IS(__get_free_pages, unsigned long(gfp_t, unsigned int));
IS(get_zeroed_page, unsigned long(gfp_t));
GIVES(alloc_page(GFP_KERNEL), struct page *);
GIVES(__get_free_page(GFP_KERNEL), unsigned long);
GIVES(__get_dma_pages(GFP_KERNEL, 0), unsigned long);
IS(alloc_pages_exact, void *(size_t, gfp_t));
IS(alloc_pages_exact_nid, void *(int, size_t, gfp_t));
GIVES(alloc_pages_bulk_array(GFP_KERNEL, 1, NULL), unsigned long);
IS(__free_pages, void(struct page *, unsigned int));
IS(free_pages, void(unsigned long, unsigned int));
IS(free_pages_exact, void(void *, size_t));
IS(split_page, void(struct page *, unsigned int));
IS(page_count, int(const struct page *));
IS(get_order, int(unsigned long));
GIVES(page_address((struct page *)NULL), void *);
GIVES(page_to_pfn((struct page *)NULL), unsigned long);
GIVES(virt_to_page(NULL), struct page *);
GIVES(compound_order((struct page *)NULL), unsigned int);
GIVES(PAGE_SIZE, unsigned long);

GIVES(kmem_cache_create("", 1, 0, 0, NULL), struct kmem_cache *);
GIVES(kmem_cache_create("", 1, (struct kmem_cache_args *)NULL, 0), struct kmem_cache *);
GIVES(KMEM_CACHE(list_head, 0), struct kmem_cache *);
IS(kmem_cache_create_usercopy,
   struct kmem_cache *(const char *, unsigned int, unsigned int, slab_flags_t, unsigned int, unsigned int, ctor_t *));
IS(kmem_cache_destroy, void(struct kmem_cache *));
IS(kmem_cache_shrink, int(struct kmem_cache *));
IS(kmem_cache_alloc, void *(struct kmem_cache *, gfp_t));
IS(kmem_cache_alloc_node, void *(struct kmem_cache *, gfp_t, int));
IS(kmem_cache_alloc_lru, void *(struct kmem_cache *, struct list_lru *, gfp_t));
IS(kmem_cache_zalloc, void *(struct kmem_cache *, gfp_t));
IS(kmem_cache_free, void(struct kmem_cache *, void *));
IS(kmem_cache_alloc_bulk, int(struct kmem_cache *, gfp_t, size_t, void **));
IS(kmem_cache_free_bulk, void(struct kmem_cache *, size_t, void **));
IS(kmem_cache_charge, bool(void *, gfp_t));
IS(kmem_dump_obj, bool(void *));
IS(kmem_cache_prefill_sheaf, struct slab_sheaf *(struct kmem_cache *, gfp_t, unsigned int));
IS(kmem_cache_refill_sheaf, int(struct kmem_cache *, gfp_t, struct slab_sheaf **, unsigned int));
IS(kmem_cache_return_sheaf, void(struct kmem_cache *, gfp_t, struct slab_sheaf *));
IS(kmem_cache_alloc_from_sheaf, void *(struct kmem_cache *, gfp_t, struct slab_sheaf *));
IS(kmem_cache_sheaf_size, unsigned int(struct slab_sheaf *));
IS(kmem_buckets_create, kmem_buckets *(const char *, slab_flags_t, unsigned int, unsigned int, ctor_t *));
IS(kmem_buckets_alloc, void *(kmem_buckets *, size_t, gfp_t));
IS(kmem_buckets_valloc, void *(kmem_buckets *, size_t, gfp_t));

IS(mempool_alloc_t, void *(gfp_t, void *));
IS(mempool_free_t, void(void *, void *));
IS(mempool_create, mempool_t *(int, mempool_alloc_t *, mempool_free_t *, void *));
IS(mempool_create_node, mempool_t *(int, mempool_alloc_t *, mempool_free_t *, void *, gfp_t, int));
IS(mempool_init, int(mempool_t *, int, mempool_alloc_t *, mempool_free_t *, void *));
IS(mempool_init_node, int(mempool_t *, int, mempool_alloc_t *, mempool_free_t *, void *, gfp_t, int));
IS(mempool_exit, void(mempool_t *));
IS(mempool_destroy, void(mempool_t *));
IS(mempool_resize, int(mempool_t *, int));
IS(mempool_alloc, void *(mempool_t *, gfp_t));
IS(mempool_alloc_preallocated, void *(mempool_t *));
IS(mempool_free, void(void *, mempool_t *));
IS(mempool_initialized, bool(mempool_t *));
IS(mempool_is_saturated, bool(mempool_t *));
IS(mempool_alloc_slab, mempool_alloc_t);
IS(mempool_free_slab, mempool_free_t);
IS(mempool_kmalloc, mempool_alloc_t);
IS(mempool_kfree, mempool_free_t);
IS(mempool_kvmalloc, mempool_alloc_t);
IS(mempool_kvfree, mempool_free_t);
IS(mempool_alloc_pages, mempool_alloc_t);
IS(mempool_free_pages, mempool_free_t);
IS(mempool_create_slab_pool, mempool_t *(int, struct kmem_cache *));
IS(mempool_create_kmalloc_pool, mempool_t *(int, size_t));
IS(mempool_create_kvmalloc_pool, mempool_t *(int, size_t));
IS(mempool_create_page_pool, mempool_t *(int, int));
IS(mempool_init_page_pool, int(mempool_t *, int, int));

GIVES(alloc_percpu(int), int *);
GIVES(alloc_percpu_gfp(int, GFP_KERNEL), int *);
GIVES(__alloc_percpu(8, 8), void *);
IS(free_percpu, void(void *));
IS(synchronize_rcu, void(void));
IS(call_rcu, void(struct rcu_head *, void (*)(struct rcu_head *)));
IS(rcu_barrier, void(void));
IS(kvfree_rcu_barrier, void(void));
IS(kvfree_rcu_barrier_on_cache, void(struct kmem_cache *));
GIVES(shrinker_alloc(0, ""), struct shrinker *);
IS(shrinker_register, void(struct shrinker *));
IS(shrinker_free, void(struct shrinker *));
IS(dma_alloc_coherent, void *(struct device *, size_t, dma_addr_t *, gfp_t));
IS(dma_free_coherent, void(struct device *, size_t, void *, dma_addr_t));
IS(dma_pool_create, struct dma_pool *(const char *, struct device *, size_t, size_t, size_t));
IS(dma_pool_alloc, void *(struct dma_pool *, gfp_t, dma_addr_t *));
IS(dma_pool_free, void(struct dma_pool *, void *, dma_addr_t));
IS(memalloc_noio_save, unsigned int(void));
IS(memalloc_noio_restore, void(unsigned int));
IS(memalloc_nofs_save, unsigned int(void));
IS(memalloc_nofs_restore, void(unsigned int));
IS(current_gfp_context, gfp_t(gfp_t));
IS(gfpflags_allow_blocking, bool(gfp_t));
IS(set_active_memcg, struct mem_cgroup *(struct mem_cgroup *));

GIVES(((struct shrinker *)NULL)->count_objects, unsigned long (*)(struct shrinker *, struct shrink_control *));
GIVES(((struct shrinker *)NULL)->scan_objects, unsigned long (*)(struct shrinker *, struct shrink_control *));
GIVES(((struct shrinker *)NULL)->batch, long);
GIVES(((struct shrink_control *)NULL)->gfp_mask, gfp_t);
GIVES(((struct shrink_control *)NULL)->nr_to_scan, unsigned long);
GIVES(((struct kmem_cache_args *)NULL)->align, unsigned int);
GIVES(((struct kmem_cache_args *)NULL)->freeptr_offset, unsigned int);
GIVES(((struct kmem_cache_args *)NULL)->use_freeptr_offset, bool);
GIVES(((struct kmem_cache_args *)NULL)->ctor, ctor_t *);
GIVES(((mempool_t *)NULL)->min_nr, int);
GIVES(((mempool_t *)NULL)->pool_data, void *);
GIVES(KMALLOC_MAX_SIZE, unsigned long);
GIVES(SHRINK_STOP, unsigned long);
GIVES(GFP_KERNEL, gfp_t);

int main(void) {
    void (*free_function)(const void *) = kfree;
    free_function(kmalloc(100, GFP_KERNEL));
    return 0;
}
