/* SPDX-License-Identifier: MIT */
/* The edge cases of krealloc. */
#include "kernel.h"

#include <linux/vmalloc.h>
#include <stdlib.h>

void krealloc_edges(size_t unused) {
    (void)unused;
    char *p = krealloc(NULL, 100, GFP_KERNEL);
    CHECK(p != NULL && ksize(p) >= 100);
    CHECK(krealloc(p, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(krealloc(NULL, 0, GFP_KERNEL) == ZERO_SIZE_PTR && krealloc(ZERO_SIZE_PTR, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    /* Whatever it was, it went back. */
    struct kmem_cache *s = kmem_cache_create("given-up", 100, 0, SLAB_NO_MERGE, NULL);
    CHECK(s != NULL && krealloc(kmem_cache_alloc(s, GFP_KERNEL), 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    struct quarry_kmem_cache_info info;
    quarry_kmem_cache_info_get(s, &info);
    CHECK(info.active_objs == 0);
    kmem_cache_destroy(s);
    p = krealloc(ZERO_SIZE_PTR, 100, GFP_KERNEL);
    CHECK(!ZERO_OR_NULL_PTR(p));
    memset(p, 1, 100);
    /* What fits stays, however much smaller it gets. */
    CHECK(krealloc(p, ksize(p), GFP_KERNEL) == p);
    CHECK(krealloc(p, 1, GFP_KERNEL) == p);
    kfree(p);
    CHECK((p = krealloc_array(NULL, 3, 100, GFP_KERNEL)) != NULL && ksize(p) >= 300);
    memset(p, 2, 300);
    CHECK((p = krealloc_array(p, 30, 100, GFP_KERNEL)) != NULL && ksize(p) >= 3000 && bytes_are(p, 0, 300, 2));
    CHECK(krealloc_array(p, 0, 100, GFP_KERNEL) == ZERO_SIZE_PTR);
}

/* All that ksize() tells is copied; also of what malloc gave, or a cache. */
void krealloc_copies(size_t unused) {
    struct kmem_cache *s = kmem_cache_create("copied", 100, 0, SLAB_NO_MERGE, NULL);
    (void)unused;
    CHECK(s != NULL);
    void *const all[] = {kmalloc(100, GFP_KERNEL), malloc(5000), kmem_cache_alloc(s, GFP_KERNEL),
                         kmalloc(KMALLOC_MAX_SIZE / 2, GFP_KERNEL)};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        size_t room = ksize(all[i]);
        memset(all[i], (int)i + 1, room);
        char *p = krealloc(opaque(all[i]), room + 1, GFP_KERNEL);
        CHECK(p != NULL && p != all[i] && bytes_are(p, 0, room, (unsigned char)(i + 1)));
        kfree(p);
    }
    kmem_cache_destroy(s); /* says so if its object were still out */
}

void krealloc_grows(size_t size) {
    char *p = kmalloc(size, GFP_KERNEL);
    memset(p, 0x11, size);
    for (size_t now = size; now <= KMALLOC_MAX_SIZE; now *= 2) {
        p = krealloc(p, now, GFP_KERNEL);
        CHECK(p != NULL && bytes_are(p, 0, size, 0x11));
        CHECK((uintptr_t)p % (now & -now) == 0);
    }
    kfree(p);
}

/* Always with __GFP_ZERO: whatever was not asked for at some time reads as zeros when it is, after shrinking too. */
void krealloc_zeroes(size_t size) {
    for (int round = 0; round < 20; round++) {
        char *dirty = kmalloc(size * 3, GFP_KERNEL);
        memset(dirty, 0xee, ksize(dirty));
        kfree(dirty);
        char *p = kzalloc(size, GFP_KERNEL);
        memset(p, 0x11, size);
        p = krealloc(p, size / 2, GFP_KERNEL | __GFP_ZERO);
        CHECK(bytes_are(p, 0, size / 2, 0x11));
        p = krealloc(p, size, GFP_KERNEL | __GFP_ZERO);
        CHECK(bytes_are(p, size / 2, size, 0));
        p = krealloc(p, size * 3, GFP_KERNEL | __GFP_ZERO);
        CHECK(bytes_are(p, 0, size / 2, 0x11) && bytes_are(p, size / 2, size * 3, 0));
        kfree(p);
    }
}

static bool at(const void *p, size_t align) { return (uintptr_t)opaque(p) % align == 0; }

/* What lies well enough and fits stays. */
void krealloc_aligns(size_t align) {
    for (size_t size = 1; size <= 3000000; size += 1 + size * 3) {
        void *others[8];
        for (int i = 0; i < 8; i++)
            others[i] = kmalloc(size | 1, GFP_KERNEL);
        char *p = kmalloc(size | 1, GFP_KERNEL), *q;
        memset(p, 0x33, size);
        bool lay_well = at(p, align);
        CHECK((q = krealloc_node_align(p, size, align, GFP_KERNEL, NUMA_NO_NODE)) != NULL && at(q, align));
        CHECK((q == p) == lay_well && bytes_are(q, 0, size, 0x33));
        p = q;
        CHECK((q = krealloc_node_align(p, size, align, GFP_KERNEL, NUMA_NO_NODE)) == p);
        CHECK((q = krealloc_node_align(p, size * 2 + 100000, align, GFP_KERNEL, 0)) != NULL && at(q, align));
        CHECK(ksize(q) >= size * 2 + 100000 || size * 2 + 100000 > KMALLOC_MAX_SIZE);
        CHECK(bytes_are(q, 0, size, 0x33));
        CHECK(krealloc_node_align(q, size, 48, GFP_KERNEL, NUMA_NO_NODE) == NULL);
        CHECK(krealloc_node_align(kmalloc(size, GFP_KERNEL), 0, 48, GFP_KERNEL, NUMA_NO_NODE) == ZERO_SIZE_PTR);
        CHECK(krealloc_node_align(q, KMALLOC_MAX_SIZE + 1, align, GFP_KERNEL | __GFP_NOWARN, NUMA_NO_NODE) == NULL);
        CHECK(bytes_are(q, 0, size, 0x33));
        CHECK(krealloc_node_align(q, 0, align, GFP_KERNEL, NUMA_NO_NODE) == ZERO_SIZE_PTR);
        for (int i = 0; i < 8; i++)
            kfree(others[i]);
        for (int how = 0; how < 2; how++) {
            CHECK((p = kvmalloc_node_align(size * (how ? 1 : 3), align, GFP_KERNEL, NUMA_NO_NODE)) != NULL &&
                  at(p, align));
            memset(p, 1, size);
            kvfree(p);
        }
    }
    CHECK(kvmalloc_node_align(100, 24, GFP_KERNEL, NUMA_NO_NODE) == NULL);
    void *p = krealloc_node_align(NULL, 10, align, GFP_KERNEL, NUMA_NO_NODE),
         *q = krealloc_node(NULL, 10, GFP_KERNEL, 0);
    CHECK(p != NULL && at(p, align) && q != NULL && krealloc_node(q, ksize(q), GFP_KERNEL, 0) == q);
    kfree(p);
    kfree(q);
    p = kvmalloc_node_align(9000000, align, GFP_KERNEL, 0);
    CHECK(p != NULL && at(p, align) && is_vmalloc_addr(p));
    kvfree(p);
}

void krealloc_keeps_on_failure(size_t unused) {
    (void)unused;
    char *p = kmalloc(100, GFP_KERNEL);
    memset(p, 0x22, 100);
    CHECK(krealloc(p, KMALLOC_MAX_SIZE + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(krealloc(p, opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(bytes_are(p, 0, 100, 0x22));
    kfree(p);
}
