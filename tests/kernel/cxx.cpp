/* SPDX-License-Identifier: MIT */
/* The same headers from C++. */
#define QUARRY_KERNEL_GUARDS
#include "check.h"

#include <initializer_list>

#include <sys/sysinfo.h>

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/memcontrol.h>
#include <linux/mempool.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

static DEFINE_PER_CPU(long, counter) = 5;

static void percpu() {
    long *dynamic = alloc_percpu(long), sum = 0;
    unsigned cpu;
    this_cpu_add(counter, 2);
    get_cpu_var(counter) += 1;
    put_cpu_var(counter);
    this_cpu_sub(*dynamic, 1);
    for_each_possible_cpu(cpu) sum += per_cpu(counter, cpu) + *per_cpu_ptr(dynamic, cpu);
    CHECK(sum == 5L * nr_cpu_ids + 2);
    free_percpu(dynamic);
}

static char *scoped(bool kept) {
    char *text __free(kfree) = kasprintf(GFP_KERNEL, "%d", 42);
    void *none __free(vfree) = ERR_PTR(-12);
    guard(rcu)();
    CHECK(text != nullptr && IS_ERR(none));
    if (!kept)
        return nullptr;
    return_ptr(text);
}

static void scopes() {
    CHECK(scoped(false) == nullptr);
    char *text = scoped(true);
    CHECK(strcmp(text, "42") == 0);
    kfree(text);
}

struct item {
    long number;
    char name[20];
};

/* Lists for readers, and what is freed behind them. */
struct node {
    int number;
    struct list_head link;
    struct hlist_node hash;
    struct rcu_head rcu;
};

static void rcu_lists() {
    static LIST_HEAD(nodes);
    static struct hlist_head bucket;
    node *at, *second = nullptr, *published = nullptr;
    INIT_LIST_HEAD_RCU(&nodes);
    for (int i = 0; i < 4; i++) {
        at = kzalloc_obj(node);
        at->number = i;
        list_add_tail_rcu(&at->link, &nodes);
        hlist_add_head_rcu(&at->hash, &bucket);
        if (i == 1)
            second = at;
    }
    int sum = 0;
    rcu_read_lock();
    CHECK(list_first_or_null_rcu(&nodes, node, link)->number == 0);
    list_for_each_entry_rcu(at, &nodes, link) sum = sum * 10 + at->number;
    CHECK(sum == 123);
    sum = 0;
    hlist_for_each_entry_rcu(at, &bucket, hash) sum = sum * 10 + at->number;
    CHECK(sum == 3210 && list_entry_rcu(nodes.next, node, link)->number == 0);
    rcu_read_unlock();
    rcu_assign_pointer(published, second);
    CHECK(rcu_dereference(published) == second && rcu_access_pointer(published) == second);
    CHECK(rcu_dereference_protected(published, true) == second && rcu_dereference_check(published, true) == second);
    CHECK(rcu_replace_pointer(published, nullptr, true) == second && rcu_dereference_raw(published) == nullptr);
    RCU_INIT_POINTER(published, second);
    node *copy = kmalloc_obj(node);
    *copy = *published;
    copy->number = 7;
    list_replace_rcu(&second->link, &copy->link);
    hlist_del_rcu(&second->hash);
    hlist_add_head_rcu(&copy->hash, &bucket);
    kfree_rcu(second, rcu);
    sum = 0;
    list_for_each_entry_rcu(at, &nodes, link) sum = sum * 10 + at->number;
    CHECK(sum == 723);
    for (int i = 0; i < 4; i++) {
        at = list_first_or_null_rcu(&nodes, node, link);
        list_del_rcu(&at->link);
        hlist_del_rcu(&at->hash);
        if (i % 2)
            kvfree_rcu(at, rcu);
        else
            kfree_rcu_mightsleep(at);
    }
    CHECK(list_first_or_null_rcu(&nodes, node, link) == nullptr && bucket.first == nullptr);
    synchronize_rcu();
    kvfree_rcu_barrier();
}

/* Shrinkers in both forms: both are asked when memory is out, which an account's limit makes. */
static int counted_nr;
static unsigned long count(struct shrinker *, struct shrink_control *sc) {
    CHECK((sc->gfp_mask & __GFP_DIRECT_RECLAIM) != 0);
    counted_nr++;
    return SHRINK_EMPTY;
}
static unsigned long scan(struct shrinker *, struct shrink_control *) { return SHRINK_STOP; }

static void shrinkers() {
    struct shrinker *allocated = shrinker_alloc(SHRINKER_NUMA_AWARE, "allocated-%d", 1);
    struct shrinker own = {};
    CHECK(allocated != nullptr);
    allocated->count_objects = own.count_objects = count;
    allocated->scan_objects = own.scan_objects = scan;
    allocated->seeks = own.seeks = DEFAULT_SEEKS;
    shrinker_register(allocated);
    CHECK(register_shrinker(&own, "own") == 0);
    struct mem_cgroup *tenant = quarry_account_create("short", 4096);
    (void)set_active_memcg(tenant);
    CHECK(kmalloc(8192, GFP_KERNEL_ACCOUNT | __GFP_NOWARN) == nullptr && counted_nr >= 2);
    (void)set_active_memcg(nullptr);
    quarry_account_destroy(tenant);
    shrinker_free(allocated);
    unregister_shrinker(&own);
}

/* No C++, but what the headers of kernel-style code have. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
struct packet {
    unsigned short bytes_nr;
    unsigned char bytes[];
};
#pragma GCC diagnostic pop

/* By type and the number of what is behind. */
static void flexible() {
    packet *p = kmalloc_flex(packet, bytes, 100), *zeroed = kzalloc_flex(*p, bytes, 1000, GFP_KERNEL);
    packet *large = kvmalloc_flex(packet, bytes, 70000), *large_zeroed = kvzalloc_flex(packet, bytes, 9, GFP_ATOMIC);
    CHECK(p != nullptr && ksize(p) >= offsetof(packet, bytes) + 100 && ksize(zeroed) >= 1002);
    for (int i = 0; i < 1000; i++)
        CHECK(zeroed->bytes[i] == 0);
    CHECK(large != nullptr && ksize(large) >= 70002 && large_zeroed->bytes[8] == 0);
    CHECK(kmalloc_flex(packet, bytes, SIZE_MAX, GFP_KERNEL | __GFP_NOWARN) == nullptr);
    CHECK(struct_size(p, bytes, 7) == offsetof(packet, bytes) + 7);
    kfree(p);
    kfree(zeroed);
    kvfree(large);
    kvfree(large_zeroed);
}

struct copied_item {
    long number;
    char name[20];
};

static int constructed_nr;
static void construct(void *p) {
    static_cast<item *>(p)->number = 7;
    constructed_nr++;
}

static void caches() {
    struct kmem_cache_args args = {};
    args.ctor = construct;
    struct kmem_cache *five = kmem_cache_create("five", sizeof(item), 0, SLAB_NO_MERGE, construct);
    struct kmem_cache *four = kmem_cache_create("four", sizeof(item), &args, SLAB_NO_MERGE);
    struct kmem_cache *named = KMEM_CACHE(item, SLAB_NO_MERGE),
                      *copied = KMEM_CACHE_USERCOPY(copied_item, SLAB_PANIC, name);
    item *a = static_cast<item *>(kmem_cache_alloc(five, GFP_KERNEL));
    item *b = static_cast<item *>(kmem_cache_alloc(four, GFP_KERNEL));
    CHECK(a->number == 7 && b->number == 7 && constructed_nr > 1);
    kmem_cache_free(five, a);
    kfree(b);
    void *run[10];
    CHECK(kmem_cache_alloc_bulk(named, GFP_KERNEL, 10, run) == 10);
    kmem_cache_free_bulk(named, 10, run);
    mempool_t *pool = mempool_create_slab_pool(4, copied);
    mempool_free(mempool_alloc(pool, GFP_KERNEL), pool);
    CHECK(pool->curr_nr == 4 && mempool_is_saturated(pool));
    mempool_destroy(pool);
    for (struct kmem_cache *s : {five, four, named, copied})
        kmem_cache_destroy(s);
}

int main() {
    rcu_lists();
    shrinkers();
    flexible();
    caches();
    percpu();
    scopes();
    int *values = static_cast<int *>(kcalloc(10, sizeof(int), GFP_KERNEL));
    CHECK(values != nullptr && values[9] == 0 && ksize(values) >= 10 * sizeof(int));
    values = static_cast<int *>(krealloc_array(values, 1000, sizeof(int), GFP_KERNEL | __GFP_ZERO));
    CHECK(values != nullptr && values[999] == 0);
    char *name = kstrdup("slab", GFP_KERNEL);
    CHECK(strcmp(name, "slab") == 0);
    delete[] name; /* one heap */
    kfree(values);
    kfree(new int(1));
    CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
    item *object = kzalloc_obj(item), *objects = kvmalloc_objs(*object, 10, GFP_KERNEL);
    CHECK(object->number == 0 && objects != nullptr);
    kfree(object);
    kvfree(objects);
    CHECK(kmalloc_objs(item, SIZE_MAX, GFP_KERNEL | __GFP_NOWARN) == nullptr);
    return 0;
}
