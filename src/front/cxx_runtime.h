/* SPDX-License-Identifier: MIT */
/*
 * What the C++ operators need of the process's C++ runtime, without depending on one. cxx_shared.c finds it at run time
 * (the shared library is loaded into processes that have none), cxx_static.c at link time. Used by cxx.c and cxx_try.c
 * alone.
 */
#ifndef QUARRY_FRONT_CXX_RUNTIME_H
#define QUARRY_FRONT_CXX_RUNTIME_H

#include "base/types.h"

typedef void cxx_handler_fn(void);
/* A throwing form of new. caller: the C++ code that asked. */
typedef void *cxx_new_fn(size_t size, size_t align, const void *caller);

/* NULL members: this process has no such function. */
struct cxx_runtime {
    cxx_handler_fn *(*get_new_handler)(void);
    void (*throw_bad_alloc)(void);
    void *(*begin_catch)(void *exception);
    void (*end_catch)(void);
};

struct cxx_unwinder {
    void (*set_gr)(void *context, int nr, uintptr_t value);
    void (*set_ip)(void *context, uintptr_t address);
};

/* caller: a code address in the object whose runtime or unwinder is meant. Looked up each time: this happens when
 * memory has run out, and a runtime may be unloaded later. May allocate. */
void cxx_runtime_find(const void *caller, struct cxx_runtime *ret_runtime);
void cxx_unwinder_find(const void *caller, struct cxx_unwinder *ret_unwinder);

/* `try { return fn(size, align, caller); } catch (...) { return nullptr; }`. runtime must be able to catch. */
void *cxx_try(cxx_new_fn *fn, size_t size, size_t align, const void *caller, const struct cxx_runtime *runtime);

#endif
