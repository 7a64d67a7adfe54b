/* SPDX-License-Identifier: MIT */
/*
 * Edge cases of memalign, posix_memalign, aligned_alloc, valloc and pvalloc. Rows in edges.def.
 */
#include "edges.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The sizes around an alignment where rounding goes wrong; 128 MiB alignments are not also filled. */
static size_t size_around(size_t alignment, size_t row) {
    const size_t sizes[] = {0, 1, 24, 1000, alignment - 1, alignment, alignment + 1, 100000};

    return sizes[row];
}
enum { SIZES_AROUND = 8 };

static void aligned_check(void *p, size_t alignment, size_t size) {
    edge_aligned(p, alignment < 16 && size >= 16 ? 16 : alignment);
    CHECK(malloc_usable_size(p) >= size);
    edge_fill(p, size < 1 << 20 ? size : 1 << 20, 1);
    if (size)
        ((unsigned char *)p)[size - 1] = 1;
}

/* Holds three of each, so that not only the first place of a fresh region is seen. */
static void aligned_each(size_t alignment, void *(*alloc)(size_t, size_t)) {
    for (size_t row = 0; row < SIZES_AROUND; row++) {
        size_t size = size_around(alignment, row);
        void *held[3];
        for (int i = 0; i < 3; i++) {
            held[i] = opaque(alloc(opaque_size(alignment), opaque_size(size)));
            CHECK_MSG(held[i] != NULL, "alignment %zu size %zu gave NULL", alignment, size);
            aligned_check(held[i], alignment, size);
        }
        CHECK(held[0] != held[1] && held[1] != held[2] && held[0] != held[2]);
        for (int i = 0; i < 3; i++)
            free(held[i]);
    }
}

static void *posix_memalign_call(size_t alignment, size_t size) {
    void *p = NULL;

    errno = posix_memalign(&p, alignment, size);
    return p;
}

void edge_memalign(size_t alignment) { aligned_each(alignment, memalign); }

void edge_posix_memalign(size_t alignment) { aligned_each(alignment, posix_memalign_call); }

void edge_aligned_alloc(size_t alignment) { aligned_each(alignment, aligned_alloc); }

static size_t power_above(size_t alignment) {
    size_t power = 16;

    while (power < alignment)
        power *= 2;
    return power;
}

static void odd_each(size_t alignment, void *(*alloc)(size_t, size_t)) {
    for (size_t size = 1; size <= 20000; size = size * 3 + 1) {
        void *held[5];
        for (int i = 0; i < 5; i++) {
            held[i] = opaque(alloc(opaque_size(alignment), size));
            edge_aligned(held[i], power_above(alignment));
            edge_fill(held[i], size, 1);
        }
        for (int i = 0; i < 5; i++)
            free(held[i]);
    }
}

void edge_memalign_odd(size_t alignment) { odd_each(alignment, memalign); }

#define EMULATED_LIMIT ((size_t)1 << 36)

/* Small and large, and twice, so that what the first free keeps is seen. */
void edge_memalign_huge(size_t alignment) {
    if (alignment > EMULATED_LIMIT && getenv("FOREIGN_PAGES") != NULL)
        check_skip("the emulator keeps a record of each page of what is reserved, some 20 GiB of them");
    for (size_t size = 10; size <= SIZE_BIG; size = size == 10 ? SIZE_BIG : size + 1) {
        for (int i = 0; i < 2; i++) {
            void *p = opaque(memalign(opaque_size(alignment), opaque_size(size)));
            edge_aligned(p, alignment);
            edge_fill(p, size, 1);
            edge_verify(p, size, 1);
            free(p);
        }
    }
}

void edge_memalign_invalid(size_t alignment) {
    errno = 0;
    CHECK(opaque(memalign(opaque_size(alignment), 10)) == NULL);
    CHECK_MSG(errno == EINVAL, "errno is %d, expected EINVAL", errno);
}

void edge_memalign_refused(size_t alignment) {
    errno = 0;
    edge_refused(opaque(memalign(opaque_size(alignment), 10)));
}

void edge_aligned_too_large(size_t alignment) {
    const size_t impossible[] = {TOO_LARGE_FIRST, PTRDIFF_MAX,          PTRDIFF_MAX - alignment + 1, SIZE_MAX,
                                 SIZE_MAX - 8,    SIZE_MAX - alignment, SIZE_MAX - alignment + 1,    TOO_LARGE_REAL};

    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        errno = 0;
        edge_refused(opaque(memalign(opaque_size(alignment), opaque_size(impossible[i]))));
    }
}

void edge_aligned_neighbours(size_t alignment) {
    enum { HELD_NR = 40 };
    void *held[HELD_NR];
    size_t sizes[HELD_NR];

    for (unsigned i = 0; i < HELD_NR; i++) {
        sizes[i] = alignment / 2 + alignment * i / HELD_NR + 1;
        held[i] = opaque(memalign(i % 3 ? alignment : 16, opaque_size(sizes[i])));
        edge_aligned(held[i], i % 3 ? alignment : 16);
        edge_fill(held[i], sizes[i], i);
    }
    for (unsigned i = 0; i < HELD_NR; i++) {
        edge_verify(held[i], sizes[i], i);
        free(held[i]);
    }
}

void edge_aligned_usable(size_t unused) {
    enum { HELD_NR = 12 };
    void *held[HELD_NR];

    (void)unused;
    for (size_t alignment = 32; alignment <= 4 << 20; alignment *= 8) {
        for (unsigned i = 0; i < HELD_NR; i++) {
            held[i] = opaque(memalign(alignment, 100 + 3000 * i));
            edge_aligned(held[i], alignment);
            edge_fill(held[i], malloc_usable_size(held[i]), i);
        }
        for (unsigned i = 0; i < HELD_NR; i++) {
            edge_verify(held[i], malloc_usable_size(held[i]), i);
            free(held[i]);
        }
    }
}

void edge_aligned_errno(size_t unused) {
    (void)unused;
    for (size_t alignment = 16; alignment <= 128 << 20; alignment *= 2) {
        void *p = opaque(memalign(alignment, 100));
        CHECK(p != NULL);
        errno = 4711;
        free(p);
        CHECK(errno == 4711);
    }
}

void edge_posix_memalign_invalid(size_t alignment) {
    static char mark;
    void *p = &mark;

    CHECK(posix_memalign(&p, opaque_size(alignment), 64) == EINVAL);
    CHECK_MSG(p == &mark, "the pointer was overwritten with %p", p);
}

void edge_posix_memalign_refused(size_t alignment) {
    static const size_t impossible[] = {TOO_LARGE_FIRST, PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 63, TOO_LARGE_REAL};
    static char mark;
    void *p = &mark;

    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        CHECK(posix_memalign(&p, opaque_size(alignment), opaque_size(impossible[i])) == ENOMEM);
        CHECK_MSG(p == &mark, "the pointer was overwritten with %p", p);
    }
}

void edge_posix_memalign_zero(size_t alignment) {
    void *p = NULL, *q = NULL;

    CHECK(posix_memalign(&p, alignment, opaque_size(0)) == 0);
    CHECK(posix_memalign(&q, alignment, opaque_size(0)) == 0);
    CHECK(p != q);
    edge_aligned(p, alignment);
    edge_aligned(q, alignment);
    free(p);
    free(q);
}

/* glibc before 2.38 rounds up as memalign does, and so does quarry wherever it runs; later ones refuse with EINVAL. The
 * standard allows both. */
static bool aligned_alloc_is_strict(void) {
    const char *version = strchr(gnu_get_libc_version(), '.');
    return !edge_on_quarry() && version != NULL && atoi(version + 1) >= 38;
}

void edge_aligned_alloc_odd(size_t alignment) {
    if (!aligned_alloc_is_strict()) {
        odd_each(alignment, aligned_alloc);
        return;
    }
    errno = 0;
    CHECK(opaque(aligned_alloc(opaque_size(alignment), opaque_size(alignment * 2))) == NULL);
    CHECK_MSG(errno == EINVAL, "errno is %d, expected EINVAL", errno);
}

void edge_aligned_alloc_invalid(size_t alignment) {
    errno = 0;
    CHECK(opaque(aligned_alloc(opaque_size(alignment), opaque_size(10))) == NULL);
    CHECK_MSG(errno == EINVAL, "errno is %d, expected EINVAL", errno);
}

void edge_aligned_alloc_refused(size_t alignment) {
    errno = 0;
    edge_refused(opaque(aligned_alloc(alignment, opaque_size(PTRDIFF_MAX - alignment + 1))));
    errno = 0;
    edge_refused(opaque(aligned_alloc(alignment, opaque_size(SIZE_MAX - alignment + 1))));
    errno = 0;
    edge_refused(opaque(aligned_alloc(opaque_size((size_t)1 << 62), opaque_size((size_t)1 << 62))));
}

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

void edge_valloc(size_t unused) {
    static const size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 100000, 3 << 20};

    (void)unused;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p = opaque(valloc(opaque_size(sizes[i]))), *q = opaque(valloc(opaque_size(sizes[i])));
        CHECK(p != q);
        edge_aligned(p, page_bytes());
        edge_aligned(q, page_bytes());
        CHECK(malloc_usable_size(p) >= sizes[i]);
        edge_fill(p, sizes[i], 1);
        free(p);
        free(q);
    }
}

void edge_valloc_refused(size_t unused) {
    (void)unused;
    errno = 0;
    edge_refused(opaque(valloc(opaque_size(TOO_LARGE_FIRST))));
    errno = 0;
    edge_refused(opaque(valloc(opaque_size(SIZE_MAX))));
}

void edge_pvalloc(size_t unused) {
    static const size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 100000, 3 << 20};

    (void)unused;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t rounded = (sizes[i] + page_bytes() - 1) / page_bytes() * page_bytes();
        void *p = opaque(pvalloc(opaque_size(sizes[i]))), *q = opaque(pvalloc(opaque_size(sizes[i])));
        CHECK(p != q);
        edge_aligned(p, page_bytes());
        edge_aligned(q, page_bytes());
        CHECK_MSG(malloc_usable_size(p) >= rounded, "pvalloc(%zu): usable size %zu", sizes[i], malloc_usable_size(p));
        edge_fill(p, rounded, 1);
        free(p);
        free(q);
    }
}

void edge_pvalloc_refused(size_t unused) {
    static const size_t impossible[] = {TOO_LARGE_FIRST, PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 4094, SIZE_MAX - 4095};

    (void)unused;
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        errno = 0;
        edge_refused(opaque(pvalloc(opaque_size(impossible[i]))));
    }
}
