/* SPDX-License-Identifier: MIT */
/*
 * Random streams on libc's names, whoever serves them: prints the digest of each stream. names.py runs it on quarry and
 * on the C library and compares. Usage: fuzz-names SEED STREAMS
 */
#include "ops.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { STREAM_BYTES = 8192 };

/* What a C library alone does not have, and an allocator may: C++'s operators, which do not throw here, and C23's. */
#define OPTIONAL __attribute__((weak))
extern void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow) OPTIONAL;
extern void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow) OPTIONAL;
extern void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *nothrow) OPTIONAL;
extern void _ZdlPv(void *p) OPTIONAL;
extern void _ZdaPv(void *p) OPTIONAL;
extern void _ZdlPvm(void *p, size_t size) OPTIONAL;
extern void free_sized(void *p, size_t size) OPTIONAL;

static const char nothrow;

static void *ask(size_t size, unsigned how) {
    switch (how % 8) {
    case 1: return realloc(NULL, size);
    case 2: return reallocarray(NULL, 1, size);
    case 3: return _ZnwmRKSt9nothrow_t != NULL ? _ZnwmRKSt9nothrow_t(size, &nothrow) : malloc(size);
    case 4: return _ZnamRKSt9nothrow_t != NULL ? _ZnamRKSt9nothrow_t(size, &nothrow) : malloc(size);
    case 5: return calloc(size, 1);
    default: return malloc(size);
    }
}

static void *ask_zeros(size_t nr, size_t size, unsigned how) {
    return how % 2 == 0 ? calloc(nr, size) : calloc(size, nr);
}

static void *resize(void *p, size_t size, unsigned how) {
    return how % 4 == 0 && size % 2 == 0 ? reallocarray(p, size / 2, 2) : realloc(p, size);
}

static void *aligned(size_t align, size_t size, unsigned how) {
    void *p = NULL;
    int err;
    switch (how % 8) {
    case 1: return memalign(align, size);
    case 2: return aligned_alloc(align, (size + align - 1) & ~(align - 1));
    case 3: return align <= 4096 ? valloc(size) : memalign(align, size);
    case 4: return align <= 4096 ? pvalloc(size) : memalign(align, size);
    case 5:
        if (_ZnwmSt11align_val_tRKSt9nothrow_t != NULL)
            return _ZnwmSt11align_val_tRKSt9nothrow_t(size, align, &nothrow);
        return memalign(align, size);
    default: break;
    }
    err = posix_memalign(&p, align, size);
    if (err != 0)
        errno = err;
    return err == 0 ? p : NULL;
}

static void drop(void *p, unsigned how) {
    if (how % 4 == 0 && _ZdlPv != NULL)
        _ZdlPv(p);
    else if (how % 4 == 1 && _ZdaPv != NULL)
        _ZdaPv(p);
    else
        free(p);
}

static void drop_sized(void *p, size_t size) {
    if (size % 2 == 0 && free_sized != NULL)
        free_sized(p, size);
    else if (_ZdlPvm != NULL)
        _ZdlPvm(p, size);
    else
        free(p);
}

static void trim(void) { (void)malloc_trim(0); }
static int *error(void) { return &errno; }

static const struct fuzz_api names_api = {
    .malloc = ask,
    .calloc = ask_zeros,
    .realloc = resize,
    .memalign = aligned,
    .free = drop,
    .free_sized = drop_sized,
    .usable = malloc_usable_size,
    .trim = trim,
    .error = error,
};

int main(int argc, char **argv) {
    static uint8_t stream[STREAM_BYTES];
    if (argc != 3)
        return 2;
    uint64_t seed = strtoull(argv[1], NULL, 10), end = seed + strtoull(argv[2], NULL, 10);
    for (; seed < end; seed++) {
        fuzz_stream(seed, stream, sizeof(stream));
        printf("%llu %016llx\n", (unsigned long long)seed,
               (unsigned long long)fuzz_run(&names_api, stream, sizeof(stream)));
        fflush(stdout);
    }
    return 0;
}
