/* SPDX-License-Identifier: MIT */
/*
 * Edge cases of malloc, calloc, free, cfree, free_sized, free_aligned_sized and malloc_usable_size. Rows in edges.def.
 */
#include "edges.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* C23's names and glibc's old one are looked up at run time: no header of today's glibc has them. */
static void (*sized_free_get(void))(void *, size_t) {
    void (*fn)(void *, size_t);

    symbol_get("free_sized", &fn);
    CHECK_MSG(fn != NULL, "free_sized is not exported");
    return fn;
}

void edge_malloc_zero(size_t count) {
    uintptr_t *seen = edge_alloc(count * sizeof *seen);

    for (size_t i = 0; i < count; i++) {
        seen[i] = (uintptr_t)edge_alloc(0);
        for (size_t j = 0; j < i; j++)
            CHECK(seen[j] != seen[i]);
    }
    for (size_t i = 0; i < count; i++)
        free((void *)seen[i]);
    free(seen);
}

void edge_malloc_sweep(size_t largest) {
    unsigned char **held = edge_alloc((largest + 1) * sizeof *held);

    for (size_t size = 1; size <= largest; size++) {
        held[size] = edge_alloc(size);
        edge_aligned(held[size], 16);
        edge_fill(held[size], size, (unsigned)size);
    }
    for (size_t size = 1; size <= largest; size++) {
        edge_verify(held[size], size, (unsigned)size);
        free(held[size]);
    }
    free(held);
}

void edge_malloc_refused(size_t size) {
    errno = 0;
    edge_refused(opaque(malloc(opaque_size(size))));
}

void edge_malloc_after_refusal(size_t unused) {
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        void *p;
        edge_malloc_refused(TOO_LARGE_REAL);
        p = edge_alloc(SIZE_SMALL);
        edge_fill(p, SIZE_SMALL, 1);
        edge_verify(p, SIZE_SMALL, 1);
        free(p);
    }
}

void edge_neighbours(size_t size) {
    enum { HELD_NR = 32 };
    void *held[HELD_NR];

    for (unsigned i = 0; i < HELD_NR; i++) {
        held[i] = edge_alloc(size);
        edge_fill(held[i], size, i);
    }
    for (unsigned i = 0; i < HELD_NR; i += 2) {
        free(held[i]);
        held[i] = edge_alloc(size);
        edge_fill(held[i], size, i + 100);
    }
    for (unsigned i = 0; i < HELD_NR; i++) {
        edge_verify(held[i], size, i % 2 ? i : i + 100);
        free(held[i]);
    }
}

/* From first up to the end of its tier; several of each, because the first of a slab is always aligned. */
void edge_natural(size_t first) {
    size_t last = first <= 1024 ? 1024 : first <= 32 << 10 ? 32 << 10 : 1 << 20;

    for (size_t size = first; size <= last; size *= 2) {
        void *held[9];
        for (size_t i = 0; i < 9; i++) {
            held[i] = edge_alloc(size);
            edge_aligned(held[i], size);
        }
        for (size_t i = 0; i < 9; i++)
            free(held[i]);
    }
}

static void zero_check(const unsigned char *p, size_t size) {
    CHECK(p != NULL);
    for (size_t at = 0; at < size; at++)
        CHECK_MSG(p[at] == 0, "calloc: byte %zu of %zu is %#x", at, size, (unsigned)p[at]);
}

void edge_calloc_zero(size_t size) {
    for (int i = 0; i < 8; i++)
        zero_check(opaque(calloc(1, opaque_size(size))), size);
    zero_check(opaque(calloc(opaque_size(size / 8), 8)), size / 8 * 8);
}

/* Everything the caller may write is written, usable size included, and the same memory asked for again. */
void edge_calloc_dirty(size_t size) {
    enum { HELD_NR = 16, ROUNDS = 4 };
    unsigned char *held[HELD_NR];

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < HELD_NR; i++) {
            held[i] = opaque(calloc(opaque_size(1), size));
            zero_check(held[i], size);
            memset(held[i], 0xa5, malloc_usable_size(held[i]));
        }
        for (int i = 0; i < HELD_NR; i++)
            free(held[i]);
    }
}

/* Memory that was one larger object before: a zero mark kept per page or per run must not survive the split. */
void edge_calloc_split(size_t size) {
    for (size_t factor = 16; factor >= 1; factor /= 2) {
        void *p = edge_alloc(size * factor);
        memset(p, 0x5a, malloc_usable_size(p));
        free(p);
        for (size_t i = 0; i < 16; i++) {
            unsigned char *q = opaque(calloc(opaque_size(1), size));
            zero_check(q, size);
            memset(q, 0x33, size);
            if (i % 2)
                free(q);
        }
    }
}

void edge_calloc_wraps(size_t row) {
    static const size_t operands[][2] = {
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 32) + 1, (size_t)1 << 32},
        {2, (size_t)PTRDIFF_MAX / 2 + 1},
        {1, PTRDIFF_MAX},
        {SIZE_MAX, SIZE_MAX},
    };

    errno = 0;
    edge_refused(opaque(calloc(opaque_size(operands[row][0]), opaque_size(operands[row][1]))));
    errno = 0;
    edge_refused(opaque(calloc(opaque_size(operands[row][1]), opaque_size(operands[row][0]))));
}

void edge_calloc_none(size_t unused) {
    void *p = opaque(calloc(opaque_size(0), 8)), *q = opaque(calloc(opaque_size(8), 0));
    void *r = opaque(calloc(opaque_size(0), opaque_size(SIZE_MAX)));

    (void)unused;
    CHECK(p != NULL && q != NULL && r != NULL && p != q && q != r && p != r);
    free(p);
    free(q);
    free(r);
}

void edge_free_null(size_t unused) {
    (void)unused;
    errno = 4711;
    free(opaque(NULL));
    CHECK(errno == 4711);
}

void edge_free_errno(size_t size) {
    enum { HELD_NR = 300 };
    void *held[HELD_NR];
    size_t held_nr = size > 1 << 20 ? 20 : HELD_NR;

    for (size_t i = 0; i < held_nr; i++)
        held[i] = edge_alloc(size);
    for (size_t i = 0; i < held_nr; i++) {
        errno = 4711;
        free(held[i]);
        CHECK_MSG(errno == 4711, "free(%zu bytes) left errno %d", size, errno);
    }
}

void edge_free_orders(size_t unused) {
    enum { HELD_NR = 4096 };
    static void *held[HELD_NR];

    (void)unused;
    for (size_t stride = 1; stride <= 1031; stride = stride * 2 + 1) {
        for (size_t i = 0; i < HELD_NR; i++) {
            held[i] = edge_alloc(16 + i % 512);
            edge_fill(held[i], 16, (unsigned)i);
        }
        for (size_t i = 0, at = 0; i < HELD_NR; i++, at = (at + stride) % HELD_NR) {
            edge_verify(held[at], 16, (unsigned)at);
            free(held[at]);
        }
    }
}

void edge_cfree(size_t unused) {
    void (*fn)(void *);

    (void)unused;
    symbol_get("cfree", &fn);
    CHECK_MSG(fn != NULL, "cfree is not exported");
    fn(NULL);
    for (int i = 0; i < 1000; i++)
        fn(edge_alloc(SIZE_SMALL));
    fn(edge_alloc(SIZE_BIG));
}

void edge_free_sized(size_t size) {
    void (*fn)(void *, size_t) = sized_free_get();

    for (unsigned i = 0; i < 200; i++) {
        void *p = edge_alloc(size);
        edge_fill(p, size > 4096 ? 4096 : size, i);
        fn(p, size);
    }
}

void edge_free_sized_others(size_t unused) {
    void (*fn)(void *, size_t) = sized_free_get();
    static const size_t sizes[] = {40, 1000, 5000, 100000, 3 << 20};

    (void)unused;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fn(opaque(calloc(1, sizes[i])), sizes[i]);
        fn(opaque(realloc(edge_alloc(sizes[i]), sizes[i] / 2)), sizes[i] / 2);
        fn(opaque(realloc(edge_alloc(sizes[i]), sizes[i] * 3)), sizes[i] * 3);
    }
}

void edge_free_sized_null(size_t unused) {
    void (*aligned_fn)(void *, size_t, size_t);

    (void)unused;
    sized_free_get()(NULL, 0);
    sized_free_get()(NULL, 100000);
    symbol_get("free_aligned_sized", &aligned_fn);
    CHECK_MSG(aligned_fn != NULL, "free_aligned_sized is not exported");
    aligned_fn(NULL, 64, 100000);
}

void edge_free_aligned_sized(size_t alignment) {
    static const size_t sizes[] = {1, 100, 1000, 5000, 100000, 3 << 20};
    void (*fn)(void *, size_t, size_t);

    symbol_get("free_aligned_sized", &fn);
    CHECK_MSG(fn != NULL, "free_aligned_sized is not exported");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = (sizes[i] + alignment - 1) / alignment * alignment;
        fn(opaque(aligned_alloc(alignment, size)), alignment, size);
        fn(opaque(memalign(alignment, sizes[i])), alignment, sizes[i]);
    }
}

void edge_free_sized_errno(size_t unused) {
    static const size_t sizes[] = {40, 5000, 100000, 3 << 20};
    void (*fn)(void *, size_t) = sized_free_get();

    (void)unused;
    for (size_t i = 0; i < 400; i++) {
        void *p = edge_alloc(sizes[i % 4]);
        errno = 4711;
        fn(p, sizes[i % 4]);
        CHECK(errno == 4711);
    }
}

void edge_usable_null(size_t unused) {
    (void)unused;
    CHECK(malloc_usable_size(opaque(NULL)) == 0);
}

void edge_usable_sweep(size_t largest) {
    for (size_t size = 0; size <= largest; size++) {
        void *p = edge_alloc(size);
        size_t usable = malloc_usable_size(p);
        CHECK_MSG(usable >= size, "usable size %zu for %zu bytes", usable, size);
        memset(p, 0xff, usable);
        CHECK(malloc_usable_size(p) == usable);
        free(p);
    }
}

void edge_usable_writable(size_t size) {
    enum { HELD_NR = 24 };
    void *held[HELD_NR];

    for (unsigned i = 0; i < HELD_NR; i++) {
        held[i] = edge_alloc(size);
        edge_fill(held[i], malloc_usable_size(held[i]), i);
    }
    for (unsigned i = 0; i < HELD_NR; i++)
        edge_verify(held[i], malloc_usable_size(held[i]), i);
    for (unsigned i = 0; i < HELD_NR; i++)
        free(held[i]);
}

/* Four steps per doubling: the next class is at most a quarter above, and up to 1 MiB a page run is rounded alike. */
void edge_usable_tight(size_t largest) {
    if (getenv("QUARRY_STEPS"))
        check_skip("QUARRY_STEPS asks for other classes");
    for (size_t size = 64; size <= largest; size += size / 7 + 1) {
        void *p = edge_alloc(size);
        size_t page_slack = size > 32 << 10 ? 4096 : 0;
        CHECK_MSG(malloc_usable_size(p) <= size + size / 4 + page_slack, "%zu bytes take %zu", size,
                  malloc_usable_size(p));
        free(p);
    }
}
