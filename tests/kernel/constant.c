/* SPDX-License-Identifier: MIT */
/* That a size the compiler knows reaches the heap as its class: the heap's entry is this program's own here. */
#include "check.h"

#include <linux/slab.h>
#include <linux/string.h>
#include <stdlib.h>

static unsigned long seen_class, seen_nr;
static size_t seen_size;

void *QUARRY_CORE_CLASS_ALLOC(unsigned long cls, size_t size) {
    seen_class = cls;
    seen_size = size;
    seen_nr++;
    return malloc(size);
}

#define EXPECT_CLASS(size)                                                                                             \
    do {                                                                                                               \
        unsigned long before = seen_nr;                                                                                \
        kfree(kmalloc(size, GFP_KERNEL));                                                                              \
        CHECK(seen_nr == before + 1 && seen_size == (size) && seen_class == quarry_class_of_size(size));               \
    } while (0)

int main(void) {
#ifndef __OPTIMIZE__
    check_skip("the compiler knows nothing without optimization");
#endif
    struct pair {
        int a;
        char b[90];
    };
    EXPECT_CLASS(1);
    EXPECT_CLASS(sizeof(struct pair));
    EXPECT_CLASS(4096);
    EXPECT_CLASS(65536);
    kfree(kmalloc_node(100, GFP_KERNEL, NUMA_NO_NODE));
    CHECK(seen_nr == 5 && seen_class == quarry_class_of_size(100));
    /* What has rules to be applied, or is not known, goes another way. */
    kfree(kmalloc(opaque_size(100), GFP_KERNEL));
    kfree(kmalloc(65537, GFP_KERNEL));
    kfree(kzalloc(100, GFP_KERNEL));
    kfree(kmalloc(100, 0));
    kfree(kmalloc(100, GFP_NOIO));
    CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(seen_nr == 5);
    return 0;
}
