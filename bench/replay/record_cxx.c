/* SPDX-License-Identifier: MIT */
/*
 * The C++ operators new and delete in the recorder (record.c): each notes its call and passes it on to the operator
 * that would have been bound without us, so new_handler, std::bad_alloc and what the program may catch are that one's
 * own work. Exceptions pass through these frames, which are compiled with unwind tables. Calls that come back as
 * another wrapped function, as libstdc++'s operators do by malloc(), are noted once (record.h).
 *
 * A program that defines the plain operator itself, with a header in front of the object say, never calls ours; the
 * forms that stand on it are then passed on without a note, and what its own operator allocates is in the trace.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "record.h"

/* ---- where a call goes on ---- */

/* Loaded by dlopen() without RTLD_GLOBAL, as an extension of an interpreter brings it, a runtime comes after nobody. */
static void *runtime_symbol(const char *symbol) {
    static const char *const runtimes[] = {"libstdc++.so.6", "libc++abi.so.1", "libc++.so.1"};
    void *found = NULL;

    for (size_t at = 0; at < sizeof(runtimes) / sizeof(runtimes[0]) && found == NULL; at++) {
        void *handle = dlopen(runtimes[at], RTLD_LAZY | RTLD_NOLOAD);

        if (handle != NULL) {
            found = dlsym(handle, symbol);
            dlclose(handle);
        }
    }
    return found;
}

/* The operator after ours; NULL when there is none. Threads that look at the same time find the same. */
static void *next_operator(_Atomic(void *) *known, const char *symbol) {
    void *next = atomic_load_explicit(known, memory_order_relaxed);

    if (next != NULL || !record_ready())
        return next;
    next = dlsym(RTLD_NEXT, symbol);
    if (next == NULL)
        next = runtime_symbol(symbol);
    atomic_store_explicit(known, next, memory_order_relaxed);
    return next;
}

enum bound { BOUND_UNKNOWN, BOUND_OURS, BOUND_OTHER };

/* Whether the process uses our operator for this symbol. */
static bool is_ours(_Atomic int *known, const char *symbol, const void *ours) {
    int bound = atomic_load_explicit(known, memory_order_relaxed);

    if (bound == BOUND_UNKNOWN) {
        bound = dlsym(RTLD_DEFAULT, symbol) == ours ? BOUND_OURS : BOUND_OTHER;
        atomic_store_explicit(known, bound, memory_order_relaxed);
    }
    return bound == BOUND_OURS;
}

/* ---- without any runtime nothing can throw ---- */

enum failure { FAIL_THROWS, FAIL_NULL };

static void *new_alone(size_t size, size_t align, enum failure failure) {
    void *object = align != 0 ? memalign(align, size) : malloc(size);

    if (object == NULL && failure == FAIL_THROWS)
        abort();
    return object;
}

/* ---- the operators ---- */

static bool new_seen(void);
static bool new_array_seen(void);
static bool new_aligned_seen(void);
static bool new_array_aligned_seen(void);
static bool delete_seen(void);
static bool delete_array_seen(void);
static bool delete_aligned_seen(void);
static bool delete_array_aligned_seen(void);

/* align is 0 where the form has none; seen says whether the operator that the form stands on is ours. */
#define OPERATOR_NEW(symbol, form, seen, op, align_or_0, failure, params, args)                                        \
    EXPORT void *symbol params;                                                                                        \
    static void *form params {                                                                                         \
        static _Atomic(void *) known;                                                                                  \
        void *(*next)params = (void *(*)params)next_operator(&known, #symbol);                                         \
        uint64_t time_ns = record_now_ns();                                                                            \
                                                                                                                       \
        record_birth_begin();                                                                                          \
        void *object = next != NULL ? next args : new_alone(size, align_or_0, failure);                                \
        return seen() ? record_birth(op, time_ns, object, size, align_or_0) : object;                                  \
    }                                                                                                                  \
    EXPORT void *symbol params __attribute__((alias(#form)));

#define OPERATOR_DELETE(symbol, form, seen, params, args)                                                              \
    EXPORT void symbol params;                                                                                         \
    static void form params {                                                                                          \
        static _Atomic(void *) known;                                                                                  \
        void(*next) params = (void(*) params)next_operator(&known, #symbol);                                           \
                                                                                                                       \
        if (next == NULL) {                                                                                            \
            free(object);                                                                                              \
            return;                                                                                                    \
        }                                                                                                              \
        bool began = seen() && record_death_begin(object);                                                             \
        next args;                                                                                                     \
        record_death_end(began);                                                                                       \
    }                                                                                                                  \
    EXPORT void symbol params __attribute__((alias(#form)));

OPERATOR_NEW(_Znwm, new_plain, new_seen, TRACE_MALLOC, 0, FAIL_THROWS, (size_t size), (size))
OPERATOR_NEW(_Znam, new_array, new_array_seen, TRACE_MALLOC, 0, FAIL_THROWS, (size_t size), (size))
OPERATOR_NEW(_ZnwmRKSt9nothrow_t, new_nothrow, new_seen, TRACE_MALLOC, 0, FAIL_NULL, (size_t size, const void *tag),
             (size, tag))
OPERATOR_NEW(_ZnamRKSt9nothrow_t, new_array_nothrow, new_array_seen, TRACE_MALLOC, 0, FAIL_NULL,
             (size_t size, const void *tag), (size, tag))
OPERATOR_NEW(_ZnwmSt11align_val_t, new_aligned, new_aligned_seen, TRACE_ALIGNED_ALLOC, align, FAIL_THROWS,
             (size_t size, size_t align), (size, align))
OPERATOR_NEW(_ZnamSt11align_val_t, new_array_aligned, new_array_aligned_seen, TRACE_ALIGNED_ALLOC, align, FAIL_THROWS,
             (size_t size, size_t align), (size, align))
OPERATOR_NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, new_aligned_nothrow, new_aligned_seen, TRACE_ALIGNED_ALLOC, align,
             FAIL_NULL, (size_t size, size_t align, const void *tag), (size, align, tag))
OPERATOR_NEW(_ZnamSt11align_val_tRKSt9nothrow_t, new_array_aligned_nothrow, new_array_aligned_seen, TRACE_ALIGNED_ALLOC,
             align, FAIL_NULL, (size_t size, size_t align, const void *tag), (size, align, tag))

OPERATOR_DELETE(_ZdlPv, delete_plain, delete_seen, (void *object), (object))
OPERATOR_DELETE(_ZdaPv, delete_array, delete_array_seen, (void *object), (object))
OPERATOR_DELETE(_ZdlPvm, delete_sized, delete_seen, (void *object, size_t size), (object, size))
OPERATOR_DELETE(_ZdaPvm, delete_array_sized, delete_array_seen, (void *object, size_t size), (object, size))
OPERATOR_DELETE(_ZdlPvRKSt9nothrow_t, delete_nothrow, delete_seen, (void *object, const void *tag), (object, tag))
OPERATOR_DELETE(_ZdaPvRKSt9nothrow_t, delete_array_nothrow, delete_array_seen, (void *object, const void *tag),
                (object, tag))
OPERATOR_DELETE(_ZdlPvSt11align_val_t, delete_aligned, delete_aligned_seen, (void *object, size_t align),
                (object, align))
OPERATOR_DELETE(_ZdaPvSt11align_val_t, delete_array_aligned, delete_array_aligned_seen, (void *object, size_t align),
                (object, align))
OPERATOR_DELETE(_ZdlPvmSt11align_val_t, delete_sized_aligned, delete_aligned_seen,
                (void *object, size_t size, size_t align), (object, size, align))
OPERATOR_DELETE(_ZdaPvmSt11align_val_t, delete_array_sized_aligned, delete_array_aligned_seen,
                (void *object, size_t size, size_t align), (object, size, align))
OPERATOR_DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, delete_aligned_nothrow, delete_aligned_seen,
                (void *object, size_t align, const void *tag), (object, align, tag))
OPERATOR_DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, delete_array_aligned_nothrow, delete_array_aligned_seen,
                (void *object, size_t align, const void *tag), (object, align, tag))

/* Arrays stand on the plain form besides their own. */
#define SEEN(name, symbol, form, stands_on)                                                                            \
    static bool name##_seen(void) {                                                                                    \
        static _Atomic int known;                                                                                      \
        return is_ours(&known, #symbol, (const void *)form) && (stands_on);                                            \
    }
SEEN(new, _Znwm, new_plain, true)
SEEN(new_array, _Znam, new_array, new_seen())
SEEN(new_aligned, _ZnwmSt11align_val_t, new_aligned, true)
SEEN(new_array_aligned, _ZnamSt11align_val_t, new_array_aligned, new_aligned_seen())
SEEN(delete, _ZdlPv, delete_plain, true)
SEEN(delete_array, _ZdaPv, delete_array, delete_seen())
SEEN(delete_aligned, _ZdlPvSt11align_val_t, delete_aligned, true)
SEEN(delete_array_aligned, _ZdaPvSt11align_val_t, delete_array_aligned, delete_aligned_seen())
