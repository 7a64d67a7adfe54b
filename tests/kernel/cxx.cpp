/* SPDX-License-Identifier: MIT */
/* The same headers from C++. */
#include "check.h"

#include <initializer_list>

#include <linux/err.h>
#include <linux/list.h>
#include <linux/mempool.h>
#include <linux/percpu.h>
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

struct item {
    long number;
    char name[20];
};

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
    caches();
    percpu();
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
