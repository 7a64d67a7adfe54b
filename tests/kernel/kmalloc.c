/* SPDX-License-Identifier: MIT */
/* The edge cases of the kmalloc family; the table of all cases of this program. */
#include "cases.h"
#include "kernel.h"

#include <errno.h>
#include <stdlib.h>

static void zero_size(size_t unused) {
    (void)unused;
    void *none = kmalloc(opaque_size(0), GFP_KERNEL);
    CHECK(none == ZERO_SIZE_PTR && none == (void *)16);
    CHECK(kzalloc(opaque_size(0), GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(kmalloc_array(opaque_size(0), 8, GFP_KERNEL) == ZERO_SIZE_PTR && kcalloc(8, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(krealloc_array(NULL, 8, opaque_size(0), GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(kmemdup_array("", opaque_size(0), 8, GFP_KERNEL) == ZERO_SIZE_PTR);
    CHECK(kmalloc_objs(long, opaque_size(0)) == ZERO_SIZE_PTR && kzalloc_objs(long, 0) == ZERO_SIZE_PTR);
    CHECK(kmalloc_node(opaque_size(0), GFP_KERNEL, 0) == ZERO_SIZE_PTR &&
          kzalloc_node(0, GFP_KERNEL, 0) == ZERO_SIZE_PTR);
    CHECK(kmalloc_array_node(0, 8, GFP_KERNEL, 0) == ZERO_SIZE_PTR &&
          kcalloc_node(8, 0, GFP_KERNEL, 0) == ZERO_SIZE_PTR);
    CHECK(kmalloc(opaque_size(0), 0) == ZERO_SIZE_PTR);
    CHECK(ZERO_OR_NULL_PTR(none) && ZERO_OR_NULL_PTR(NULL));
    CHECK(ZERO_OR_NULL_PTR((void *)1) && !ZERO_OR_NULL_PTR((void *)17));
    CHECK(ksize(none) == 0 && ksize(NULL) == 0);
    kfree(none);
    kfree(NULL);
    kfree_sensitive(none);
    kfree_sensitive(NULL);
}

/* Each power of two, and for each size of some more the largest power of two that divides it. */
static void natural_alignment(size_t unused) {
    (void)unused;
    for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size += size < 4096 ? 1 : size < 65536 ? 512 : 65536) {
        size_t align = size & -size;
        char *p = kmalloc(size, GFP_KERNEL), *q = kzalloc(size, GFP_KERNEL);
        CHECK_MSG(p != NULL && (uintptr_t)p % align == 0, "kmalloc(%zu) gave %p", size, (void *)p);
        CHECK_MSG(q != NULL && (uintptr_t)q % align == 0, "kzalloc(%zu) gave %p", size, (void *)q);
        CHECK((uintptr_t)p % 16 == 0);
        kfree(p);
        kfree(q);
    }
}

static void maximum(size_t unused) {
    (void)unused;
    char *p = kmalloc(opaque_size(KMALLOC_MAX_SIZE), GFP_KERNEL);
    CHECK(p != NULL && (uintptr_t)p % KMALLOC_MAX_SIZE == 0);
    memset(p, 1, KMALLOC_MAX_SIZE);
    kfree(p);
    errno = 7;
    CHECK(kmalloc(opaque_size(KMALLOC_MAX_SIZE + 1), GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(kmalloc(opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(kzalloc(opaque_size(SIZE_MAX), GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(errno == 7);
}

/* Silent without __GFP_NOWARN: the driver sees any line. */
static void overflow(size_t unused) {
    (void)unused;
    size_t half = opaque_size(SIZE_MAX / 2 + 1);
    CHECK(kmalloc_array(half, 2, GFP_KERNEL) == NULL);
    CHECK(kcalloc(half, 2, GFP_KERNEL) == NULL);
    CHECK(kcalloc(2, half, GFP_KERNEL) == NULL);
    void *p = kmalloc(40, GFP_KERNEL);
    memset(p, 0x44, 40);
    CHECK(krealloc_array(p, half, 2, GFP_KERNEL) == NULL && bytes_are(p, 0, 40, 0x44));
    kfree(p);
    CHECK(kmemdup_array("x", half, 2, GFP_KERNEL | __GFP_NOWARN) == NULL);
    CHECK(size_mul(half, 2) == SIZE_MAX && size_add(half, half) == SIZE_MAX && size_sub(1, 2) == SIZE_MAX);
    CHECK(size_sub(SIZE_MAX, 1) == SIZE_MAX && size_mul(6, 7) == 42 && size_add(6, 7) == 13 && size_sub(7, 6) == 1);
}

/* Dirty memory of each size is taken again; a mapping that is used again is larger than what was asked for. */
static void zeroed(size_t size) {
    for (int round = 0; round < 40; round++) {
        void *dirty = kmalloc(size < KMALLOC_MAX_SIZE ? size + size / 8 : size, GFP_KERNEL);
        memset(dirty, 0xee, ksize(dirty));
        kfree(dirty);
        char *p = round % 2 ? kzalloc(size, GFP_KERNEL) : kcalloc(size, 1, GFP_KERNEL);
        CHECK_MSG(bytes_are(p, 0, ksize(p), 0), "kzalloc(%zu) is not zero up to ksize %zu", size, ksize(p));
        memset(p, 0xee, ksize(p));
        kfree(p);
    }
}

static void sizes(size_t unused) {
    (void)unused;
    CHECK(kmalloc_size_roundup(0) == 0);
    CHECK(kmalloc_size_roundup(KMALLOC_MAX_SIZE + 1) == KMALLOC_MAX_SIZE + 1);
    CHECK(kmalloc_size_roundup(SIZE_MAX) == SIZE_MAX);
    CHECK(kmalloc_size_roundup(KMALLOC_MAX_SIZE) == KMALLOC_MAX_SIZE);
    for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size = size * 5 / 4 + 1) {
        size_t rounded = kmalloc_size_roundup(size);
        void *p = kmalloc(size, GFP_KERNEL), *q = kmalloc(rounded, GFP_KERNEL);
        CHECK(rounded >= size && ksize(p) >= rounded && ksize(q) >= rounded);
        CHECK_MSG(size > 1 << 20 || (ksize(p) == rounded && ksize(q) == rounded), "kmalloc_size_roundup(%zu) = %zu",
                  size, rounded);
        kfree(p);
        kfree(q);
    }
    /* Of what flags keep apart objects are as large at least: so what it says may be used, whatever the flags. */
    static const gfp_t kinds[] = {GFP_KERNEL | __GFP_RECLAIMABLE, GFP_KERNEL | GFP_DMA, GFP_KERNEL_ACCOUNT, GFP_ATOMIC,
                                  GFP_KERNEL | __GFP_THISNODE};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size = size * 3 / 2 + 1) {
            size_t rounded = kmalloc_size_roundup(size);
            char *p = kmalloc(rounded, kinds[i] | __GFP_NOWARN); /* NULL: no right to it, or nothing at hand */
            CHECK_MSG(p == NULL || ksize(p) >= rounded, "%zu bytes by flags %#x: ksize %zu", rounded, kinds[i],
                      ksize(p));
            if (p != NULL)
                p[rounded - 1] = 1;
            kfree(p);
        }
    }
}

/* What was freed is likely to be given out next: nothing of the secret may be in it. */
static void sensitive(size_t unused) {
    (void)unused;
    char *p = kmalloc(200, GFP_KERNEL);
    size_t bytes = ksize(p);
    memset(p, 0x37, bytes);
    char *at = opaque(p);
    kfree_sensitive(p);
    CHECK(memchr(opaque(at), 0x37, bytes) == NULL); /* its page stays: others of the slab are in the magazine */
}

static void bulk(size_t unused) {
    (void)unused;
    void *p[64];
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < 64; i++)
            CHECK((p[i] = kmalloc(i * 97, GFP_KERNEL)) != NULL); /* the first is ZERO_SIZE_PTR */
        kfree_bulk(64, p);
    }
    kfree_bulk(0, NULL);
}

static void one_heap(size_t unused) {
    (void)unused;
    for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size *= 3) {
        void *p = malloc(size);
        CHECK(ksize(p) >= size);
        kfree(opaque(p));
        free(opaque(kmalloc(size, GFP_KERNEL)));
    }
}

/* A request that may not block: out of the magazine, where there is one, and never from the system. */
static void at_hand(size_t unused) {
    (void)unused;
    CHECK(kmalloc(opaque_size(1 << 20), __GFP_NOWARN) == NULL);
    char *p = kmalloc(48, GFP_KERNEL);
    memset(p, 0xee, 48);
    kfree(p);
    p = kzalloc(48, __GFP_NOWARN);
    CHECK(p == NULL || bytes_are(p, 0, ksize(p), 0));
    CHECK(!gfpflags_allow_blocking(__GFP_NOWARN) && gfpflags_allow_blocking(GFP_NOIO));
    kfree(p);
    size_t got = 0;
    void *all[4096];
    while (got < 4096 && (all[got] = kmalloc(208, __GFP_NOWARN)) != NULL)
        got++;
    CHECK_MSG(got < 4096, "a request that may not block was served %zu times", got);
    kfree_bulk(got, all);
}

/* The class is found by the compiler; the steps option may want another. */
#define CONSTANT_SIZE(size)                                                                                            \
    do {                                                                                                               \
        void *all[100];                                                                                                \
        for (int i = 0; i < 100; i++) {                                                                                \
            all[i] = kmalloc(size, GFP_KERNEL);                                                                        \
            CHECK(ksize(all[i]) == kmalloc_size_roundup(opaque_size(size)));                                           \
            memset(all[i], i, size);                                                                                   \
        }                                                                                                              \
        for (int i = 0; i < 100; i++)                                                                                  \
            CHECK(bytes_are(all[i], 0, size, (unsigned char)i));                                                       \
        kfree_bulk(100, all);                                                                                          \
    } while (0)

static void constant_sizes(size_t unused) {
    (void)unused;
    for (int round = 0; round < 3; round++) {
        CONSTANT_SIZE(1);
        CONSTANT_SIZE(16);
        CONSTANT_SIZE(17);
        CONSTANT_SIZE(128);
        CONSTANT_SIZE(129);
        CONSTANT_SIZE(500);
        CONSTANT_SIZE(1025);
        CONSTANT_SIZE(16385);
        CONSTANT_SIZE(65536);
    }
    CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
    char *p = kmalloc(4 << 20, GFP_KERNEL);
    CHECK((uintptr_t)p % (4 << 20) == 0);
    kfree(p);
    CHECK(kmalloc((4 << 20) + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
}

static void nodes(size_t unused) {
    (void)unused;
    char *p = kmalloc_node(200, GFP_KERNEL, NUMA_NO_NODE), *q = kzalloc_node(200, GFP_KERNEL, 0);
    char *r = kmalloc_array_node(20, 10, GFP_KERNEL, 0), *s = kcalloc_node(20, 10, GFP_KERNEL, 0);
    CHECK(p && r && bytes_are(q, 0, 200, 0) && bytes_are(s, 0, 200, 0));
    CHECK(kcalloc_node(opaque_size(SIZE_MAX), 2, GFP_KERNEL, 0) == NULL);
    CHECK(kmalloc_array_node(2, opaque_size(SIZE_MAX), GFP_KERNEL, 0) == NULL);
    kfree(p);
    kfree(q);
    kfree(r);
    kfree(s);
}

static void nolock(size_t unused) {
    (void)unused;
    void *all[4096];
    size_t got = 0;
    CHECK(kmalloc_nolock(opaque_size(0), 0, NUMA_NO_NODE) == ZERO_SIZE_PTR);
    kfree_nolock(ZERO_SIZE_PTR);
    kfree_nolock(NULL);
    void *dirty = kmalloc(opaque_size(8192), GFP_KERNEL);
    memset(dirty, 0xee, 8192);
    kfree(dirty);
    char *p = kmalloc_nolock(opaque_size(8192), __GFP_ZERO, NUMA_NO_NODE);
    CHECK(p == NULL || bytes_are(p, 0, ksize(p), 0));
    kfree_nolock(p);
    CHECK(kmalloc_nolock(opaque_size(8193), 0, NUMA_NO_NODE) == NULL);
    while (got < 4096 && (all[got] = kmalloc_nolock(208, 0, NUMA_NO_NODE)) != NULL)
        got++;
    CHECK_MSG(got < 4096, "%zu objects without a system call", got);
    while (got > 0)
        kfree_nolock(all[--got]);
}

static const struct test_case table[] = {
    {"zero size", zero_size, 0, CASE_QUARRY},
    {"natural alignment", natural_alignment, 0, CASE_QUARRY},
    {"ways", kmalloc_ways, 0, CASE_QUARRY},
    {"ways, zeroed", kmalloc_ways, 1, CASE_QUARRY},
    {"maximum", maximum, 0, CASE_QUARRY},
    {"overflow", overflow, 0, CASE_QUARRY},
    {"zeroed 20", zeroed, 20, CASE_QUARRY},
    {"zeroed 3000", zeroed, 3000, CASE_QUARRY},
    {"zeroed 100000", zeroed, 100000, CASE_QUARRY},
    {"zeroed 3000001", zeroed, 3000001, CASE_QUARRY},
    {"zeroed 4 MiB", zeroed, 4 << 20, CASE_QUARRY},
    {"sizes", sizes, 0, CASE_QUARRY},
    {"sensitive", sensitive, 0, CASE_QUARRY},
    {"bulk", bulk, 0, CASE_QUARRY},
    {"one heap", one_heap, 0, CASE_QUARRY},
    {"at hand", at_hand, 0, CASE_QUARRY},
    {"constant sizes", constant_sizes, 0, CASE_QUARRY},
    {"nodes", nodes, 0, CASE_QUARRY},
    {"nolock", nolock, 0, CASE_QUARRY},
    {"krealloc edges", krealloc_edges, 0, CASE_QUARRY},
    {"krealloc copies", krealloc_copies, 0, CASE_QUARRY},
    {"krealloc grows from 10", krealloc_grows, 10, CASE_QUARRY},
    {"krealloc grows from 5000", krealloc_grows, 5000, CASE_QUARRY},
    {"krealloc zeroes from 10", krealloc_zeroes, 10, CASE_QUARRY},
    {"krealloc zeroes from 5000", krealloc_zeroes, 5000, CASE_QUARRY},
    {"krealloc zeroes from 1100000", krealloc_zeroes, 1100000, CASE_QUARRY},
    {"krealloc aligns to 64", krealloc_aligns, 64, CASE_QUARRY},
    {"krealloc aligns to 65536", krealloc_aligns, 65536, CASE_QUARRY},
    {"krealloc keeps on failure", krealloc_keeps_on_failure, 0, CASE_QUARRY},
    {"strings", dup_strings, 0, CASE_QUARRY},
    {"constants", dup_constants, 0, CASE_QUARRY},
    {"memory", dup_memory, 0, CASE_QUARRY},
};

int main(int argc, char **argv) { return cases_main(argc, argv, table, sizeof(table) / sizeof(table[0])); }
