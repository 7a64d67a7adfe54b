/* SPDX-License-Identifier: MIT */
/*
 * Edge cases of realloc and reallocarray. Rows in edges.def.
 */
#include "edges.h"

#include "proc.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static void *edge_realloc(void *p, size_t size) {
    void *moved = opaque(realloc(p, opaque_size(size)));

    CHECK_MSG(moved != NULL, "realloc to %zu gave NULL", size);
    CHECK(malloc_usable_size(moved) >= size);
    edge_aligned(moved, 16);
    return moved;
}

static size_t size_least(size_t a, size_t b) { return a < b ? a : b; }

void edge_realloc_null(size_t size) {
    void *p = edge_realloc(NULL, size);

    edge_fill(p, size, 1);
    edge_verify(p, size, 1);
    free(p);
}

void edge_realloc_null_zero(size_t unused) {
    void *p = opaque(realloc(NULL, opaque_size(0)));

    (void)unused;
    CHECK(p != NULL);
    free(p);
}

/* That it frees is seen in resident memory: as much as 256 MiB would be held otherwise. */
void edge_realloc_zero(size_t size) {
    size_t rounds = ((size_t)256 << 20) / size, start_bytes = proc_resident_bytes(), end_bytes;

    for (size_t i = 0; i < rounds; i++) {
        void *p = edge_alloc(size);
        memset(p, 1, size_least(size, 4096));
        memset((char *)p + size / 2, 1, size - size / 2);
        CHECK(opaque(realloc(p, opaque_size(0))) == NULL);
    }
    end_bytes = proc_resident_bytes();
    CHECK_MSG(end_bytes < start_bytes + (32 << 20), "resident memory grew from %zu to %zu bytes", start_bytes,
              end_bytes);
}

void edge_realloc_from_zero(size_t unused) {
    void *p = edge_alloc(0);

    (void)unused;
    p = edge_realloc(p, 10);
    edge_fill(p, 10, 3);
    p = edge_realloc(p, 100000);
    edge_verify(p, 10, 3);
    free(p);
}

void edge_realloc_tiers(size_t from) {
    static const size_t targets[] = {1,        24,    SIZE_SMALL, 1000,   1024,    1025,          4096,     SIZE_MEDIUM,
                                     32 << 10, 33000, SIZE_RUN,   500000, 1 << 20, (1 << 20) + 1, SIZE_BIG, 9 << 20};

    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        size_t kept = size_least(from, targets[i]);
        void *p = edge_alloc(from);
        edge_fill(p, from, (unsigned)i);
        p = edge_realloc(p, targets[i]);
        edge_verify(p, kept, (unsigned)i);
        edge_fill(p, targets[i], (unsigned)i + 50);
        p = edge_realloc(p, from);
        edge_verify(p, kept, (unsigned)i + 50);
        free(p);
    }
}

void edge_realloc_same(size_t unused) {
    static const size_t sizes[] = {1, SIZE_SMALL, 1024, SIZE_MEDIUM, SIZE_RUN, SIZE_BIG};

    (void)unused;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p = edge_alloc(sizes[i]);
        edge_fill(p, sizes[i], 9);
        for (int round = 0; round < 5; round++)
            p = edge_realloc(p, sizes[i]);
        edge_verify(p, sizes[i], 9);
        p = edge_realloc(p, malloc_usable_size(p));
        edge_verify(p, sizes[i], 9);
        free(p);
    }
}

/* A growing vector of bytes: each step verifies the old content and writes the new. */
static void edge_grow(size_t largest, size_t divisor) {
    size_t size = 1;
    unsigned char *p = edge_alloc(size);

    edge_fill(p, size, 5);
    while (size < largest) {
        size_t next = size + size / divisor + 1;
        p = edge_realloc(p, next);
        edge_verify(p, size, 5);
        edge_fill(p, next, 5);
        size = next;
    }
    edge_verify(p, size, 5);
    free(p);
}

void edge_realloc_grow(size_t largest) { edge_grow(largest, 16); }

void edge_realloc_grow_half(size_t largest) { edge_grow(largest, 2); }

void edge_realloc_shrink(size_t largest) {
    void *p = edge_alloc(largest);

    edge_fill(p, largest, 6);
    for (size_t size = largest; size > 0; size -= size / 5 + 1) {
        p = edge_realloc(p, size);
        edge_verify(p, size, 6);
    }
    free(p);
}

void edge_realloc_refused(size_t size) {
    static const size_t impossible[] = {TOO_LARGE_FIRST, PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 4096, TOO_LARGE_REAL};
    void *p = edge_alloc(size);

    edge_fill(p, size, 7);
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        errno = 0;
        edge_refused(opaque(realloc(p, opaque_size(impossible[i]))));
    }
    edge_verify(p, size, 7);
    p = edge_realloc(p, size + 1);
    edge_verify(p, size, 7);
    free(p);
}

void edge_realloc_null_refused(size_t unused) {
    (void)unused;
    errno = 0;
    edge_refused(opaque(realloc(NULL, opaque_size(TOO_LARGE_FIRST))));
    errno = 0;
    edge_refused(opaque(realloc(NULL, opaque_size(SIZE_MAX))));
}

void edge_realloc_aligned(size_t unused) {
    static const size_t alignments[] = {32, 64, 1024, 4096, 1 << 20, 4 << 20};
    static const size_t sizes[] = {20, 900, SIZE_MEDIUM, SIZE_RUN, SIZE_BIG};

    (void)unused;
    for (size_t a = 0; a < sizeof alignments / sizeof alignments[0]; a++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            void *p = opaque(memalign(alignments[a], sizes[s]));
            edge_aligned(p, alignments[a]);
            edge_fill(p, sizes[s], 8);
            p = edge_realloc(p, sizes[s] * 2);
            edge_verify(p, sizes[s], 8);
            p = edge_realloc(p, sizes[s] / 2);
            edge_verify(p, sizes[s] / 2, 8);
            free(p);
        }
    }
}

void edge_reallocarray(size_t unused) {
    unsigned char *p = edge_alloc(100);

    (void)unused;
    edge_fill(p, 100, 2);
    p = opaque(reallocarray(p, opaque_size(1000), 3));
    CHECK(p != NULL && malloc_usable_size(p) >= 3000);
    edge_verify(p, 100, 2);
    free(p);
}

void edge_reallocarray_wraps(size_t unused) {
    unsigned char *p = edge_alloc(100);

    (void)unused;
    edge_fill(p, 100, 2);
    errno = 0;
    edge_refused(opaque(reallocarray(opaque(p), opaque_size((size_t)1 << 32), (size_t)1 << 32)));
    errno = 0;
    edge_refused(opaque(reallocarray(opaque(p), opaque_size(SIZE_MAX / 2), 3)));
    errno = 0;
    edge_refused(opaque(reallocarray(opaque(p), opaque_size(2), (size_t)PTRDIFF_MAX / 2 + 1)));
    errno = 0;
    edge_refused(opaque(reallocarray(NULL, opaque_size(SIZE_MAX), 2)));
    edge_verify(p, 100, 2);
    free(p);
}

void edge_reallocarray_none(size_t unused) {
    (void)unused;
    CHECK(opaque(reallocarray(edge_alloc(100), opaque_size(0), 8)) == NULL);
    CHECK(opaque(reallocarray(edge_alloc(100), opaque_size(8), 0)) == NULL);
}

void edge_reallocarray_null(size_t unused) {
    void *p = opaque(reallocarray(NULL, opaque_size(100), 30));

    (void)unused;
    CHECK(p != NULL && malloc_usable_size(p) >= 3000);
    edge_fill(p, 3000, 4);
    edge_verify(p, 3000, 4);
    free(p);
}
