/* SPDX-License-Identifier: MIT */
/*
 * Allocation by type of the kernel's allocation API (since Linux 7.0), with a prefix; a part of <quarry/kmem.h>, which
 * includes it. The first argument is a type or an expression of it, the result points to that type; flags are the last
 * argument, GFP_KERNEL where they are left out. A size that overflows is larger than any allocation. _flex: a structure
 * with nr elements in its last member. Where the compiler tells which member counts these (__counted_by, gcc 15, clang
 * 20) that is set, too, and more than it can hold is NULL; else, and in C++, it is the program's to set, as in the
 * kernel.
 */
#ifndef QUARRY_KMEM_OBJ_H
#define QUARRY_KMEM_OBJ_H

#include <quarry/kmem.h>

/* Points to the counter, or is a null pointer to void where there is none. */
#if !defined(QUARRY_COUNTED_BY_REF) && !defined(__cplusplus) && defined(__has_builtin)
#if __has_builtin(__builtin_counted_by_ref)
#define QUARRY_COUNTED_BY_REF(array) __builtin_counted_by_ref(array)
#endif
#endif

/* Not to be used alone: the third, fourth or fifth of the arguments, which is the form with flags or that without. */
#define QUARRY_THIRD(a, b, c, ...) c
#define QUARRY_FOURTH(a, b, c, d, ...) d
#define QUARRY_FIFTH(a, b, c, d, e, ...) e

/* Nor these: of the function alloc, what a name below is made of. */
#define QUARRY_OBJ(alloc, ...) QUARRY_THIRD(__VA_ARGS__, QUARRY_OBJ_FLAGS, QUARRY_OBJ_KERNEL, )(alloc, __VA_ARGS__)
#define QUARRY_OBJ_FLAGS(alloc, type, flags) ((__typeof__(type) *)alloc(sizeof(__typeof__(type)), flags))
#define QUARRY_OBJ_KERNEL(alloc, type) QUARRY_OBJ_FLAGS(alloc, type, QUARRY_GFP_KERNEL)

#define QUARRY_OBJS(alloc, ...) QUARRY_FOURTH(__VA_ARGS__, QUARRY_OBJS_FLAGS, QUARRY_OBJS_KERNEL, )(alloc, __VA_ARGS__)
#define QUARRY_OBJS_FLAGS(alloc, type, nr, flags)                                                                      \
    ((__typeof__(type) *)alloc(quarry_size_mul(sizeof(__typeof__(type)), nr), flags))
#define QUARRY_OBJS_KERNEL(alloc, type, nr) QUARRY_OBJS_FLAGS(alloc, type, nr, QUARRY_GFP_KERNEL)

#define QUARRY_FLEX(alloc, ...) QUARRY_FIFTH(__VA_ARGS__, QUARRY_FLEX_FLAGS, QUARRY_FLEX_KERNEL, )(alloc, __VA_ARGS__)
#define QUARRY_FLEX_BYTES(type, member, nr)                                                                            \
    quarry_size_add(sizeof(__typeof__(type)), quarry_size_mul(nr, sizeof(*((__typeof__(type) *)NULL)->member)))
#define QUARRY_FLEX_KERNEL(alloc, type, member, nr) QUARRY_FLEX_FLAGS(alloc, type, member, nr, QUARRY_GFP_KERNEL)
#ifdef QUARRY_COUNTED_BY_REF
/* The counter of an array, or a word that nobody reads. */
#define QUARRY_FLEX_COUNTER(array)                                                                                     \
    (*_Generic(QUARRY_COUNTED_BY_REF(array), void * : &(size_t){0}, default : QUARRY_COUNTED_BY_REF(array)))
#define QUARRY_FLEX_COUNT(type, member, nr) ((__typeof__(QUARRY_FLEX_COUNTER(((__typeof__(type) *)NULL)->member)))(nr))
#define QUARRY_FLEX_FLAGS(alloc, type, member, nr, flags)                                                              \
    __extension__({                                                                                                    \
        const size_t quarry_nr_ = (nr);                                                                                \
        __typeof__(type) *quarry_flex_ = NULL;                                                                         \
        if ((size_t)QUARRY_FLEX_COUNT(type, member, quarry_nr_) == quarry_nr_)                                         \
            quarry_flex_ = alloc(QUARRY_FLEX_BYTES(type, member, quarry_nr_), flags);                                  \
        if (quarry_flex_ != NULL)                                                                                      \
            QUARRY_FLEX_COUNTER(quarry_flex_->member) = QUARRY_FLEX_COUNT(type, member, quarry_nr_);                   \
        quarry_flex_;                                                                                                  \
    })
#else
#define QUARRY_FLEX_FLAGS(alloc, type, member, nr, flags)                                                              \
    ((__typeof__(type) *)alloc(QUARRY_FLEX_BYTES(type, member, nr), flags))
#endif

#define quarry_kmalloc_obj(...) QUARRY_OBJ(quarry_kmalloc, __VA_ARGS__)
#define quarry_kzalloc_obj(...) QUARRY_OBJ(quarry_kzalloc, __VA_ARGS__)
#define quarry_kvmalloc_obj(...) QUARRY_OBJ(quarry_kvmalloc, __VA_ARGS__)
#define quarry_kvzalloc_obj(...) QUARRY_OBJ(quarry_kvzalloc, __VA_ARGS__)
#define quarry_kmalloc_objs(...) QUARRY_OBJS(quarry_kmalloc, __VA_ARGS__)
#define quarry_kzalloc_objs(...) QUARRY_OBJS(quarry_kzalloc, __VA_ARGS__)
#define quarry_kvmalloc_objs(...) QUARRY_OBJS(quarry_kvmalloc, __VA_ARGS__)
#define quarry_kvzalloc_objs(...) QUARRY_OBJS(quarry_kvzalloc, __VA_ARGS__)
#define quarry_kmalloc_flex(...) QUARRY_FLEX(quarry_kmalloc, __VA_ARGS__)
#define quarry_kzalloc_flex(...) QUARRY_FLEX(quarry_kzalloc, __VA_ARGS__)
#define quarry_kvmalloc_flex(...) QUARRY_FLEX(quarry_kvmalloc, __VA_ARGS__)
#define quarry_kvzalloc_flex(...) QUARRY_FLEX(quarry_kvzalloc, __VA_ARGS__)

#endif
