/* SPDX-License-Identifier: MIT */
/* That a size the compiler knows reaches the heap as its class: the heap's entry is this program's own here. */
#include "kernel.h"

#include <quarry/quarry.h>
#include <stdlib.h>

static unsigned long seen_class, seen_nr, popped_nr;
static size_t seen_size;
static char *popped;

void *QUARRY_CORE_CLASS_ALLOC(unsigned long cls, size_t size) {
    seen_class = cls;
    seen_size = size;
    seen_nr++;
    return malloc(size);
}

void *QUARRY_CORE_CLASS_POP(unsigned long cls) {
    seen_class = cls;
    popped_nr++;
    return popped;
}

#define EXPECT_CLASS(size, call)                                                                                       \
    do {                                                                                                               \
        unsigned long before = seen_nr;                                                                                \
        kfree(call);                                                                                                   \
        CHECK(seen_nr == before + 1 && seen_size == (size) && seen_class == quarry_class_of_size(size));               \
    } while (0)

/* Out of the magazine it is zeroed as far as its class goes, and no further; where that has none it is zeroed, too. */
#define EXPECT_ZEROED(size, call)                                                                                      \
    do {                                                                                                               \
        static char object[8192 + 64];                                                                                 \
        unsigned long before = popped_nr, none = seen_nr;                                                              \
        size_t bytes = quarry_class_bytes(size);                                                                       \
        memset(object, 'x', sizeof(object));                                                                           \
        popped = object;                                                                                               \
        CHECK((void *)(call) == object && popped_nr == before + 1 && seen_class == quarry_class_of_size(size));        \
        CHECK(bytes == quarry_good_size(opaque_size(size)));                                                           \
        CHECK(bytes_are(object, 0, bytes, 0) && bytes_are(object, bytes, sizeof(object), 'x'));                        \
        popped = NULL;                                                                                                 \
        void *p = (call);                                                                                              \
        CHECK(p != NULL && bytes_are(p, 0, ksize(p), 0) && popped_nr == before + 2 && seen_nr == none);                \
        kfree(p);                                                                                                      \
    } while (0)

int main(void) {
#ifndef __OPTIMIZE__
    check_skip("the compiler knows nothing without optimization");
#endif
    struct pair {
        int a;
        char b[90];
    };
    EXPECT_CLASS(1, kmalloc(1, GFP_KERNEL));
    EXPECT_CLASS(sizeof(struct pair), kmalloc(sizeof(struct pair), GFP_KERNEL));
    EXPECT_CLASS(4096, kmalloc(4096, GFP_KERNEL));
    EXPECT_CLASS(65536, kmalloc(65536, GFP_KERNEL));
    EXPECT_CLASS(100, kmalloc_node(100, GFP_KERNEL, NUMA_NO_NODE));
    EXPECT_CLASS(500, kmalloc_array(5, 100, GFP_KERNEL));
    EXPECT_CLASS(320, kmalloc_array_node(10, 32, GFP_KERNEL, NUMA_NO_NODE));
    EXPECT_CLASS(sizeof(struct pair), kmalloc_obj(struct pair));
    EXPECT_CLASS(7 * sizeof(struct pair), kmalloc_objs(struct pair, 7, GFP_KERNEL));
    EXPECT_ZEROED(1, kzalloc(1, GFP_KERNEL));
    EXPECT_ZEROED(100, kmalloc(100, GFP_KERNEL | __GFP_ZERO));
    EXPECT_ZEROED(129, kzalloc(129, GFP_KERNEL));
    EXPECT_ZEROED(8192, kcalloc(2, 4096, GFP_KERNEL));
    EXPECT_ZEROED(1000, kzalloc_node(1000, GFP_KERNEL, NUMA_NO_NODE));
    EXPECT_ZEROED(3000, kcalloc_node(3, 1000, GFP_KERNEL, NUMA_NO_NODE));
    EXPECT_ZEROED(sizeof(struct pair), kzalloc_obj(struct pair));
    /* What has rules to be applied, or is not known, goes another way. */
    unsigned long allocs = seen_nr, pops = popped_nr;
    kfree(kmalloc(opaque_size(100), GFP_KERNEL));
    kfree(kmalloc(65537, GFP_KERNEL));
    kfree(kzalloc(opaque_size(100), GFP_KERNEL));
    kfree(kzalloc(65537, GFP_KERNEL));
    kfree(kzalloc(100, GFP_NOIO));
    kfree(kmalloc(100, 0));
    kfree(kmalloc(100, GFP_NOIO));
    kfree(kmalloc_node(100, GFP_KERNEL, 0));
    CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR && kzalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(kmalloc_array(SIZE_MAX / 2, 3, GFP_KERNEL) == NULL && kcalloc(SIZE_MAX / 2, 3, GFP_KERNEL) == NULL);
    CHECK(seen_nr == allocs && popped_nr == pops);
    return 0;
}
