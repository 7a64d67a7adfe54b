/* SPDX-License-Identifier: MIT */
/*
 * The C allocation functions: argument rules and errno in front of the engine. The rules are those of glibc 2.36, so
 * that a program that runs there runs here. Owns no memory and no policy. Called by the program, and by libc itself.
 *
 * The edge rules, in one place:
 *   size 0                     a unique object
 *   size above PTRDIFF_MAX     NULL, ENOMEM; the engine refuses it
 *   realloc(p, 0)              frees, gives NULL, errno untouched; realloc(NULL, 0) is malloc(0)
 *   memalign, aligned_alloc    an alignment that is no power of two, 0 among them, is rounded up to one; above 2^63:
 *                              EINVAL; the size need not be a multiple. glibc 2.38 and later refuse such an alignment
 *                              in aligned_alloc, which no program built for 2.36 can count on
 *   posix_memalign             returns its error, touches neither errno nor, on failure, *ret_p
 *   free and its kin           preserve errno: nothing below front/ touches it
 */
#include "base/bits.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "front/names.h"
#include "sys/sys.h"

#include <errno.h>

/* What malloc aligns to, as the ABIs of x86-64 and aarch64 have it. */
enum { MALLOC_ALIGN = 16 };
/* The largest power of two a size_t holds. */
#define ALIGN_TOP (SIZE_MAX / 2 + 1)

/* Without this mention a static program would get this file and not start.c, whose constructor nothing else names. */
__asm__(".globl front_start");

static ALWAYS_INLINE void *or_enomem(void *p) {
    if (UNLIKELY(p == NULL))
        errno = ENOMEM;
    return p;
}

static COLD void *malloc_slow(size_t size) { return or_enomem(engine_alloc_slow(size)); }

ENGINE_MALLOC_ENTRY(malloc)

FAST_ENTRY void *malloc(size_t size) {
    void *p = malloc_fast(size);
    return LIKELY(p != NULL) ? p : malloc_slow(size);
}

FAST_ENTRY void free(void *p) {
    if (UNLIKELY(!engine_free_fast(p)))
        engine_free_slow(p);
}

void *calloc(size_t nr, size_t size) { return or_enomem(engine_calloc(nr, size)); }

void *realloc(void *p, size_t size) {
    if (UNLIKELY(size == 0 && p != NULL)) {
        if (!engine_free_fast(p))
            engine_free_slow(p);
        return NULL;
    }
    if (engine_realloc_stays(p, size))
        return p;
    return or_enomem(engine_realloc(p, size));
}

void *reallocarray(void *p, size_t nr, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(nr, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}

static COLD void *aligned_slow(size_t align, size_t size) {
    return align <= MALLOC_ALIGN ? engine_alloc_slow(size) : engine_memalign(align, size);
}

/* align is a power of two. NULL: memory is out. */
static ALWAYS_INLINE void *aligned(size_t align, size_t size) {
    void *p = engine_memalign_fast(align, size);
    return LIKELY(p != NULL) ? p : aligned_slow(align, size);
}

void *memalign(size_t align, size_t size) {
    if (align > ALIGN_TOP) {
        errno = EINVAL;
        return NULL;
    }
    return or_enomem(aligned((size_t)1 << bits_log2_up(align), size));
}

int posix_memalign(void **ret_p, size_t align, size_t size) {
    if (!is_pow2(align) || align < sizeof(void *))
        return EINVAL;
    void *p = aligned(align, size);
    if (p == NULL)
        return ENOMEM;
    *ret_p = p;
    return 0;
}

void *aligned_alloc(size_t align, size_t size) ALIAS_OF("memalign");

void *valloc(size_t size) { return or_enomem(aligned(sys_page_bytes(), size)); }

void *pvalloc(size_t size) {
    size_t page_bytes = sys_page_bytes();
    if (size > PTRDIFF_MAX) { /* rounding up must not wrap to something small */
        errno = ENOMEM;
        return NULL;
    }
    return or_enomem(aligned(page_bytes, round_up(size, page_bytes)));
}

size_t malloc_usable_size(void *p) { return engine_usable(p); }

void free_sized(void *p, size_t size) { engine_free_sized(p, size, 0); }
void free_aligned_sized(void *p, size_t align, size_t size) { engine_free_sized(p, size, align); }

/* Gone from glibc's headers since 2.26; old programs still call it. */
EXPORT_WEAK void cfree(void *p) ALIAS_OF("free");

/* glibc's names for its own functions. Programs that wrap malloc call them, musl calls them inside, and in a static
 * program each one left undefined here would link the C library's allocator beside ours. */
EXPORT void *__libc_malloc(size_t size) ALIAS_OF("malloc");
EXPORT void __libc_free(void *p) ALIAS_OF("free");
EXPORT void *__libc_calloc(size_t nr, size_t size) ALIAS_OF("calloc");
EXPORT void *__libc_realloc(void *p, size_t size) ALIAS_OF("realloc");
EXPORT void *__libc_memalign(size_t align, size_t size) ALIAS_OF("memalign");
EXPORT void *__libc_valloc(size_t size) ALIAS_OF("valloc");
EXPORT void *__libc_pvalloc(size_t size) ALIAS_OF("pvalloc");
EXPORT int __posix_memalign(void **ret_p, size_t align, size_t size) ALIAS_OF("posix_memalign");
