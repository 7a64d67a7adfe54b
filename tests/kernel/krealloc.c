/* SPDX-License-Identifier: MIT */
/* The edge cases of krealloc. */
#include "kernel.h"

void krealloc_edges(size_t unused) {
    (void)unused;
    char *p = krealloc(NULL, 100, GFP_KERNEL);
    CHECK(p != NULL && ksize(p) >= 100);
    CHECK(krealloc(p, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(krealloc(NULL, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    p = krealloc(ZERO_SIZE_PTR, 100, GFP_KERNEL);
    CHECK(!ZERO_OR_NULL_PTR(p));
    memset(p, 1, 100);
    /* What fits stays, however much smaller it gets. */
    CHECK(krealloc(p, ksize(p), GFP_KERNEL) == p);
    CHECK(krealloc(p, 1, GFP_KERNEL) == p);
    kfree(p);
    CHECK((p = krealloc_array(NULL, 3, 100, GFP_KERNEL)) != NULL && ksize(p) >= 300);
    kfree(p);
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

void krealloc_keeps_on_failure(size_t unused) {
    (void)unused;
    char *p = kmalloc(100, GFP_KERNEL);
    memset(p, 0x22, 100);
    CHECK(krealloc(p, KMALLOC_MAX_SIZE + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(krealloc(p, opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(bytes_are(p, 0, 100, 0x22));
    kfree(p);
}
