/* SPDX-License-Identifier: MIT */
/*
 * Every C name front/ puts on the engine, declared once with its export mark. libc's own headers are not used for this:
 * they differ between C libraries, and their attributes (nonnull, malloc) would let the compiler drop the very checks
 * these functions exist to make. The C++ operators are in cxx.def. quarry.map lists the same names for the linker.
 */
#ifndef QUARRY_FRONT_NAMES_H
#define QUARRY_FRONT_NAMES_H

#include "base/types.h"

#define EXPORT __attribute__((visibility("default")))
/* In a static program the program's own function of this name wins, without a clash. Never given to malloc, calloc,
 * realloc, free and the __libc_ names: half of one allocator and half of another must not link. */
#define EXPORT_WEAK __attribute__((visibility("default"), weak))
#define ALIAS_OF(target) __attribute__((alias(target)))

/* malloc.c */
EXPORT void *malloc(size_t size);
EXPORT void free(void *p);
EXPORT void *calloc(size_t nr, size_t size);
EXPORT void *realloc(void *p, size_t size);
EXPORT_WEAK void *reallocarray(void *p, size_t nr, size_t size);
EXPORT_WEAK void *memalign(size_t align, size_t size);
EXPORT_WEAK int posix_memalign(void **ret_p, size_t align, size_t size);
EXPORT_WEAK void *aligned_alloc(size_t align, size_t size);
EXPORT_WEAK void *valloc(size_t size);
EXPORT_WEAK void *pvalloc(size_t size);
EXPORT_WEAK size_t malloc_usable_size(void *p);
EXPORT_WEAK void free_sized(void *p, size_t size);
EXPORT_WEAK void free_aligned_sized(void *p, size_t align, size_t size);

/* introspect.c. The layouts are glibc's <malloc.h>; other C libraries have neither. */
struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
EXPORT_WEAK struct mallinfo mallinfo(void);
EXPORT_WEAK struct mallinfo2 mallinfo2(void);
EXPORT_WEAK void malloc_stats(void);
EXPORT_WEAK int malloc_trim(size_t pad);
EXPORT_WEAK int mallopt(int param, int value);

/* confine.c */
EXPORT_WEAK int prctl(int op, ...);

/* start.c. malloc.c mentions it, so that a static program that has our malloc has our constructor too. */
void front_start(void);

#endif
