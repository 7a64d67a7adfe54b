/* SPDX-License-Identifier: MIT */
/*
 * Random streams on libc's names, whoever serves them: prints the digest of each stream. names.py runs it on quarry and
 * on the C library and compares. Usage: fuzz-names SEED STREAMS [at-once]: threads that run at once, which print how
 * many objects they handed over instead.
 */
#include "ops.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_BYTES = 8192 };

/* What a C library alone does not have, and an allocator may: C++'s operators, which do not throw here, and C23's. */
#define OPTIONAL __attribute__((weak))
extern void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow) OPTIONAL;
extern void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow) OPTIONAL;
extern void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *nothrow) OPTIONAL;
extern void *_Znwm(size_t size) OPTIONAL;
extern void *_Znam(size_t size) OPTIONAL;
extern void *_ZnwmSt11align_val_t(size_t size, size_t align) OPTIONAL;
extern void *_ZnamSt11align_val_t(size_t size, size_t align) OPTIONAL;
extern void _ZdlPv(void *p) OPTIONAL;
extern void _ZdaPv(void *p) OPTIONAL;
extern void _ZdlPvm(void *p, size_t size) OPTIONAL;
extern void _ZdaPvm(void *p, size_t size) OPTIONAL;
extern void _ZdlPvSt11align_val_t(void *p, size_t align) OPTIONAL;
extern void _ZdlPvmSt11align_val_t(void *p, size_t size, size_t align) OPTIONAL;
extern void _ZdaPvmSt11align_val_t(void *p, size_t size, size_t align) OPTIONAL;
extern void free_sized(void *p, size_t size) OPTIONAL;
extern void free_aligned_sized(void *p, size_t align, size_t size) OPTIONAL;
extern void *quarry_malloc_node(size_t size, int node) OPTIONAL;
extern size_t quarry_usable_size(const void *p) OPTIONAL;
extern size_t quarry_good_size(size_t size) OPTIONAL;
extern int quarry_owns(const void *p) OPTIONAL;
extern size_t quarry_trim(size_t pad) OPTIONAL;

static const char nothrow;

static void *ask(size_t size, unsigned how) {
    switch (how % 12) {
    case 1: return realloc(NULL, size);
    case 2: return reallocarray(NULL, 1, size);
    case 3: return _ZnwmRKSt9nothrow_t != NULL ? _ZnwmRKSt9nothrow_t(size, &nothrow) : malloc(size);
    case 4: return _ZnamRKSt9nothrow_t != NULL ? _ZnamRKSt9nothrow_t(size, &nothrow) : malloc(size);
    case 5: return calloc(size, 1);
    case 6: return _Znwm != NULL ? _Znwm(size) : malloc(size);
    case 7: return _Znam != NULL ? _Znam(size) : malloc(size);
    case 8: return quarry_malloc_node != NULL ? quarry_malloc_node(size, 0) : malloc(size);
    default: return malloc(size);
    }
}

static void *ask_zeros(size_t nr, size_t size, unsigned how) {
    return how % 2 == 0 ? calloc(nr, size) : calloc(size, nr);
}

static void *resize(void *p, size_t size, unsigned how) {
    return how % 4 == 0 && size % 2 == 0 ? reallocarray(p, size / 2, 2) : realloc(p, size);
}

static void *rounded(size_t align, size_t size, unsigned how) {
    switch (how % 4) {
    case 0: return aligned_alloc(align, (size + align - 1) & ~(align - 1));
    case 1: return align <= 4096 ? valloc(size) : memalign(align, size);
    case 2: return align <= 4096 ? pvalloc(size) : memalign(align, size);
    default: return memalign(align / 2 + 1, size); /* which is rounded up to a power of two */
    }
}

static void *aligned(size_t align, size_t size, unsigned how) {
    void *p = NULL;
    int err;
    if ((how & FUZZ_ROUNDED) != 0)
        return rounded(align, size, how);
    switch (how % 6) {
    case 1: return memalign(align, size);
    case 2:
        if (_ZnwmSt11align_val_tRKSt9nothrow_t != NULL)
            return _ZnwmSt11align_val_tRKSt9nothrow_t(size, align, &nothrow);
        return memalign(align, size);
    case 3: return _ZnwmSt11align_val_t != NULL ? _ZnwmSt11align_val_t(size, align) : memalign(align, size);
    case 4: return _ZnamSt11align_val_t != NULL ? _ZnamSt11align_val_t(size, align) : memalign(align, size);
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

/* NULL, and errno or what it returns says so. */
static bool refuses(size_t align, size_t size) {
    void *untouched = &errno, *p = untouched;
    return posix_memalign(&p, align, size) == EINVAL && p == untouched;
}

static void drop_aligned(void *p, size_t size, size_t align) {
    if (free_aligned_sized == NULL || _ZdlPvmSt11align_val_t == NULL) {
        free(p);
        return;
    }
    switch (size % 4) {
    case 0: free_aligned_sized(p, align, size); return;
    case 1: _ZdlPvmSt11align_val_t(p, size, align); return;
    case 2: _ZdaPvmSt11align_val_t(p, size, align); return;
    default: _ZdlPvSt11align_val_t(p, align); return;
    }
}

static void drop_sized(void *p, size_t size, size_t align) {
    if (align != 0)
        drop_aligned(p, size, align);
    else if (free_sized == NULL || _ZdlPvm == NULL)
        free(p);
    else if (size % 3 == 0)
        free_sized(p, size);
    else if (size % 3 == 1)
        _ZdlPvm(p, size);
    else
        _ZdaPvm(p, size);
}

/* What quarry says of an object must be so. */
static size_t usable(void *p) {
    size_t bytes = malloc_usable_size(p);
    if (quarry_usable_size != NULL &&
        (quarry_usable_size(p) != bytes || (p != NULL && !quarry_owns(p)) || quarry_good_size(bytes) < bytes)) {
        fprintf(stderr, "fuzz: %p has %zu bytes, and quarry says otherwise\n", p, bytes);
        abort();
    }
    return bytes;
}

static void trim(void) {
    if (quarry_trim != NULL)
        (void)quarry_trim(0);
    else
        (void)malloc_trim(0);
}
static int *error(void) { return &errno; }

static const struct fuzz_api names_api = {
    .malloc = ask,
    .calloc = ask_zeros,
    .realloc = resize,
    .memalign = aligned,
    .refuses = refuses,
    .free = drop,
    .free_sized = drop_sized,
    .usable = usable,
    .trim = trim,
    .error = error,
};

int main(int argc, char **argv) {
    static uint8_t stream[STREAM_BYTES];
    if (argc != 3 && (argc != 4 || strcmp(argv[3], "at-once") != 0))
        return 2;
    uint64_t seed = strtoull(argv[1], NULL, 10), end = seed + strtoull(argv[2], NULL, 10), handed_nr = 0;
    for (; argc == 4 && seed < end; seed++)
        handed_nr += fuzz_run_at_once(&names_api, seed);
    if (argc == 4)
        printf("%llu handed over\n", (unsigned long long)handed_nr);
    for (; seed < end; seed++) {
        fuzz_stream(seed, stream, sizeof(stream));
        printf("%llu %016llx\n", (unsigned long long)seed,
               (unsigned long long)fuzz_run(&names_api, stream, sizeof(stream)));
        fflush(stdout);
    }
    return 0;
}
