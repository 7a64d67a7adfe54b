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

#include <errno.h>
#include <linux/types.h>

/* A function that a program may define and not use. */
#define QUARRY_IN_SCOPE static inline __attribute__((__unused__))
#define __cleanup(function) __attribute__((__cleanup__(function), __unused__))

/* action is done with _T, a type, when a variable of __free(name) goes out of scope. NULL, too, comes to it. */
#define DEFINE_FREE(name, type, action)                                                                                \
    QUARRY_IN_SCOPE void __free_##name(void *p) {                                                                      \
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
    QUARRY_IN_SCOPE void class_##name##_destructor(type *quarry_at_) {                                                 \
        type _T = *quarry_at_;                                                                                         \
        (void)_T;                                                                                                      \
        ending;                                                                                                        \
    }                                                                                                                  \
    QUARRY_IN_SCOPE type class_##name##_constructor(__VA_ARGS__) {                                                     \
        type quarry_made_ = init;                                                                                      \
        return quarry_made_;                                                                                           \
    }

/* The class under a further name, whose values another init makes. */
#define EXTEND_CLASS(name, ext, init, ...)                                                                             \
    typedef class_##name##_t class_##name##ext##_t;                                                                    \
    QUARRY_IN_SCOPE void class_##name##ext##_destructor(class_##name##_t *at) { class_##name##_destructor(at); }       \
    QUARRY_IN_SCOPE class_##name##_t class_##name##ext##_constructor(__VA_ARGS__) {                                    \
        class_##name##_t quarry_made_ = init;                                                                          \
        return quarry_made_;                                                                                           \
    }

/* A guard's pointer is what it holds: neither NULL nor an error, the last page of addresses. */
#define QUARRY_IS_HELD(p) ((uintptr_t)(p)-1 < (uintptr_t)-4096)
static inline int quarry_guard_error(uintptr_t p) { return p == 0 ? -EBUSY : QUARRY_IS_HELD(p) ? 0 : (int)p; }
/* p: that pointer, of *_T. may_fail: whether it is for the program to look. */
#define QUARRY_GUARD_KIND(name, p, may_fail)                                                                           \
    QUARRY_IN_SCOPE bool class_##name##_is_held(const class_##name##_t *_T) { return QUARRY_IS_HELD(p); }              \
    QUARRY_IN_SCOPE int class_##name##_error(const class_##name##_t *_T) {                                             \
        return quarry_guard_error((uintptr_t)(p));                                                                     \
    }                                                                                                                  \
    enum { class_##name##_is_conditional = may_fail };
#define DEFINE_CLASS_IS_GUARD(name) QUARRY_GUARD_KIND(name, *_T, 0)
#define DEFINE_CLASS_IS_COND_GUARD(name) QUARRY_GUARD_KIND(name, *_T, 1)

/* A pointer that is locked, as _T, while there is a guard of it. */
#define DEFINE_GUARD(name, type, locking, unlocking)                                                                   \
    DEFINE_CLASS(                                                                                                      \
        name, type, if (QUARRY_IS_HELD(_T)) { unlocking; }, __extension__({                                            \
            locking;                                                                                                   \
            _T;                                                                                                        \
        }),                                                                                                            \
        type _T)                                                                                                       \
    DEFINE_CLASS_IS_GUARD(name)
/* The same of _T->lock, beside which members may be declared; they begin as zeros. */
#define QUARRY_LOCK_GUARD(name, type, locking, unlocking, taken, from, ...)                                            \
    typedef struct {                                                                                                   \
        type *lock;                                                                                                    \
        __VA_ARGS__;                                                                                                   \
    } class_##name##_t;                                                                                                \
    QUARRY_IN_SCOPE void class_##name##_destructor(class_##name##_t *_T) {                                             \
        if (QUARRY_IS_HELD(_T->lock)) {                                                                                \
            unlocking;                                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    QUARRY_IN_SCOPE class_##name##_t class_##name##_constructor(from) {                                                \
        class_##name##_t quarry_made_, *_T = &quarry_made_;                                                            \
        __builtin_memset(_T, 0, sizeof(*_T));                                                                          \
        _T->lock = (type *)taken;                                                                                      \
        locking;                                                                                                       \
        return quarry_made_;                                                                                           \
    }                                                                                                                  \
    QUARRY_GUARD_KIND(name, _T->lock, 0)
/* Of what has no pointer: it is 1 while it is locked. */
#define DEFINE_LOCK_GUARD_0(name, locking, unlocking, ...)                                                             \
    QUARRY_LOCK_GUARD(name, void, locking, unlocking, (uintptr_t)1, void, __VA_ARGS__)
/* Of a type *. */
#define DEFINE_LOCK_GUARD_1(name, type, locking, unlocking, ...)                                                       \
    QUARRY_LOCK_GUARD(name, type, locking, unlocking, quarry_lock_, type *quarry_lock_, __VA_ARGS__)

/* The guard name##ext, by a lock that may not be had. Behind locking may stand what its result, _RET, is then: else it
 * is false where the lock was not had. An error _RET is what ACQUIRE_ERR() says, 0 is -EBUSY. */
#define DEFINE_GUARD_COND(name, ext, ...) QUARRY_GUARD_COND(name, ext, __VA_ARGS__, _RET, )
#define QUARRY_GUARD_COND(name, ext, locking, had, ...)                                                                \
    EXTEND_CLASS(name, ext, (class_##name##_t)QUARRY_TRIED(_T, locking, had), class_##name##_t _T)                     \
    QUARRY_GUARD_KIND(name##ext, *_T, 1)
#define DEFINE_LOCK_GUARD_1_COND(name, ext, ...) QUARRY_LOCK_GUARD_COND(name, ext, __VA_ARGS__, _RET, )
#define QUARRY_LOCK_GUARD_COND(name, ext, locking, had, ...)                                                           \
    EXTEND_CLASS(name, ext, __extension__({                                                                            \
                     class_##name##_t quarry_value_, *_T = &quarry_value_;                                             \
                     __builtin_memset(_T, 0, sizeof(*_T));                                                             \
                     _T->lock = quarry_lock_;                                                                          \
                     _T->lock = (__typeof__(_T->lock))QUARRY_TRIED(_T->lock, locking, had);                            \
                     quarry_value_;                                                                                    \
                 }),                                                                                                   \
                 __typeof__(((class_##name##_t *)0)->lock) quarry_lock_)                                               \
    QUARRY_GUARD_KIND(name##ext, _T->lock, 1)
/* The pointer, or what stands for it where its lock was not had; NULL is not locked. */
#define QUARRY_TRIED(p, locking, had)                                                                                  \
    __extension__({                                                                                                    \
        uintptr_t quarry_tried_ = (uintptr_t)(p);                                                                      \
        if (quarry_tried_ != 0) {                                                                                      \
            int _RET = (locking);                                                                                      \
            if (!(had))                                                                                                \
                quarry_tried_ = _RET < 0 ? (uintptr_t)(intptr_t)_RET : 0;                                              \
        }                                                                                                              \
        quarry_tried_;                                                                                                 \
    })

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
/* With a value that is there already. */
#define CLASS_INIT(name, variable, value) class_##name##_t variable __cleanup(class_##name##_destructor) = value
/* A guard by a name, of which ACQUIRE_ERR(name, &variable) says whether it is held: 0, or the error. */
#define ACQUIRE(name, variable) CLASS(name, variable)
#define ACQUIRE_ERR(name, at) class_##name##_error(at)
/* scoped_guard(name, arguments) statement; a loop that the compiler knows to run, and once. With a lock that may not be
 * had it does not run then. */
#define scoped_guard(name, ...) QUARRY_SCOPED(name, QUARRY_GLUED(quarry_scope_, __COUNTER__), __VA_ARGS__)
#define QUARRY_SCOPED(name, scope, ...)                                                                                \
    for (class_##name##_t scope __cleanup(class_##name##_destructor) = class_##name##_constructor(__VA_ARGS__);        \
         !class_##name##_is_conditional || class_##name##_is_held(&scope);                                             \
         __extension__({ goto QUARRY_GLUED(out_, scope); }))                                                           \
        if (0) {                                                                                                       \
            QUARRY_GLUED(out_, scope) : break;                                                                         \
        } else
/* scoped_cond_guard(name, otherwise, arguments) statement; otherwise is done in its place where the lock was not had.
 */
#define scoped_cond_guard(name, otherwise, ...)                                                                        \
    QUARRY_SCOPED_COND(name, otherwise, QUARRY_GLUED(quarry_scope_, __COUNTER__), __VA_ARGS__)
#define QUARRY_SCOPED_COND(name, otherwise, scope, ...)                                                                \
    for (class_##name##_t scope __cleanup(class_##name##_destructor) = class_##name##_constructor(__VA_ARGS__);;       \
         __extension__({ goto QUARRY_GLUED(out_, scope); }))                                                           \
        if (!class_##name##_is_held(&scope)) {                                                                         \
            (void)sizeof(char[class_##name##_is_conditional ? 1 : -1]);                                                \
            otherwise;                                                                                                 \
            QUARRY_GLUED(out_, scope) : break;                                                                         \
        } else
#endif

#endif
