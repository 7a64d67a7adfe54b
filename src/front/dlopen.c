/* SPDX-License-Identifier: MIT */
/*
 * dlopen without RTLD_DEEPBIND. A library opened with that flag binds malloc and free to libc's own, ahead of ours; it
 * then frees memory that the rest of the process took from us, and crashes (php and others do this). Option `deepbind`
 * keeps the flag. Owns what the wrapper needs to know; the wrapper itself is arch/<cpu>/dlopen.S, because it must jump
 * to the real dlopen rather than call it: glibc takes the caller's RUNPATH and namespace from the return address.
 * dlmopen is left alone: a new namespace has its own libc and never sees us. For the shared library alone.
 */
#include "rt/options.h"

#include <dlfcn.h>

/* glibc's value on every architecture; other C libraries have no such flag. */
#define DEEPBIND 0x8u

typedef void *dlopen_fn(const char *path, int mode);

/* Read by arch/<cpu>/dlopen.S: the real dlopen, NULL until the first call, and the mode bits it may be given. */
_Atomic(dlopen_fn *) front_dlopen_real;
_Atomic(u32) front_dlopen_mask = ~DEEPBIND;

/*
 * order: acquire                                                                          pairs: [front.dlopen]
 *   The load of front_dlopen_real in arch/<cpu>/dlopen.S, before that of front_dlopen_mask.
 */

dlopen_fn *front_dlopen_find(void);

/* Where there is none, dlerror() says so after the failed dlsym, and dlopen fails. */
static void *dlopen_nowhere(const char *path, int mode) {
    (void)path;
    (void)mode;
    return NULL;
}

/* Called until front_dlopen_real is set, by several threads at once perhaps: all find the same. dlsym may allocate; it
 * does not call dlopen. */
dlopen_fn *front_dlopen_find(void) {
    dlopen_fn *real = (dlopen_fn *)dlsym(RTLD_NEXT, "dlopen");
    if (real == NULL)
        return dlopen_nowhere;
    if (rt_opt.deepbind == OPT_DEEPBIND_KEEP)
        atomic_store_explicit(&front_dlopen_mask, ~0u, memory_order_relaxed);
    /* order: release                                                                          pairs: [front.dlopen]
     *   Publishes  front_dlopen_mask.  Consumed by the wrapper's load of front_dlopen_real, acquire.
     *   If relaxed a thread could jump with the mask as it was before the option was read. */
    atomic_store_explicit(&front_dlopen_real, real, memory_order_release);
    return real;
}
