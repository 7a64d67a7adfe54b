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
/* CLASS(name, variable)(arguments); */
#define CLASS(name, variable)                                                                                          \
    class_##name##_t variable __cleanup(class_##name##_destructor) = class_##name##_constructor

/* A pointer that is locked, as _T, while there is a guard of it. */
#define DEFINE_GUARD(name, type, locking, unlocking)                                                                   \
    DEFINE_CLASS(                                                                                                      \
        name, type, if (_T) { unlocking; }, __extension__({                                                            \
            locking;                                                                                                   \
            _T;                                                                                                        \
        }),                                                                                                            \
        type _T)
/* The same of what has no pointer. */
#define DEFINE_LOCK_GUARD_0(name, locking, unlocking)                                                                  \
    DEFINE_CLASS(name, bool, unlocking, __extension__({                                                                \
                     locking;                                                                                          \
                     true;                                                                                             \
                 }),                                                                                                   \
                 void)
/* The same of _T->lock, a type *, beside which members may be declared. */
#define DEFINE_LOCK_GUARD_1(name, type, locking, unlocking, ...)                                                       \
    typedef struct {                                                                                                   \
        type *lock;                                                                                                    \
        __VA_ARGS__;                                                                                                   \
    } class_##name##_t;                                                                                                \
    static inline void class_##name##_destructor(class_##name##_t *_T) {                                               \
        if (_T->lock) {                                                                                                \
            unlocking;                                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    static inline class_##name##_t class_##name##_constructor(type *quarry_lock_) {                                    \
        class_##name##_t quarry_made_, *_T = &quarry_made_;                                                            \
        _T->lock = quarry_lock_;                                                                                       \
        locking;                                                                                                       \
        return quarry_made_;                                                                                           \
    }

#define QUARRY_GLUED_(a, b) a##b
#define QUARRY_GLUED(a, b) QUARRY_GLUED_(a, b)
/* guard(name)(arguments); until the end of the scope it stands in. */
#define guard(name) CLASS(name, QUARRY_GLUED(quarry_guard_, __COUNTER__))
/* scoped_guard(name, arguments) statement */
#define scoped_guard(name, ...)                                                                                        \
    for (class_##name##_t quarry_scope_                                                                                \
             __cleanup(class_##name##_destructor) = class_##name##_constructor(__VA_ARGS__),                           \
             *quarry_left_ = NULL;                                                                                     \
         quarry_left_ == NULL; quarry_left_ = &quarry_scope_)

#endif
