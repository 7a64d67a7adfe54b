/* SPDX-License-Identifier: MIT */
/*
 * What ends with its scope: pointers that are freed (__free), things that are taken and given back (CLASS, guard,
 * scoped_guard). Which functions do so is said where they are declared: DEFINE_FREE(kfree, ...) in <linux/slab.h>.
 *
 *     struct obj *p __free(kfree) = kmalloc_obj(*p);
 *     if (p == NULL || obj_begin(p) != 0)
 *         return NULL;
 *     return_ptr(p);
 */
#ifndef QUARRY_KERNEL_LINUX_CLEANUP_H
#define QUARRY_KERNEL_LINUX_CLEANUP_H
#pragma GCC system_header /* members that are none leave a semicolon behind */

#include <linux/types.h>

#define __cleanup(function) __attribute__((__cleanup__(function), __unused__))

/* action is done with _T, a type, when a variable of __free(name) goes out of scope. NULL, too, comes to it. */
#define DEFINE_FREE(name, type, action)                                                                                \
    static inline void __free_##name(void *p) {                                                                        \
        type _T = *(type *)p;                                                                                          \
        action;                                                                                                        \
    }
#define __free(name) __cleanup(__free_##name)

/* The pointer, which its variable no longer frees: it is value then. */
#define QUARRY_TAKEN(p, value)                                                                                         \
    __extension__({                                                                                                    \
        __typeof__(p) *quarry_at_ = &(p), quarry_was_ = *quarry_at_;                                                   \
        *quarry_at_ = value;                                                                                           \
        quarry_was_;                                                                                                   \
    })
/* As a function's result, so that who drops it is warned. */
static inline __attribute__((__warn_unused_result__)) const volatile void *quarry_must_use(const volatile void *p) {
    return p;
}
#define no_free_ptr(p) ((__typeof__(p))(uintptr_t)quarry_must_use(QUARRY_TAKEN(p, NULL)))
#define return_ptr(p) return no_free_ptr(p)
#define retain_and_null_ptr(p) ((void)QUARRY_TAKEN(p, NULL))

/* A type whose values init makes, of the arguments that are declared behind it, and ending is done with, as _T. */
#define DEFINE_CLASS(name, type, ending, init, ...)                                                                    \
    typedef type class_##name##_t;                                                                                     \
    static inline void class_##name##_destructor(type *quarry_at_) {                                                   \
        type _T = *quarry_at_;                                                                                         \
        (void)_T;                                                                                                      \
        ending;                                                                                                        \
    }                                                                                                                  \
    static inline type class_##name##_constructor(__VA_ARGS__) {                                                       \
        type quarry_made_ = init;                                                                                      \
        return quarry_made_;                                                                                           \
    }

/* A pointer that is locked, as _T, while there is a guard of it. */
#define DEFINE_GUARD(name, type, locking, unlocking)                                                                   \
    DEFINE_CLASS(                                                                                                      \
        name, type, if (_T) { unlocking; }, __extension__({                                                            \
            locking;                                                                                                   \
            _T;                                                                                                        \
        }),                                                                                                            \
        type _T)
/* The same of _T->lock, beside which members may be declared; they begin as zeros. */
#define QUARRY_LOCK_GUARD(name, type, locking, unlocking, taken, from, ...)                                            \
    typedef struct {                                                                                                   \
        type *lock;                                                                                                    \
        __VA_ARGS__;                                                                                                   \
    } class_##name##_t;                                                                                                \
    static inline void class_##name##_destructor(class_##name##_t *_T) {                                               \
        if (_T->lock) {                                                                                                \
            unlocking;                                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    static inline class_##name##_t class_##name##_constructor(from) {                                                  \
        class_##name##_t quarry_made_, *_T = &quarry_made_;                                                            \
        __builtin_memset(_T, 0, sizeof(*_T));                                                                          \
        _T->lock = (type *)taken;                                                                                      \
        locking;                                                                                                       \
        return quarry_made_;                                                                                           \
    }
/* Of what has no pointer: it is 1 while it is locked. */
#define DEFINE_LOCK_GUARD_0(name, locking, unlocking, ...)                                                             \
    QUARRY_LOCK_GUARD(name, void, locking, unlocking, (uintptr_t)1, void, __VA_ARGS__)
/* Of a type *. */
#define DEFINE_LOCK_GUARD_1(name, type, locking, unlocking, ...)                                                       \
    QUARRY_LOCK_GUARD(name, type, locking, unlocking, quarry_lock_, type *quarry_lock_, __VA_ARGS__)

#define QUARRY_GLUED_(a, b) a##b
#define QUARRY_GLUED(a, b) QUARRY_GLUED_(a, b)
/* C++ programs have variables of these names, and the headers of the allocator all include this one: there they are to
 * be asked for. */
#if !defined(__cplusplus) || defined(QUARRY_KERNEL_GUARDS)
/* CLASS(name, variable)(arguments); */
#define CLASS(name, variable)                                                                                          \
    class_##name##_t variable __cleanup(class_##name##_destructor) = class_##name##_constructor
/* guard(name)(arguments); until the end of the scope it stands in. */
#define guard(name) CLASS(name, QUARRY_GLUED(quarry_guard_, __COUNTER__))
/* scoped_guard(name, arguments) statement; a loop that the compiler knows to run, and once. */
#define scoped_guard(name, ...) QUARRY_SCOPED(name, QUARRY_GLUED(quarry_scope_, __COUNTER__), __VA_ARGS__)
#define QUARRY_SCOPED(name, scope, ...)                                                                                \
    for (class_##name##_t scope __cleanup(class_##name##_destructor) = class_##name##_constructor(__VA_ARGS__);;       \
         __extension__({ goto QUARRY_GLUED(out_, scope); }))                                                           \
        if (0) {                                                                                                       \
            QUARRY_GLUED(out_, scope) : break;                                                                         \
        } else
#endif

#endif
