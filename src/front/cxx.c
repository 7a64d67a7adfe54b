/* SPDX-License-Identifier: MIT */
/*
 * The C++ operators of cxx.def, in C. Owns their rules: the new_handler loop, std::bad_alloc, the nothrow forms, and
 * which operator stands in for which. The C++ runtime itself is reached through cxx_runtime.h, so that a process
 * without one can load us. Called by compiled C++ code. Compiled with unwind tables: bad_alloc and what a new_handler
 * throws pass through these frames.
 *
 * Replacement. The standard says what the default of each operator calls: new[] calls new, the nothrow forms call the
 * throwing ones, sized and nothrow delete call plain delete, and so on. A program that defines only plain new and
 * delete (with a header in front of the object, say) relies on it: its objects reach our sized delete, and must go on
 * to its plain one. So every operator but the four plain ones asks first whether the one it stands on is ours.
 */
#include "base/fmt.h"
#include "engine/engine.h"
#include "engine/fast.h"
#include "front/cxx_runtime.h"
#include "front/names.h"
#include "sys/sys.h"

#define CXX(symbol, impl, result, params, spelling)                                                                    \
    result impl params;                                                                                                \
    EXPORT_WEAK result symbol params ALIAS_OF(#impl);
#include "front/cxx.def"
#undef CXX

/* Whether the operator `symbol` this process uses is our `impl`. The compiler sees that one is an alias of the other;
 * the dynamic linker may have bound it elsewhere all the same, so what it knows is hidden from it. */
#define IS_OURS(symbol, impl)                                                                                          \
    __extension__({                                                                                                    \
        __typeof__(&(impl)) bound = &(symbol);                                                                         \
        __asm__("" : "+r"(bound));                                                                                     \
        LIKELY(bound == &(impl));                                                                                      \
    })

static ALWAYS_INLINE bool new_ours(void) { return IS_OURS(_Znwm, front_new); }
static ALWAYS_INLINE bool new_array_ours(void) { return IS_OURS(_Znam, front_new_array) && new_ours(); }
static ALWAYS_INLINE bool new_aligned_ours(void) { return IS_OURS(_ZnwmSt11align_val_t, front_new_aligned); }
static ALWAYS_INLINE bool new_array_aligned_ours(void) {
    return IS_OURS(_ZnamSt11align_val_t, front_new_array_aligned) && new_aligned_ours();
}
static ALWAYS_INLINE bool delete_ours(void) { return IS_OURS(_ZdlPv, front_delete); }
static ALWAYS_INLINE bool delete_array_ours(void) { return IS_OURS(_ZdaPv, front_delete_array) && delete_ours(); }
static ALWAYS_INLINE bool delete_aligned_ours(void) { return IS_OURS(_ZdlPvSt11align_val_t, front_delete_aligned); }
static ALWAYS_INLINE bool delete_array_aligned_ours(void) {
    return IS_OURS(_ZdaPvSt11align_val_t, front_delete_array_aligned) && delete_aligned_ours();
}

/* --- no memory --- */

static COLD _Noreturn void die(const char *why) {
    char text[160];
    struct fmt_buf line = fmt_init(text, sizeof(text));
    fmt_printf(&line, "quarry: operator new: %s\n", why);
    sys_stderr(line.text, line.len_bytes);
    sys_abort();
}

static COLD _Noreturn void throw_bad_alloc(const void *caller) {
    struct cxx_runtime runtime;
    cxx_runtime_find(caller, &runtime);
    if (runtime.throw_bad_alloc != NULL)
        runtime.throw_bad_alloc();
    die("out of memory, and this process has no C++ runtime to throw std::bad_alloc");
}

static COLD cxx_handler_fn *new_handler(const void *caller) {
    struct cxx_runtime runtime;
    cxx_runtime_find(caller, &runtime);
    return runtime.get_new_handler != NULL ? runtime.get_new_handler() : NULL;
}

/* One turn of the standard's loop: the handler makes room and returns, or throws; without a handler, bad_alloc. */
static COLD void make_room(const void *caller) {
    cxx_handler_fn *handler = new_handler(caller);
    if (handler == NULL)
        throw_bad_alloc(caller);
    handler();
}

/* The loop of both throwing forms; align 0: malloc's. */
static void *new_loop(size_t size, size_t align, const void *caller) {
    void *p;
    while ((p = align == 0 ? engine_alloc_slow(size) : engine_memalign(align, size)) == NULL)
        make_room(caller);
    return p;
}

/* The slow functions are reached by tail calls, so that their return address is the C++ code that asked. */
#define CALLER() __builtin_return_address(0)

static COLD void *new_slow(size_t size) { return new_loop(size, 0, CALLER()); }

static COLD void *new_aligned_slow(size_t size, size_t align) {
    if (!is_pow2(align))
        throw_bad_alloc(CALLER());
    return new_loop(size, align, CALLER());
}

/* A throwing form in a try block. Without a C++ runtime nothing can throw. */
static void *new_caught(cxx_new_fn *throwing, size_t size, size_t align, const void *caller) {
    struct cxx_runtime runtime;
    cxx_runtime_find(caller, &runtime);
    bool catches = runtime.begin_catch != NULL && runtime.end_catch != NULL;
    return catches ? cxx_try(throwing, size, align, caller, &runtime) : throwing(size, align, caller);
}

/* Without a handler the outcome of the throwing form is known, and the exception spared. */
static COLD void *new_nothrow_slow(size_t size) {
    void *p = engine_alloc_slow(size);
    if (p != NULL || new_handler(CALLER()) == NULL)
        return p;
    return new_caught(new_loop, size, 0, CALLER());
}

static COLD void *new_aligned_nothrow_slow(size_t size, size_t align) {
    if (!is_pow2(align))
        return NULL;
    void *p = engine_memalign(align, size);
    if (p != NULL || new_handler(CALLER()) == NULL)
        return p;
    return new_caught(new_loop, size, align, CALLER());
}

/* The throwing operators this process uses, as cxx_new_fn: for nothrow forms that stand on a replaced one. */
static void *bound_new(size_t size, size_t align, const void *caller) {
    (void)align;
    (void)caller;
    return _Znwm(size);
}

static void *bound_new_array(size_t size, size_t align, const void *caller) {
    (void)align;
    (void)caller;
    return _Znam(size);
}

static void *bound_new_aligned(size_t size, size_t align, const void *caller) {
    (void)caller;
    return _ZnwmSt11align_val_t(size, align);
}

static void *bound_new_array_aligned(size_t size, size_t align, const void *caller) {
    (void)caller;
    return _ZnamSt11align_val_t(size, align);
}

static COLD void *replaced_caught(cxx_new_fn *bound, size_t size, size_t align) {
    return new_caught(bound, size, align, CALLER());
}

/* --- new --- */

ENGINE_MALLOC_ENTRY(new)

static ALWAYS_INLINE void *or_slow(void *p, size_t size) { return LIKELY(p != NULL) ? p : new_slow(size); }

static ALWAYS_INLINE void *new_nothrow(size_t size) {
    void *p = engine_malloc_fast(size);
    return LIKELY(p != NULL) ? p : new_nothrow_slow(size);
}

FAST_ENTRY void *front_new(size_t size) { return or_slow(new_fast(size), size); }

void *front_new_array(size_t size) { return new_ours() ? or_slow(engine_malloc_fast(size), size) : _Znwm(size); }

void *front_new_nothrow(size_t size, const void *tag) {
    (void)tag;
    return new_ours() ? new_nothrow(size) : replaced_caught(bound_new, size, 0);
}

void *front_new_array_nothrow(size_t size, const void *tag) {
    (void)tag;
    return new_array_ours() ? new_nothrow(size) : replaced_caught(bound_new_array, size, 0);
}

void *front_new_aligned(size_t size, size_t align) { return new_aligned_slow(size, align); }

void *front_new_array_aligned(size_t size, size_t align) {
    return new_aligned_ours() ? new_aligned_slow(size, align) : _ZnwmSt11align_val_t(size, align);
}

void *front_new_aligned_nothrow(size_t size, size_t align, const void *tag) {
    (void)tag;
    return new_aligned_ours() ? new_aligned_nothrow_slow(size, align) : replaced_caught(bound_new_aligned, size, align);
}

void *front_new_array_aligned_nothrow(size_t size, size_t align, const void *tag) {
    (void)tag;
    return new_array_aligned_ours() ? new_aligned_nothrow_slow(size, align)
                                    : replaced_caught(bound_new_array_aligned, size, align);
}

/* --- delete --- */

static ALWAYS_INLINE void delete_plain(void *p) {
    if (UNLIKELY(!engine_free_fast(p)))
        engine_free_slow(p);
}

/* A wrong size is found where the object leaves the fast path. align 0: none was stated. */
static ALWAYS_INLINE void delete_sized(void *p, size_t size, size_t align) {
    if (UNLIKELY(!engine_free_fast(p)))
        engine_free_sized(p, size, align);
}

FAST_ENTRY void front_delete(void *p) { delete_plain(p); }
void front_delete_aligned(void *p, size_t align) {
    (void)align;
    delete_plain(p);
}

void front_delete_array(void *p) {
    if (delete_ours())
        delete_plain(p);
    else
        _ZdlPv(p);
}

void front_delete_sized(void *p, size_t size) {
    if (delete_ours())
        delete_sized(p, size, 0);
    else
        _ZdlPv(p);
}

void front_delete_array_sized(void *p, size_t size) {
    if (delete_array_ours())
        delete_sized(p, size, 0);
    else
        _ZdaPv(p);
}

void front_delete_nothrow(void *p, const void *tag) {
    (void)tag;
    if (delete_ours())
        delete_plain(p);
    else
        _ZdlPv(p);
}

void front_delete_array_nothrow(void *p, const void *tag) {
    (void)tag;
    if (delete_array_ours())
        delete_plain(p);
    else
        _ZdaPv(p);
}

void front_delete_array_aligned(void *p, size_t align) {
    if (delete_aligned_ours())
        delete_plain(p);
    else
        _ZdlPvSt11align_val_t(p, align);
}

void front_delete_sized_aligned(void *p, size_t size, size_t align) {
    if (delete_aligned_ours())
        delete_sized(p, size, align);
    else
        _ZdlPvSt11align_val_t(p, align);
}

void front_delete_array_sized_aligned(void *p, size_t size, size_t align) {
    if (delete_array_aligned_ours())
        delete_sized(p, size, align);
    else
        _ZdaPvSt11align_val_t(p, align);
}

void front_delete_aligned_nothrow(void *p, size_t align, const void *tag) {
    (void)tag;
    if (delete_aligned_ours())
        delete_plain(p);
    else
        _ZdlPvSt11align_val_t(p, align);
}

void front_delete_array_aligned_nothrow(void *p, size_t align, const void *tag) {
    (void)tag;
    if (delete_array_aligned_ours())
        delete_plain(p);
    else
        _ZdaPvSt11align_val_t(p, align);
}
